// SPDX-License-Identifier: Apache-2.0
// Of the consistency check: facts of one inode, which depend on its bytes and on its own blocks
// alone. Rules: e2fsck/pass1.c, e2fsck/journal.c and e2fsck/super.c of e2fsprogs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "framework/ext4/consistency_directory.h"
#include "framework/ext4/consistency_layout.h"
#include "framework/ext4/consistency_map.h"

namespace plugpull::ext4 {

struct InodeFacts {
  Judgement judgement;  // not fine: `watched` and `charge` hold, and nothing else does
  bool in_use = false;  // a name may lead to it, or it is one of those that always are in use
  bool hidden = false;  // no name leads to it, and its links are not counted
  bool directory = false;
  uint8_t type = 0;  // as directory entries give it
  uint32_t links = 0;
  uint64_t attribute_block = 0;
  uint64_t charge = 0;
  std::vector<BlockRange> claims;
  std::vector<Watched> watched;
  std::vector<std::shared_ptr<const DirectoryBlock>> directory_blocks;
};

// True for an inode that was never used, or is clear: nothing is to be said of it, unless it is a
// reserved one.
bool IsBlankInode(const uint8_t* inode);

// The facts of inode `number`. `before`: its facts until now, or null; blocks of a directory that
// have not changed are taken over from there.
InodeFacts ReadInode(const Geometry& geometry, BlockView& view, uint32_t number,
                     const uint8_t* inode, const InodeFacts* before);

}  // namespace plugpull::ext4
