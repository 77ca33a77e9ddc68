// SPDX-License-Identifier: Apache-2.0
// Of the consistency check: where the blocks of one inode lie, from an extent tree or from indirect
// blocks. Layout: fs/ext4/ext4_extents.h of the Linux kernel. Rules: scan_extent_node and
// process_block in e2fsck/pass1.c, lib/ext2fs/extent.c, lib/ext2fs/block.c.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/ext4/consistency_layout.h"

namespace plugpull::ext4 {

struct BlockRange {
  uint64_t first = 0;
  uint64_t blocks = 0;
  auto operator<=>(const BlockRange&) const = default;
};

// A block that a fact was read from, and the bytes that it had.
struct Watched {
  uint64_t block = 0;
  const uint8_t* bytes = nullptr;
};

struct Extent {
  uint64_t logical = 0;
  uint64_t first = 0;
  uint64_t blocks = 0;
};

// Where facts of one inode are gathered.
struct BlockMap {
  std::vector<BlockRange> claims;  // data and map blocks
  std::vector<Extent> extents;     // data, ascending by logical block
  std::vector<Watched> watched;
  uint64_t blocks = 0;         // claimed
  int64_t last_block = -1;     // the last mapped logical block
  int64_t last_written = -1;   // the last of the last extent that is not uninitialised
  bool uninitialised = false;  // some extent is
  uint64_t charge = 0;  // work that was done; of a consistent file system at most 2 per block
};

// Reads blocks and remembers which.
class MapReader {
 public:
  MapReader(const Geometry& geometry, BlockView& view, BlockMap& map)
      : g_(geometry), view_(view), map_(map) {}

  // `block` lies in the file system.
  const uint8_t* Read(uint64_t block);

  // The tree in the 60 bytes of an inode. `checksum_seed`: of the inode.
  Judgement WalkExtents(const uint8_t* root, uint64_t size_bytes, uint32_t checksum_seed);
  // The block numbers there.
  Judgement WalkIndirect(const uint8_t* numbers);

 private:
  struct Node {
    const uint8_t* bytes;
    size_t size_bytes;
    uint32_t depth;
    int64_t end;  // the last logical block that it may map
  };
  Judgement WalkNode(const Node& node);
  Judgement WalkLeaf(const Node& node, uint32_t entries);
  Judgement WalkIndex(const Node& node, uint32_t entries);
  Judgement WalkNumbers(const uint8_t* numbers, uint32_t count, uint32_t depth);
  Judgement AddBlock(uint64_t block);
  void Claim(uint64_t first, uint64_t blocks);
  Judgement CheckCharge() const;

  const Geometry& g_;
  BlockView& view_;
  BlockMap& map_;
  uint32_t seed_ = 0;
  int64_t last_of_size_ = -1;  // the logical block that the size ends in
  uint32_t tree_depth_ = 0;
  uint64_t next_logical_ = 0;
};

}  // namespace plugpull::ext4
