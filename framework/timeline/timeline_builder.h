// SPDX-License-Identifier: Apache-2.0
// Makes a Timeline of trace lines. Pure; one thread. Processes belong to an agent from the note of
// its start on, and with them all that they fork: what is in its control group.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "framework/proto/agent.pb.h"
#include "framework/timeline/trace_line.h"

namespace plugpull::timeline {

// Events of a timeline; more are counted as lost.
inline constexpr int kEventsMax = 200'000;
inline constexpr size_t kTextBytesMax = 300;  // of a text in an event; the rest is cut off

// A text for tracefs' trace_marker that makes this event where it stands in the trace: its time
// and, unless it is set, its process are those of the line.
std::string NoteText(const TimelineEvent& event);

class TimelineBuilder {
 public:
  // Of trace_pipe, without its line break.
  void TakeLine(std::string_view line);
  void AddLost(uint64_t events, const std::string& why);
  // Processes of an agent that is known to have ended; whatever it had mounted in a mount
  // namespace of its own is gone with it.
  void NamespaceEnded(const std::string& agent, uint64_t at_ns);

  // When the agent last mounted, unmounted, opened a disk or started a program; 0: never.
  uint64_t LastAction(const std::string& agent) const;
  // Mounts that succeeded since the last call.
  struct NewMount {
    std::string disk;
    std::string target;
    uint32_t pid = 0;
  };
  std::vector<NewMount> TakeNewMounts();

  // The declared disk that has this device ("/dev/vda", "253:0") now; empty: none.
  std::string DiskOf(const std::string& device) const;

  // Ends the timeline; `begin_ns`, `end_ns`: what it covers.
  Timeline Finish(uint64_t begin_ns, uint64_t end_ns);

 private:
  struct FsContext {
    std::string type;
    std::string source;
    std::vector<std::string> options;
    std::optional<int> event;  // its attempt
  };
  struct Mounted {
    std::string target;
    std::string disk;
    std::string agent;
  };
  using FdKey = std::pair<uint32_t, int64_t>;  // process, descriptor

  TimelineEvent* Add(const TraceLine& line);
  std::string AgentOf(const TraceLine& line) const;
  void TakeNote(const TraceLine& line);
  void TakeCall(const TraceLine& line);
  void TakeReturn(const TraceLine& line);
  void TakeProcess(const TraceLine& line);
  void TakeFile(const TraceLine& line);
  void MountCalled(const TraceLine& line);
  void PathMountCalled(const TraceLine& line);
  void FsConfigCalled(const TraceLine& line);
  void Program(const TraceLine& line);
  void MountReturned(int event, uint64_t at_ns, int error_number);
  void UnmountReturned(int event, uint64_t at_ns, int error_number);
  void Acted(const std::string& agent, uint64_t at_ns);

  Timeline timeline_;
  std::map<uint32_t, std::string> agent_of_;  // thread or process
  std::map<uint32_t, int> calls_;             // thread: its mount or unmount that has not returned
  std::map<uint32_t, std::pair<std::string, std::vector<std::string>>> execs_;
  std::map<uint32_t, int> running_;          // process: the event of its program
  std::map<uint32_t, std::string> fsopens_;  // thread: type
  std::map<FdKey, FsContext> contexts_;
  std::map<uint32_t, FdKey> fsconfigs_;  // thread: a create that has not returned
  std::map<uint32_t, FdKey> fsmounts_;
  std::map<FdKey, int> detached_mounts_;  // descriptor of fsmount: the attempt
  std::map<uint32_t, std::pair<int, std::string>> moves_;
  std::map<std::string, std::string> disk_of_;  // device to disk
  std::vector<Mounted> mounted_;
  std::set<std::pair<std::string, std::pair<std::string, uint64_t>>> made_;  // agent, device, inode
  std::map<std::string, uint64_t> last_action_;
  std::vector<NewMount> new_mounts_;
};

}  // namespace plugpull::timeline
