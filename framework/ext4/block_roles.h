// SPDX-License-Identifier: Apache-2.0
// What every block of an ext4 image is for, and by which paths its inodes are reached. Read once,
// as a whole; believed only as far as the image goes: a damaged image gives fewer answers, never
// wrong memory or an endless walk. Layout: Documentation/filesystems/ext4/{blockgroup,inodes,
// directory,ifork}.rst; read with libext2fs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::ext4 {

struct BlockUse {
  enum class Kind : uint8_t {
    kFree,              // says the block bitmap
    kUnknown,           // in use, says the bitmap, and nothing was found that it is for
    kOutside,           // behind the end of the file system
    kSuperblock,        // of `group`: 0, or a backup
    kGroupDescriptors,  // of `group`: 0, or a backup
    kBlockBitmap,       // of `group`
    kInodeBitmap,       // of `group`
    kInodeTable,        // of `group`
    kJournal,           // block `place` of the journal
    kFolder,            // block `place` of folder `inode`
    kFile,              // block `place` of the data of `inode`, which is no folder
    kTree,              // extent or indirect block of `inode`
    kAttributes,        // extended attributes of `inode`
    kReservedInode,     // of an inode that ext4 keeps for itself: resize inode, orphan file, quota
  };
  Kind kind = Kind::kUnknown;
  uint32_t group = 0;
  uint32_t inode = 0;
  uint64_t place = 0;  // in file-system blocks
};

class BlockRoles {
 public:
  // `image` need not outlive the result. A user error when no file system can be opened in it.
  static Result<BlockRoles> Make(std::span<const uint8_t> image);

  uint32_t block_bytes() const { return block_bytes_; }
  uint32_t inode_bytes() const { return inode_bytes_; }
  BlockUse UseOf(uint64_t block) const;
  // Of a block of an inode table: the number of the first inode in it.
  uint32_t FirstInodeOf(uint64_t block) const;
  // The first path to an inode, "/" for the root; empty when no folder names it.
  std::string PathOf(uint32_t inode) const;
  // "/d3/f80 (inode 31)", "inode 31 (no name)", "the root folder".
  std::string InodeInWords(uint32_t inode) const;
  // "block bitmap of group 3", "data of /d3/f80 (inode 31), byte 4096".
  std::string InWords(uint64_t block) const;

 private:
  friend class RoleReader;
  // Blocks in a row; `use` is of the first, and `place` counts up where it means something.
  struct Run {
    uint64_t first = 0;
    uint64_t end = 0;
    BlockUse use;
  };
  struct Name {
    uint32_t folder = 0;
    std::string name;
  };
  static const Run* Find(const std::vector<Run>& runs, uint64_t block);

  uint32_t block_bytes_ = 0;
  uint32_t inode_bytes_ = 0;
  uint32_t inodes_per_group_ = 0;
  uint64_t blocks_ = 0;
  uint64_t first_data_block_ = 0;
  uint64_t blocks_per_group_ = 0;
  std::vector<Run> fixed_;                     // of the groups
  std::vector<Run> owned_;                     // of inodes
  std::vector<std::vector<uint8_t>> bitmaps_;  // by group; empty: all blocks free
  std::unordered_map<uint32_t, Name> names_;   // by inode
};

}  // namespace plugpull::ext4
