// SPDX-License-Identifier: Apache-2.0
// The pipeline that others use, as fast as it honestly gets: the log is replayed onto a file in
// memory, write by write; at each sampled cut the file is copied (its data only, holes are
// skipped), e2fsck replays the journal of the copy, and e2fsck -fn judges it. Shares nothing with
// the engine but the reader of the log.
#pragma once

#include <vector>

#include "framework/base/result.h"
#include "framework/run/disk_source.h"
#include "tests/bench/measure.h"

namespace plugpull::bench {

// `cuts`: numbers of events, ascending. The cost is that of copying and judging; moving the replay
// from one cut to the next is left out, since it would be spread over all cuts in between.
Result<Measured> RunClassic(const run::DiskSource& source, const std::vector<size_t>& cuts);

}  // namespace plugpull::bench
