// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "framework/base/check.h"
#include "framework/ext4/file_system.h"
#include "framework/ext4/superblock.h"
#include "tests/fuzz/hostile_image.h"
#include "tests/fuzz/targets.h"

namespace plugpull::fuzz {
namespace {

// Masked bytes lie in the superblock and never on s_state, s_error_* or the orphan list.
void CheckRanges(const std::vector<ext4::ByteRange>& ranges) {
  for (const ext4::ByteRange& range : ranges) {
    PP_CHECK(range.start < range.end && range.start >= ext4::kSuperblockAt);
    PP_CHECK(range.end <= ext4::kSuperblockAt + ext4::kSuperblockBytes);
    for (const uint64_t kept : {0x3aU, 0x60U, 0xe8U, 0x194U}) {
      PP_CHECK(range.end <= ext4::kSuperblockAt + kept || range.start > ext4::kSuperblockAt + kept);
    }
  }
}

void ReadFiles(std::span<const uint8_t> image) {
  auto fs = ext4::FileSystem::Open(image);
  if (!fs.ok()) return;
  uint8_t bytes[4096];
  for (const char* path : {"", "d0", "d0/small", "large", "link"}) {
    const auto node = fs->Lookup(path);
    if (!node.ok() || !node->has_value() || !(*node)->regular) continue;
    for (const uint64_t at : {uint64_t{0}, uint64_t{70000}, (*node)->size_bytes}) {
      (void)fs->DataBlock((*node)->inode, at / sizeof bytes);
      (void)fs->Read((*node)->inode, at, bytes);
    }
  }
}

}  // namespace

void FuzzSuperblock(Input input) {
  const HostileImage image(input, Target::kOutsideJournal);
  const auto super = ext4::ParseSuperblock(image.bytes());
  if (super.ok()) {
    PP_CHECK(super->block_bytes >= 1024 && super->block_bytes <= 65536);
    CheckRanges(ext4::CounterRanges(*super));
  }
  const auto journal = ext4::FindJournal(image.bytes());
  if (journal.ok()) {
    const uint64_t limit = image.bytes().size() / journal->block_bytes;
    for (const uint64_t block : journal->blocks) PP_CHECK(block < limit);
    (void)ext4::ReadJournalSuper(image.bytes(), *journal);
  }
  ReadFiles(image.bytes());
}

}  // namespace plugpull::fuzz
