// SPDX-License-Identifier: Apache-2.0
// The steps of a scenario that start, await and stop agents, carried out in a running guest, and
// the timeline of what happened meanwhile.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/proto/agent.pb.h"
#include "framework/proto/guest.pb.h"
#include "framework/proto/scenario.pb.h"

namespace plugpull::run {

bool IsAgentStep(const Step& step);
// "agent a", "wait for agent a: 1000 ms".
std::string AgentStepInWords(const Step& step);

// Lives no longer than the scenario.
class AgentSteps {
 public:
  // Sends a request; an answer that has an error is a guest error.
  using Ask = std::function<Result<Answer>(GuestRequest, Millis)>;
  // Is told what a step demanded, and what came instead.
  using Unmet = std::function<void(const std::string& asked, const std::string& came)>;
  AgentSteps(const Scenario& scenario, Ask ask, Unmet unmet)
      : scenario_(scenario), ask_(std::move(ask)), unmet_(std::move(unmet)) {}

  Status Run(const Step& step, Millis timeout);
  // After a step of another kind: what it did to a disk goes into the timeline.
  Status Note(const Step& step);
  // After the last step. Agents that still run are killed.
  Status Finish();
  // Nothing: the scenario starts no agent.
  const std::optional<Timeline>& timeline() const { return timeline_; }

 private:
  struct DiskState {
    std::string serial;
    DiskChange::Content content = DiskChange::BLANK;
    bool attached = true;
    std::optional<FaultChange> fault;  // that is on
  };

  Status Begin();
  Status RunCsi(const CsiStep& step, Millis timeout);
  Status NoteAttached(const std::string& disk);
  Status Send(const TimelineEvent& event);
  Status NoteFault(const std::string& disk, bool begins, bool reads_fail, const std::string& what);

  const Scenario& scenario_;
  Ask ask_;
  Unmet unmet_;
  bool begun_ = false;
  std::map<std::string, DiskState> disks_;
  std::optional<Timeline> timeline_;
};

}  // namespace plugpull::run
