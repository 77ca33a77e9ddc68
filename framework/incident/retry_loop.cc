// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/retry_loop.h"

#include <algorithm>
#include <map>

namespace plugpull::incident {
namespace {

constexpr int64_t kSecondUs = 1'000'000;
constexpr size_t kStepsMax = 16;  // of a cycle that are compared
// Nothing is over before it has been quiet for three cycles, and for so long.
constexpr int64_t kQuietUs = 60 * kSecondUs;
constexpr uint64_t kQuietRecords = 50;
// A success that lasts so long, and ten times longer than the failures before it, is one.
constexpr int64_t kLastingUs = 600 * kSecondUs;
// mount(8) and its like try one type of file system after another within this.
constexpr int64_t kBurstUs = 2 * kSecondUs;
// A disk that is used is mounted for longer than this.
constexpr int64_t kHastyUs = 10 * kSecondUs;

// Events of one kind in a row.
struct Run {
  CycleStep step;
  const Event* first = nullptr;
  const Event* last = nullptr;
  const Event* ended = nullptr;  // what ended a mount in order
  uint64_t repeats = 0;
  bool in_order = false;  // unmounted or ejected at its end
  bool ejected = false;
};

std::optional<int64_t> Between(const Event& from, const Event& to) {
  return Elapsed(from.at, from.boot, to.at, to.boot);
}

// The runs of one start of the machine.
std::vector<Run> RunsOf(const std::vector<Event>& events, size_t begin, size_t end) {
  std::vector<Run> runs;
  for (size_t i = begin; i < end; ++i) {
    const Event& event = events[i];
    if (event.kind == Event::Kind::kUnmounted || event.kind == Event::Kind::kDetached) {
      if (!runs.empty()) {
        if (!runs.back().in_order) runs.back().ended = &event;
        runs.back().in_order = true;
        runs.back().ejected |= event.kind == Event::Kind::kDetached;
      }
      continue;
    }
    CycleStep step;
    step.kind = event.kind;
    step.failure = event.failure;
    if (runs.empty() || !(runs.back().step == step)) {
      runs.emplace_back();
      runs.back().step = step;
      runs.back().first = &event;
    }
    runs.back().last = &event;
    ++runs.back().repeats;
    runs.back().in_order = false;
  }
  return runs;
}

bool IsFailure(const Run& run) { return run.step.kind == Event::Kind::kMountFailed; }
bool IsMount(const Run& run) { return run.step.kind == Event::Kind::kMounted; }

// Runs from a first failure to before the next first failure.
struct Cycle {
  size_t begin = 0;
  size_t end = 0;  // one past the last run
  bool closed = false;
};

std::vector<Cycle> CyclesOf(const std::vector<Run>& runs) {
  std::vector<Cycle> cycles;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (!IsFailure(runs[i]) || (i > 0 && IsFailure(runs[i - 1]))) continue;
    if (!cycles.empty()) {
      cycles.back().end = i;
      cycles.back().closed = true;
    }
    cycles.push_back({i, runs.size(), false});
  }
  return cycles;
}

std::vector<CycleStep> StepsOf(const std::vector<Run>& runs, const Cycle& cycle) {
  std::vector<CycleStep> steps;
  for (size_t i = cycle.begin; i < cycle.end && steps.size() < kStepsMax; ++i) {
    steps.push_back(runs[i].step);
    steps.back().repeats_min = steps.back().repeats_max = runs[i].repeats;
  }
  return steps;
}

std::optional<Period> PeriodOf(std::vector<int64_t> gaps) {
  if (gaps.empty()) return std::nullopt;
  std::sort(gaps.begin(), gaps.end());
  const auto seconds = [](int64_t us) { return static_cast<double>(us) / kSecondUs; };
  const size_t middle = gaps.size() / 2;
  const int64_t median =
      gaps.size() % 2 == 1 ? gaps[middle] : (gaps[middle - 1] + gaps[middle]) / 2;
  return Period{seconds(median), seconds(gaps.front()), seconds(gaps.back())};
}

enum class CycleKind { kBad, kBlank, kBlankInOrder, kCleared, kOtherDisk };

// What is in one closed cycle.
struct CycleFacts {
  uint64_t failures = 0;
  uint64_t mounts = 0;
  bool re_attached = false;
  bool only_not_recognised = true;
  bool in_order = false;  // the last mount ended so
  bool ejected = false;
  bool hasty = false;  // unmounted, or ejected, at once
  bool kept = false;   // mounted again after it came back: it had kept what was on it
  uint32_t uuid = 0;   // of the last mount
  uint32_t name = 0;
  std::optional<int64_t> failing_us;
  std::optional<int64_t> mounted_us;
};

CycleFacts FactsOf(const std::vector<Run>& runs, const Cycle& cycle) {
  CycleFacts facts;
  const Event* next = cycle.end < runs.size() ? runs[cycle.end].first : nullptr;
  facts.name = runs[cycle.begin].first->name;
  const Run* mounted = nullptr;
  for (size_t i = cycle.begin; i < cycle.end; ++i) {
    const Run& run = runs[i];
    if (IsFailure(run)) {
      facts.failures += run.repeats;
      facts.only_not_recognised &= run.step.failure == Failure::kNotRecognised;
    } else if (IsMount(run)) {
      if (mounted == nullptr) facts.failing_us = Between(*runs[cycle.begin].first, *run.first);
      mounted = &run;
      facts.mounts += run.repeats;
      facts.uuid = run.last->uuid;
      facts.kept |= facts.re_attached;
      const auto held =
          run.ended != nullptr ? Between(*run.last, *run.ended) : std::optional<int64_t>();
      facts.hasty |= held && *held < kHastyUs;
    } else {
      facts.re_attached = true;
    }
    facts.in_order |= run.in_order;
    facts.ejected |= run.ejected;
  }
  if (mounted != nullptr && next != nullptr) facts.mounted_us = Between(*mounted->last, *next);
  return facts;
}

CycleKind KindOf(const CycleFacts& facts, const CycleFacts& next) {
  if (facts.mounts == 0) return CycleKind::kBad;
  if (!facts.re_attached) {
    const bool lasting = facts.mounts == 1 && facts.failing_us && facts.mounted_us &&
                         *facts.mounted_us >= kLastingUs &&
                         *facts.mounted_us >= 10 * *facts.failing_us;
    return lasting ? CycleKind::kCleared : CycleKind::kBad;
  }
  if (facts.uuid != 0 && next.uuid != 0) {
    return facts.uuid == next.uuid ? CycleKind::kBad : CycleKind::kOtherDisk;
  }
  const bool formatted_once = facts.failures == 1 && facts.only_not_recognised;
  if (!formatted_once) return CycleKind::kBad;
  if (facts.hasty) return CycleKind::kBad;
  if (facts.mounts > 1) {
    return facts.ejected && facts.kept ? CycleKind::kBlankInOrder : CycleKind::kBad;
  }
  if (facts.in_order || facts.name != next.name) return CycleKind::kBlankInOrder;
  return CycleKind::kBlank;
}

// The loop that the cycles of one start of the machine make, whether or not it is one.
Loop Describe(const std::vector<Run>& runs, const std::vector<Cycle>& cycles) {
  Loop loop;
  std::map<std::vector<CycleStep>, uint64_t> kinds;
  std::vector<int64_t> gaps;
  for (size_t i = 0; i < cycles.size(); ++i) {
    if (!cycles[i].closed) continue;
    ++loop.closed;
    const auto steps = StepsOf(runs, cycles[i]);
    const uint64_t count = ++kinds[steps];
    if (count > loop.alike) {
      loop.alike = count;
      loop.steps = steps;
    }
    const auto gap = Between(*runs[cycles[i].begin].first, *runs[cycles[i + 1].begin].first);
    if (gap) gaps.push_back(*gap);
  }
  for (const Cycle& cycle : cycles) {
    const auto steps = StepsOf(runs, cycle);
    if (!cycle.closed || steps != loop.steps) continue;
    for (size_t i = 0; i < steps.size(); ++i) {
      loop.steps[i].repeats_min = std::min(loop.steps[i].repeats_min, steps[i].repeats_min);
      loop.steps[i].repeats_max = std::max(loop.steps[i].repeats_max, steps[i].repeats_max);
    }
  }
  const bool last_is_whole = !cycles.empty() && StepsOf(runs, cycles.back()) == loop.steps;
  loop.whole = loop.closed + (last_is_whole ? 1 : 0);
  loop.cut_off = !last_is_whole && !cycles.empty();
  loop.period = PeriodOf(std::move(gaps));
  return loop;
}

// Attempts that failed with no success between them, up to the last attempt: each is a cycle.
Loop DescribeFailures(const std::vector<Event>& events, size_t begin, size_t end) {
  std::vector<const Event*> failures;
  std::vector<CycleStep> steps;
  bool re_attached = false;
  for (size_t i = begin; i < end; ++i) {
    if (events[i].kind == Event::Kind::kMounted) {
      failures.clear();
      steps.clear();
      re_attached = false;
    } else if (events[i].kind == Event::Kind::kMountFailed) {
      CycleStep step;
      step.failure = events[i].failure;
      if (std::count(steps.begin(), steps.end(), step) == 0) steps.push_back(step);
      failures.push_back(&events[i]);
    } else if (events[i].kind == Event::Kind::kAttached) {
      re_attached |= !failures.empty();
    }
  }
  Loop loop;
  std::vector<int64_t> gaps;
  for (size_t i = 1; i < failures.size(); ++i) {
    if (const auto gap = Between(*failures[i - 1], *failures[i])) gaps.push_back(*gap);
  }
  const auto span = failures.empty() ? std::nullopt : Between(*failures.front(), *failures.back());
  if (span && *span < kBurstUs && failures.size() < kLongLoopCycles) return {};
  loop.whole = failures.size();
  loop.closed = failures.empty() ? 0 : failures.size() - 1;
  loop.alike = steps.size() == 1 && !re_attached ? loop.closed : 0;
  loop.steps = std::move(steps);
  loop.period = PeriodOf(std::move(gaps));
  return loop;
}

// Whether the log goes on for long after the last attempt.
bool QuietAfter(const std::vector<Event>& events, size_t begin, const Event& last,
                const Loop& pattern, const LogEnd& end) {
  if (last.boot != end.boot) return true;  // the machine was started again
  const auto quiet = Elapsed(last.at, last.boot, end.at, end.boot);
  if (quiet) {
    const double longest = pattern.period ? pattern.period->max_s : 0;
    return *quiet > kQuietUs && static_cast<double>(*quiet) > 3 * longest * kSecondUs;
  }
  // Without times, messages are the clock.
  uint64_t longest = 0;
  const Event* before = nullptr;
  for (size_t i = begin; i < events.size(); ++i) {
    if (before != nullptr) longest = std::max(longest, events[i].record - before->record);
    before = &events[i];
  }
  const uint64_t after = end.records - std::min(last.record, end.records);
  return after > kQuietRecords && after > 3 * longest;
}

const Event* LastAttempt(const std::vector<Event>& events, size_t begin, size_t end) {
  for (size_t i = end; i > begin; --i) {
    const Event& event = events[i - 1];
    if (event.kind == Event::Kind::kMounted || event.kind == Event::Kind::kMountFailed) {
      return &event;
    }
  }
  return nullptr;
}

bool TooSlow(const Loop& loop) {
  return loop.period && loop.period->median_s * kSecondUs > static_cast<double>(kPeriodUsMax);
}

bool HasMount(const Loop& loop) {
  return std::any_of(loop.steps.begin(), loop.steps.end(),
                     [](const CycleStep& step) { return step.kind == Event::Kind::kMounted; });
}

// Whether the closed cycles of one start of the machine are those of a loop.
bool CyclesLoop(const std::vector<Run>& runs, const std::vector<Cycle>& cycles, const Loop& loop,
                LoopVerdict& verdict) {
  uint64_t bad = 0;
  uint64_t blank = 0;
  uint64_t blank_in_order = 0;
  uint64_t cleared = 0;
  for (size_t i = 0; i + 1 < cycles.size(); ++i) {
    const CycleFacts facts = FactsOf(runs, cycles[i]);
    const CycleFacts next = FactsOf(runs, cycles[i + 1]);
    const CycleKind kind = KindOf(facts, next);
    bad += kind == CycleKind::kBad;
    blank += kind == CycleKind::kBlank;
    blank_in_order += kind == CycleKind::kBlankInOrder;
    cleared += kind == CycleKind::kCleared;
    verdict.identity_known |= facts.uuid != 0 && facts.uuid == next.uuid;
  }
  const bool regular = loop.period && loop.period->Regular();
  // A timer fails at regular times, a disk does not.
  if (regular && cleared + bad > kCyclesMin + 1) bad += cleared;
  const bool disorder = blank_in_order == 0 && blank > 0;
  const uint64_t needed = regular || bad > 0 ? kCyclesMin : kCyclesMin + 1;
  if (bad >= kCyclesMin || (disorder && bad + blank >= needed)) return true;
  verdict.blank_each_time = std::max(verdict.blank_each_time, blank + blank_in_order);
  return false;
}

// One start of the machine: events from `begin` to `end`.
void JudgeBoot(const std::vector<Event>& events, size_t begin, size_t end, const LogEnd& log_end,
               LoopVerdict& verdict) {
  const Event* last = LastAttempt(events, begin, end);
  if (last == nullptr) return;
  const std::vector<Run> runs = RunsOf(events, begin, end);
  const std::vector<Cycle> cycles = CyclesOf(runs);
  Loop loop = Describe(runs, cycles);
  bool found = loop.closed >= kCyclesMin && CyclesLoop(runs, cycles, loop, verdict);
  Loop failures = DescribeFailures(events, begin, end);
  if (!found && failures.closed >= kCyclesMin) {
    found = true;
    loop = std::move(failures);
  }
  verdict.closed_cycles = std::max(verdict.closed_cycles, loop.closed);
  const bool failed = last->kind == Event::Kind::kMountFailed;
  const bool quiet = QuietAfter(events, begin, *last, loop, log_end);
  // Where successes belong to the cycle, one more of them is no end.
  const bool over = quiet || (!failed && !HasMount(loop));
  if (failed) {
    verdict.end = quiet ? AttemptsEnd::kGaveUp : AttemptsEnd::kOpen;
  } else {
    verdict.end = found && !over ? AttemptsEnd::kOpen : AttemptsEnd::kMounted;
  }
  if (!found || TooSlow(loop) || (over && loop.whole < kLongLoopCycles)) return;
  if (!verdict.loop || verdict.loop->whole < loop.whole) verdict.loop = std::move(loop);
}

}  // namespace

std::string StepWords(const CycleStep& step) {
  if (step.kind == Event::Kind::kMounted) return "mounted";
  if (step.kind == Event::Kind::kAttached) return "re-attached";
  if (step.failure == Failure::kNotRecognised) return "not recognised";
  return std::string("mount failed: ") + FailureWords(step.failure);
}

LoopVerdict FindLoop(const VolumeHistory& history, const LogEnd& end) {
  LoopVerdict verdict;
  const auto& events = history.events;
  for (size_t begin = 0; begin < events.size();) {
    size_t next = begin;
    while (next < events.size() && events[next].boot == events[begin].boot) ++next;
    JudgeBoot(events, begin, next, end, verdict);
    begin = next;
  }
  return verdict;
}

}  // namespace plugpull::incident
