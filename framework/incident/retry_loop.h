// SPDX-License-Identifier: Apache-2.0
// Whether what happened to a volume is a retry loop: the same few events over and over, a failed
// mount among them each time, and no end.
//
// A cycle begins where mounts begin to fail and ends where they begin to fail again, so successes
// and re-attachments may lie in it; repetitions of one event count as one. Cycles are closed by the
// failure that begins the next one, whatever else is in them, and so noise and lines that were not
// printed change how alike the cycles are, not how many there are. A volume on which nothing but
// failures is seen has a cycle for each attempt.
//
// What looks the same and is none:
// - mounts that fail and then succeed for good, or are given up: see `end`;
// - a blank disk that is formatted when it comes. It fails once, is mounted once, and goes; under
//   the same name the next blank disk comes. Whether that is one disk is told by the UUID of the
//   file system; without it, by whether it was used at all, and went in order (unmounted, or
//   ejected);
// - failures far between that clear quickly and for long.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/incident/disk_history.h"

namespace plugpull::incident {

// A loop has at least so many closed cycles.
inline constexpr uint64_t kCyclesMin = 3;
// Attempts that are given up after so many cycles are called a loop all the same.
inline constexpr uint64_t kLongLoopCycles = 30;
// Slower cycles, on the average, are not called a loop.
inline constexpr int64_t kPeriodUsMax = int64_t{12} * 3600 * 1'000'000;

// Where the log ends.
struct LogEnd {
  Stamp at;
  uint32_t boot = 0;
  uint64_t records = 0;
};

struct CycleStep {
  Event::Kind kind = Event::Kind::kMountFailed;  // kAttached, kMounted or kMountFailed
  Failure failure = Failure::kNone;
  uint64_t repeats_min = 1;  // how often in a row, over all cycles
  uint64_t repeats_max = 1;
  bool operator==(const CycleStep& other) const {
    return kind == other.kind && failure == other.failure;
  }
  bool operator<(const CycleStep& other) const {
    return kind != other.kind ? kind < other.kind : failure < other.failure;
  }
};
// "not recognised", "mounted", "re-attached".
std::string StepWords(const CycleStep& step);

struct Period {
  double median_s = 0;
  double min_s = 0;
  double max_s = 0;
  // No cycle takes half as long again as another.
  bool Regular() const { return max_s <= 1.5 * min_s; }
};

struct Loop {
  std::vector<CycleStep> steps;  // of most cycles
  uint64_t whole = 0;            // cycles from their first event to their last
  bool cut_off = false;          // one more had begun
  uint64_t alike = 0;            // closed cycles that are exactly like `steps`
  uint64_t closed = 0;
  std::optional<Period> period;  // from one cycle's beginning to the next one's
};

// How the attempts to mount a volume ended.
enum class AttemptsEnd {
  kNone,     // there were none
  kMounted,  // the last one succeeded, and nothing came after
  kGaveUp,   // the last one failed, well before the log ends
  kOpen,     // the last one failed, or it is within a loop, and the log ends soon after
};

struct LoopVerdict {
  std::optional<Loop> loop;
  AttemptsEnd end = AttemptsEnd::kNone;
  // Closed cycles in which a disk was blank, was mounted, and went; nobody can say whether it was
  // the same disk each time.
  uint64_t blank_each_time = 0;
  // Cycles that repeat, but are not called a loop: they ended, or are too few.
  uint64_t closed_cycles = 0;
  bool identity_known = false;  // by UUID, that it was the same file system each time
};

LoopVerdict FindLoop(const VolumeHistory& history, const LogEnd& end);

}  // namespace plugpull::incident
