// SPDX-License-Identifier: Apache-2.0
// What a history held for a power cut to hit: a verdict of "holds" says as much as this.
#pragma once

#include "framework/blocklog/history.h"
#include "framework/crashstate/journal_timeline.h"
#include "framework/proto/verdict.pb.h"

namespace plugpull::run {

// Counts from history.base on; of the journal what `timeline`, of the same history, has.
CoverageReport MeasureCoverage(const blocklog::History& history,
                               const crashstate::JournalTimeline& timeline);

}  // namespace plugpull::run
