// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/tree_reader.h"

#include <algorithm>
#include <cstring>

#include "framework/ext4/raw_inode_times.h"
#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {
namespace {

constexpr uint32_t kRootInode = 2;
constexpr size_t kDepthMax = 256;
constexpr size_t kParsedBlocksMax = 1'000'000;  // then all is forgotten: a bound on memory

constexpr uint32_t kIncompatPlain = 0x2 | 0x4 | 0x40 | 0x80 | 0x200 | 0x2000;
constexpr uint32_t kIncompat64Bit = 0x80;
constexpr uint32_t kFlagIndex = 0x1000;
constexpr uint32_t kFlagExtents = 0x80000;
constexpr uint16_t kExtentMagic = 0xf30a;
constexpr uint16_t kExtentLengthMax = 32768;  // a greater length says: not written yet
constexpr size_t kExtentsInInode = 4;

template <typename T>
T Get(const uint8_t* bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes + at, sizeof value);
  return value;
}

}  // namespace

void TreeReader::Refresh() {
  inodes_.clear();
  if (names_.size() > kParsedBlocksMax) names_.clear();
  plain_ = false;
  if (image_.size_bytes() < kSuperblockAt + kSuperblockBytes) return;
  std::vector<uint8_t> start(kSuperblockAt + kSuperblockBytes);
  image_.Read(0, start);
  const auto super = ParseSuperblock(start);
  if (!super.ok() || super->block_bytes != image_.block_bytes()) return;
  if ((super->feature_incompat & ~kIncompatPlain) != 0) return;
  const uint8_t* bytes = start.data() + kSuperblockAt;
  blocks_count_ = std::min(super->blocks_count, image_.blocks());
  inodes_count_ = Get<uint32_t>(bytes, 0x0);
  inodes_per_group_ = Get<uint32_t>(bytes, 0x28);
  inode_bytes_ = Get<uint16_t>(bytes, 0x58);
  const bool wide = (super->feature_incompat & kIncompat64Bit) != 0;
  descriptor_bytes_ = wide ? Get<uint16_t>(bytes, 0xfe) : 32;
  first_descriptor_ = (Get<uint32_t>(bytes, 0x14) + 1ULL) * super->block_bytes;
  const bool inode_fits = inode_bytes_ >= 128 && inode_bytes_ <= super->block_bytes &&
                          super->block_bytes % inode_bytes_ == 0;
  const bool descriptor_fits = descriptor_bytes_ >= 32 && descriptor_bytes_ <= super->block_bytes &&
                               super->block_bytes % descriptor_bytes_ == 0;
  plain_ = inode_fits && descriptor_fits && inodes_per_group_ > 0;
}

std::optional<TreeReader::Inode> TreeReader::ParseInode(uint32_t number) const {
  if (number == 0 || number > inodes_count_) return std::nullopt;
  const uint64_t size = image_.block_bytes();
  const uint32_t index = (number - 1) % inodes_per_group_;
  const uint64_t descriptor =
      first_descriptor_ + uint64_t{(number - 1) / inodes_per_group_} * descriptor_bytes_;
  if (descriptor / size >= blocks_count_) return std::nullopt;
  const uint8_t* group = image_.Block(descriptor / size).data() + descriptor % size;
  uint64_t table = Get<uint32_t>(group, 0x8);
  if (descriptor_bytes_ >= 64) table |= uint64_t{Get<uint32_t>(group, 0x28)} << 32;
  const uint64_t at = uint64_t{index} * inode_bytes_;
  if (table == 0 || table >= blocks_count_ || at / size >= blocks_count_ - table) {
    return std::nullopt;
  }
  const uint8_t* raw = image_.Block(table + at / size).data() + at % size;
  Inode inode;
  const auto mode = Get<uint16_t>(raw, 0x0);
  inode.node.inode = number;
  inode.node.folder = (mode & 0xf000) == 0x4000;
  inode.node.regular = (mode & 0xf000) == 0x8000;
  inode.node.times = TimesOf({raw, inode_bytes_});
  inode.node.size_bytes = Get<uint32_t>(raw, 0x4) | uint64_t{Get<uint32_t>(raw, 0x6c)} << 32;
  if (!inode.node.folder && !inode.node.regular) return inode;
  const auto flags = Get<uint32_t>(raw, 0x20);
  if ((flags & kFlagExtents) == 0 || (flags & ~(kFlagExtents | kFlagIndex)) != 0) {
    return std::nullopt;
  }
  const uint8_t* header = raw + 0x28;
  const auto entries = Get<uint16_t>(header, 2);
  const bool leaf = Get<uint16_t>(header, 0) == kExtentMagic && Get<uint16_t>(header, 6) == 0;
  if (!leaf || entries > kExtentsInInode) return std::nullopt;
  uint64_t next_logical = 0;
  for (size_t i = 0; i < entries; ++i) {
    const uint8_t* entry = header + 12 * (i + 1);
    Extent extent;
    extent.logical = Get<uint32_t>(entry, 0);
    const auto length = Get<uint16_t>(entry, 4);
    extent.unwritten = length > kExtentLengthMax;
    extent.blocks = extent.unwritten ? length - kExtentLengthMax : length;
    extent.physical = uint64_t{Get<uint16_t>(entry, 6)} << 32 | Get<uint32_t>(entry, 8);
    if (extent.blocks == 0 || extent.logical < next_logical || extent.physical == 0 ||
        extent.physical >= blocks_count_ || extent.blocks > blocks_count_ - extent.physical) {
      return std::nullopt;
    }
    next_logical = extent.logical + extent.blocks;
    inode.extents.push_back(extent);
  }
  return inode;
}

const TreeReader::Inode* TreeReader::InodeOf(uint32_t number) {
  auto it = inodes_.find(number);
  if (it == inodes_.end()) it = inodes_.emplace(number, ParseInode(number)).first;
  return it->second ? &*it->second : nullptr;
}

const TreeReader::Names* TreeReader::NamesIn(uint64_t block) {
  const auto bytes = image_.Block(block);
  const auto known = names_.find(bytes.data());
  if (known != names_.end()) return known->second.get();
  auto names = std::make_unique<Names>();
  size_t at = 0;
  while (names != nullptr && at < bytes.size()) {
    constexpr size_t kHeaderBytes = 8;
    // A length that does not fit into 16 bits is written in another way: not plain.
    const size_t left = bytes.size() - at;
    const size_t length = left < kHeaderBytes ? 0 : Get<uint16_t>(bytes.data() + at, 4);
    const size_t name_length = left < kHeaderBytes ? 0 : bytes[at + 6];
    if (length < kHeaderBytes || length % 4 != 0 || length > left ||
        name_length > length - kHeaderBytes) {
      names.reset();
      break;
    }
    if (const auto inode = Get<uint32_t>(bytes.data() + at, 0); inode != 0) {
      names->emplace(
          std::string(reinterpret_cast<const char*>(bytes.data() + at + kHeaderBytes), name_length),
          inode);
    }
    at += length;
  }
  return names_.emplace(bytes.data(), std::move(names)).first->second.get();
}

TreeReader::Answer TreeReader::Lookup(std::string_view path) {
  if (!plain_) return {};
  uint32_t number = kRootInode;
  size_t depth = 0;
  std::string name;
  for (size_t start = 0; start < path.size();) {
    size_t stop = path.find('/', start);
    if (stop == std::string_view::npos) stop = path.size();
    name.assign(path.substr(start, stop - start));
    start = stop + 1;
    const Inode* folder = InodeOf(number);
    if (folder == nullptr || ++depth > kDepthMax) return {};
    if (!folder->node.folder) return {true, std::nullopt};
    number = 0;
    uint64_t next_logical = 0;
    for (const Extent& extent : folder->extents) {
      if (extent.unwritten || extent.logical != next_logical) return {};
      next_logical += extent.blocks;
      for (uint64_t i = 0; i < extent.blocks; ++i) {
        const Names* names = NamesIn(extent.physical + i);
        if (names == nullptr) return {};
        if (number != 0) continue;  // the first counts; yet all blocks must be plain
        if (const auto it = names->find(name); it != names->end()) number = it->second;
      }
    }
    if (next_logical * image_.block_bytes() != folder->node.size_bytes) return {};
    if (number == 0) return {true, std::nullopt};
  }
  const Inode* inode = InodeOf(number);
  if (inode == nullptr) return {};
  return {true, inode->node};
}

std::optional<image::Fingerprint> TreeReader::Stamp(uint32_t number) {
  const Inode* inode = plain_ ? InodeOf(number) : nullptr;
  if (inode == nullptr || !inode->node.regular) return std::nullopt;
  const uint64_t size = image_.block_bytes();
  const uint64_t end = (inode->node.size_bytes + size - 1) / size;  // in blocks
  std::vector<uint64_t> words = {inode->node.size_bytes};
  for (const Extent& extent : inode->extents) {
    if (extent.unwritten || extent.logical >= end) continue;  // zeroes; behind the end
    const uint64_t blocks = std::min(extent.blocks, end - extent.logical);
    for (uint64_t i = 0; i < blocks; ++i) {
      words.push_back(extent.logical + i);
      words.push_back(reinterpret_cast<uintptr_t>(image_.Block(extent.physical + i).data()));
    }
  }
  return image::FingerprintOf(
      {reinterpret_cast<const uint8_t*>(words.data()), words.size() * sizeof(uint64_t)});
}

bool TreeReader::Read(uint32_t number, uint64_t offset, std::span<uint8_t> out) {
  const Inode* inode = plain_ ? InodeOf(number) : nullptr;
  if (inode == nullptr || !inode->node.regular) return false;
  std::memset(out.data(), 0, out.size());
  const uint64_t size = image_.block_bytes();
  const uint64_t end = std::min<uint64_t>(offset + out.size(), inode->node.size_bytes);
  for (const Extent& extent : inode->extents) {
    if (extent.unwritten) continue;
    uint64_t at = std::max(offset, extent.logical * size);
    const uint64_t stop = std::min(end, (extent.logical + extent.blocks) * size);
    while (at < stop) {
      const uint64_t n = std::min(stop - at, size - at % size);
      const auto block = image_.Block(extent.physical + (at / size - extent.logical));
      std::memcpy(out.data() + (at - offset), block.data() + at % size, n);
      at += n;
    }
  }
  return true;
}

}  // namespace plugpull::ext4
