// SPDX-License-Identifier: Apache-2.0
// The engine under measurement: run::Judge, one thread, structure alone. What follows its interface
// is in engine.cc and nowhere else.
#pragma once

#include <vector>

#include "framework/base/result.h"
#include "framework/run/disk_source.h"
#include "tests/bench/measure.h"

namespace plugpull::bench {

// `cuts`: numbers of events. Without deduplication every state is judged in process, whatever
// others recovered to; e2fsck looks at an image of its sample once even then. The cost is that of
// judging; reading the log is left out.
Result<Measured> RunEngine(const run::DiskSource& source, const std::vector<size_t>& cuts,
                           bool deduplicate);

}  // namespace plugpull::bench
