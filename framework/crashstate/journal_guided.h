// SPDX-License-Identifier: Apache-2.0
// Crash states that break an order which the ext4 journal relies on: the log is cut where jbd2 has
// just trusted that something is durable, and exactly that is lost, as far as the device model
// allows it. On a disk that keeps its promises most of these losses do not exist, and the healthy
// sides of the cuts are left.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/crashstate/enumerate.h"
#include "framework/crashstate/journal_timeline.h"

namespace plugpull::crashstate {

// Appends at most `budget` states to `out`, the most promising first: all kinds in turn, spread
// over the transactions by the seed. True when there is no other. `timeline` is of the space's
// history. A state loses at most 4000 writes, so that its id stays within its bounds.
bool NameJournalStates(const CrashSpace& space, const JournalTimeline& timeline, uint64_t seed,
                       uint32_t enumerator, size_t budget, std::vector<StateSpec>& out);

}  // namespace plugpull::crashstate
