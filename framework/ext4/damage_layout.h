// SPDX-License-Identifier: Apache-2.0
// Where the parts of an ext4 lie, read from the bytes of a disk without libext2fs: just enough to
// damage them. Nothing that is read is believed beyond the disk's end, and walks are bounded.
// Layout: Documentation/filesystems/ext4/{super,group_descr,inodes,ifork,directory}.rst.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/ext4/damage.h"
#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {

using SuperblockBytes = std::array<uint8_t, kSuperblockBytes>;

// A user error when the disk is too small to have one.
Result<SuperblockBytes> ReadSuperblockBytes(DamageTarget& target);

// Bytes of the disk.
struct ByteRun {
  uint64_t offset = 0;
  uint64_t length = 0;
};

class DamageLayout {
 public:
  // `target` must outlive the result. A user error when there is no ext4 whose superblock makes
  // sense.
  static Result<DamageLayout> Read(DamageTarget& target);

  uint32_t block_bytes() const { return block_bytes_; }
  uint64_t groups() const { return groups_; }
  // The first table of group descriptors.
  ByteRun GroupDescriptors() const;
  Result<ByteRun> BlockBitmap(uint64_t group);
  Result<ByteRun> InodeBitmap(uint64_t group);
  Result<ByteRun> Inode(uint32_t inode);
  // As many zeroes as an inode has bytes, with the checksum that such an inode must have where the
  // file system has checksums.
  std::vector<uint8_t> ClearedInode(uint32_t inode) const;
  // The blocks that the inode maps, by their place in it, without holes and without the blocks of
  // its map. At most kDamageBytesMax together.
  Result<std::vector<ByteRun>> InodeBlocks(uint32_t inode);
  // The inode that an absolute path names. A user error when there is none.
  Result<uint32_t> FindPath(std::string_view path);
  // The groups other than 0 that have a copy of the superblock, ascending.
  std::vector<uint64_t> BackupGroups() const;
  ByteRun BackupSuperblock(uint64_t group) const;

 private:
  explicit DamageLayout(DamageTarget& target) : target_(&target) {}
  Status Parse(const SuperblockBytes& super);
  Result<std::vector<uint8_t>> ReadRun(const ByteRun& run);
  Result<ByteRun> Block(uint64_t block, std::string_view what) const;
  Result<uint64_t> DescriptorField(uint64_t group, size_t low_at, size_t high_at);
  Status WalkExtents(std::span<const uint8_t> node, int depth_max, std::vector<ByteRun>& runs);
  Status WalkIndirect(uint64_t block, int level, std::vector<ByteRun>& runs);
  Status AddBlocks(uint64_t first, uint64_t count, std::vector<ByteRun>& runs);
  Result<std::optional<uint32_t>> FindName(uint32_t folder, std::string_view name);

  DamageTarget* target_;
  uint32_t block_bytes_ = 0;
  uint64_t blocks_count_ = 0;
  uint64_t groups_ = 0;
  uint32_t first_data_block_ = 0;
  uint32_t blocks_per_group_ = 0;
  uint32_t inodes_per_group_ = 0;
  uint32_t inodes_count_ = 0;
  uint32_t inode_bytes_ = 0;
  uint32_t descriptor_bytes_ = 0;
  uint32_t checksum_seed_ = 0;
  uint32_t compat_ = 0;
  uint32_t incompat_ = 0;
  uint32_t ro_compat_ = 0;
  std::array<uint32_t, 2> backup_groups_{};  // with sparse_super2
  uint64_t mapped_bytes_ = 0;                // of the walk that is under way
  uint32_t nodes_left_ = 0;                  // of the walk that is under way
};

}  // namespace plugpull::ext4
