// SPDX-License-Identifier: Apache-2.0
// Lost writes in words: where each would have landed on the file system, as far as its layout
// alone tells.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "framework/ext4/file_system.h"
#include "framework/run/disk_source.h"

namespace plugpull::run {

class LostWriteNames {
 public:
  explicit LostWriteNames(const DiskSource& source);  // which outlives it

  // "entry 1031: 1024 bytes at block 4711, inode table of group 0 (inodes 9-16)".
  std::string Describe(size_t event) const;

 private:
  std::string RoleOf(uint64_t block, std::span<const uint8_t> bytes) const;

  const DiskSource& source_;
  std::vector<ext4::FileSystem::MetadataRange> ranges_;
  std::unordered_map<uint64_t, size_t> journal_place_;
  uint32_t inodes_per_group_ = 0;
  uint32_t inodes_per_block_ = 0;
};

}  // namespace plugpull::run
