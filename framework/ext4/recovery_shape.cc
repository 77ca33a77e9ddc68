// SPDX-License-Identifier: Apache-2.0
// What e2fsck looks at before it replays, and again after: e2fsck_check_ext3_journal,
// check_super_block and e2fsck_move_ext3_journal of e2fsprogs 1.47 (e2fsck/journal.c,
// e2fsck/super.c), ext2fs_open2 and ext2fs_check_desc (lib/ext2fs).
#include "framework/ext4/recovery_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "framework/ext4/file_system.h"
#include "framework/ext4/memory_io.h"
#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {
namespace {

using SuperBytes = std::array<uint8_t, kSuperblockBytes>;

// Bytes of the superblock that a kernel changes and that recovery does not depend on.
constexpr ByteRange kChanging[] = {
    {0x00c, 0x014},  // s_free_blocks_count, s_free_inodes_count
    {0x02c, 0x038},  // s_mtime, s_wtime, s_mnt_count, s_max_mnt_count
    {0x03a, 0x03c},  // s_state
    {0x040, 0x044},  // s_lastcheck
    {0x088, 0x0c8},  // s_last_mounted
    {0x0e8, 0x0ec},  // s_last_orphan
    {0x158, 0x15c},  // s_free_blocks_count_hi
    {0x178, 0x180},  // s_kbytes_written
    {0x194, 0x240},  // s_error_count to s_mount_opts
    {0x248, 0x24c},  // s_overhead_blocks
    {0x274, 0x276},  // s_wtime_hi, s_mtime_hi
    {0x277, 0x27c},  // s_lastcheck_hi to s_last_error_errcode
    {0x3fc, 0x400},  // s_checksum
};

// Features that recovery here knows; those that are missing (fast_commit, meta_bg, mmp,
// gdt_csum, quota, project, casefold) make e2fsck do more, or are rare.
constexpr uint32_t kCompat = 0x1a3d;
constexpr uint32_t kIncompat = 0x1e6c6;
constexpr uint32_t kRoCompat = 0x1866b;

constexpr size_t kLocationBytes = 12;  // of bitmaps and inode table in a descriptor
constexpr size_t kHighAt = 0x20;       // their upper halves

uint64_t SuperblockBlock(const image::CowImage& image) {
  return kSuperblockAt / image.block_bytes();
}

SuperBytes Unchanging(std::span<const uint8_t> bytes) {
  SuperBytes rest;
  std::copy(bytes.begin(), bytes.end(), rest.begin());
  for (const ByteRange& range : kChanging) {
    std::fill(rest.begin() + static_cast<std::ptrdiff_t>(range.start),
              rest.begin() + static_cast<std::ptrdiff_t>(range.end), 0);
  }
  rest[0x60] &= static_cast<uint8_t>(~kIncompatNeedsRecovery);
  rest[0x66] &= static_cast<uint8_t>(~(kRoCompatOrphanPresent >> 16));
  return rest;
}

bool AllZero(const uint8_t* bytes, size_t count) {
  return std::all_of(bytes, bytes + count, [](uint8_t byte) { return byte == 0; });
}

// What check_super_block would repair or refuse in a superblock that ext2fs_open2 took.
std::string SuperProblem(const ext2_filsys fs) {
  const ext2_super_block& super = *fs->super;
  if ((super.s_feature_compat & ~kCompat) != 0 || (super.s_feature_incompat & ~kIncompat) != 0 ||
      (super.s_feature_ro_compat & ~kRoCompat) != 0) {
    return fmt::format("features compat {:#x} incompat {:#x} ro_compat {:#x}",
                       super.s_feature_compat, super.s_feature_incompat, super.s_feature_ro_compat);
  }
  const bool metadata_csum = ext2fs_has_feature_metadata_csum(fs->super);
  const bool one_kib = super.s_log_block_size == 0 && EXT2FS_CLUSTER_RATIO(fs) == 1;
  const uint32_t extra = EXT2_INODE_SIZE(fs->super) - EXT2_GOOD_OLD_INODE_SIZE;
  const auto extra_wrong = [&](uint32_t size) {
    return extra != 0 && size != 0 && (size < 4 || size > extra || size % 4 != 0);
  };
  const uint32_t hashes = EXT2_FLAGS_SIGNED_HASH | EXT2_FLAGS_UNSIGNED_HASH;
  const std::pair<bool, const char*> kProblems[] = {
      {super.s_rev_level != EXT2_DYNAMIC_REV, "revision"},
      {super.s_creator_os == EXT2_OS_HURD, "creator"},
      {AllZero(super.s_uuid, 16), "no UUID"},
      {!AllZero(super.s_journal_uuid, 16) || super.s_journal_dev != 0, "external journal"},
      {super.s_block_group_nr != 0, "block group number"},
      {super.s_first_data_block != (one_kib ? 1U : 0U), "first data block"},
      {ext2fs_r_blocks_count(fs->super) > ext2fs_blocks_count(fs->super) / 2, "reserved blocks"},
      {super.s_reserved_gdt_blocks > fs->blocksize / 4, "reserved descriptors"},
      {super.s_blocks_per_group < 8 || super.s_clusters_per_group > 8 * fs->blocksize,
       "blocks per group"},
      {super.s_inodes_per_group < static_cast<uint32_t>(EXT2_INODES_PER_BLOCK(fs->super)) ||
           super.s_inodes_per_group > 8 * fs->blocksize,
       "inodes per group"},
      {super.s_first_ino < EXT2_GOOD_OLD_FIRST_INO || super.s_first_ino > super.s_inodes_count,
       "first inode"},
      {extra_wrong(super.s_min_extra_isize) || extra_wrong(super.s_want_extra_isize),
       "extra inode size"},
      {!metadata_csum && ext2fs_has_feature_csum_seed(fs->super), "seed without metadata_csum"},
      {ext2fs_has_feature_64bit(fs->super) && !ext2fs_has_feature_extents(fs->super),
       "64bit without extents"},
      {ext2fs_has_feature_dir_index(fs->super) && (super.s_flags & hashes) == 0, "hash hint"},
      {(super.s_flags & EXT2_FLAGS_TEST_FILESYS) != 0, "test file system"},
  };
  for (const auto& [wrong, what] : kProblems) {
    if (wrong) return fmt::format("superblock: {}", what);
  }
  return {};
}

// The blocks that map an inode's blocks.
struct Map {
  std::vector<uint64_t> blocks;
  uint64_t visits = 0;
  bool endless = false;  // a damaged map may name more blocks than there are
};

int AddMapBlock(ext2_filsys fs, blk64_t* block, e2_blkcnt_t count, blk64_t, int, void* data) {
  Map& map = *static_cast<Map*>(data);
  if (count < 0) map.blocks.push_back(*block);
  map.endless = ++map.visits > 2 * ext2fs_blocks_count(fs->super);
  return map.endless ? BLOCK_ABORT : 0;
}

}  // namespace

struct RecoveryShape::Reference {
  struct Anchor {
    uint64_t block;
    size_t at;
    std::vector<uint8_t> bytes;
  };
  SuperBytes super{};
  uint64_t first_descriptor_block = 0;
  uint32_t groups = 0;
  uint32_t descriptor_bytes = 0;
  uint32_t inodes_per_group = 0;
  uint32_t checksum_seed = 0;
  bool wide = false;  // 64bit: descriptors have upper halves
  bool metadata_csum = false;
  std::vector<uint8_t> locations;  // group by group, as in the descriptors
  std::vector<Anchor> anchors;     // the journal's inode and map
  std::vector<uint64_t> watched;   // all blocks that are looked at, ascending
  uint64_t super_block = 0;

  uint32_t LocationBytes() const { return wide ? 2 * kLocationBytes : kLocationBytes; }
  uint32_t PerBlock(uint32_t block_bytes) const { return block_bytes / descriptor_bytes; }
  void CopyLocations(const uint8_t* descriptor, uint8_t* out) const {
    std::memcpy(out, descriptor, kLocationBytes);
    if (wide) std::memcpy(out + kLocationBytes, descriptor + kHighAt, kLocationBytes);
  }
  std::string GroupProblem(const uint8_t* descriptor, uint32_t group) const;
  std::string AddAnchors(const image::CowImage& image, ext2_filsys fs);
};

// PR_0_GDT_CSUM, PR_0_GDT_UNINIT, PR_0_BB_UNINIT_LAST, PR_0_GDT_ITABLE_UNUSED.
std::string RecoveryShape::Reference::GroupProblem(const uint8_t* descriptor,
                                                   uint32_t group) const {
  const auto at16 = [&](size_t at) {
    return static_cast<uint32_t>(descriptor[at] | descriptor[at + 1] << 8);
  };
  const auto count = [&](size_t low, size_t high) {
    return at16(low) | (wide ? at16(high) << 16 : 0);
  };
  constexpr size_t kChecksumAt = 0x1e;
  const uint32_t flags = at16(0x12);
  const uint32_t free_inodes = count(0x0e, 0x2e);
  const uint32_t unused_inodes = count(0x1c, 0x32);
  if (metadata_csum) {
    const uint8_t number[4] = {static_cast<uint8_t>(group), static_cast<uint8_t>(group >> 8),
                               static_cast<uint8_t>(group >> 16),
                               static_cast<uint8_t>(group >> 24)};
    const uint8_t zeroes[2] = {};
    const std::span<const uint8_t> bytes(descriptor, descriptor_bytes);
    uint32_t crc = Crc32c(Crc32c(checksum_seed, number), bytes.first(kChecksumAt));
    crc = Crc32c(Crc32c(crc, zeroes), bytes.subspan(kChecksumAt + 2));
    if ((crc & 0xffff) != at16(kChecksumAt)) {
      return fmt::format("group {}: descriptor checksum", group);
    }
  }
  const uint32_t uninit = EXT2_BG_INODE_UNINIT | EXT2_BG_BLOCK_UNINIT;
  if (!metadata_csum && ((flags & uninit) != 0 || unused_inodes != 0)) {
    return fmt::format("group {}: uninitialised without checksums", group);
  }
  if (group + 1 == groups && (flags & EXT2_BG_BLOCK_UNINIT) != 0) {
    return fmt::format("group {}: the last, and its bitmap uninitialised", group);
  }
  if (metadata_csum && (unused_inodes > free_inodes || unused_inodes > inodes_per_group)) {
    return fmt::format("group {}: {} unused inodes of {} free", group, unused_inodes, free_inodes);
  }
  return {};
}

std::string RecoveryShape::Reference::AddAnchors(const image::CowImage& image, ext2_filsys fs) {
  const uint32_t number = fs->super->s_journal_inum;
  ext2_inode inode{};
  if (number == 0 || number > fs->super->s_inodes_count ||
      ext2fs_read_inode(fs, number, &inode) != 0) {
    return "the journal's inode";
  }
  if (inode.i_links_count != 1 || !LINUX_S_ISREG(inode.i_mode) || number != EXT2_JOURNAL_INO ||
      (inode.i_flags & EXT4_ENCRYPT_FL) != 0) {
    return "the journal's inode";
  }
  const ext2_super_block& super = *fs->super;
  if (super.s_jnl_backup_type != EXT3_JNL_BACKUP_BLOCKS ||
      std::memcmp(inode.i_block, super.s_jnl_blocks, sizeof inode.i_block) != 0) {
    return "the copy of the journal's inode in the superblock";
  }
  Map map;
  if (ext2fs_block_iterate3(fs, number, BLOCK_FLAG_READ_ONLY, nullptr, AddMapBlock, &map) != 0 ||
      map.endless) {
    return "the journal's map";
  }
  const uint32_t index = (number - 1) % super.s_inodes_per_group;
  const uint64_t table = ext2fs_inode_table_loc(fs, (number - 1) / super.s_inodes_per_group);
  const uint64_t at = uint64_t{index} * EXT2_INODE_SIZE(fs->super);
  const uint64_t inode_block = table + at / fs->blocksize;
  if (inode_block >= image.blocks()) return "the journal's inode";
  const auto bytes =
      image.Block(inode_block).subspan(at % fs->blocksize, EXT2_INODE_SIZE(fs->super));
  anchors.push_back({inode_block, at % fs->blocksize, {bytes.begin(), bytes.end()}});
  for (const uint64_t block : map.blocks) {
    if (block >= image.blocks()) return "the journal's map";
    const auto node = image.Block(block);
    anchors.push_back({block, 0, {node.begin(), node.end()}});
  }
  return {};
}

RecoveryShape::RecoveryShape(const JournalLayout& layout) : layout_(layout) {}
RecoveryShape::~RecoveryShape() = default;

void RecoveryShape::Changed(uint64_t block, bool replayed) {
  Seen& seen = seen_[replayed ? 1 : 0];
  if (seen.all || reference_ == nullptr) return;
  const auto& watched = reference_->watched;
  if (!std::binary_search(watched.begin(), watched.end(), block)) return;
  seen.changed.push_back(block);
  if (seen.changed.size() > 2 * watched.size()) seen.all = true;  // nobody has asked for long
}

std::string RecoveryShape::Problem(const image::CowImage& image, bool replayed) {
  if (reference_ == nullptr || !AsReference(image, replayed)) {
    if (std::string problem = Learn(image); !problem.empty()) return problem;
    PP_CHECK(AsReference(image, replayed));
  }
  const auto& unsound = seen_[replayed ? 1 : 0].unsound;
  return unsound.empty() ? std::string() : unsound.begin()->second;
}

std::string RecoveryShape::Learn(const image::CowImage& image) {
  reference_ = nullptr;
  for (Seen& seen : seen_) seen = {};
  const auto parsed =
      ParseSuperblockBytes(image.Block(SuperblockBlock(image))
                               .subspan(kSuperblockAt % image.block_bytes(), kSuperblockBytes));
  if (!parsed.ok()) return parsed.error().message;
  if (!parsed->checksum_valid) return "superblock: checksum";
  if (parsed->block_bytes != image.block_bytes()) return "superblock: block size";
  if (parsed->blocks_count > image.size_bytes() / parsed->block_bytes) return "superblock: size";
  CowReader reader(image);
  ext2_filsys fs = nullptr;
  if (const errcode_t error = OpenMemory(reader, EXT2_FLAG_64BITS, &fs); error != 0) {
    return LibraryMessage(error);
  }
  const std::unique_ptr<struct_ext2_filsys, void (*)(ext2_filsys)> owner(fs, ext2fs_free);
  if (std::string problem = SuperProblem(fs); !problem.empty()) return problem;
  if (const errcode_t error = ext2fs_check_desc(fs); error != 0) return LibraryMessage(error);

  auto reference = std::make_unique<Reference>();
  reference->super = Unchanging({reinterpret_cast<const uint8_t*>(fs->super), kSuperblockBytes});
  reference->first_descriptor_block = SuperblockBlock(image) + 1;
  reference->groups = fs->group_desc_count;
  reference->descriptor_bytes = EXT2_DESC_SIZE(fs->super);
  reference->inodes_per_group = fs->super->s_inodes_per_group;
  reference->checksum_seed = fs->csum_seed;
  reference->wide = ext2fs_has_feature_64bit(fs->super) != 0;
  reference->metadata_csum = ext2fs_has_feature_metadata_csum(fs->super) != 0;
  reference->locations.resize(size_t{reference->groups} * reference->LocationBytes());
  for (dgrp_t group = 0; group < reference->groups; ++group) {
    const auto* descriptor =
        reinterpret_cast<const uint8_t*>(ext2fs_group_desc(fs, fs->group_desc, group));
    reference->CopyLocations(descriptor, &reference->locations[group * reference->LocationBytes()]);
  }
  if (ext2fs_has_feature_journal(fs->super)) {
    auto files = FileSystem::Open(image);
    if (!files.ok()) return files.error().message;
    const auto journal = files->JournalBlocks();
    if (!journal.ok()) return journal.error().message;
    if (*journal != layout_.blocks) return "the journal lies elsewhere";
    if (std::string problem = reference->AddAnchors(image, fs); !problem.empty()) return problem;
  } else if (fs->super->s_journal_inum != 0 || !layout_.blocks.empty()) {
    return "a journal without the feature";
  }
  reference->super_block = SuperblockBlock(image);
  auto& watched = reference->watched;
  watched.push_back(reference->super_block);
  for (size_t i = 0; i < fs->desc_blocks; ++i) {
    watched.push_back(reference->first_descriptor_block + i);
  }
  for (const Reference::Anchor& anchor : reference->anchors) watched.push_back(anchor.block);
  std::sort(watched.begin(), watched.end());
  watched.erase(std::unique(watched.begin(), watched.end()), watched.end());
  reference_ = std::move(reference);
  for (Seen& seen : seen_) seen.descriptors.resize(fs->desc_blocks);
  return {};
}

bool RecoveryShape::AsReference(const image::CowImage& image, bool replayed) {
  Seen& seen = seen_[replayed ? 1 : 0];
  const std::vector<uint64_t>& blocks = seen.all ? reference_->watched : seen.changed;
  for (const uint64_t block : blocks) {
    if (!BlockAsReference(image, block, replayed)) return false;
  }
  seen.changed.clear();
  seen.all = false;
  return true;
}

// A block may be watched for more than one reason in a damaged file system.
bool RecoveryShape::BlockAsReference(const image::CowImage& image, uint64_t block, bool replayed) {
  const Reference& reference = *reference_;
  Seen& seen = seen_[replayed ? 1 : 0];
  const auto now = image.Block(block);
  if (block == reference.super_block && now.data() != seen.super) {
    const auto bytes = now.subspan(kSuperblockAt % image.block_bytes(), kSuperblockBytes);
    const auto parsed = ParseSuperblockBytes(bytes);
    if (!parsed.ok() || !parsed->checksum_valid || Unchanging(bytes) != reference.super) {
      return false;
    }
    seen.super = now.data();
  }
  const uint64_t index = block - reference.first_descriptor_block;
  if (block >= reference.first_descriptor_block && index < seen.descriptors.size() &&
      !DescriptorsAsReference(image, index, replayed)) {
    return false;
  }
  return std::all_of(reference.anchors.begin(), reference.anchors.end(), [&](const auto& anchor) {
    return anchor.block != block ||
           std::memcmp(now.data() + anchor.at, anchor.bytes.data(), anchor.bytes.size()) == 0;
  });
}

bool RecoveryShape::DescriptorsAsReference(const image::CowImage& image, size_t index,
                                           bool replayed) {
  const Reference& reference = *reference_;
  Seen& seen = seen_[replayed ? 1 : 0];
  const uint8_t* bytes = image.Block(reference.first_descriptor_block + index).data();
  if (bytes == seen.descriptors[index]) return true;
  const uint32_t per_block = reference.PerBlock(image.block_bytes());
  std::vector<uint8_t> locations(reference.LocationBytes());
  std::string problem;
  for (uint32_t i = 0; i < per_block && index * per_block + i < reference.groups; ++i) {
    const auto group = static_cast<uint32_t>(index * per_block + i);
    const uint8_t* descriptor = bytes + size_t{i} * reference.descriptor_bytes;
    reference.CopyLocations(descriptor, locations.data());
    if (std::memcmp(locations.data(), reference.locations.data() + group * locations.size(),
                    locations.size()) != 0) {
      return false;
    }
    if (replayed && problem.empty()) problem = reference.GroupProblem(descriptor, group);
  }
  seen.unsound.erase(index);
  if (!problem.empty()) seen.unsound.emplace(index, std::move(problem));
  seen.descriptors[index] = bytes;
  return true;
}

}  // namespace plugpull::ext4
