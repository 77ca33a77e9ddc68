// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/consistency_layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/base/check.h"

namespace plugpull::ext4 {
namespace {

// What is handled; anything else is left to e2fsck.
constexpr uint32_t kCompat = 0x1 | 0x4 | 0x8 | 0x10 | 0x20 | 0x200 | 0x1000;
constexpr uint32_t kIncompat = 0x2 | 0x40 | 0x80 | 0x200 | 0x2000;
constexpr uint32_t kRoCompat = 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x40 | 0x400;
constexpr uint32_t kIncompatChecksumSeed = 0x2000;
constexpr uint32_t kCompatSparseSuper2 = 0x200;
constexpr uint32_t kRoCompatSparseSuper = 0x1;
constexpr uint32_t kFlagUnsignedHash = 0x2;
// Superblock times are compared with this by e2fsck as it is run here (E2FSCK_TIME).
constexpr uint32_t kNow = 4000000000U;

uint16_t Crc16(uint16_t crc, const uint8_t* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    crc = static_cast<uint16_t>(crc ^ bytes[i]);
    for (int bit = 0; bit < 8; ++bit) {
      crc = static_cast<uint16_t>((crc >> 1) ^ ((crc & 1) != 0 ? 0xa001 : 0));
    }
  }
  return crc;
}

bool IsPowerOf(uint32_t number, uint32_t base) {
  while (number % base == 0) number /= base;
  return number == 1;
}

Judgement JudgeFeatures(const Geometry& g, const uint8_t* s) {
  if ((g.feature_incompat & kIncompatNeedsRecovery) != 0) {
    return Problem("superblock: the journal needs recovery");
  }
  if ((g.feature_ro_compat & kRoCompatOrphanPresent) != 0) {
    return Problem("superblock: the orphan file holds orphans");
  }
  if ((g.feature_compat & ~kCompat) != 0 || (g.feature_incompat & ~kIncompat) != 0 ||
      (g.feature_ro_compat & ~kRoCompat) != 0) {
    return Unjudged(fmt::format("superblock: features {:#x}, {:#x}, {:#x} are not all handled",
                                g.feature_compat, g.feature_incompat, g.feature_ro_compat));
  }
  if (g.metadata_checksums() && (g.feature_ro_compat & 0x10) != 0) {
    return Problem("superblock: both kinds of group checksums are on");
  }
  if (!g.metadata_checksums() && (g.feature_incompat & kIncompatChecksumSeed) != 0) {
    return Problem("superblock: a checksum seed without metadata checksums");
  }
  if (g.has_64bit() && !g.extents()) return Problem("superblock: 64bit without extents");
  if (g.metadata_checksums() && s[0x175] != 1) {
    return Unjudged(fmt::format("superblock: checksum type {}", s[0x175]));
  }
  if (g.has_orphan_file() != (g.orphan_file != 0) || (g.has_orphan_file() && !g.journal())) {
    return Unjudged(fmt::format("superblock: orphan file inode {}", g.orphan_file));
  }
  return Fine();
}

Judgement JudgeGeometry(const Geometry& g, const uint8_t* s, uint64_t image_bytes) {
  if (g.first_block != (g.block_bytes == 1024 ? 1U : 0U)) {
    return Problem(fmt::format("superblock: first data block {}", g.first_block));
  }
  if (g.blocks <= g.first_block || g.blocks > image_bytes / g.block_bytes) {
    return Problem(fmt::format("superblock: {} blocks, the image has {}", g.blocks,
                               image_bytes / g.block_bytes));
  }
  if (LoadAt<uint32_t>(s, 0x1c) != LoadAt<uint32_t>(s, 0x18) ||
      LoadAt<uint32_t>(s, 0x24) != g.blocks_per_group) {
    return Problem("superblock: clusters differ from blocks");
  }
  if (g.blocks_per_group < 256 || g.blocks_per_group > 8 * g.block_bytes ||
      g.blocks_per_group % 8 != 0) {
    return Unjudged(fmt::format("superblock: {} blocks per group", g.blocks_per_group));
  }
  if (g.inode_bytes != 128 && g.inode_bytes != 256) {
    return Unjudged(fmt::format("superblock: inodes of {} bytes", g.inode_bytes));
  }
  const uint32_t per_block = g.inodes_per_block();
  if (g.inodes_per_group == 0 || g.inodes_per_group % per_block != 0 ||
      g.inodes_per_group % 8 != 0 || g.inodes_per_group > 8 * g.block_bytes ||
      g.inodes_per_group > per_block * (g.blocks_per_group - 4)) {
    return Unjudged(fmt::format("superblock: {} inodes per group", g.inodes_per_group));
  }
  const uint64_t groups = (g.blocks - g.first_block + g.blocks_per_group - 1) / g.blocks_per_group;
  if (groups * g.inodes_per_group != g.inodes || g.inodes < kFirstInode ||
      g.inodes_per_group < kFirstInode) {
    return Problem(fmt::format("superblock: {} inodes for {} groups of {}", g.inodes, groups,
                               g.inodes_per_group));
  }
  const uint16_t descriptor_bytes = LoadAt<uint16_t>(s, 0xfe);
  if (g.has_64bit() ? descriptor_bytes != 64
                    : descriptor_bytes != 0 && descriptor_bytes != 32 && descriptor_bytes != 64) {
    return Unjudged(fmt::format("superblock: group descriptors of {} bytes", descriptor_bytes));
  }
  const uint32_t reserved = g.reserved_descriptor_blocks;
  if (reserved > g.block_bytes / 4 || (reserved != 0 && !g.resize_inode())) {
    return Problem(fmt::format("superblock: {} reserved descriptor blocks", reserved));
  }
  return Fine();
}

Judgement JudgeDetails(const Geometry& g, const uint8_t* s) {
  if (const uint16_t state = LoadAt<uint16_t>(s, 0x3a); (state & ~kStateValid) != 0) {
    return Problem(fmt::format("superblock: state {:#x}", state));
  }
  if (const uint32_t orphan = LoadAt<uint32_t>(s, 0xe8); orphan != 0) {
    return Problem(fmt::format("superblock: orphan list begins at inode {}", orphan));
  }
  if (const uint32_t errors = LoadAt<uint32_t>(s, 0x194); errors != 0) {
    return Problem(fmt::format("superblock: {} errors are noted", errors));
  }
  uint64_t reserved = LoadAt<uint32_t>(s, 0x8);
  uint64_t free = LoadAt<uint32_t>(s, 0xc);
  if (g.has_64bit()) {
    reserved |= static_cast<uint64_t>(LoadAt<uint32_t>(s, 0x154)) << 32;
    free |= static_cast<uint64_t>(LoadAt<uint32_t>(s, 0x158)) << 32;
  }
  if (reserved > g.blocks / 2) {
    return Problem(fmt::format("superblock: {} reserved blocks", reserved));
  }
  // Smaller mistakes in the free counts are no error: the kernel keeps them up to date in memory
  // only.
  if (free > g.blocks || LoadAt<uint32_t>(s, 0x10) > g.inodes) {
    return Problem("superblock: more is free than there is");
  }
  if (LoadAt<uint32_t>(s, 0x2c) > kNow || LoadAt<uint32_t>(s, 0x30) > kNow) {
    return Problem("superblock: a time in the future");
  }
  if (g.inode_bytes > 128) {
    for (const size_t at : {size_t{0x15c}, size_t{0x15e}}) {
      const uint16_t extra = LoadAt<uint16_t>(s, at);
      if (extra != 0 && (extra < 4 || extra > g.inode_bytes - 128 || extra % 4 != 0)) {
        return Problem(fmt::format("superblock: extra inode bytes {}", extra));
      }
    }
  }
  return Fine();
}

// The journal's and other hidden inodes' places.
Judgement JudgeHiddenInodes(const Geometry& g, const uint8_t* s) {
  const uint32_t journal = LoadAt<uint32_t>(s, 0xe0);
  const bool external = LoadAt<uint32_t>(s, 0xe4) != 0 ||
                        std::any_of(s + 0xd0, s + 0xe0, [](uint8_t byte) { return byte != 0; });
  if (journal != (g.journal() ? kJournalInode : 0) || external) {
    return Unjudged(fmt::format("superblock: journal inode {}{}", journal,
                                external ? ", external journal" : ""));
  }
  for (const size_t at : {size_t{0x240}, size_t{0x244}, size_t{0x26c}}) {
    if (const uint32_t quota = LoadAt<uint32_t>(s, at); quota != 0) {
      return Unjudged(fmt::format("superblock: quota inode {}", quota));
    }
  }
  if (const uint32_t first = LoadAt<uint32_t>(s, 0x54); first != kFirstInode) {
    return Unjudged(fmt::format("superblock: first inode {}", first));
  }
  if (g.orphan_file != 0 && (g.orphan_file < kFirstInode || g.orphan_file > g.inodes)) {
    return Problem(fmt::format("superblock: orphan file inode {}", g.orphan_file));
  }
  return Fine();
}

Geometry ReadGeometry(const uint8_t* s) {
  Geometry g;
  g.block_bytes = 1024U << LoadAt<uint32_t>(s, 0x18);
  g.feature_compat = LoadAt<uint32_t>(s, 0x5c);
  g.feature_incompat = LoadAt<uint32_t>(s, 0x60);
  g.feature_ro_compat = LoadAt<uint32_t>(s, 0x64);
  g.blocks = LoadAt<uint32_t>(s, 0x4);
  if (g.has_64bit()) g.blocks |= static_cast<uint64_t>(LoadAt<uint32_t>(s, 0x150)) << 32;
  g.first_block = LoadAt<uint32_t>(s, 0x14);
  g.blocks_per_group = LoadAt<uint32_t>(s, 0x20);
  g.inodes_per_group = LoadAt<uint32_t>(s, 0x28);
  g.inodes = LoadAt<uint32_t>(s, 0x0);
  g.inode_bytes = LoadAt<uint16_t>(s, 0x58);
  g.descriptor_bytes = g.has_64bit() ? 64 : 32;
  g.reserved_descriptor_blocks = LoadAt<uint16_t>(s, 0xce);
  g.orphan_file = LoadAt<uint32_t>(s, 0x280);
  g.unsigned_hash = (LoadAt<uint32_t>(s, 0x160) & kFlagUnsignedHash) != 0;
  std::memcpy(g.hash_seed.data(), s + 0xec, 16);
  std::memcpy(g.backup_groups.data(), s + 0x24c, 8);
  std::memcpy(g.uuid.data(), s + 0x68, 16);
  g.checksum_seed = (g.feature_incompat & kIncompatChecksumSeed) != 0 ? LoadAt<uint32_t>(s, 0x270)
                                                                      : Crc32c(~0U, g.uuid);
  return g;
}

}  // namespace

void BlockView::SetBlockBytes(uint32_t block_bytes) {
  PP_CHECK(block_bytes >= 1024 && block_bytes <= 4096);
  if (block_bytes == block_bytes_) return;
  block_bytes_ = block_bytes;
  assembled_.clear();
  if (image_->block_bytes() < block_bytes_ && image_->block_bytes() * 64 >= block_bytes_) {
    store_ = std::make_unique<image::ContentStore>(block_bytes_);
  }
}

const uint8_t* BlockView::Block(uint64_t block) {
  const uint32_t image_bytes = image_->block_bytes();
  const uint64_t at = block * block_bytes_;
  if (image_bytes >= block_bytes_) {
    return image_->Block(at / image_bytes).data() + at % image_bytes;
  }
  const size_t count = block_bytes_ / image_bytes;
  PP_CHECK(store_ != nullptr && count <= 64);
  Assembled& assembled = assembled_[block];
  bool same = assembled.bytes != nullptr;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* part = image_->Block(at / image_bytes + i).data();
    same = same && part == assembled.parts[i];
    assembled.parts[i] = part;
  }
  if (same) return assembled.bytes;
  std::array<uint8_t, 4096> bytes;
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(bytes.data() + i * image_bytes, assembled.parts[i], image_bytes);
  }
  assembled.bytes = store_->InternCopy({bytes.data(), block_bytes_})->bytes;
  return assembled.bytes;
}

bool Geometry::HasSuperblock(uint32_t group) const {
  if (group == 0) return true;
  if ((feature_compat & kCompatSparseSuper2) != 0) {
    return group == backup_groups[0] || group == backup_groups[1];
  }
  if (group == 1 || (feature_ro_compat & kRoCompatSparseSuper) == 0) return true;
  return IsPowerOf(group, 3) || IsPowerOf(group, 5) || IsPowerOf(group, 7);
}

SuperJudgement JudgeSuperblock(std::span<const uint8_t> super, uint64_t image_bytes) {
  PP_CHECK(super.size() == kSuperblockBytes);
  const uint8_t* s = super.data();
  SuperJudgement judged;
  if (LoadAt<uint16_t>(s, 0x38) != 0xef53) {
    judged.layout = Problem("superblock: no ext4 magic");
    return judged;
  }
  if (LoadAt<uint32_t>(s, 0x4c) != 1 || LoadAt<uint32_t>(s, 0x48) != 0 ||
      LoadAt<uint32_t>(s, 0x18) > 2 || LoadAt<uint32_t>(s, 0x174) > 0xffff || s[0x174] > 31) {
    judged.layout = Unjudged("superblock: revision, creator, block size or flex size");
    return judged;
  }
  Geometry& g = judged.geometry;
  g = ReadGeometry(s);
  if (g.metadata_checksums() && Crc32c(~0U, super.first(0x3fc)) != LoadAt<uint32_t>(s, 0x3fc)) {
    judged.layout = Problem("superblock: wrong checksum");
    return judged;
  }
  for (const auto& judge :
       {JudgeFeatures(g, s), JudgeGeometry(g, s, image_bytes), JudgeHiddenInodes(g, s)}) {
    if (judge.fine()) continue;
    judged.layout = judge;
    return judged;
  }
  g.groups = g.inodes / g.inodes_per_group;
  const uint32_t per_block = g.block_bytes / g.descriptor_bytes;
  g.descriptor_blocks = (g.groups + per_block - 1) / per_block;
  for (uint32_t group = 0; group < g.groups; ++group) {
    const uint64_t own = 1ULL + g.descriptor_blocks + g.reserved_descriptor_blocks;
    if (g.HasSuperblock(group) && own > g.BlocksIn(group)) {
      judged.layout = Problem(fmt::format("group {}: no room for group descriptors", group));
      return judged;
    }
  }
  judged.details = JudgeDetails(g, s);
  return judged;
}

GroupDescriptor ParseGroupDescriptor(const Geometry& geometry, uint32_t group,
                                     const uint8_t* bytes) {
  const bool wide = geometry.descriptor_bytes >= 64;
  const auto low_high = [&](size_t low, size_t high) {
    return LoadAt<uint16_t>(bytes, low) |
           (wide ? static_cast<uint32_t>(LoadAt<uint16_t>(bytes, high)) << 16 : 0);
  };
  const auto block = [&](size_t low, size_t high) {
    return LoadAt<uint32_t>(bytes, low) |
           (wide ? static_cast<uint64_t>(LoadAt<uint32_t>(bytes, high)) << 32 : 0);
  };
  GroupDescriptor d;
  d.block_bitmap = block(0x0, 0x20);
  d.inode_bitmap = block(0x4, 0x24);
  d.inode_table = block(0x8, 0x28);
  d.free_blocks = low_high(0xc, 0x2c);
  d.free_inodes = low_high(0xe, 0x2e);
  d.used_directories = low_high(0x10, 0x30);
  d.flags = LoadAt<uint16_t>(bytes, 0x12);
  d.block_bitmap_checksum = low_high(0x18, 0x38);
  d.inode_bitmap_checksum = low_high(0x1a, 0x3a);
  d.unused_inodes = low_high(0x1c, 0x32);
  if (!geometry.descriptor_checksums()) return d;
  const uint16_t checksum = LoadAt<uint16_t>(bytes, 0x1e);
  std::array<uint8_t, 64> copy;
  std::memcpy(copy.data(), bytes, geometry.descriptor_bytes);
  if (geometry.metadata_checksums()) {
    std::memset(copy.data() + 0x1e, 0, 2);
    const uint32_t crc =
        Crc32c(Crc32cOf(geometry.checksum_seed, group), {copy.data(), geometry.descriptor_bytes});
    d.checksum_valid = (crc & 0xffff) == checksum;
    return d;
  }
  uint16_t crc = Crc16(0xffff, geometry.uuid.data(), geometry.uuid.size());
  crc = Crc16(crc, reinterpret_cast<const uint8_t*>(&group), sizeof group);
  crc = Crc16(crc, copy.data(), 0x1e);
  crc = Crc16(crc, copy.data() + 0x20, geometry.descriptor_bytes - 0x20);
  d.checksum_valid = crc == checksum;
  return d;
}

Judgement JudgeGroupDescriptor(const Geometry& geometry, uint32_t group, const GroupDescriptor& d) {
  if (!d.checksum_valid) {
    return Problem(fmt::format("group {}: wrong descriptor checksum", group));
  }
  constexpr uint16_t kKnownFlags = 0x7;
  if ((d.flags & ~kKnownFlags) != 0) {
    return Unjudged(fmt::format("group {}: flags {:#x}", group, d.flags));
  }
  const bool lazy = d.inodes_uninitialised() || d.blocks_uninitialised() || d.unused_inodes != 0;
  if (lazy && !geometry.descriptor_checksums()) {
    return Problem(fmt::format("group {}: uninitialised parts without checksums", group));
  }
  if (d.blocks_uninitialised() && group == geometry.groups - 1) {
    return Problem(fmt::format("group {}: the last group's bitmap is uninitialised", group));
  }
  if (d.unused_inodes > d.free_inodes || d.free_inodes > geometry.inodes_per_group ||
      d.used_directories > geometry.inodes_per_group) {
    return Problem(fmt::format("group {}: {} unused, {} free inodes, {} directories", group,
                               d.unused_inodes, d.free_inodes, d.used_directories));
  }
  return Fine();
}

bool BitmapChecksumMatches(const Geometry& geometry, const uint8_t* bitmap, uint32_t bytes,
                           uint32_t checksum) {
  if (!geometry.metadata_checksums()) return true;
  uint32_t crc = Crc32c(geometry.checksum_seed, {bitmap, bytes});
  if (geometry.descriptor_bytes < 64) crc &= 0xffff;
  return crc == checksum;
}

}  // namespace plugpull::ext4
