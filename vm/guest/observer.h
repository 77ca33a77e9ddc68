// SPDX-License-Identifier: Apache-2.0
// Watches what programs do in the guest, through an instance of tracefs of its own: mounts,
// programs, disks, the kernel's log, all on the clock "mono". Guest only; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "framework/base/result.h"
#include "framework/os/fd.h"
#include "framework/proto/agent.pb.h"
#include "framework/timeline/timeline_builder.h"

namespace plugpull::guest {

// Nanoseconds of CLOCK_MONOTONIC, which is the trace's clock.
uint64_t MonotonicNs();

class Observer {
 public:
  // Mounts tracefs, sets the probes and begins. An environment error when the kernel lacks
  // something that a timeline cannot do without.
  static Result<Observer> Start();

  // Puts an event into the trace, here and now.
  Status Note(const TimelineEvent& event);
  // Reads what there is, and looks at mounts and disks that it tells of. Says whether anything was
  // there.
  Result<bool> Drain();
  int fd() const { return pipe_.get(); }
  // A disk whose traffic is counted from now on; `device`: its name in /sys/class/block.
  void Count(const std::string& disk, const std::string& device);
  void Forget(const std::string& disk) { counted_.erase(disk); }
  void NamespaceEnded(const std::string& agent) { builder_.NamespaceEnded(agent, MonotonicNs()); }
  // A counted disk has requests that are not answered yet.
  bool DisksAreBusy() const;
  uint64_t LastAction(const std::string& agent) const { return builder_.LastAction(agent); }
  // Stops, and gives the timeline.
  Result<Timeline> Finish();

 private:
  struct Counted {
    std::string device;
    uint64_t read_sectors = 0;
    uint64_t written_sectors = 0;
  };

  Observer(os::Fd pipe, os::Fd marker) : pipe_(std::move(pipe)), marker_(std::move(marker)) {}
  Result<bool> ReadPipe();
  Result<bool> NoteBytes();
  Status NoteMounts();
  void AddLost();

  os::Fd pipe_;
  os::Fd marker_;
  std::string partial_;  // of a line
  timeline::TimelineBuilder builder_;
  std::map<std::string, Counted> counted_;
  uint64_t begin_ns_ = 0;
};

}  // namespace plugpull::guest
