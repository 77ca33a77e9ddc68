// SPDX-License-Identifier: Apache-2.0
// Of the consistency check: the superblock and the group descriptors, and what both are read with.
// Layout: fs/ext4/ext4.h of the Linux kernel. Rules: e2fsck/super.c, lib/ext2fs/openfs.c and
// lib/ext2fs/csum.c of e2fsprogs.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "framework/ext4/superblock.h"
#include "framework/image/cow_image.h"

namespace plugpull::ext4 {

// What a part of the check says of a part of the image.
struct Judgement {
  enum class Level : uint8_t { kFine, kUnjudged, kProblem };
  Level level = Level::kFine;
  std::string reason;
  bool fine() const { return level == Level::kFine; }
};
inline Judgement Fine() { return {}; }
inline Judgement Unjudged(std::string reason) {
  return {Judgement::Level::kUnjudged, std::move(reason)};
}
inline Judgement Problem(std::string reason) {
  return {Judgement::Level::kProblem, std::move(reason)};
}

// Returns the judgement of `expression` from the calling function, unless it is fine.
#define PP_RETURN_UNLESS_FINE(expression)                                    \
  do {                                                                       \
    if (auto pp_judgement = (expression); !pp_judgement.fine()) [[unlikely]] \
      return pp_judgement;                                                   \
  } while (false)

// A little-endian number; the caller has checked that it lies inside.
template <typename T>
T LoadAt(const uint8_t* bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes + at, sizeof value);
  return value;
}

// crc32c over the bytes of a number.
template <typename T>
uint32_t Crc32cOf(uint32_t seed, T number) {
  return Crc32c(seed, {reinterpret_cast<const uint8_t*>(&number), sizeof number});
}

// An image read in blocks of the file system. Addresses are identities: equal addresses mean equal
// bytes, and they stay valid and unchanged for the life of the view and the image's store.
class BlockView {
 public:
  explicit BlockView(const image::CowImage& image) : image_(&image) {}

  // A power of two from 1024 to 4096.
  void SetBlockBytes(uint32_t block_bytes);
  uint32_t block_bytes() const { return block_bytes_; }
  // Those that lie wholly inside the image.
  uint64_t blocks() const { return image_->size_bytes() / block_bytes_; }
  const uint8_t* Block(uint64_t block);

 private:
  const image::CowImage* image_;
  uint32_t block_bytes_ = 0;
  // Where the image's blocks are smaller: blocks put together, by their parts.
  struct Assembled {
    std::array<const uint8_t*, 64> parts{};
    const uint8_t* bytes = nullptr;
  };
  std::unique_ptr<image::ContentStore> store_;
  std::unordered_map<uint64_t, Assembled> assembled_;
};

// What the superblock says of the layout; nothing in it changes while a file system is in use, but
// by resizing it.
struct Geometry {
  uint32_t block_bytes = 0;
  uint64_t blocks = 0;
  uint32_t first_block = 0;  // s_first_data_block
  uint32_t groups = 0;
  uint32_t blocks_per_group = 0;
  uint32_t inodes_per_group = 0;
  uint32_t inodes = 0;
  uint32_t inode_bytes = 0;
  uint32_t descriptor_bytes = 0;
  uint32_t descriptor_blocks = 0;
  uint32_t reserved_descriptor_blocks = 0;
  uint32_t feature_compat = 0;
  uint32_t feature_incompat = 0;
  uint32_t feature_ro_compat = 0;
  uint32_t orphan_file = 0;  // inode number
  bool unsigned_hash = false;
  std::array<uint32_t, 4> hash_seed{};
  std::array<uint32_t, 2> backup_groups{};  // under sparse_super2
  std::array<uint8_t, 16> uuid{};
  uint32_t checksum_seed = 0;
  bool operator==(const Geometry&) const = default;

  bool metadata_checksums() const { return (feature_ro_compat & 0x400) != 0; }
  bool descriptor_checksums() const { return (feature_ro_compat & 0x410) != 0; }
  bool has_64bit() const { return (feature_incompat & 0x80) != 0; }
  bool extents() const { return (feature_incompat & 0x40) != 0; }
  bool flex_bg() const { return (feature_incompat & 0x200) != 0; }
  bool file_types() const { return (feature_incompat & 0x2) != 0; }
  bool journal() const { return (feature_compat & 0x4) != 0; }
  bool xattr() const { return (feature_compat & 0x8) != 0; }
  bool resize_inode() const { return (feature_compat & 0x10) != 0; }
  bool dir_index() const { return (feature_compat & 0x20) != 0; }
  bool has_orphan_file() const { return (feature_compat & 0x1000) != 0; }
  bool large_file() const { return (feature_ro_compat & 0x2) != 0; }
  bool huge_file() const { return (feature_ro_compat & 0x8) != 0; }

  uint32_t inodes_per_block() const { return block_bytes / inode_bytes; }
  uint32_t inode_table_blocks() const { return inodes_per_group / inodes_per_block(); }
  uint64_t FirstBlockOf(uint32_t group) const {
    return first_block + static_cast<uint64_t>(group) * blocks_per_group;
  }
  uint32_t BlocksIn(uint32_t group) const {
    return static_cast<uint32_t>(
        std::min<uint64_t>(blocks_per_group, blocks - FirstBlockOf(group)));
  }
  uint32_t GroupOfInode(uint32_t inode) const { return (inode - 1) / inodes_per_group; }
  bool HasSuperblock(uint32_t group) const;
  bool Holds(uint64_t block) const { return block >= first_block && block < blocks; }
};

inline constexpr uint32_t kRootInode = 2;
inline constexpr uint32_t kResizeInode = 7;
inline constexpr uint32_t kJournalInode = 8;
inline constexpr uint32_t kFirstInode = 11;  // others than 11 are not judged

struct SuperJudgement {
  Judgement layout;   // not fine: `geometry` means nothing
  Judgement details;  // what else is wrong
  Geometry geometry;
};

// Judges 1024 bytes. `image_bytes`: how large the image is.
SuperJudgement JudgeSuperblock(std::span<const uint8_t> super, uint64_t image_bytes);

struct GroupDescriptor {
  static constexpr uint16_t kInodesUninitialised = 1;
  static constexpr uint16_t kBlocksUninitialised = 2;
  uint64_t block_bitmap = 0;
  uint64_t inode_bitmap = 0;
  uint64_t inode_table = 0;
  uint32_t free_blocks = 0;
  uint32_t free_inodes = 0;
  uint32_t used_directories = 0;
  uint32_t unused_inodes = 0;  // at the end of the inode table, never looked at
  uint16_t flags = 0;
  uint32_t block_bitmap_checksum = 0;
  uint32_t inode_bitmap_checksum = 0;
  bool checksum_valid = true;
  bool operator==(const GroupDescriptor&) const = default;

  bool inodes_uninitialised() const { return (flags & kInodesUninitialised) != 0; }
  bool blocks_uninitialised() const { return (flags & kBlocksUninitialised) != 0; }
};

// `bytes`: geometry.descriptor_bytes of them.
GroupDescriptor ParseGroupDescriptor(const Geometry& geometry, uint32_t group,
                                     const uint8_t* bytes);

// Everything about a descriptor that needs no look at other parts of the image.
Judgement JudgeGroupDescriptor(const Geometry& geometry, uint32_t group,
                               const GroupDescriptor& descriptor);

// Whether a bitmap has the checksum that its group descriptor names; `bytes` counts those covered.
bool BitmapChecksumMatches(const Geometry& geometry, const uint8_t* bitmap, uint32_t bytes,
                           uint32_t checksum);

}  // namespace plugpull::ext4
