// SPDX-License-Identifier: Apache-2.0
// What the stages of the engine cost, each by itself: run::StateEngine, state after state, without
// e2fsck (where the check in process does not condemn).
#pragma once

#include <cstdint>
#include <vector>

#include "framework/base/result.h"
#include "framework/run/disk_source.h"

namespace plugpull::bench {

// Processor time. Moving: to the state, recovering it, its fingerprint, and looking that up among
// those that were judged before. Set-up: what is done once, with the first state.
struct Stages {
  uint64_t states = 0;
  uint64_t distinct = 0;  // images that differ after recovery: each is judged once
  double set_up_seconds = 0;
  double move_seconds = 0;  // of all states but the first
  double check_set_up_seconds = 0;
  double check_seconds = 0;  // judging in process, of all distinct images but the first
};

// `cuts`: numbers of events, in any order.
Result<Stages> MeasureStages(const run::DiskSource& source, const std::vector<size_t>& cuts);

}  // namespace plugpull::bench
