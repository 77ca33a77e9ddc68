// SPDX-License-Identifier: Apache-2.0
// How often, how fast and how long an agent tries to mount a disk.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "framework/agent/story.h"

namespace plugpull::agent {
namespace {

constexpr size_t kGapsShown = 8;
constexpr size_t kGapsMin = 3;  // fewer say nothing of how they grow
// By how much the later half of the gaps is to be longer than the first one. Gaps that double grow
// fourfold from the first to the third, which leaves room for a jitter of a third.
constexpr double kGrowthMin = 1.5;

// Whether the gaps grow, up to a cap.
bool Grow(const std::vector<double>& gaps, double cap_s) {
  if (gaps.size() < kGapsMin) return true;
  if (Median(gaps) >= cap_s) return true;
  // Behind the cap nothing grows: what counts is how the longest ones compare to the first.
  const size_t half = (gaps.size() + 1) / 2;
  const std::vector<double> late(gaps.end() - static_cast<std::ptrdiff_t>(half), gaps.end());
  return Median(late) >= kGrowthMin * gaps.front();
}

// "EINVAL 5 times, success 2 times".
std::string ErrorsWords(const Episode& episode) {
  std::map<int, uint64_t> counts;
  for (const Attempt& attempt : episode.attempts) ++counts[attempt.error_number];
  std::string words;
  for (const auto& [error, count] : counts) {
    words += fmt::format("{}{} {} time{}", words.empty() ? "" : ", ",
                         error == 0 ? "success" : ErrnoWord(error), count, count == 1 ? "" : "s");
  }
  return words;
}

std::string EpisodeWords(const Story& story, const DiskStory& disk, const Episode& episode) {
  const auto& attempts = episode.attempts;
  std::string words =
      fmt::format("{} mount{} of {} in {:.1f} s", attempts.size(), attempts.size() == 1 ? "" : "s",
                  disk.Name(), Seconds(attempts.back().end_ns - attempts.front().at_ns));
  words += fmt::format("; limit {}", story.contract.attempts_max());
  if (attempts.size() > 1) {
    words += "; " + GapsWords(episode.GapsSeconds(), story.contract.gap_cap_ms() / 1e3);
  }
  return words + "; " + ErrorsWords(episode);
}

// What a loop is, behind the words on its attempts.
std::string LoopTail(const Story& story, const DiskStory& disk, const Episode& episode) {
  std::string tail;
  for (const std::string& words : {ResetWords(story, episode), LoopWords(story, disk, episode)}) {
    if (!words.empty()) tail += "; " + words;
  }
  return tail;
}

// A loop that is slower than any gap may be looks like one giving up after the other, each by
// silence alone. All attempts from the episode before `at` on, for as long as it goes on so.
Episode SlowLoop(const DiskStory& disk, size_t at) {
  Episode whole = disk.episodes[at - 1];
  for (; at < disk.episodes.size() && disk.episodes[at].after_giving_up; ++at) {
    if (disk.episodes[at - 1].alert_ns) break;
    const auto& attempts = disk.episodes[at].attempts;
    whole.attempts.insert(whole.attempts.end(), attempts.begin(), attempts.end());
  }
  return whole;
}

void JudgeBound(const Story& story, Judgement& judgement) {
  for (const auto& [name, disk] : story.disks) {
    for (const Episode& episode : disk.episodes) {
      std::string words = EpisodeWords(story, disk, episode);
      if (episode.attempts.size() > story.contract.attempts_max()) {
        words += LoopTail(story, disk, episode);
        judgement.Violated(words, name);
      } else if (episode.Failures() > 0) {
        judgement.Holds(words, name);
      }
    }
  }
}

void JudgeGaps(const Story& story, Judgement& judgement) {
  const double cap_s = story.contract.gap_cap_ms() / 1e3;
  const double max_s = story.contract.gap_max_ms() / 1e3;
  for (const auto& [name, disk] : story.disks) {
    for (const Episode& episode : disk.episodes) {
      const auto gaps = episode.GapsSeconds();
      if (gaps.size() < kGapsMin || episode.Failures() == 0) continue;
      const std::string words = EpisodeWords(story, disk, episode);
      const double longest = *std::max_element(gaps.begin(), gaps.end());
      if (!Grow(gaps, cap_s)) {
        judgement.Violated(words, name);
      } else if (longest > max_s) {
        judgement.Violated(
            fmt::format("{}; a gap of {:.0f} s, the cap is {:.0f} s", words, longest, max_s), name);
      } else {
        judgement.Holds(words, name);
      }
    }
  }
}

// Silence after giving up, and whether a restart or a re-attachment ends it.
void JudgeSilence(const Story& story, Judgement& silent, Judgement& terminal) {
  for (const auto& [name, disk] : story.disks) {
    for (size_t i = 0; i < disk.episodes.size(); ++i) {
      const Episode& episode = disk.episodes[i];
      if (episode.after_giving_up) {
        const std::string why = episode.restarted     ? " after a restart"
                                : episode.re_attached ? " after a re-attachment"
                                                      : "";
        std::string words =
            fmt::format("gave up on {} at {}, and mounted it again at {}{}: {} time{}", disk.Name(),
                        MomentWords(story, episode.gave_up_ns),
                        MomentWords(story, episode.attempts.front().at_ns), why,
                        episode.attempts.size(), episode.attempts.size() == 1 ? "" : "s");
        const Episode whole = i > 0 ? SlowLoop(disk, i) : episode;
        const std::string loop = LoopTail(story, disk, whole);
        if (!loop.empty()) words += "; " + EpisodeWords(story, disk, whole) + loop;
        (why.empty() ? silent : terminal).Violated(words, name);
      }
      if (episode.end != Episode::End::kGaveUp) continue;
      const uint64_t from = episode.alert_ns.value_or(episode.attempts.back().end_ns);
      const std::string words = fmt::format(
          "gave up on {} at {}, silent for {:.0f} s", disk.Name(), MomentWords(story, from),
          Seconds(episode.next_ns - std::min(from, episode.next_ns)));
      silent.Holds(words, name);
      for (const TimelineEvent& event : story.timeline.event()) {
        if (event.at_ns() <= from || event.at_ns() > episode.next_ns) continue;
        const bool again = event.has_life() && event.agent() == story.agent &&
                           (event.life().kind() == AgentLife::STARTED ||
                            event.life().kind() == AgentLife::RESTARTED);
        const bool back = event.has_disk() && event.disk().disk() == name &&
                          event.disk().kind() == DiskChange::ATTACHED;
        if (again) terminal.Holds(words + ", restarted in between", name);
        if (back) terminal.Holds(words + ", re-attached in between", name);
      }
    }
  }
}

// What the kernel says of a disk that will say the same tomorrow (the table of damages in
// framework/ext4/DAMAGE.md; EINVAL is also what it says of options that it does not have).
bool IsPermanent(int error_number) {
  return error_number == EINVAL || error_number == EUCLEAN || error_number == EBADMSG;
}

bool FaultIsOn(const DiskStory& disk, uint64_t at_ns) {
  return std::any_of(disk.faults.begin(), disk.faults.end(), [&](const Fault& fault) {
    return fault.begin_ns <= at_ns && (!fault.clear_ns || at_ns < *fault.clear_ns);
  });
}

bool ChangedBetween(const DiskStory& disk, uint64_t from_ns, uint64_t to_ns) {
  return std::any_of(disk.changed_ns.begin(), disk.changed_ns.end(),
                     [&](uint64_t at_ns) { return from_ns <= at_ns && at_ns <= to_ns; });
}

// Mounts of one disk in a row that were all refused for good, and nothing changed between them.
struct Refusals {
  int error_number = 0;
  uint64_t retries = 0;
};

std::vector<Refusals> RefusalsOf(const DiskStory& disk) {
  std::vector<Refusals> rows;
  const Attempt* last = nullptr;  // of the row that goes on
  for (const Episode& episode : disk.episodes) {
    for (const Attempt& attempt : episode.attempts) {
      if (!IsPermanent(attempt.error_number) || FaultIsOn(disk, attempt.at_ns)) {
        last = nullptr;
        continue;
      }
      const bool goes_on = last != nullptr && last->error_number == attempt.error_number &&
                           !ChangedBetween(disk, last->end_ns, attempt.at_ns);
      if (goes_on) {
        ++rows.back().retries;
      } else {
        rows.push_back({attempt.error_number, 0});
      }
      last = &attempt;
    }
  }
  return rows;
}

void JudgePermanent(const Story& story, Judgement& judgement) {
  const uint64_t limit = story.contract.permanent_retries_max();
  for (const auto& [name, disk] : story.disks) {
    for (const Refusals& row : RefusalsOf(disk)) {
      const std::string words = fmt::format(
          "{}: refused with {}, which nothing had changed, and tried again {} time{}; limit {}",
          disk.Name(), ErrnoWord(row.error_number), row.retries, row.retries == 1 ? "" : "s",
          limit);
      row.retries > limit ? judgement.Violated(words, name) : judgement.Holds(words, name);
    }
  }
}

// What an agent did about one fault that cleared.
struct FaultFacts {
  uint64_t before_clear = 0;  // attempts
  uint64_t failures = 0;
  std::optional<uint64_t> mounted_ns;  // first success behind the clearing
  uint64_t after_clear = 0;
  bool gave_up_before = false;
};

FaultFacts FactsOf(const DiskStory& disk, const Fault& fault, uint64_t until_ns) {
  FaultFacts facts;
  for (const Episode& episode : disk.episodes) {
    for (const Attempt& attempt : episode.attempts) {
      if (attempt.at_ns < fault.begin_ns || attempt.at_ns >= until_ns) continue;
      facts.failures += attempt.error_number != 0;
      ++(attempt.at_ns < *fault.clear_ns ? facts.before_clear : facts.after_clear);
      if (attempt.end_ns >= *fault.clear_ns && attempt.error_number == 0 && !facts.mounted_ns) {
        facts.mounted_ns = attempt.end_ns;
      }
    }
  }
  for (const TimelineEvent* alert : disk.alerts) {
    facts.gave_up_before |= alert->at_ns() >= fault.begin_ns && alert->at_ns() < *fault.clear_ns;
  }
  return facts;
}

void JudgeTransients(const Story& story, Judgement& retried, Judgement& recovers) {
  for (const auto& [name, disk] : story.disks) {
    for (size_t i = 0; i < disk.faults.size(); ++i) {
      const Fault& fault = disk.faults[i];
      const uint64_t end_ns = story.timeline.end_ns();
      if (!fault.clear_ns) continue;
      const FaultFacts facts =
          FactsOf(disk, fault, i + 1 < disk.faults.size() ? disk.faults[i + 1].begin_ns : end_ns);
      if (facts.failures == 0) continue;
      const uint64_t deadline_ns =
          *fault.clear_ns + story.contract.recover_ms() * uint64_t{1'000'000};
      const std::string words = fmt::format(
          "the fault of {} lasted from {} to {}; {} mount{} before its end, {} after", disk.Name(),
          MomentWords(story, fault.begin_ns), MomentWords(story, *fault.clear_ns),
          facts.before_clear, facts.before_clear == 1 ? "" : "s", facts.after_clear);
      const bool time_was_left = deadline_ns <= end_ns;
      if (facts.before_clear + facts.after_clear > 1) {
        retried.Holds(words, name);
        if (facts.mounted_ns) {
          recovers.Holds(fmt::format("{}; mounted {:.1f} s after it", words,
                                     Seconds(*facts.mounted_ns - *fault.clear_ns)),
                         name);
        } else if (facts.gave_up_before) {
          recovers.Note(words + "; it had given up before, after more than one attempt");
        } else if (time_was_left) {
          recovers.Violated(
              fmt::format("{}; not mounted within {} s", words, story.contract.recover_ms() / 1000),
              name);
        } else {
          recovers.Note(words + "; the run ended before its time to recover was over");
        }
      } else if (time_was_left || facts.gave_up_before) {
        retried.Violated(words, name);
      } else {
        retried.Note(words + "; the run ended before its time to recover was over");
      }
    }
  }
}

}  // namespace

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string GapsWords(const std::vector<double>& gaps, double cap_s) {
  std::string words = "gaps";
  for (size_t i = 0; i < std::min(gaps.size(), kGapsShown); ++i) {
    words += gaps[i] < 10 ? fmt::format(" {:.1f}", gaps[i]) : fmt::format(" {:.0f}", gaps[i]);
  }
  if (gaps.size() > kGapsShown) words += " ...";
  words += " s";
  if (gaps.size() >= kGapsMin) {
    words += Median(gaps) >= cap_s ? ", at the cap"
             : Grow(gaps, cap_s)   ? ", growing"
                                   : ", not growing";
  }
  return words;
}

void JudgeAttempts(const Story& story, std::vector<PropertyReport>& reports) {
  Judgement bound(BOUNDED_ATTEMPTS);
  Judgement gaps(GROWING_GAPS);
  Judgement silent(SILENT_AFTER_GIVING_UP);
  Judgement terminal(TERMINAL_SURVIVES_RESTART);
  Judgement retried(TRANSIENT_RETRIED);
  Judgement recovers(RECOVERS);
  Judgement permanent(PERMANENT_NOT_RETRIED);
  JudgeBound(story, bound);
  JudgeUnmountedWork(story, bound);
  JudgeGaps(story, gaps);
  JudgeSilence(story, silent, terminal);
  JudgeTransients(story, retried, recovers);
  JudgePermanent(story, permanent);
  for (const auto* judgement :
       {&bound, &gaps, &silent, &terminal, &retried, &recovers, &permanent}) {
    reports.push_back(judgement->report());
  }
}

}  // namespace plugpull::agent
