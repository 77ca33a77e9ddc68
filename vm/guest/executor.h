// SPDX-License-Identifier: Apache-2.0
// Carries out the host's requests, one at a time, and holds the guest's disks between them.
// Guest only; one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "framework/base/result.h"
#include "framework/proto/guest.pb.h"
#include "vm/guest/agents.h"
#include "vm/guest/disk_stack.h"
#include "vm/guest/fault_steps.h"
#include "vm/guest/kernel_log.h"

namespace plugpull::guest {

class Executor {
 public:
  using Send = std::function<Status(const GuestMessage&)>;

  // `send` carries Progress while a request is being carried out. `boot_problem`, when not empty,
  // is added to every infrastructure error: it usually is the cause.
  explicit Executor(Send send, std::string boot_problem = {})
      : send_(std::move(send)),
        boot_problem_(std::move(boot_problem)),
        faults_([this](const std::string& disk) { return Find(disk); }) {}

  // Never fails: what goes wrong is in the answer. PowerOff is only answered here; the caller
  // switches off once the answer is sent.
  Answer Execute(const GuestRequest& request);

  // To be called every few milliseconds between requests while it returns true: agents run.
  bool Tend() {
    agents_.Tend();
    return agents_.any();
  }

 private:
  Result<Answer> Dispatch(const GuestRequest& request);
  Result<Answer> SetUp(const SetUpDisk& request);
  Result<Answer> Run(const RunGuestProgram& request);
  Result<Answer> MountDisk(const MountRequest& request);
  Result<Answer> RunFiles(const RunWorkload& request);
  Result<Answer> Mark(const WriteMark& request);
  Result<Answer> Query(const QueryDisk& request);
  Result<Answer> TearDown(const TearDownDisk& request);
  Result<Answer> Corrupt(const CorruptStep& step);
  Result<Answer> KernelLines();
  Result<Answer> Shell();
  Result<Answer> Swap(const SwapLayer& request);
  Result<Answer> ListTargets();
  Result<Answer> Sweep();
  Result<Answer> ReadBack(const ReadBackDisk& request);
  Result<Answer> Await(const WaitForDisk& request);
  Result<Answer> Disarm();
  Result<Answer> PreparePowerCut();
  Result<Answer> NoteForTimeline(const NoteEvent& request);
  Result<Answer> AgentAnswer(Status status);
  Result<Answer> RunCsiStep(const RunCsi& request);
  Result<Answer> TakeTimelineAnswer();
  Result<DiskStack*> Find(const std::string& disk);

  Send send_;
  std::string boot_problem_;
  std::optional<KernelLog> kernel_log_;  // from the first TakeKernelLog on
  std::map<std::string, std::unique_ptr<DiskStack>> disks_;
  Faults faults_;
  Agents agents_;
};

}  // namespace plugpull::guest
