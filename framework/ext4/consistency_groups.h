// SPDX-License-Identifier: Apache-2.0
// Of the consistency check: block groups. Which blocks are claimed and which inodes are used is
// kept as bits, as the bitmaps on the disk have them, so that a group is compared with memcmp, and
// only when something in it changed. Rules: e2fsck/pass5.c, lib/ext2fs/rw_bitmaps.c.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "framework/ext4/consistency_layout.h"
#include "framework/ext4/consistency_map.h"

namespace plugpull::ext4 {

class GroupBooks {
 public:
  // Forgets everything. Descriptors are given by SetDescriptor before anything else is called.
  void Reset(const Geometry& geometry);

  const GroupDescriptor& descriptor(uint32_t group) const { return groups_[group].descriptor; }
  void SetDescriptor(uint32_t group, const GroupDescriptor& descriptor);

  // Claims superblocks, descriptors, bitmaps and inode tables. Not fine when they are outside the
  // file system or meet.
  Judgement ClaimTables();

  void Claim(const BlockRange& range) { Change(range, true); }
  void Release(const BlockRange& range) { Change(range, false); }
  void SetInode(uint32_t inode, bool used, bool directory);
  void MarkDirty(uint32_t group);

  // Compares what changed since the last call. True when all groups are as they should be.
  bool Evaluate(BlockView& view);
  // The first thing that is wrong.
  Judgement FirstProblem() const;

 private:
  struct Group {
    GroupDescriptor descriptor;
    std::vector<uint64_t> blocks;  // bits: claimed, and those behind the end of the file system
    std::vector<uint64_t> inodes;  // bits: used
    uint32_t claimed = 0;
    uint32_t own_tables = 0;    // blocks of it that are its own tables
    uint32_t other_tables = 0;  // and those of other groups'
    uint32_t inodes_used = 0;
    uint32_t directories = 0;
    bool dirty = false;
  };
  void Change(const BlockRange& range, bool claim);
  void ChangeInGroup(uint32_t group, uint32_t first, uint32_t count, bool claim);
  void ChangeBit(Group& group, uint64_t block, uint32_t bit, bool claim);
  Judgement ClaimTable(uint32_t owner, const BlockRange& range);
  Judgement Judge(uint32_t group, BlockView& view) const;
  Judgement JudgeBlocks(uint32_t group, BlockView& view) const;
  Judgement JudgeInodes(uint32_t group, BlockView& view) const;

  Geometry g_;
  std::vector<Group> groups_;
  std::vector<uint32_t> dirty_;
  std::unordered_map<uint64_t, uint32_t> claimed_again_;  // blocks, and how often beyond once
  std::map<uint32_t, Judgement> wrong_;
};

}  // namespace plugpull::ext4
