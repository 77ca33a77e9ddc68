// SPDX-License-Identifier: Apache-2.0
// Watches what programs do in the guest, through an instance of tracefs of its own: mounts,
// programs, disks, the kernel's log, all on the clock "mono". Guest only; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

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
  // From now on requests_fd is readable when a request has gone to any disk since the last Drain:
  // what a warped clock needs, and what costs every request a trace event.
  Status WatchRequests();
  int requests_fd() const { return requests_.get(); }  // -1: not watched

  // Puts an event into the trace, here and now.
  Status Note(const TimelineEvent& event);
  // Reads what there is, and looks at mounts and disks that it tells of. Says whether anything was
  // there.
  Result<bool> Drain();
  // A disk whose traffic is counted from now on; `device`: its name in /sys/class/block.
  void Count(const std::string& disk, const std::string& device);
  void Forget(const std::string& disk) { counted_.erase(disk); }
  void NamespaceEnded(const std::string& agent) { builder_.NamespaceEnded(agent, MonotonicNs()); }
  // A counted disk has requests that are not answered yet.
  bool DisksAreBusy();
  uint64_t LastAction(const std::string& agent) const { return builder_.LastAction(agent); }
  // Stops, and gives the timeline.
  Result<Timeline> Finish();

 private:
  struct Counted {
    std::string device;
    // The device's `stat` of sysfs; held open, since a warped hour has thousands of looks at it.
    // ENODEV once the disk has gone.
    os::Fd stat;
    uint64_t read_sectors = 0;
    uint64_t written_sectors = 0;
  };
  struct Traffic {
    uint64_t read_sectors = 0;
    uint64_t written_sectors = 0;
    uint64_t in_flight = 0;
  };

  Observer(os::Fd pipe, os::Fd marker) : pipe_(std::move(pipe)), marker_(std::move(marker)) {}
  // Of a disk that is there; not every disk that is counted is.
  static std::optional<Traffic> Look(Counted& counted);
  Result<bool> ReadPipe();
  Result<bool> NoteBytes();
  Status NoteMounts();
  // None: it is seen nowhere.
  std::vector<std::string> OptionsInForce(const timeline::TimelineBuilder::NewMount& mount) const;
  void AddLost();

  os::Fd pipe_;
  os::Fd requests_;  // a trace of its own, whose text is of no use
  os::Fd marker_;
  std::string partial_;  // of a line
  timeline::TimelineBuilder builder_;
  std::map<std::string, Counted> counted_;
  uint64_t begin_ns_ = 0;
};

}  // namespace plugpull::guest
