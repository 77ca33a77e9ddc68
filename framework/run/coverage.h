// SPDX-License-Identifier: Apache-2.0
// What a history held for a power cut to hit: a verdict of "holds" says as much as this.
#pragma once

#include <span>

#include "framework/blocklog/history.h"
#include "framework/ext4/journal.h"
#include "framework/proto/verdict.pb.h"

namespace plugpull::run {

// `base`: the disk at history.base. Counts from there on; the journal is decoded as far as it is
// jbd2 (zeroes elsewhere).
CoverageReport MeasureCoverage(const blocklog::History& history, std::span<const uint8_t> base,
                               const ext4::JournalLayout& journal);

}  // namespace plugpull::run
