// SPDX-License-Identifier: Apache-2.0
// Of the consistency check: extended attributes, in an inode and in a block of their own. Layout:
// fs/ext4/xattr.h of the Linux kernel. Rules: check_ea_in_inode and check_ext_attr in
// e2fsck/pass1.c, lib/ext2fs/ext_attr.c.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "framework/ext4/consistency_layout.h"

namespace plugpull::ext4 {

// The attributes behind the fields of a large inode. `area`: from the magic to the inode's end.
Judgement JudgeInodeAttributes(std::span<const uint8_t> area);

struct AttributeBlock {
  Judgement judgement;
  uint32_t references = 0;  // inodes that share it, as it says
};
AttributeBlock JudgeAttributeBlock(const Geometry& geometry, uint64_t block, const uint8_t* bytes);

}  // namespace plugpull::ext4
