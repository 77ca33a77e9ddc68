// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/damage_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace plugpull::ext4 {
namespace {

constexpr uint32_t kCompatSparseSuper2 = 0x200;
constexpr uint32_t kIncompatMetaBg = 0x10;
constexpr uint32_t kIncompat64Bit = 0x80;
constexpr uint32_t kIncompatChecksumSeed = 0x2000;
constexpr uint32_t kRoCompatSparseSuper = 0x1;
constexpr uint32_t kInodeFlagExtents = 0x80000;
constexpr uint32_t kInodeFlagInlineData = 0x10000000;
constexpr uint16_t kModeTypeMask = 0xf000;
constexpr uint16_t kModeFolder = 0x4000;
constexpr uint16_t kModeFile = 0x8000;
constexpr uint32_t kRootInode = 2;
constexpr uint32_t kOldInodeBytes = 128;
constexpr uint32_t kOldDescriptorBytes = 32;
constexpr uint32_t kMapAt = 40;  // i_block in the inode
constexpr uint32_t kMapBytes = 60;
constexpr size_t kInodeChecksumAt = 124;  // its lower half; the upper is beyond i_extra_isize
constexpr uint16_t kExtentMagic = 0xf30a;
constexpr size_t kExtentEntryBytes = 12;  // also of the header
constexpr int kExtentDepthMax = 5;
constexpr uint16_t kExtentLengthMax = 32768;  // more: unwritten
constexpr uint32_t kNodesMax = 100'000;       // blocks of one inode's map
constexpr size_t kDirectBlocks = 12;
constexpr size_t kFoldersMax = 256;  // in a path

template <typename T>
T Get(std::span<const uint8_t> bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

bool IsPowerOf(uint64_t number, uint64_t base) {
  while (number % base == 0) number /= base;
  return number == 1;
}

}  // namespace

Result<SuperblockBytes> ReadSuperblockBytes(DamageTarget& target) {
  SuperblockBytes bytes;
  if (target.size_bytes() < kSuperblockAt + kSuperblockBytes) {
    return UserError(
        fmt::format("no ext4 file system: the disk has {} bytes, a superblock ends "
                    "at byte {}",
                    target.size_bytes(), kSuperblockAt + kSuperblockBytes));
  }
  PP_RETURN_IF_ERROR(target.Read(kSuperblockAt, bytes));
  return bytes;
}

Result<DamageLayout> DamageLayout::Read(DamageTarget& target) {
  PP_ASSIGN_OR_RETURN(const SuperblockBytes super, ReadSuperblockBytes(target));
  DamageLayout layout(target);
  PP_RETURN_IF_ERROR(layout.Parse(super));
  return layout;
}

Status DamageLayout::Parse(const SuperblockBytes& super) {
  PP_ASSIGN_OR_RETURN(const Superblock parsed, ParseSuperblockBytes(super));
  block_bytes_ = parsed.block_bytes;
  blocks_count_ = parsed.blocks_count;
  compat_ = parsed.feature_compat;
  incompat_ = parsed.feature_incompat;
  ro_compat_ = parsed.feature_ro_compat;
  inodes_count_ = Get<uint32_t>(super, 0x0);
  first_data_block_ = Get<uint32_t>(super, 0x14);
  blocks_per_group_ = Get<uint32_t>(super, 0x20);
  inodes_per_group_ = Get<uint32_t>(super, 0x28);
  const bool dynamic = Get<uint32_t>(super, 0x4c) != 0;
  inode_bytes_ = dynamic ? Get<uint16_t>(super, 0x58) : kOldInodeBytes;
  descriptor_bytes_ =
      (incompat_ & kIncompat64Bit) != 0 ? Get<uint16_t>(super, 0xfe) : kOldDescriptorBytes;
  checksum_seed_ = (incompat_ & kIncompatChecksumSeed) != 0
                       ? Get<uint32_t>(super, 0x270)
                       : Crc32c(~0U, std::span<const uint8_t>(super).subspan(0x68, 16));
  backup_groups_ = {Get<uint32_t>(super, 0x24c), Get<uint32_t>(super, 0x250)};
  const auto bad = [](std::string_view field, uint64_t value) {
    return UserError(
        fmt::format("the ext4 superblock makes no sense: {} is {}; damage the disk "
                    "before its superblock, not after",
                    field, value));
  };
  if (blocks_count_ == 0 || blocks_count_ > target_->size_bytes() / block_bytes_) {
    return bad("s_blocks_count", blocks_count_);
  }
  if (first_data_block_ != (block_bytes_ == 1024 ? 1 : 0)) {
    return bad("s_first_data_block", first_data_block_);
  }
  if (blocks_per_group_ == 0 || blocks_per_group_ > block_bytes_ * 8) {
    return bad("s_blocks_per_group", blocks_per_group_);
  }
  if (inodes_per_group_ == 0 || inodes_per_group_ > block_bytes_ * 8) {
    return bad("s_inodes_per_group", inodes_per_group_);
  }
  if (inode_bytes_ < kOldInodeBytes || inode_bytes_ > block_bytes_ ||
      !std::has_single_bit(inode_bytes_)) {
    return bad("s_inode_size", inode_bytes_);
  }
  if (descriptor_bytes_ < kOldDescriptorBytes || descriptor_bytes_ > block_bytes_ ||
      ((incompat_ & kIncompat64Bit) != 0 && descriptor_bytes_ < 64)) {
    return bad("s_desc_size", descriptor_bytes_);
  }
  if ((incompat_ & kIncompatMetaBg) != 0) {
    return UserError("file systems with meta_bg cannot be damaged by name; use raw");
  }
  if (blocks_count_ <= first_data_block_) return bad("s_blocks_count", blocks_count_);
  groups_ = (blocks_count_ - first_data_block_ + blocks_per_group_ - 1) / blocks_per_group_;
  const ByteRun table = GroupDescriptors();
  if (table.offset + table.length > blocks_count_ * block_bytes_) return bad("groups", groups_);
  return OkStatus();
}

ByteRun DamageLayout::GroupDescriptors() const {
  const uint64_t bytes = groups_ * descriptor_bytes_;
  const uint64_t blocks = (bytes + block_bytes_ - 1) / block_bytes_;
  return {uint64_t{first_data_block_ + 1} * block_bytes_, blocks * block_bytes_};
}

Result<std::vector<uint8_t>> DamageLayout::ReadRun(const ByteRun& run) {
  std::vector<uint8_t> bytes(run.length);
  PP_RETURN_IF_ERROR(target_->Read(run.offset, bytes));
  return bytes;
}

Result<ByteRun> DamageLayout::Block(uint64_t block, std::string_view what) const {
  if (block <= first_data_block_ || block >= blocks_count_) {
    return UserError(
        fmt::format("the file system is damaged already: {} is said to be in block "
                    "{}, it has {}",
                    what, block, blocks_count_));
  }
  return ByteRun{block * block_bytes_, block_bytes_};
}

Result<uint64_t> DamageLayout::DescriptorField(uint64_t group, size_t low_at, size_t high_at) {
  if (group >= groups_) {
    return UserError(fmt::format("there is no block group {}; the file system has groups 0 to {}",
                                 group, groups_ - 1));
  }
  PP_ASSIGN_OR_RETURN(
      const auto descriptor,
      ReadRun({GroupDescriptors().offset + group * descriptor_bytes_, descriptor_bytes_}));
  uint64_t value = Get<uint32_t>(descriptor, low_at);
  if ((incompat_ & kIncompat64Bit) != 0) {
    value |= static_cast<uint64_t>(Get<uint32_t>(descriptor, high_at)) << 32;
  }
  return value;
}

Result<ByteRun> DamageLayout::BlockBitmap(uint64_t group) {
  PP_ASSIGN_OR_RETURN(const uint64_t block, DescriptorField(group, 0x0, 0x20));
  return Block(block, "a block bitmap");
}

Result<ByteRun> DamageLayout::InodeBitmap(uint64_t group) {
  PP_ASSIGN_OR_RETURN(const uint64_t block, DescriptorField(group, 0x4, 0x24));
  return Block(block, "an inode bitmap");
}

Result<ByteRun> DamageLayout::Inode(uint32_t inode) {
  if (inode == 0 || inode > inodes_count_) {
    return UserError(
        fmt::format("there is no inode {}; the file system has 1 to {}", inode, inodes_count_));
  }
  const uint64_t index = (inode - 1) % inodes_per_group_;
  PP_ASSIGN_OR_RETURN(const uint64_t table,
                      DescriptorField((inode - 1) / inodes_per_group_, 0x8, 0x28));
  PP_RETURN_IF_ERROR(Block(table, "an inode table"));
  const uint64_t byte = index * inode_bytes_;
  PP_ASSIGN_OR_RETURN(const ByteRun block, Block(table + byte / block_bytes_, "an inode table"));
  return ByteRun{block.offset + byte % block_bytes_, inode_bytes_};
}

// Source: fs/ext4/inode.c, ext4_inode_csum. The generation is 0, and with i_extra_isize 0 there is
// room for the checksum's lower half only.
std::vector<uint8_t> DamageLayout::ClearedInode(uint32_t inode) const {
  std::vector<uint8_t> bytes(inode_bytes_);
  if ((ro_compat_ & kRoCompatMetadataCsum) == 0) return bytes;
  std::array<uint8_t, 8> number_and_generation{};
  std::memcpy(number_and_generation.data(), &inode, sizeof inode);
  const uint32_t crc = Crc32c(Crc32c(checksum_seed_, number_and_generation), bytes);
  bytes[kInodeChecksumAt] = static_cast<uint8_t>(crc);
  bytes[kInodeChecksumAt + 1] = static_cast<uint8_t>(crc >> 8);
  return bytes;
}

Status DamageLayout::AddBlocks(uint64_t first, uint64_t count, std::vector<ByteRun>& runs) {
  PP_ASSIGN_OR_RETURN(const ByteRun block, Block(first, "a file's block"));
  if (count == 0 || count > blocks_count_ - first) {
    return UserError(
        fmt::format("the file system is damaged already: {} blocks from {} on are "
                    "said to be a file's",
                    count, first));
  }
  mapped_bytes_ += count * block_bytes_;
  if (mapped_bytes_ > kDamageBytesMax) {
    return UserError(fmt::format("the inode has more than {} MiB of blocks; choose a smaller one",
                                 kDamageBytesMax >> 20));
  }
  if (!runs.empty() && runs.back().offset + runs.back().length == block.offset) {
    runs.back().length += count * block_bytes_;
  } else {
    runs.push_back({block.offset, count * block_bytes_});
  }
  return OkStatus();
}

Status DamageLayout::WalkExtents(std::span<const uint8_t> node, int depth_max,
                                 std::vector<ByteRun>& runs) {
  const auto damaged = [] {
    return UserError("the file system is damaged already: an extent tree makes no sense");
  };
  const auto entries = Get<uint16_t>(node, 2);
  const auto depth = Get<uint16_t>(node, 6);
  if (Get<uint16_t>(node, 0) != kExtentMagic || depth > depth_max ||
      (entries + 1U) * kExtentEntryBytes > node.size()) {
    return damaged();
  }
  for (size_t i = 1; i <= entries; ++i) {
    const auto entry = node.subspan(i * kExtentEntryBytes, kExtentEntryBytes);
    if (depth == 0) {
      const auto length = Get<uint16_t>(entry, 4);
      const uint64_t start =
          static_cast<uint64_t>(Get<uint16_t>(entry, 6)) << 32 | Get<uint32_t>(entry, 8);
      PP_RETURN_IF_ERROR(
          AddBlocks(start, length > kExtentLengthMax ? length - kExtentLengthMax : length, runs));
      continue;
    }
    if (nodes_left_-- == 0) return damaged();
    const uint64_t child =
        static_cast<uint64_t>(Get<uint16_t>(entry, 8)) << 32 | Get<uint32_t>(entry, 4);
    PP_ASSIGN_OR_RETURN(const ByteRun block, Block(child, "an extent tree"));
    PP_ASSIGN_OR_RETURN(const auto bytes, ReadRun(block));
    PP_RETURN_IF_ERROR(WalkExtents(bytes, depth - 1, runs));
  }
  return OkStatus();
}

Status DamageLayout::WalkIndirect(uint64_t block, int level, std::vector<ByteRun>& runs) {
  if (block == 0) return OkStatus();  // a hole
  if (level == 0) return AddBlocks(block, 1, runs);
  if (nodes_left_-- == 0) {
    return UserError("the file system is damaged already: a file has too many indirect blocks");
  }
  PP_ASSIGN_OR_RETURN(const ByteRun run, Block(block, "an indirect block"));
  PP_ASSIGN_OR_RETURN(const auto bytes, ReadRun(run));
  for (size_t at = 0; at < bytes.size(); at += 4) {
    PP_RETURN_IF_ERROR(WalkIndirect(Get<uint32_t>(bytes, at), level - 1, runs));
  }
  return OkStatus();
}

Result<std::vector<ByteRun>> DamageLayout::InodeBlocks(uint32_t inode) {
  PP_ASSIGN_OR_RETURN(const ByteRun at, Inode(inode));
  PP_ASSIGN_OR_RETURN(const auto bytes, ReadRun(at));
  const auto type = static_cast<uint16_t>(Get<uint16_t>(bytes, 0) & kModeTypeMask);
  const auto flags = Get<uint32_t>(bytes, 32);
  std::vector<ByteRun> runs;
  // A short symbolic link, a device and a file with inline data have no blocks.
  if ((type != kModeFolder && type != kModeFile) || (flags & kInodeFlagInlineData) != 0) {
    return runs;
  }
  mapped_bytes_ = 0;
  nodes_left_ = kNodesMax;
  const auto map = std::span<const uint8_t>(bytes).subspan(kMapAt, kMapBytes);
  if ((flags & kInodeFlagExtents) != 0) {
    PP_RETURN_IF_ERROR(WalkExtents(map, kExtentDepthMax, runs));
    return runs;
  }
  for (size_t i = 0; i < kMapBytes / 4; ++i) {
    const int level = i < kDirectBlocks ? 0 : static_cast<int>(i - kDirectBlocks) + 1;
    PP_RETURN_IF_ERROR(WalkIndirect(Get<uint32_t>(map, i * 4), level, runs));
  }
  return runs;
}

Result<std::optional<uint32_t>> DamageLayout::FindName(uint32_t folder, std::string_view name) {
  PP_ASSIGN_OR_RETURN(const auto runs, InodeBlocks(folder));
  for (const ByteRun& run : runs) {
    PP_ASSIGN_OR_RETURN(const auto bytes, ReadRun(run));
    for (size_t block = 0; block < bytes.size(); block += block_bytes_) {
      // An index block looks like one entry that covers it all (hash-tree folders).
      for (size_t at = block; at + 8 <= block + block_bytes_;) {
        const auto inode = Get<uint32_t>(bytes, at);
        size_t length = Get<uint16_t>(bytes, at + 4);
        if (length == 0 || length == 65535) length = 65536;  // a whole block of 64 KiB
        const size_t name_bytes = bytes[at + 6];
        if (length < 8 || at + length > block + block_bytes_ || name_bytes + 8 > length) break;
        if (inode != 0 && name_bytes == name.size() &&
            std::memcmp(bytes.data() + at + 8, name.data(), name_bytes) == 0) {
          return std::optional(inode);
        }
        at += length;
      }
    }
  }
  return std::optional<uint32_t>();
}

Result<uint32_t> DamageLayout::FindPath(std::string_view path) {
  uint32_t inode = kRootInode;
  std::string_view rest = path;
  for (size_t parts = 0;; ++parts) {
    while (rest.starts_with('/')) rest.remove_prefix(1);
    if (rest.empty()) return inode;
    if (parts == kFoldersMax) {
      return UserError(fmt::format("the path has more than {} parts", kFoldersMax));
    }
    const std::string_view name = rest.substr(0, rest.find('/'));
    PP_ASSIGN_OR_RETURN(const auto found, FindName(inode, name));
    if (!found) {
      return UserError(
          fmt::format("the file system has no {}: no name \"{}\" in its folder", path, name));
    }
    inode = *found;
    rest.remove_prefix(name.size());
  }
}

std::vector<uint64_t> DamageLayout::BackupGroups() const {
  std::vector<uint64_t> groups;
  if ((compat_ & kCompatSparseSuper2) != 0) {
    for (const uint32_t group : backup_groups_) {
      if (group != 0 && group < groups_) groups.push_back(group);
    }
    std::ranges::sort(groups);
    return groups;
  }
  const bool sparse = (ro_compat_ & kRoCompatSparseSuper) != 0;
  for (uint64_t group = 1; group < groups_; ++group) {
    if (!sparse || group == 1 || IsPowerOf(group, 3) || IsPowerOf(group, 5) ||
        IsPowerOf(group, 7)) {
      groups.push_back(group);
    }
  }
  return groups;
}

ByteRun DamageLayout::BackupSuperblock(uint64_t group) const {
  return {(first_data_block_ + group * blocks_per_group_) * block_bytes_, kSuperblockBytes};
}

}  // namespace plugpull::ext4
