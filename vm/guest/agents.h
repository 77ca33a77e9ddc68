// SPDX-License-Identifier: Apache-2.0
// Programs under test: each in a control group of its own, its output watched for alerts, started
// again when it ends if that is asked for. Guest only; one thread.
#pragma once

#include <regex.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "framework/base/result.h"
#include "framework/os/fd.h"
#include "framework/proto/guest.pb.h"
#include "vm/guest/kubelet_process.h"
#include "vm/guest/observer.h"

namespace plugpull::guest {

// True on a kernel that was started with kWarpedArgument: time flies while nothing runs, so that
// who waits for the host has to spin.
bool ClockIsWarped();

class Agents {
 public:
  ~Agents();

  // What happened, in the words of the host; the first one begins the timeline.
  Status Note(TimelineEvent event);
  // A disk is there under this path; its name in sysfs and its number are added to the note.
  Status NoteAttached(TimelineEvent event, const std::string& path);
  Status Start(const AgentStep& step);
  // Nothing: it came to pass. A user error that says what did not.
  Status Wait(const AgentWaitStep& step);
  Status Stop(const AgentStopStep& step);
  // Has the kubelet of an agent do something, for at most so long. Nothing of it is an error that
  // the plugin answers.
  Result<CsiOutcome> RunCsi(const plugpull::RunCsi& request);
  // Takes output, ends and restarts. To be called every few milliseconds while any() is true.
  void Tend();
  bool any() const { return observer_.has_value(); }
  // Kills all of them, and gives the timeline.
  Result<Timeline> Finish();

 private:
  struct Agent {
    AgentStep step;
    regex_t alert{};
    pid_t pid = -1;  // -1: it does not run
    os::Fd process;  // pidfd of pid: readable when that has ended
    os::Fd output;
    std::string line;  // of its output, not yet ended
    uint32_t restarts = 0;
    bool stopped = false;
    std::optional<uint64_t> start_again_ns;
    std::unique_ptr<KubeletProcess> kubelet;  // of an agent that is a CSI node plugin
    std::optional<CsiOutcome> outcome;        // the last one that its kubelet has told
    ~Agent() { ::regfree(&alert); }
  };

  Status Launch(Agent& agent, AgentLife::Kind kind);
  void Ended(pid_t pid, int status);
  void ReadOutput(Agent& agent);
  void Alerts(Agent& agent, bool at_end);
  void NoteLife(const Agent& agent, AgentLife::Kind kind, pid_t pid, int status);
  void KillGroup(const Agent& agent);
  Status StartKubelet(Agent& agent);
  void AddVolumes(const Agent& agent, KubeletCommand& command) const;
  void ReadReports(Agent& agent);
  // Waits for output, a trace or a child's end, at most so long.
  void Pause(uint64_t ns);
  Result<Agent*> Find(const std::string& name);

  struct KnownDisk {
    std::string serial;
    std::string path;  // empty: it is detached
  };

  std::optional<Observer> observer_;
  std::map<std::string, std::unique_ptr<Agent>> agents_;
  std::map<std::string, KnownDisk> disks_;
  uint64_t csi_steps_ = 0;
  Status problem_;         // of Tend
  uint64_t pause_ns_ = 0;  // of Pause, at most
};

}  // namespace plugpull::guest
