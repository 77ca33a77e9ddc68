// SPDX-License-Identifier: Apache-2.0
// An agent that never comes to a mount goes round all the same: fsck, look, fsck, look.
//
// An attempt here is a run of fsck, mkfs or another program that overwrites, or an opening of the
// disk for writing by a process that runs none of these. Reading alone is none: who looks every
// second and leaves the disk as it is harms nobody. Each kind is counted by itself, so that a first
// format with wipefs, mkfs and fsck is one of each, and from one mount to the next, since mounts
// are counted on their own and may each have a check before them.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "framework/agent/programs.h"
#include "framework/agent/story.h"
#include "framework/incident/words.h"

namespace plugpull::agent {
namespace {

constexpr char kOpening[] = "opened for writing";
// Whoever writes a file system opens the disk several times.
constexpr uint64_t kBurstNs = 1'000'000'000;
constexpr size_t kStepsMax = 16;  // of a cycle that are compared and shown

struct Step {
  uint64_t at_ns = 0;
  std::string what;
};

struct Run {
  uint64_t at_ns = 0;
  uint64_t end_ns = 0;
};

// What follows each run up to the next one, and how often it is the same.
std::string CycleWords(const std::vector<Run>& runs, const std::vector<Step>& steps) {
  std::map<std::vector<std::string>, uint64_t> kinds;
  std::vector<double> periods;
  auto at = steps.begin();
  for (size_t i = 0; i + 1 < runs.size(); ++i) {
    std::vector<std::string> cycle;
    while (at != steps.end() && at->at_ns < runs[i].at_ns) ++at;
    for (; at != steps.end() && at->at_ns < runs[i + 1].at_ns; ++at) {
      const bool again = !cycle.empty() && cycle.back() == at->what;
      if (!again && cycle.size() < kStepsMax) cycle.push_back(at->what);
    }
    ++kinds[cycle];
    periods.push_back(Seconds(runs[i + 1].at_ns - runs[i].at_ns));
  }
  const auto most = std::max_element(
      kinds.begin(), kinds.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  std::string words;
  for (const std::string& step : most->first) words += (words.empty() ? "" : ", ") + step;
  return fmt::format("cycle: {}; {} of {} alike, every {}", words, most->second,
                     incident::Plural(periods.size(), "whole cycle", "whole cycles"),
                     incident::DurationWords(Median(periods)));
}

class WorkWatch {
 public:
  WorkWatch(const Story& story, const DiskStory& disk, Judgement& judgement)
      : story_(story), disk_(disk), judgement_(judgement) {}

  void Take(const TimelineEvent& event) {
    const bool own = event.agent() == story_.agent;
    if (event.has_mount() && event.mount().disk() == disk_.disk) {
      const MountAttempt& mount = event.mount();
      if (mount.bind_or_move() || mount.remount()) return;
      if (own || mount.error_number() == 0) Judge();
      mounted_ += mount.error_number() == 0;
    } else if (event.has_unmount() && event.unmount().disk() == disk_.disk) {
      if (event.unmount().error_number() == 0 && mounted_ > 0) --mounted_;
    } else if (event.has_disk() && event.disk().disk() == disk_.disk) {
      TakeDisk(event);
    } else if (event.has_fault() && event.fault().disk() == disk_.disk) {
      failing_ = event.fault().begins();
      Judge();
    } else if (event.has_program() && own &&
               std::count(event.program().disk().begin(), event.program().disk().end(),
                          disk_.disk) > 0) {
      TakeProgram(event);
    } else if (event.has_open_for_write() && own && event.open_for_write().disk() == disk_.disk) {
      TakeOpening(event);
    } else if (event.has_life() && own && event.life().kind() == AgentLife::RESTARTED) {
      steps_.push_back({event.at_ns(), "restarted"});
    }
  }

  // Of what there was since the last mount, and begins anew.
  void Judge() {
    const uint64_t limit = story_.contract.attempts_max();
    for (const auto& [what, runs] : runs_) {
      if (runs.size() < 2) continue;
      const std::string words = Words(what, runs);
      if (runs.size() > limit) {
        judgement_.Violated(words + "; " + CycleWords(runs, steps_), disk_.disk);
      } else {
        judgement_.Holds(words, disk_.disk);
      }
    }
    runs_.clear();
    steps_.clear();
  }

 private:
  std::string Words(const std::string& what, const std::vector<Run>& runs) const {
    std::vector<double> gaps;
    for (size_t i = 1; i < runs.size(); ++i) {
      gaps.push_back(Seconds(runs[i].at_ns - std::min(runs[i - 1].end_ns, runs[i].at_ns)));
    }
    const std::string begin =
        what == kOpening ? fmt::format("{} openings of {} for writing", runs.size(), disk_.Name())
                         : fmt::format("{} runs of {} on {}", runs.size(), what, disk_.Name());
    return fmt::format("{} in {:.1f} s, with no mount between them; limit {}; {}", begin,
                       Seconds(runs.back().end_ns - runs.front().at_ns),
                       story_.contract.attempts_max(),
                       GapsWords(gaps, story_.contract.gap_cap_ms() / 1e3));
  }

  void TakeDisk(const TimelineEvent& event) {
    const DiskChange& change = event.disk();
    if (change.has_content()) healthy_ = change.content() == DiskChange::FILE_SYSTEM;
    if (change.kind() == DiskChange::CONTENT) return Judge();
    if (change.kind() == DiskChange::DETACHED) mounted_ = 0;
    if (change.kind() == DiskChange::ATTACHED) steps_.push_back({event.at_ns(), "re-attached"});
  }

  void TakeProgram(const TimelineEvent& event) {
    const ProgramRun& run = event.program();
    const std::string what = AttemptName(run);
    const uint64_t end_ns = std::max(run.end_ns(), event.at_ns());
    if (what.empty()) {
      steps_.push_back({event.at_ns(), ProgramName(run)});
      return;
    }
    // One that was not seen to end goes on as far as is known.
    busy_[event.pid()] = run.end_ns() == 0 ? UINT64_MAX : end_ns;
    // A look at a healthy disk by fsck -n is upkeep. Of what is mounted other properties speak.
    if (mounted_ > 0 || (Checks(run) && !Repairs(run) && healthy_ && !failing_)) return;
    // fsck runs e2fsck: two processes, one piece of work.
    auto& runs = runs_[what];
    if (!runs.empty() && event.at_ns() < runs.back().end_ns) {
      runs.back().end_ns = std::max(runs.back().end_ns, end_ns);
      return;
    }
    runs.push_back({event.at_ns(), end_ns});
    steps_.push_back({event.at_ns(), what});
  }

  void TakeOpening(const TimelineEvent& event) {
    const auto busy = busy_.find(event.pid());
    if (mounted_ > 0 || (busy != busy_.end() && event.at_ns() <= busy->second)) return;
    auto& runs = runs_[kOpening];
    if (!runs.empty() && event.at_ns() - runs.back().at_ns < kBurstNs) return;
    runs.push_back({event.at_ns(), event.at_ns()});
    steps_.push_back({event.at_ns(), kOpening});
  }

  const Story& story_;
  const DiskStory& disk_;
  Judgement& judgement_;
  uint64_t mounted_ = 0;  // how often, by anyone
  bool healthy_ = false;
  bool failing_ = false;
  std::map<uint32_t, uint64_t> busy_;  // process, until when it is at a program that is counted
  std::map<std::string, std::vector<Run>> runs_;  // since the last mount
  std::vector<Step> steps_;
};

}  // namespace

void JudgeUnmountedWork(const Story& story, Judgement& bound) {
  for (const auto& [name, disk] : story.disks) {
    WorkWatch watch(story, disk, bound);
    for (const TimelineEvent& event : story.timeline.event()) watch.Take(event);
    watch.Judge();
  }
}

}  // namespace plugpull::agent
