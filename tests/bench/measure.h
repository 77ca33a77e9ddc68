// SPDX-License-Identifier: Apache-2.0
// What both ways of judging say of a state, and what they cost.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plugpull::bench {

// One letter for each state, so that they travel between processes as text.
enum class Verdict : char { kHolds = 'h', kInconsistent = 'i', kRefused = 'r', kUnknown = '?' };

struct Measured {
  std::string verdicts;  // a Verdict for each state, in order
  double wall_seconds = 0;
  double cpu_seconds = 0;         // of this process and of those that it started
  double e2fsck_cpu_seconds = 0;  // of those that it started
  uint64_t distinct = 0;          // images that differ after recovery; 0: not counted
  uint64_t processes = 0;         // e2fsck runs
};

// Wall time and processor time of this process and its ended children since it was made.
class Stopwatch {
 public:
  Stopwatch();
  // Adds what has passed since it was made, or since the last call, to `measured`.
  void AddTo(Measured& measured);

 private:
  double wall_;
  double own_;
  double of_children_;
};

// Processor time of the calling thread since it began.
double ThreadCpuSeconds();

// The largest resident size of this process, in KiB (VmHWM); 0 when /proc does not say.
uint64_t PeakMemoryKib();

}  // namespace plugpull::bench
