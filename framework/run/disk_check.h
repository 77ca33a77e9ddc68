// SPDX-License-Identifier: Apache-2.0
// Checks one disk: enumerates, judges, and puts what was found into the verdict model.
#pragma once

#include <functional>
#include <string>

#include "framework/base/result.h"
#include "framework/oracle/fsck.h"
#include "framework/proto/verdict.pb.h"
#include "framework/proto/workload.pb.h"
#include "framework/run/disk_source.h"
#include "framework/run/guest_oracles.h"
#include "framework/run/judge.h"

namespace plugpull::run {

struct DiskCheckOptions {
  uint64_t seed = 1;
  unsigned jobs = 1;
  std::function<void(uint64_t done, uint64_t total)> progress;
  GuestOracleOptions guest;  // of the oracles that need one; its seed is not looked at
  // The command that writes the image of a state.
  std::function<std::string(const std::string& id)> command_for;
};

// `trace` may be null: then content is not judged. The check's model is the source's.
Result<DiskReport> CheckDisk(const DiskSource& source, const Check& check,
                             const WorkloadTrace* trace, oracle::Fsck& fsck,
                             const DiskCheckOptions& options);

}  // namespace plugpull::run
