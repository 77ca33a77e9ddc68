// SPDX-License-Identifier: Apache-2.0
// Nested cuts: the recovery of crash states is recorded, and the recording checked like any other,
// with the SAME_RECOVERY oracle. What that finds goes into the report of the check that asked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/crashstate/enumerate.h"
#include "framework/oracle/fsck.h"
#include "framework/proto/recording.pb.h"
#include "framework/proto/verdict.pb.h"
#include "framework/run/check.h"
#include "framework/run/disk_source.h"
#include "framework/run/judge.h"

namespace plugpull::run {

struct NestedOptions {
  std::string recording;                // folder of what is cut; the recoveries lie beside it
  const Recording* manifest = nullptr;  // its own; outlives the call
  uint64_t seed = 1;
  CheckOptions check;  // how the recorded recoveries are checked
  std::function<Result<GuestImage>()> kernel_image;
};

// How much recovery has to do in a state.
struct RecoveryWork {
  size_t state = 0;  // index
  uint32_t blocks = 0;
  uint32_t orphans = 0;
};

// The states whose recovery is recorded, ascending: at most `wanted` of those that hold and have
// something to recover. Drawn with the seed, those with the most to do first: as many with orphans
// and a replay as there are, but for every other one, which goes to a long replay.
std::vector<RecoveryWork> ChooseForNestedCuts(const DiskSource& source,
                                              const std::vector<crashstate::StateSpec>& states,
                                              const std::vector<StateVerdict>& verdicts,
                                              size_t wanted, uint64_t seed);

// Records, checks and reports. `verdicts`: one for each state, of `check`, which has `nested`. What
// could not be recorded or checked is an unknown finding. Must be called from a thread that lives
// until it returns.
void RunNestedCuts(const DiskSource& source, const Check& check, oracle::Fsck& fsck,
                   const NestedOptions& options, const std::vector<crashstate::StateSpec>& states,
                   const std::vector<StateVerdict>& verdicts, DiskReport& report);

}  // namespace plugpull::run
