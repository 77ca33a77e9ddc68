// SPDX-License-Identifier: Apache-2.0
#include "framework/run/lost_writes.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/ext4/superblock.h"

namespace plugpull::run {

using Range = ext4::FileSystem::MetadataRange;
using crashstate::BlockRole;
using crashstate::BlockWrite;

LostWriteNames::LostWriteNames(const DiskSource& source)
    : source_(source),
      timeline_(crashstate::DecodeJournal(source.history(), source.base(), source.journal())) {
  auto fs = ext4::FileSystem::Open(source.base());
  if (!fs.ok()) return;
  ranges_ = fs->MetadataRanges();
  inodes_per_group_ = fs->inodes_per_group();
  inodes_per_block_ = fs->inodes_per_block();
}

std::string LostWriteNames::SuperWords(const BlockWrite& write) const {
  const auto super =
      std::ranges::lower_bound(timeline_.supers, &write - timeline_.writes.data(), {},
                               [](const auto& s) { return static_cast<ptrdiff_t>(s.write); });
  if (super == timeline_.supers.end() || &timeline_.writes[super->write] != &write) {
    return "journal superblock";
  }
  if (super->start == 0) return "journal superblock (the journal is empty)";
  if (!super->moves_tail) {
    return fmt::format("journal superblock (the log begins at transaction {})", super->sequence);
  }
  return fmt::format("journal superblock (the tail moves from transaction {} to {})",
                     super->from_sequence, super->sequence);
}

std::string LostWriteNames::WordsOf(const BlockWrite& write) const {
  const uint32_t sequence = write.transaction == crashstate::kNoTransaction
                                ? 0
                                : timeline_.transactions[write.transaction].sequence;
  switch (write.role) {
    case BlockRole::kOther:
      return PlaceOf(write.block);
    case BlockRole::kCheckpoint:
      return fmt::format("{}, checkpoint of transaction {}", PlaceOf(write.block), sequence);
    case BlockRole::kJournalSuper:
      return SuperWords(write);
    case BlockRole::kDescriptor:
      return fmt::format("journal descriptor of transaction {}", sequence);
    case BlockRole::kDataCopy:
      return fmt::format("journal copy of block {} ({}) of transaction {}", write.home,
                         PlaceOf(write.home), sequence);
    case BlockRole::kRevoke:
      return fmt::format("journal revoke of transaction {}", sequence);
    case BlockRole::kCommit:
      return fmt::format("journal commit of transaction {}", sequence);
    case BlockRole::kJournalOther:
      return "journal block of no known transaction";
  }
  return {};
}

std::string LostWriteNames::PlaceOf(uint64_t block) const {
  const uint64_t size = source_.journal().block_bytes;
  if (block * size <= ext4::kSuperblockAt && (block + 1) * size > ext4::kSuperblockAt) {
    return "superblock";
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
  const auto writes = timeline_.WritesOf(event);
  return fmt::format("entry {}: {}{} bytes at block {}, {}", lost.entry,
                     discard ? "discard of " : "", lost.length.value, block,
                     writes.empty() ? PlaceOf(block) : WordsOf(writes.front()));
}

}  // namespace plugpull::run
