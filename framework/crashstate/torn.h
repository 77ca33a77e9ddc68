// SPDX-License-Identifier: Apache-2.0
// Crash states with one write that arrived in part: its first units, its last ones, or all but one
// in the middle. Torn are the write in flight at a cut (forced or not), and volatile writes at the
// last cut before the flush that makes them durable.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/crashstate/enumerate.h"

namespace plugpull::crashstate {

// Appends at most `budget` states to `out`, all kinds of tears in turn, spread over the writes by
// the seed. True when there is no other. Names nothing when the model has no atomic unit.
bool NameTornStates(const CrashSpace& space, uint64_t seed, uint32_t enumerator, size_t budget,
                    std::vector<StateSpec>& out);

}  // namespace plugpull::crashstate
