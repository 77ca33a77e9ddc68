// SPDX-License-Identifier: Apache-2.0
// From a GuaranteesWorkload and a seed to the operations that a guest carries out.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/scenario.pb.h"
#include "framework/proto/workload.pb.h"

namespace plugpull::workload {

// The same options, seed and number give the same operations, on every machine; on a healthy,
// empty file system with enough room each of them succeeds. Folders and file numbers of different
// workloads of a scenario never meet.
//
// A user error when a number is out of the bounds that scenario.proto states.
Result<std::vector<Operation>> GenerateGuarantees(const GuaranteesWorkload& options, uint64_t seed,
                                                  uint32_t workload = 0);

}  // namespace plugpull::workload
