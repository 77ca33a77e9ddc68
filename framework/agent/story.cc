// SPDX-License-Identifier: Apache-2.0
#include "framework/agent/story.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "framework/agent/programs.h"

namespace plugpull::agent {
namespace {

constexpr uint64_t kMillisecondNs = 1'000'000;

bool Mentions(const std::string& text, const DiskStory& disk) {
  const auto has = [&text](const std::string& word) {
    return !word.empty() && text.find(word) != std::string::npos;
  };
  if (has(disk.serial) || has(disk.disk)) return true;
  return std::any_of(disk.devices.begin(), disk.devices.end(), [&](const std::string& device) {
    return device.starts_with("/dev/") && has(device.substr(device.rfind('/') + 1));
  });
}

// Follows one disk through the events.
class Teller {
 public:
  Teller(const Story& story, DiskStory& disk) : story_(story), disk_(disk) {}

  void Take(const TimelineEvent& event) {
    now_ns_ = event.at_ns();
    const bool own = event.agent() == story_.agent;
    if (event.has_mount() && own && event.mount().disk() == disk_.disk) return TakeMount(event);
    if (event.has_unmount() && event.unmount().disk() == disk_.disk) {
      if (event.unmount().error_number() == 0) Unmounted();
    } else if (event.has_disk() && event.disk().disk() == disk_.disk) {
      TakeDisk(event.disk());
      if (event.disk().kind() == DiskChange::CONTENT) disk_.changed_ns.push_back(now_ns_);
    } else if (event.has_fault() && event.fault().disk() == disk_.disk) {
      TakeFault(event);
    } else if (event.has_program() && std::count(event.program().disk().begin(),
                                                 event.program().disk().end(), disk_.disk) > 0) {
      TakeProgram(event.program());
    } else if (event.has_bytes() && event.bytes().disk() == disk_.disk) {
      // A repair that wrote nothing has changed nothing. What it wrote may be noted late.
      if (event.bytes().bytes_written() > 0 && repaired_ns_) {
        disk_.changed_ns.push_back(*repaired_ns_);
      }
    } else if (event.has_life() && own) {
      TakeLife(event.life());
    } else if (event.has_alert() && own && Concerns(event.alert().text())) {
      disk_.alerts.push_back(&event);
      if (open_ && LastFailed() && !open_->alert_ns) open_->alert_ns = event.at_ns();
    }
  }

  void Finish(uint64_t end_ns) {
    now_ns_ = end_ns;
    if (open_) {
      Close(mounted_since_             ? Episode::End::kMounted
            : LastFailed() && GaveUp() ? Episode::End::kGaveUp
                                       : Episode::End::kOpen);
    }
    for (size_t i = 0; i < disk_.episodes.size(); ++i) {
      disk_.episodes[i].next_ns =
          i + 1 < disk_.episodes.size() ? disk_.episodes[i + 1].attempts.front().at_ns : end_ns;
    }
  }

 private:
  // Of two disks, an alert is about the one that it names; where it names none, about all.
  bool Concerns(const std::string& text) const {
    if (Mentions(text, disk_)) return true;
    return std::none_of(story_.disks.begin(), story_.disks.end(),
                        [&](const auto& other) { return Mentions(text, other.second); });
  }

  bool LastFailed() const { return open_->attempts.back().error_number != 0; }

  bool GaveUp() const {
    if (open_->alert_ns) return true;
    return now_ns_ - std::min(now_ns_, open_->attempts.back().end_ns) >
           story_.contract.gap_max_ms() * kMillisecondNs;
  }

  void Close(Episode::End end) {
    open_->end = end;
    gave_up_ = end == Episode::End::kGaveUp;
    if (gave_up_) {
      gave_up_ns_ = open_->alert_ns.value_or(open_->attempts.back().end_ns);
      restarted_ = restarted_since_attempt_;
      re_attached_ = attached_since_attempt_;
    }
    disk_.episodes.push_back(*std::move(open_));
    open_.reset();
  }

  // Whether the last mount, if it still stands, has lasted.
  bool Settled() const {
    return mounted_since_ &&
           now_ns_ - *mounted_since_ >= story_.contract.settled_ms() * kMillisecondNs;
  }

  void TakeMount(const TimelineEvent& event) {
    const MountAttempt& mount = event.mount();
    if (mount.bind_or_move() || mount.remount()) return;
    if (open_ && Settled()) {
      Close(Episode::End::kMounted);
    } else if (open_ && LastFailed() && GaveUp()) {
      Close(Episode::End::kGaveUp);
    }
    if (!open_) {
      open_.emplace();
      if (gave_up_) {
        open_->after_giving_up = true;
        open_->gave_up_ns = gave_up_ns_;
        open_->restarted = restarted_;
        open_->re_attached = re_attached_;
      }
      gave_up_ = false;
    }
    open_->attempts.push_back({event.at_ns(), std::max(mount.end_ns(), event.at_ns()), event.pid(),
                               mount.error_number(), mount.target()});
    restarted_since_attempt_ = attached_since_attempt_ = false;
    if (mount.error_number() == 0) mounted_since_ = open_->attempts.back().end_ns;
  }

  void Unmounted() {
    if (open_ && Settled()) Close(Episode::End::kMounted);
    mounted_since_.reset();
  }

  void TakeProgram(const ProgramRun& run) {
    if (Overwrites(run)) disk_.changed_ns.push_back(std::max(now_ns_, run.end_ns()));
    if (Repairs(run)) repaired_ns_ = std::max(now_ns_, run.end_ns());
  }

  void TakeDisk(const DiskChange& change) {
    if (change.kind() == DiskChange::CONTENT) return NewReason();
    if (change.kind() == DiskChange::ATTACHED) {
      attached_since_attempt_ = re_attached_ = true;
      return;
    }
    if (open_ && mounted_since_) Close(Episode::End::kMounted);
    mounted_since_.reset();
  }

  void TakeFault(const TimelineEvent& event) {
    if (event.fault().begins()) {
      disk_.faults.push_back({event.at_ns(), std::nullopt, event.fault().reads_fail()});
    } else if (!disk_.faults.empty() && !disk_.faults.back().clear_ns) {
      disk_.faults.back().clear_ns = event.at_ns();
    }
    NewReason();
  }

  void NewReason() {
    if (open_) {
      const bool given_up = LastFailed() && GaveUp();
      Close(mounted_since_ ? Episode::End::kMounted
            : given_up     ? Episode::End::kGaveUp
                           : Episode::End::kOpen);
    }
    gave_up_ = false;
  }

  void TakeLife(const AgentLife& life) {
    if (life.kind() == AgentLife::STARTED || life.kind() == AgentLife::RESTARTED) {
      restarted_since_attempt_ = restarted_ = true;
    }
    // Who is asked again begins anew, unless it had not done what it was asked for.
    if (life.kind() == AgentLife::STARTED && open_ && !LastFailed()) {
      Close(Episode::End::kMounted);
    }
  }

  const Story& story_;
  DiskStory& disk_;
  std::optional<Episode> open_;
  std::optional<uint64_t> mounted_since_;
  std::optional<uint64_t> repaired_ns_;  // end of the last repair
  bool gave_up_ = false;
  uint64_t gave_up_ns_ = 0;
  bool restarted_ = false;
  bool re_attached_ = false;
  bool restarted_since_attempt_ = false;
  bool attached_since_attempt_ = false;
  uint64_t now_ns_ = 0;
};

void NameDisks(const Timeline& timeline, Story& story) {
  for (const TimelineDisk& disk : timeline.disk()) story.disks[disk.name()].disk = disk.name();
  for (const TimelineEvent& event : timeline.event()) {
    if (!event.has_disk()) continue;
    const auto found = story.disks.find(event.disk().disk());
    if (found == story.disks.end()) continue;
    if (event.disk().has_serial()) found->second.serial = event.disk().serial();
    for (const std::string& device : event.disk().device()) {
      found->second.devices.push_back(device);
    }
  }
}

}  // namespace

uint64_t Episode::Failures() const {
  return static_cast<uint64_t>(
      std::count_if(attempts.begin(), attempts.end(),
                    [](const Attempt& attempt) { return attempt.error_number != 0; }));
}

std::vector<double> Episode::GapsSeconds() const {
  std::vector<double> gaps;
  for (size_t i = 1; i < attempts.size(); ++i) {
    const uint64_t before = attempts[i - 1].end_ns;
    gaps.push_back(Seconds(attempts[i].at_ns - std::min(before, attempts[i].at_ns)));
  }
  return gaps;
}

std::string DiskStory::Name() const {
  return serial.empty() || serial == disk ? disk : fmt::format("{} (disk {})", serial, disk);
}

Story Tell(const Timeline& timeline, const TimelineAgent& agent, const Contract& contract) {
  Story story{timeline, contract, agent.name(), &agent, {}, 0, 0};
  NameDisks(timeline, story);
  for (auto& [name, disk] : story.disks) {
    Teller teller(story, disk);
    for (const TimelineEvent& event : timeline.event()) teller.Take(event);
    teller.Finish(timeline.end_ns());
  }
  for (const TimelineEvent& event : timeline.event()) {
    if (!event.has_life() || event.agent() != agent.name()) continue;
    story.starts += event.life().kind() == AgentLife::STARTED;
    story.restarts += event.life().kind() == AgentLife::RESTARTED;
  }
  return story;
}

double Seconds(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

std::string ErrnoWord(int error_number) {
  const char* name = ::strerrorname_np(error_number);
  return name != nullptr ? name : fmt::format("errno {}", error_number);
}

std::string MomentWords(const Story& story, uint64_t at_ns) {
  return fmt::format("{:.1f} s", Seconds(at_ns - std::min(at_ns, story.timeline.begin_ns())));
}

void Judgement::Holds(const std::string& evidence, const std::string& disk) {
  if (report_.verdict() != PropertyReport::NOT_EXERCISED) return;
  report_.set_verdict(PropertyReport::HOLDS);
  report_.set_evidence(evidence);
  report_.set_disk(disk);
}

void Judgement::Violated(const std::string& evidence, const std::string& disk) {
  if (violated()) return;
  report_.set_verdict(PropertyReport::VIOLATED);
  report_.set_evidence(evidence);
  report_.set_disk(disk);
}

void Judgement::Note(const std::string& evidence) {
  if (report_.verdict() == PropertyReport::NOT_EXERCISED) report_.set_evidence(evidence);
}

}  // namespace plugpull::agent
