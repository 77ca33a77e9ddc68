// SPDX-License-Identifier: Apache-2.0
// Lost writes in words: where each would have landed on the file system, and what it was for, as
// far as the layout and the journal tell.
#pragma once

#include <string>
#include <vector>

#include "framework/crashstate/journal_timeline.h"
#include "framework/ext4/file_system.h"
#include "framework/run/disk_source.h"

namespace plugpull::run {

class LostWriteNames {
 public:
  explicit LostWriteNames(const DiskSource& source);  // which outlives it

  // "entry 1031: 1024 bytes at block 4711, inode table of group 0 (inodes 9-16)". Of a write of
  // several blocks, the first is named.
  std::string Describe(size_t event) const;

 private:
  std::string WordsOf(const crashstate::BlockWrite& write) const;
  std::string SuperWords(const crashstate::BlockWrite& write) const;
  // What the layout says of a block outside the journal.
  std::string PlaceOf(uint64_t block) const;

  const DiskSource& source_;
  crashstate::JournalTimeline timeline_;
  std::vector<ext4::FileSystem::MetadataRange> ranges_;
  uint32_t inodes_per_group_ = 0;
  uint32_t inodes_per_block_ = 0;
};

}  // namespace plugpull::run
