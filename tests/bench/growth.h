// SPDX-License-Identifier: Apache-2.0
// How the engine's cost of a state grows with the length of the log and the size of the disk: the
// cost of moving to the state, recovering it and fingerprinting it, and apart from that the cost of
// judging in process.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::bench {

struct GrowthOptions {
  std::vector<uint64_t> writes;     // of the logs on the smallest disk
  std::vector<uint64_t> disks_mib;  // with logs of `disks_writes`, which is one of `writes`
  uint64_t disks_writes = 0;
  std::vector<uint32_t> blocks_bytes;
  unsigned repeats = 5;
  uint64_t seed = 1;
  std::string scratch;
};

// All logs are measured in one process, in turns, `repeats` times, each pass with cold caches; a
// figure is the median. Growth is against the first row of a series. Peak memory is that of a
// process of its own.
Result<nlohmann::json> MeasureGrowth(const GrowthOptions& options);

void PrintGrowth(const nlohmann::json& series);

// The largest growth of the cost of moving, recovering and fingerprinting, set-up left out.
double LargestGrowth(const nlohmann::json& series);

}  // namespace plugpull::bench
