// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/consistency_map.h"

#include <fmt/format.h>

namespace plugpull::ext4 {
namespace {

constexpr uint16_t kExtentMagic = 0xf30a;
constexpr size_t kRootBytes = 60;
constexpr size_t kEntryBytes = 12;
constexpr uint32_t kDepthMax = 5;
constexpr uint32_t kWrittenLengthMax = 32768;

}  // namespace

const uint8_t* MapReader::Read(uint64_t block) {
  const uint8_t* bytes = view_.Block(block);
  map_.watched.push_back({block, bytes});
  ++map_.charge;
  return bytes;
}

Judgement MapReader::CheckCharge() const {
  if (map_.charge <= 2 * g_.blocks + 16) return Fine();
  return Problem("more blocks than the file system has");
}

void MapReader::Claim(uint64_t first, uint64_t blocks) {
  map_.blocks += blocks;
  map_.charge += blocks;
  if (!map_.claims.empty() && map_.claims.back().first + map_.claims.back().blocks == first) {
    map_.claims.back().blocks += blocks;
  } else {
    map_.claims.push_back({first, blocks});
  }
}

Judgement MapReader::WalkExtents(const uint8_t* root, uint64_t size_bytes, uint32_t checksum_seed) {
  seed_ = checksum_seed;
  last_of_size_ = static_cast<int64_t>((size_bytes + g_.block_bytes - 1) / g_.block_bytes) - 1;
  tree_depth_ = LoadAt<uint16_t>(root, 6);
  if (tree_depth_ > kDepthMax) return Problem(fmt::format("extent tree of depth {}", tree_depth_));
  return WalkNode({root, kRootBytes, tree_depth_, INT64_MAX});
}

Judgement MapReader::WalkNode(const Node& node) {
  const uint32_t entries = LoadAt<uint16_t>(node.bytes, 2);
  const uint32_t room = LoadAt<uint16_t>(node.bytes, 4);
  const bool is_root = node.size_bytes == kRootBytes;
  const uint32_t room_max = static_cast<uint32_t>(node.size_bytes / kEntryBytes) - 1;
  if (LoadAt<uint16_t>(node.bytes, 0) != kExtentMagic || entries > room || room > room_max ||
      room + (is_root ? 0 : 2) < room_max || LoadAt<uint16_t>(node.bytes, 6) != node.depth ||
      (entries == 0 && (!is_root || node.depth > 0))) {
    return Problem("an extent header is wrong");
  }
  const size_t covered = kEntryBytes * (1 + room);
  if (!is_root && g_.metadata_checksums() &&
      (covered + 4 > node.size_bytes ||
       Crc32c(seed_, {node.bytes, covered}) != LoadAt<uint32_t>(node.bytes, covered))) {
    return Problem("an extent block's checksum is wrong");
  }
  return node.depth == 0 ? WalkLeaf(node, entries) : WalkIndex(node, entries);
}

Judgement MapReader::WalkLeaf(const Node& node, uint32_t entries) {
  for (uint32_t i = 1; i <= entries; ++i) {
    const uint8_t* entry = node.bytes + i * kEntryBytes;
    const uint64_t logical = LoadAt<uint32_t>(entry, 0);
    const uint32_t length = LoadAt<uint16_t>(entry, 4);
    const uint64_t first =
        LoadAt<uint32_t>(entry, 8) | static_cast<uint64_t>(LoadAt<uint16_t>(entry, 6)) << 32;
    const bool written = length <= kWrittenLengthMax;
    const uint64_t blocks = written ? length : length - kWrittenLengthMax;
    if (blocks == 0 || !g_.Holds(first) || blocks > g_.blocks - first) {
      return Problem(fmt::format("extent of {} blocks at block {}", blocks, first));
    }
    if (logical < next_logical_ || logical + blocks > (1ULL << 32)) {
      return Problem(fmt::format("extent at logical block {} is out of order", logical));
    }
    const auto last = static_cast<int64_t>(logical + blocks - 1);
    if (last > node.end && (written || last <= last_of_size_)) {
      return Problem(fmt::format("extent at logical block {} leaves its tree node", logical));
    }
    next_logical_ = logical + blocks;
    map_.last_block = last;
    if (written) {
      map_.last_written = last;
    } else {
      map_.uninitialised = true;
    }
    map_.extents.push_back({logical, first, blocks});
    Claim(first, blocks);
    PP_RETURN_UNLESS_FINE(CheckCharge());
  }
  return Fine();
}

Judgement MapReader::WalkIndex(const Node& node, uint32_t entries) {
  const int64_t inherited_end = node.end == INT64_MAX ? last_of_size_ : node.end;
  for (uint32_t i = 1; i <= entries; ++i) {
    const uint8_t* entry = node.bytes + i * kEntryBytes;
    const uint64_t logical = LoadAt<uint32_t>(entry, 0);
    const uint64_t block =
        LoadAt<uint32_t>(entry, 4) | static_cast<uint64_t>(LoadAt<uint16_t>(entry, 8)) << 32;
    if (!g_.Holds(block)) return Problem(fmt::format("extent block {}", block));
    if (logical < next_logical_) {
      return Problem(fmt::format("extent block {} is out of order", block));
    }
    // The library's numbers wrap around here.
    if (tree_depth_ >= 2 && static_cast<int64_t>(logical) > last_of_size_) {
      return Unjudged("a deep extent tree reaches behind the end of the file");
    }
    const int64_t end = i < entries ? static_cast<int64_t>(LoadAt<uint32_t>(entry, kEntryBytes)) - 1
                                    : inherited_end;
    const uint8_t* child = Read(block);
    Claim(block, 1);
    PP_RETURN_UNLESS_FINE(CheckCharge());
    if (LoadAt<uint32_t>(child, kEntryBytes) != logical) {
      return Problem(fmt::format("extent block {} begins elsewhere than its index says", block));
    }
    PP_RETURN_UNLESS_FINE(WalkNode({child, g_.block_bytes, node.depth - 1, end}));
  }
  return Fine();
}

Judgement MapReader::AddBlock(uint64_t block) {
  if (!g_.Holds(block)) return Problem(fmt::format("block {} is outside", block));
  Claim(block, 1);
  return CheckCharge();
}

Judgement MapReader::WalkIndirect(const uint8_t* numbers) {
  if (LoadAt<uint16_t>(numbers, 0) == kExtentMagic && g_.extents()) {
    return Problem("an extent tree without its flag");
  }
  constexpr uint32_t kDirect = 12;
  PP_RETURN_UNLESS_FINE(WalkNumbers(numbers, kDirect, 0));
  for (uint32_t depth = 1; depth <= 3; ++depth) {
    PP_RETURN_UNLESS_FINE(WalkNumbers(numbers + 4 * (kDirect + depth - 1), 1, depth));
  }
  return Fine();
}

Judgement MapReader::WalkNumbers(const uint8_t* numbers, uint32_t count, uint32_t depth) {
  const uint64_t per_block = g_.block_bytes / 4;
  uint64_t span = 1;
  for (uint32_t i = 0; i < depth; ++i) span *= per_block;
  for (uint32_t i = 0; i < count; ++i, next_logical_ += span) {
    const uint64_t block = LoadAt<uint32_t>(numbers, 4 * i);
    if (block == 0) continue;
    PP_RETURN_UNLESS_FINE(AddBlock(block));
    if (depth > 0) {
      const uint64_t begin = next_logical_;
      PP_RETURN_UNLESS_FINE(WalkNumbers(Read(block), static_cast<uint32_t>(per_block), depth - 1));
      next_logical_ = begin;
      continue;
    }
    map_.last_block = static_cast<int64_t>(next_logical_);
    map_.last_written = map_.last_block;
    auto& extents = map_.extents;
    if (!extents.empty() && extents.back().first + extents.back().blocks == block &&
        extents.back().logical + extents.back().blocks == next_logical_) {
      ++extents.back().blocks;
    } else {
      extents.push_back({next_logical_, block, 1});
    }
  }
  return Fine();
}

}  // namespace plugpull::ext4
