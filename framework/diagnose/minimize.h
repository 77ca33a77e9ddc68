// SPDX-License-Identifier: Apache-2.0
// Delta debugging over the lost writes and torn units of a crash state: ddmin of A. Zeller and R.
// Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (IEEE TSE 28(2), 2002), and the
// cut moved earlier where that keeps the failure. Pure: who judges a state is the caller's
// business.
//
// Deterministic: states are judged in batches of one fixed size, in one order, and the first that
// fails is taken, so neither the number of threads nor their timing changes anything.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::diagnose {

// A write that arrived in part.
struct TornUnits {
  size_t event = 0;
  std::vector<uint64_t> missing;  // atomic units that did not arrive, ascending; never none or all
  auto operator<=>(const TornUnits&) const = default;
};

// A cut and what was lost there; events are positions in a history.
struct CutAndLost {
  size_t cut = 0;
  std::vector<size_t> lost;          // ascending, all before the cut
  std::vector<TornUnits> torn = {};  // by event, ascending; none of them lost, all before the cut
  auto operator<=>(const CutAndLost&) const = default;

  size_t torn_units() const;
};

// For each state, whether it fails in the way that is looked for. A state that could not be judged
// does not. An error ends the search.
using FailureTest = std::function<Result<std::vector<bool>>(const std::vector<CutAndLost>& states)>;

struct MinimizeOptions {
  size_t first_cut = 0;        // no cut before it
  uint64_t states_max = 2000;  // judged at most
  uint64_t states_judged = 0;  // of these, by the caller already
};

struct MinimizeResult {
  CutAndLost state;            // the smallest that was found
  uint64_t states_judged = 0;  // each distinct state once; with those of the options
  // No single lost write and no single torn unit can be given back at this cut: each was tried.
  // False when the budget ended before that was known.
  bool one_minimal = false;
  // The same with the cut one event earlier does not fail.
  bool cut_minimal = false;
};

// How many states one call of a FailureTest is asked for at most.
inline constexpr size_t kMinimizeBatch = 8;

// `start` is known to fail. Loses nothing when the failure needs no lost write.
Result<MinimizeResult> Minimize(const CutAndLost& start, const MinimizeOptions& options,
                                const FailureTest& fails);

}  // namespace plugpull::diagnose
