// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/consistency_directory.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace plugpull::ext4 {
namespace {

constexpr size_t kTailBytes = 12;      // of a leaf, with its checksum
constexpr size_t kIndexTailBytes = 8;  // of a root or node
constexpr size_t kRootInfoAt = 24;
constexpr size_t kRootIndexAt = 32;
constexpr size_t kNodeIndexAt = 8;
constexpr size_t kDotBytes = 12;
constexpr uint32_t kLastHash = 0xfffffffe;

class BlockParser {
 public:
  BlockParser(const Geometry& geometry, bool first, DirectoryBlock& out)
      : g_(geometry), first_(first), out_(out), bytes_(out.bytes) {}

  Judgement Parse() {
    FindKind();
    if (out_.kind == DirectoryBlock::Kind::kNode) return ParseIndex(kNodeIndexAt);
    const bool leaf = out_.kind == DirectoryBlock::Kind::kLeaf;
    end_ = g_.block_bytes - (leaf && g_.metadata_checksums() ? kTailBytes : 0);
    if (leaf) PP_RETURN_UNLESS_FINE(CheckTail());
    PP_RETURN_UNLESS_FINE(ParseEntries());
    return leaf ? CheckDuplicates() : ParseIndex(kRootIndexAt);
  }

 private:
  size_t IndexRoom(size_t at) const {
    return (g_.block_bytes - at - (g_.metadata_checksums() ? kIndexTailBytes : 0)) / 8;
  }

  void FindKind() {
    if (!out_.context.indexed) return;
    if (first_) {
      out_.kind = DirectoryBlock::Kind::kRoot;
      out_.levels = bytes_[kRootInfoAt + 6];
      return;
    }
    if (LoadAt<uint32_t>(bytes_, 0) == 0 && LoadAt<uint16_t>(bytes_, 4) == g_.block_bytes &&
        bytes_[6] == 0 && LoadAt<uint16_t>(bytes_, kNodeIndexAt) == IndexRoom(kNodeIndexAt)) {
      out_.kind = DirectoryBlock::Kind::kNode;
    }
  }

  Judgement CheckTail() const {
    if (!g_.metadata_checksums()) return Fine();
    const uint8_t* tail = bytes_ + end_;
    if (LoadAt<uint32_t>(tail, 0) != 0 || LoadAt<uint16_t>(tail, 4) != kTailBytes ||
        LoadAt<uint16_t>(tail, 6) != 0xde00) {
      return Problem("no checksum at the end of a directory block");
    }
    if (Crc32c(out_.context.checksum_seed, {bytes_, end_}) != LoadAt<uint32_t>(tail, 8)) {
      return Problem("a directory block's checksum is wrong");
    }
    return Fine();
  }

  Judgement ParseEntries() {
    size_t number = 0;
    for (size_t at = 0; at < end_; ++number) {
      if (end_ - at < kDotBytes) return Problem("a directory entry is too short");
      const uint8_t* entry = bytes_ + at;
      const size_t length = LoadAt<uint16_t>(entry, 4);
      const size_t name_bytes = entry[6];
      if (length < kDotBytes || length % 4 != 0 || length > end_ - at ||
          ((name_bytes + 8 + 3) & ~size_t{3}) > length) {
        return Problem(fmt::format("a directory entry of {} bytes at byte {}", length, at));
      }
      if (first_ && number < 2) {
        PP_RETURN_UNLESS_FINE(ParseDot(entry, number == 0 ? 1 : 2));
      } else if (LoadAt<uint32_t>(entry, 0) != 0) {
        PP_RETURN_UNLESS_FINE(
            ParseName(entry, {reinterpret_cast<const char*>(entry) + 8, name_bytes}));
      }
      at += length;
    }
    if (first_ && number < 2) return Problem("no '..'");
    return Fine();
  }

  Judgement AddEntry(const uint8_t* entry, bool dot) {
    const uint32_t inode = LoadAt<uint32_t>(entry, 0);
    const uint8_t type = entry[7];
    if ((inode != kRootInode && inode < kFirstInode) || inode > g_.inodes ||
        inode == g_.orphan_file) {
      return Problem(fmt::format("a directory entry names inode {}", inode));
    }
    if (g_.file_types() ? type < 1 || type > 7 : type != 0) {
      return Problem(fmt::format("a directory entry of file type {}", type));
    }
    out_.entries.push_back({inode, type, dot});
    return Fine();
  }

  // "." or "..", by its length.
  Judgement ParseDot(const uint8_t* entry, size_t dots) {
    constexpr uint8_t kNames[] = {'.', '.'};
    if (LoadAt<uint32_t>(entry, 0) == 0 || entry[6] != dots ||
        !std::equal(kNames, kNames + dots, entry + 8) || entry[8 + dots] != 0) {
      return Problem(dots == 1 ? "no '.'" : "no '..'");
    }
    const uint32_t inode = LoadAt<uint32_t>(entry, 0);
    const size_t length = LoadAt<uint16_t>(entry, 4);
    if (dots == 1 && (inode != out_.context.inode || length != kDotBytes)) {
      return Problem("'.' is wrong");
    }
    if (out_.kind == DirectoryBlock::Kind::kRoot && dots == 2 &&
        length != g_.block_bytes - kDotBytes) {
      return Problem("'..' does not cover the index");
    }
    if (dots == 2) out_.parent = inode;
    return AddEntry(entry, true);
  }

  Judgement ParseName(const uint8_t* entry, std::string_view name) {
    const uint32_t inode = LoadAt<uint32_t>(entry, 0);
    if (inode == out_.context.inode || inode == kRootInode) {
      return Problem(fmt::format("a second name for directory {}", inode));
    }
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\0", 2)) != std::string_view::npos) {
      return Problem("a name that cannot be");
    }
    PP_RETURN_UNLESS_FINE(AddEntry(entry, false));
    names_.push_back(name);
    if (out_.context.indexed) {
      ext2_dirhash_t hash = 0;
      if (ext2fs_dirhash2(out_.context.hash_version, name.data(), static_cast<int>(name.size()),
                          nullptr, 0, g_.hash_seed.data(), &hash, nullptr) != 0) {
        return Unjudged("a name cannot be hashed");
      }
      out_.hash_min = std::min(out_.hash_min, hash);
      out_.hash_max = std::max(out_.hash_max, hash);
    }
    return Fine();
  }

  // Within a block, as e2fsck looks for them.
  Judgement CheckDuplicates() {
    std::sort(names_.begin(), names_.end(), [](std::string_view a, std::string_view b) {
      return a.size() != b.size() ? a.size() < b.size() : a < b;
    });
    if (std::adjacent_find(names_.begin(), names_.end()) != names_.end()) {
      return Problem("a name that is there twice");
    }
    return Fine();
  }

  Judgement ParseIndex(size_t at) {
    const size_t limit = LoadAt<uint16_t>(bytes_, at);
    const size_t count = LoadAt<uint16_t>(bytes_, at + 2);
    if (limit != IndexRoom(at) || count > limit || count == 0 ||
        (out_.kind == DirectoryBlock::Kind::kNode && bytes_[7] != 0)) {
      return Problem(fmt::format("index with room for {} and {} entries", limit, count));
    }
    if (g_.metadata_checksums()) {
      constexpr uint8_t kZeroes[4] = {};
      const uint8_t* tail = bytes_ + at + 8 * limit;
      uint32_t crc = Crc32c(out_.context.checksum_seed, {bytes_, at + 8 * count});
      crc = Crc32c(crc, {tail, 4});
      crc = Crc32c(crc, kZeroes);
      if (crc != LoadAt<uint32_t>(tail, 4)) return Problem("an index block's checksum is wrong");
    }
    uint32_t last = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint32_t hash = i == 0 ? 0 : LoadAt<uint32_t>(bytes_, at + 8 * i) & ~1U;
      if (hash < last) return Problem("an index is out of order");
      last = hash;
      out_.index.push_back({hash, LoadAt<uint32_t>(bytes_, at + 8 * i + 4) & 0x0fffffff});
    }
    return Fine();
  }

  const Geometry& g_;
  bool first_;
  DirectoryBlock& out_;
  const uint8_t* bytes_;
  size_t end_ = 0;
  std::vector<std::string_view> names_;
};

using Blocks = std::span<const std::shared_ptr<const DirectoryBlock>>;

// Walks an index and counts how often each block is named.
class IndexWalk {
 public:
  explicit IndexWalk(Blocks blocks) : blocks_(blocks), named_(blocks.size()) {}

  Judgement Walk() {
    const DirectoryBlock& root = *blocks_[0];
    if (root.levels > 1) return Problem(fmt::format("index of {} levels", root.levels));
    PP_RETURN_UNLESS_FINE(WalkEntries(root, root.levels, 0, kLastHash));
    for (size_t i = 1; i < named_.size(); ++i) {
      if (named_[i] != 1) return Problem(fmt::format("directory block {} is not indexed once", i));
    }
    return named_[0] == 0 ? Fine() : Problem("an index names its root");
  }

 private:
  // The hashes of the names below a node, which are `low` to `high`.
  Judgement WalkEntries(const DirectoryBlock& node, uint32_t levels, uint32_t low, uint32_t high) {
    for (size_t i = 0; i < node.index.size(); ++i) {
      const uint32_t block = node.index[i].block;
      if (block >= blocks_.size()) return Problem(fmt::format("index names block {}", block));
      if (++named_[block] > 1) return Problem(fmt::format("index names block {} twice", block));
      const DirectoryBlock& child = *blocks_[block];
      const auto kind = levels > 0 ? DirectoryBlock::Kind::kNode : DirectoryBlock::Kind::kLeaf;
      if (child.kind != kind) return Problem(fmt::format("index: block {} is no such", block));
      const uint32_t child_low = i == 0 ? low : node.index[i].hash;
      const uint32_t child_high = i + 1 < node.index.size() ? node.index[i + 1].hash : high;
      if (levels > 0) {
        PP_RETURN_UNLESS_FINE(WalkEntries(child, levels - 1, child_low, child_high));
      } else if (child.hash_min < child_low || child.hash_max > child_high) {
        return Problem(fmt::format("directory block {} holds names of other hashes", block));
      }
    }
    return Fine();
  }

  Blocks blocks_;
  std::vector<uint32_t> named_;
};

}  // namespace

HashChoice ReadHashChoice(const Geometry& geometry, const uint8_t* first_block) {
  HashChoice choice;
  const uint8_t* info = first_block + kRootInfoAt;
  const uint8_t version = info[4];
  if (LoadAt<uint32_t>(info, 0) != 0 || info[5] != 8) {
    choice.judgement = Problem("an index root is wrong");
  } else if (version > EXT2_HASH_TEA || info[7] != 0) {
    choice.judgement = Unjudged(fmt::format("index with hash version {}", version));
  }
  choice.version = version + (geometry.unsigned_hash ? 3 : 0);
  return choice;
}

DirectoryBlock ParseDirectoryBlock(const Geometry& geometry, const DirectoryContext& context,
                                   bool first, const uint8_t* bytes) {
  DirectoryBlock block;
  block.bytes = bytes;
  block.context = context;
  block.judgement = BlockParser(geometry, first, block).Parse();
  return block;
}

Judgement JudgeIndex(std::span<const std::shared_ptr<const DirectoryBlock>> blocks) {
  return IndexWalk(blocks).Walk();
}

}  // namespace plugpull::ext4
