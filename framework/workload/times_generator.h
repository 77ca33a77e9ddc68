// SPDX-License-Identifier: Apache-2.0
// From a TimestampsWorkload to the operations that a guest carries out, so that each question of
// times_questions.h is put once a round.
//
// Two habits of ext4 are kept out, for either would answer a question in place of what it is about:
// - An inode that is written takes the lazy times of its neighbours in the same block of the inode
//   table along (ext4_update_other_inodes_time in fs/ext4/inode.c). So files that nobody touches
//   again are made between those that questions are about: with at least kInodeBytes to an inode
//   and at most kInodeBytes * kInodesApart to a block, no two of the latter share one.
// - An inode that was read from the disk writes its first new mtime at once, also under lazytime
//   (its i_version counts as looked at: ext4_inode_set_iversion_queried in fs/ext4/inode.c). So
//   each round makes its files anew, and changes them while they are in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/scenario.pb.h"
#include "framework/proto/workload.pb.h"

namespace plugpull::workload {

inline constexpr uint32_t kInodeBytes = 256;
inline constexpr uint32_t kInodesApart = 4;  // of a file system with blocks of 1 KiB

// The same options and number give the same operations; on a healthy, empty file system with
// enough room each of them succeeds. Folders and file numbers of different workloads of a scenario
// never meet.
//
// A user error when a number is out of the bounds that scenario.proto states.
Result<std::vector<Operation>> GenerateTimestamps(const TimestampsWorkload& options,
                                                  uint32_t workload = 0);

}  // namespace plugpull::workload
