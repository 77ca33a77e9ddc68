// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/same_recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "framework/ext4/file_system.h"
#include "framework/oracle/recovered_tree.h"
#include "framework/os/file.h"
#include "framework/tree/tree.h"

namespace plugpull::oracle {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint32_t kIncompatMmp = 0x100;  // EXT4_FEATURE_INCOMPAT_MMP in fs/ext4/ext4.h
// In the journal superblock (journal_superblock_s in include/linux/jbd2.h).
constexpr uint64_t kSequenceAt = 0x18;
constexpr uint64_t kHeadAt = 0x58;
constexpr uint64_t kChecksumAt = 0xfc;

std::vector<ext4::ByteRange> MaskedRanges(std::span<const uint8_t> image,
                                          const ext4::JournalLayout& journal) {
  std::vector<ext4::ByteRange> ranges;
  const auto super = ext4::ParseSuperblock(image);
  if (super.ok()) ranges = ext4::CounterRanges(*super);
  const auto log = ext4::ReadJournalSuper(image, journal);
  if (log.ok()) {
    const uint64_t at = journal.blocks[0] * journal.block_bytes;
    for (const uint64_t field : {kSequenceAt, kHeadAt, kChecksumAt}) {
      ranges.push_back({at + field, at + field + 4});
    }
    for (size_t i = 1; i < journal.blocks.size() && log->start == 0; ++i) {
      const uint64_t block_at = journal.blocks[i] * journal.block_bytes;
      ranges.push_back({block_at, block_at + journal.block_bytes});
    }
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.start < b.start; });
  return ranges;
}

Result<FileTree> TreeOf(std::span<const uint8_t> image) {
  PP_ASSIGN_OR_RETURN(auto fs, ext4::FileSystem::Open(image));
  RecoveredTree reader(std::move(fs));
  return tree::ReadTree(reader);
}

bool WritesBlockAlone(const blocklog::Event& event, Bytes start, Bytes end) {
  return event.offset >= start && event.offset + event.length <= end;
}

}  // namespace

size_t LastCutOfReplay(const blocklog::History& history, const ext4::JournalLayout& journal) {
  if (journal.blocks.empty()) return 0;
  const Bytes start(journal.blocks[0] * journal.block_bytes);
  const Bytes end = start + Bytes(journal.block_bytes);
  bool written = false;
  for (size_t i = history.base; i < history.events.size(); ++i) {
    const blocklog::Event& event = history.events[i];
    if (!event.ChangesBlocks()) continue;
    const bool alone = WritesBlockAlone(event, start, end);
    // A cut stands before its event.
    if (written && !alone) return i;
    written |= alone || (event.offset < end && event.offset + event.length > start);
  }
  return written ? history.events.size() : 0;
}

Result<SameRecovery> SameRecovery::Make(const WorkImage& uninterrupted,
                                        const ext4::JournalLayout& journal,
                                        const blocklog::History& history, Who who) {
  SameRecovery same;
  const std::span<const uint8_t> from = uninterrupted.bytes();
  const Bytes size(from.size());
  PP_ASSIGN_OR_RETURN(same.fd_, os::MakeMemFile("plugpull-uninterrupted", size));
  PP_ASSIGN_OR_RETURN(same.image_,
                      os::Mapping::Map(same.fd_.get(), size, os::Mapping::Mode::kReadWriteShared));
  PP_ASSIGN_OR_RETURN(same.extents_, os::DataExtents(uninterrupted.fd(), size));
  for (const os::Extent& extent : same.extents_) {
    std::memcpy(same.image_.mutable_bytes().data() + extent.start.value,
                from.data() + extent.start.value, extent.end.value - extent.start.value);
  }
  PP_ASSIGN_OR_RETURN(const auto super, ext4::ParseSuperblock(from));
  same.block_bytes_ = super.block_bytes;
  same.masked_ = MaskedRanges(from, journal);
  PP_ASSIGN_OR_RETURN(same.tree_, TreeOf(from));
  // Whoever opens a file system with mmp writes the time and a number by chance into its block,
  // before all else (ext4_multi_mount_protect in fs/ext4/mmp.c, ext2fs_mmp_start). Fast commits are
  // replayed as changes to inodes, not as blocks (ext4_fc_replay in fs/ext4/fast_commit.c).
  const bool by_blocks_alone = (super.feature_incompat & kIncompatMmp) == 0 &&
                               (super.feature_compat & ext4::kCompatFastCommit) == 0;
  if (by_blocks_alone) {
    same.images_until_ = who == Who::kE2fsck ? std::numeric_limits<size_t>::max()
                                             : LastCutOfReplay(history, journal);
  }
  return same;
}

bool SameRecovery::Masked(uint64_t offset) const {
  auto it = std::upper_bound(masked_.begin(), masked_.end(), offset,
                             [](uint64_t at, const auto& range) { return at < range.start; });
  return it != masked_.begin() && offset < std::prev(it)->end;
}

SameRecoveryVerdict SameRecovery::CompareImage(const WorkImage& recovered) const {
  const auto now = recovered.bytes();
  const auto once = image_.bytes();
  auto extents = os::DataExtents(recovered.fd(), Bytes(now.size()));
  if (!extents.ok()) return {Outcome::kUnknown, extents.error().ToString()};
  extents->insert(extents->end(), extents_.begin(), extents_.end());
  std::vector<uint64_t> blocks;  // that differ
  uint64_t first = std::numeric_limits<uint64_t>::max();
  for (const os::Extent& extent : *extents) {
    for (uint64_t at = extent.start.value / kPage * kPage; at < extent.end.value; at += kPage) {
      const uint64_t n = std::min<uint64_t>(kPage, now.size() - at);
      if (std::memcmp(now.data() + at, once.data() + at, n) == 0) continue;
      for (uint64_t i = at; i < at + n; ++i) {
        if (now[i] == once[i] || Masked(i)) continue;
        first = std::min(first, i);
        const uint64_t block = i / block_bytes_;
        if (blocks.empty() || blocks.back() != block) blocks.push_back(block);
      }
    }
  }
  if (blocks.empty()) return {Outcome::kHolds, {}};
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  std::string words;
  constexpr size_t kNamedMax = 8;
  for (size_t i = 0; i < std::min(blocks.size(), kNamedMax); ++i) {
    words += fmt::format("{}{}", i == 0 ? "" : ", ", blocks[i]);
  }
  return {Outcome::kViolated,
          fmt::format("cut and recovered again, {} block{} as after one recovery that is "
                      "not cut: {}{}; first at byte {}: 0x{:02x}, not 0x{:02x}",
                      blocks.size(), blocks.size() == 1 ? " is not" : "s are not", words,
                      blocks.size() > kNamedMax ? " ..." : "", first, now[first], once[first])};
}

SameRecoveryVerdict SameRecovery::CompareTree(const WorkImage& recovered) const {
  const auto tree = TreeOf(recovered.bytes());
  if (!tree.ok()) {
    return {Outcome::kViolated,
            "cut and recovered again, it cannot be opened: " + tree.error().message};
  }
  const auto difference = tree::FirstDifference(tree_, "one recovery", *tree, "the cut one");
  if (!difference) return {Outcome::kHolds, {}};
  return {Outcome::kViolated,
          "cut and recovered again, the files are not those of one recovery that is not cut: " +
              *difference};
}

}  // namespace plugpull::oracle
