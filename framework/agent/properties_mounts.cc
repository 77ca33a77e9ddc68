// SPDX-License-Identifier: Apache-2.0
// What is mounted where, by whom, and how it is unmounted.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <string_view>

#include "framework/agent/story.h"

namespace plugpull::agent {
namespace {

constexpr uint32_t kMntDetach = 2;  // include/linux/fs.h

std::string Trimmed(const std::string& path) {
  std::string out = path;
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

const TimelineVolume* VolumeAt(const Story& story, const std::string& target) {
  for (const TimelineVolume& volume : story.told->volume()) {
    if (Trimmed(volume.at()) == Trimmed(target)) return &volume;
  }
  return nullptr;
}

std::string DiskName(const Story& story, const std::string& disk) {
  const auto found = story.disks.find(disk);
  return found == story.disks.end() ? (disk.empty() ? "no declared disk" : disk)
                                    : found->second.Name();
}

// A piece of work on one disk.
struct Operation {
  uint64_t at_ns = 0;
  uint64_t end_ns = 0;
  uint32_t pid = 0;
  std::string agent;
  std::string what;
  bool check = false;  // fsck runs e2fsck: two processes, one piece of work
};

std::vector<Operation> OperationsOn(const Timeline& timeline, const std::string& disk) {
  std::vector<Operation> operations;
  for (const TimelineEvent& event : timeline.event()) {
    if (event.agent().empty()) continue;
    if (event.has_mount() && event.mount().disk() == disk && !event.mount().bind_or_move()) {
      operations.push_back(
          {event.at_ns(), event.mount().end_ns(), event.pid(), event.agent(), "mount", false});
    }
    if (!event.has_program() ||
        std::count(event.program().disk().begin(), event.program().disk().end(), disk) == 0) {
      continue;
    }
    const std::string name = event.program().path().substr(event.program().path().rfind('/') + 1);
    const bool check = name.starts_with("fsck") || name == "e2fsck";
    if (!check && !name.starts_with("mkfs") && name != "mke2fs") continue;
    operations.push_back(
        {event.at_ns(), event.program().end_ns(), event.pid(), event.agent(), name, check});
  }
  return operations;
}

void JudgeOverlaps(const Story& story, const DiskStory& disk, Judgement& judgement) {
  const auto operations = OperationsOn(story.timeline, disk.disk);
  std::set<std::string> agents;
  for (size_t i = 0; i < operations.size(); ++i) {
    const Operation& second = operations[i];
    agents.insert(second.agent);
    if (second.agent != story.agent) continue;
    for (size_t k = 0; k < i; ++k) {
      const Operation& first = operations[k];
      if (first.pid == second.pid || second.at_ns >= first.end_ns) continue;
      if (first.agent == second.agent && first.check && second.check) continue;
      judgement.Violated(
          fmt::format("{} of {} by process {} at {}, while process {} was at {} of it{}",
                      second.what, disk.Name(), second.pid, MomentWords(story, second.at_ns),
                      first.pid, first.what,
                      first.agent == second.agent ? "" : " (agent " + first.agent + ")"),
          disk.disk);
    }
  }
  if (agents.size() > 1)
    judgement.Holds(fmt::format("{} agents on {}", agents.size(), disk.Name()));
}

// Where each agent has which disks mounted, as the events go.
class MountWatch {
 public:
  MountWatch(const Story& story, Judgement& idempotent, Judgement& single, Judgement& identity)
      : story_(story), idempotent_(idempotent), single_(single), identity_(identity) {}

  void Take(const TimelineEvent& event) {
    if (event.has_unmount() && event.unmount().error_number() == 0) {
      Forget(event.unmount().disk(), Trimmed(event.unmount().target()));
    } else if (event.has_disk() && event.disk().kind() == DiskChange::DETACHED) {
      Forget(event.disk().disk(), "");
    } else if (event.has_mount() && !event.agent().empty()) {
      const MountAttempt& mount = event.mount();
      if (mount.bind_or_move() || mount.remount()) return;
      if (event.agent() == story_.agent) JudgeMount(event);
      if (mount.error_number() == 0 && !mount.disk().empty()) {
        mounted_.push_back({mount.disk(), Trimmed(mount.target()), event.agent()});
      }
    }
  }

 private:
  struct Mounted {
    std::string disk;
    std::string target;
    std::string agent;
  };

  // One mount, the newest, of what is given; without a target all of the disk.
  void Forget(const std::string& disk, const std::string& target) {
    for (size_t i = mounted_.size(); i > 0; --i) {
      const Mounted& mounted = mounted_[i - 1];
      if (!disk.empty() && mounted.disk != disk) continue;
      if (!target.empty() && mounted.target != target) continue;
      mounted_.erase(mounted_.begin() + static_cast<std::ptrdiff_t>(i - 1));
      if (!target.empty()) return;
    }
  }

  void JudgeMount(const TimelineEvent& event) {
    const MountAttempt& mount = event.mount();
    const std::string target = Trimmed(mount.target());
    const std::string words = fmt::format("{} mounted at {} at {}", DiskName(story_, mount.disk()),
                                          target, MomentWords(story_, event.at_ns()));
    const bool took = mount.error_number() == 0 || mount.error_number() == EBUSY;
    for (const Mounted& mounted : mounted_) {
      if (!took || mounted.disk != mount.disk()) continue;
      if (mounted.agent != story_.agent) {
        single_.Violated(fmt::format("{}, while agent {} had it mounted at {}", words,
                                     mounted.agent, mounted.target),
                         mount.disk());
      } else if (mounted.target == target) {
        idempotent_.Violated(words + ", where it was mounted already", mount.disk());
      }
    }
    if (mount.error_number() == 0 && !mount.disk().empty()) idempotent_.Holds(words, mount.disk());
    const TimelineVolume* volume = VolumeAt(story_, target);
    if (volume == nullptr || mount.error_number() != 0) return;
    if (volume->disk() == mount.disk()) {
      identity_.Holds(words, mount.disk());
    } else {
      identity_.Violated(fmt::format("{} ({}), where {} belongs", words, mount.source(),
                                     DiskName(story_, volume->disk())),
                         volume->disk());
    }
  }

  const Story& story_;
  Judgement& idempotent_;
  Judgement& single_;
  Judgement& identity_;
  std::vector<Mounted> mounted_;
};

void JudgeUnmounts(const Story& story, Judgement& busy, Judgement& lazy) {
  std::map<std::string, std::pair<uint64_t, uint64_t>> series;  // target: how many, last one
  for (const TimelineEvent& event : story.timeline.event()) {
    if (event.agent() != story.agent || !event.has_unmount()) continue;
    const UnmountAttempt& unmount = event.unmount();
    const bool of_volume = !unmount.disk().empty() || VolumeAt(story, unmount.target()) != nullptr;
    if (!of_volume) continue;
    const std::string words =
        fmt::format("unmount of {} at {}", unmount.target(), MomentWords(story, event.at_ns()));
    if (unmount.error_number() == 0 && (unmount.flags() & kMntDetach) != 0) {
      lazy.Violated(words + " by MNT_DETACH: the disk is in use as before, and nobody sees it",
                    unmount.disk());
    } else {
      lazy.Holds(words, unmount.disk());
    }
    auto& [count, last_ns] = series[Trimmed(unmount.target())];
    const bool anew = event.at_ns() - last_ns > story.contract.gap_max_ms() * uint64_t{1'000'000};
    if (unmount.error_number() != EBUSY) {
      count = 0;
      continue;
    }
    count = anew ? 1 : count + 1;
    last_ns = event.at_ns();
    const std::string times = fmt::format("{} unmounts of {} ended in EBUSY; limit {}", count,
                                          unmount.target(), story.contract.busy_unmounts_max());
    if (count > story.contract.busy_unmounts_max()) {
      busy.Violated(times, unmount.disk());
    } else {
      busy.Holds(times, unmount.disk());
    }
  }
}

// Options that are in force without being shown (ext4(5), mount(8), fs/ext4/super.c).
bool ShownOnlyWhenOff(const std::string& option) {
  static constexpr std::array<std::string_view, 16> kDefaults = {
      "defaults", "async",    "dev",       "exec",      "suid",         "nouser",
      "auto",     "barrier",  "barrier=1", "delalloc",  "data=ordered", "strictatime",
      "atime",    "diratime", "loud",      "norelatime"};
  return std::count(kDefaults.begin(), kDefaults.end(), option) > 0;
}

bool InForce(const std::string& option, const MountInForce& mount) {
  const auto shown = [&mount](std::string_view word) {
    return std::count(mount.option().begin(), mount.option().end(), word) > 0;
  };
  if (shown(option)) return true;
  if (option == "barrier=0") return shown("nobarrier");
  if (option == "noatime" || option == "ro" || option == "rw") return false;
  if (option == "barrier" || option == "barrier=1") return !shown("nobarrier");
  if (option == "data=ordered") return !shown("data=writeback") && !shown("data=journal");
  if (option == "delalloc") return !shown("nodelalloc");
  return ShownOnlyWhenOff(option);
}

void JudgeOptions(const Story& story, Judgement& judgement) {
  for (const TimelineEvent& event : story.timeline.event()) {
    if (!event.has_in_force()) continue;
    const MountInForce& mount = event.in_force();
    const TimelineVolume* volume = VolumeAt(story, mount.target());
    if (volume == nullptr || volume->disk() != mount.disk() || volume->option().empty()) continue;
    std::string missing;
    for (const std::string& option : volume->option()) {
      if (!InForce(option, mount)) missing += " " + option;
    }
    std::string shown;
    for (const std::string& option : mount.option()) shown += (shown.empty() ? "" : ",") + option;
    const std::string words =
        fmt::format("{} at {}: {}", DiskName(story, mount.disk()), mount.target(), shown);
    if (missing.empty()) {
      judgement.Holds(words, mount.disk());
    } else {
      judgement.Violated(fmt::format("{}; asked for, and not in force:{}", words, missing),
                         mount.disk());
    }
  }
}

}  // namespace

void JudgeMounts(const Story& story, std::vector<PropertyReport>& reports) {
  Judgement idempotent(IDEMPOTENT);
  Judgement single(SINGLE_FLIGHT);
  Judgement identity(IDENTITY_BY_SERIAL);
  Judgement busy(BUSY_UNMOUNT_BOUNDED);
  Judgement lazy(NO_LAZY_DETACH);
  Judgement options(OPTIONS_EFFECTIVE);
  MountWatch watch(story, idempotent, single, identity);
  for (const TimelineEvent& event : story.timeline.event()) watch.Take(event);
  for (const auto& [name, disk] : story.disks) JudgeOverlaps(story, disk, single);
  JudgeUnmounts(story, busy, lazy);
  JudgeOptions(story, options);
  for (const auto* judgement : {&idempotent, &single, &identity, &busy, &lazy, &options}) {
    reports.push_back(judgement->report());
  }
}

}  // namespace plugpull::agent
