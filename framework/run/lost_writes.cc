// SPDX-License-Identifier: Apache-2.0
#include "framework/run/lost_writes.h"

#include <fmt/format.h>

#include "framework/ext4/superblock.h"

namespace plugpull::run {

using Range = ext4::FileSystem::MetadataRange;

LostWriteNames::LostWriteNames(const DiskSource& source) : source_(source) {
  const auto& blocks = source.journal().blocks;
  for (size_t i = 0; i < blocks.size(); ++i) journal_place_[blocks[i]] = i;
  auto fs = ext4::FileSystem::Open(source.base());
  if (!fs.ok()) return;
  ranges_ = fs->MetadataRanges();
  inodes_per_group_ = fs->inodes_per_group();
  inodes_per_block_ = fs->inodes_per_block();
}

std::string LostWriteNames::RoleOf(uint64_t block, std::span<const uint8_t> bytes) const {
  const uint64_t size = source_.journal().block_bytes;
  if (block * size <= ext4::kSuperblockAt && (block + 1) * size > ext4::kSuperblockAt) {
    return "superblock";
  }
  if (const auto place = journal_place_.find(block); place != journal_place_.end()) {
    const auto header = ext4::ParseJournalHeader(bytes);
    switch (header.type) {
      case ext4::JournalBlockType::kSuper:
        return "journal superblock";
      case ext4::JournalBlockType::kDescriptor:
        return fmt::format("journal descriptor of transaction {}", header.sequence);
      case ext4::JournalBlockType::kCommit:
        return fmt::format("journal commit of transaction {}", header.sequence);
      case ext4::JournalBlockType::kRevoke:
        return fmt::format("journal revoke of transaction {}", header.sequence);
      case ext4::JournalBlockType::kNone:
        return fmt::format("journal block {} (metadata on its way)", place->second);
    }
  }
  for (const Range& range : ranges_) {
    if (block < range.first_block || block >= range.first_block + range.blocks) continue;
    switch (range.kind) {
      case Range::Kind::kGroupDescriptors:
        return "group descriptors";
      case Range::Kind::kBlockBitmap:
        return fmt::format("block bitmap of group {}", range.group);
      case Range::Kind::kInodeBitmap:
        return fmt::format("inode bitmap of group {}", range.group);
      case Range::Kind::kInodeTable: {
        const uint64_t first = range.group * static_cast<uint64_t>(inodes_per_group_) +
                               (block - range.first_block) * inodes_per_block_ + 1;
        return fmt::format("inode table of group {} (inodes {}-{})", range.group, first,
                           first + inodes_per_block_ - 1);
      }
    }
  }
  return "file or folder block";
}

std::string LostWriteNames::Describe(size_t event) const {
  const auto& lost = source_.history().events[event];
  const bool discard = lost.kind == blocklog::Event::Kind::kDiscard;
  const uint64_t size = source_.journal().block_bytes;
  if (size == 0) {
    return fmt::format("entry {}: {} bytes at byte {}", lost.entry, lost.length.value,
                       lost.offset.value);
  }
  const uint64_t block = lost.offset.value / size;
  return fmt::format("entry {}: {}{} bytes at block {}, {}", lost.entry,
                     discard ? "discard of " : "", lost.length.value, block,
                     RoleOf(block, lost.data.subspan(0, std::min<size_t>(lost.data.size(), size))));
}

}  // namespace plugpull::run
