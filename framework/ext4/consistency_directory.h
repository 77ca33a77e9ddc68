// SPDX-License-Identifier: Apache-2.0
// Of the consistency check: blocks of directories and their hash index. Layout: fs/ext4/namei.c and
// ext4.h of the Linux kernel. Rules: check_dir_block, parse_int_node and the loop over dx_dir_info
// in e2fsck/pass2.c, handle_htree in e2fsck/pass1.c, lib/ext2fs/csum.c.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "framework/ext4/consistency_layout.h"

namespace plugpull::ext4 {

// What a block of a directory is read with: equal contexts and bytes give equal facts.
struct DirectoryContext {
  uint32_t inode = 0;
  uint32_t checksum_seed = 0;  // of the inode
  bool indexed = false;
  int hash_version = 0;  // of the index; as its root says, or that plus 3 for unsigned characters
  bool operator==(const DirectoryContext&) const = default;
};

struct DirectoryEntry {
  uint32_t inode = 0;
  uint8_t type = 0;
  bool dot = false;  // "." or ".."
};

struct DirectoryBlock {
  enum class Kind : uint8_t { kLeaf, kRoot, kNode };
  struct IndexEntry {
    uint32_t hash;
    uint32_t block;  // logical
  };
  const uint8_t* bytes = nullptr;
  DirectoryContext context;
  Kind kind = Kind::kLeaf;
  Judgement judgement;
  std::vector<DirectoryEntry> entries;
  uint32_t parent = 0;  // what ".." names, in the first block
  uint32_t hash_min = ~0U;
  uint32_t hash_max = 0;
  std::vector<IndexEntry> index;  // of a root or node
  uint8_t levels = 0;             // of nodes below a root
};

// What the index root in the first block says of hashing, judged.
struct HashChoice {
  Judgement judgement;
  int version = 0;
};
HashChoice ReadHashChoice(const Geometry& geometry, const uint8_t* first_block);

// `first`: logical block 0.
DirectoryBlock ParseDirectoryBlock(const Geometry& geometry, const DirectoryContext& context,
                                   bool first, const uint8_t* bytes);

// The index over all blocks of a directory, each of which is fine.
Judgement JudgeIndex(std::span<const std::shared_ptr<const DirectoryBlock>> blocks);

}  // namespace plugpull::ext4
