// SPDX-License-Identifier: Apache-2.0
// The fields of the ext4 superblock by name. Source: fs/ext4/ext4.h of the Linux kernel, struct
// ext4_super_block.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace plugpull::ext4 {

struct SuperblockField {
  std::string_view name;
  uint16_t offset;  // bytes from the superblock's start
  uint16_t bytes;   // numbers are little-endian

  // A number; the others are arrays.
  bool number() const { return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8; }
};

// All of them, in their order; they cover the superblock without a gap.
std::span<const SuperblockField> SuperblockFields();
// Null when there is none of that name.
const SuperblockField* FindSuperblockField(std::string_view name);

}  // namespace plugpull::ext4
