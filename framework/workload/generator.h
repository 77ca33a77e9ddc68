// SPDX-License-Identifier: Apache-2.0
// From a FilesWorkload and a seed to the operations that a guest carries out.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/scenario.pb.h"
#include "framework/proto/workload.pb.h"

namespace plugpull::workload {

// The same options, seed and number give the same operations, on every machine; on a healthy,
// empty file system with enough room each of them succeeds. First come the folders that files are
// spread over, and a SYNC when the workload syncs after operations; neither counts towards
// `count`, and neither do later syncs.
//
// Folders and file numbers of different workloads of a scenario (`workload` is their number, from
// 0) never meet, so that several can run on one file system.
//
// A user error when a number is out of the bounds that scenario.proto states.
Result<std::vector<Operation>> GenerateFiles(const FilesWorkload& options, uint64_t seed,
                                             uint32_t workload = 0);

}  // namespace plugpull::workload
