// SPDX-License-Identifier: Apache-2.0
// Which crash states are looked at: seeded, budgeted, and saying what was covered. The list is a
// pure function of the history, the model, the enumerators, the budget and the seed.
#pragma once

#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/crashstate/crash_space.h"
#include "framework/crashstate/journal_timeline.h"
#include "framework/proto/scenario.pb.h"

namespace plugpull::crashstate {

struct StateSpec {
  size_t cut = 0;  // event position in the space
  Selection selection;
  bool overlapping_older = false;
  uint32_t enumerator = 0;  // index of the one that named it
};

struct EnumeratorCoverage {
  std::string name;        // "lose_subset"
  bool exhaustive = true;  // every state that it can name is in the list
};

struct Enumeration {
  // In the order of the enumerators; within one, cuts ascend, but those of journal_guided and torn
  // come in the order of what they promise.
  std::vector<StateSpec> states;
  std::vector<EnumeratorCoverage> enumerators;
  uint64_t order_unknown = 0;  // states that were added a second time with the other order
};

// `check.enumerate` may not be empty; at most check.max_states states (twins for unknown order
// come on top). `timeline`: of the space's history, for journal_guided; that names nothing without
// one.
Enumeration EnumerateStates(const CrashSpace& space, const Check& check, uint64_t seed,
                            const JournalTimeline* timeline = nullptr);

// The printable id of a state.
CrashStateId IdOf(const CrashSpace& space, const StateSpec& spec);

}  // namespace plugpull::crashstate
