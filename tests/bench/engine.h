// SPDX-License-Identifier: Apache-2.0
// The engine under measurement: run::Judge, one thread, structure alone. What follows its interface
// is in engine.cc and nowhere else.
#pragma once

#include <optional>
#include <vector>

#include "framework/base/result.h"
#include "framework/run/disk_source.h"
#include "tests/bench/measure.h"

namespace plugpull::bench {

// `cuts`: numbers of events. Nothing when the engine cannot do without deduplication and is asked
// to. The cost is that of judging; reading the log is left out.
Result<std::optional<Measured>> RunEngine(const run::DiskSource& source,
                                          const std::vector<size_t>& cuts, bool deduplicate);

}  // namespace plugpull::bench
