// SPDX-License-Identifier: Apache-2.0
// What becomes of the disks of a boot that ended in a power cut: for each that has a log one crash
// state is chosen, by the policy of the step, and judged.
//
// The state is a pure function of the boot's recording and its seed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/crashstate/enumerate.h"
#include "framework/proto/recording.pb.h"
#include "framework/proto/workload.pb.h"
#include "framework/recording/recording.h"
#include "framework/run/disk_source.h"
#include "framework/workload/history.h"

namespace plugpull::run {

// A workload and what of it had been acknowledged before a cut.
struct TracedPromise {
  uint32_t boot = 0;
  WorkloadTrace trace;
  workload::ObligationKey key;
};

struct CutDisk {
  std::unique_ptr<DiskSource> source;
  crashstate::StateSpec spec;
  bool holds = false;  // its structure, recovered
  // Of this boot and those before it: those that the recovered state keeps.
  std::vector<TracedPromise> promises;
  std::vector<std::string> not_kept;  // the others, in words
};

struct PowerCutChoice {
  RecordedPowerCut recorded;
  std::map<std::string, CutDisk> disks;  // empty: nothing shows what was searched for
};

struct PowerCutOptions {
  unsigned jobs = 1;
  // States of a search.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// Of a recording whose boot a power_cut ended. A user error when a given state is none of it.
Result<PowerCutChoice> ChoosePowerCut(const recording::Reader& boot,
                                      const PowerCutOptions& options);

// How the check of a disk is made where the scenario has none: a volatile cache, FSCK and CONTENT.
Check FirstCheckOf(const Scenario& scenario, const std::string& disk);

}  // namespace plugpull::run
