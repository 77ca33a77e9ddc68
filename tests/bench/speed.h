// SPDX-License-Identifier: Apache-2.0
// How fast crash states are judged, by the classic pipeline and by the engine, and whether both say
// the same of every state that both looked at.
#pragma once

#include <nlohmann/json.hpp>

#include "framework/base/result.h"
#include "tests/bench/subject.h"

namespace plugpull::bench {

struct SpeedOptions {
  // States for the classic pipeline; 0: as many, evenly spread, as it judges in `classic_seconds`
  // of processor time, all when that is enough.
  uint64_t sample = 0;
  double classic_seconds = 10;
  uint64_t seed = 1;
};

// One row: parts "classic", "engine" (all write prefixes, each distinct image judged once) and
// "engine_all" (all write prefixes, each judged whatever others recovered to).
Result<nlohmann::json> MeasureSpeed(const Subject& subject, const SpeedOptions& options);

void PrintSpeed(const nlohmann::json& rows);

// Whether all verdicts that were compared are the same.
bool AllAgree(const nlohmann::json& rows);

}  // namespace plugpull::bench
