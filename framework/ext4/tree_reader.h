// SPDX-License-Identifier: Apache-2.0
// Names and bytes of an image that moves from state to state, where the layout is plain: inodes
// whose extents lie in the inode itself, folders whose blocks are well formed. What was parsed of
// a block is kept by the block's address, so looking at the next state costs what differs. Where
// the layout is not plain this says so and nothing else; FileSystem (libext2fs) answers then.
// Layout: Documentation/filesystems/ext4/{inodes,directory,ifork}.rst of the Linux kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "framework/ext4/file_system.h"
#include "framework/image/cow_image.h"

namespace plugpull::ext4 {

// One thread. The image, and its store, outlive the reader.
class TreeReader {
 public:
  explicit TreeReader(const image::CowImage& image) : image_(image) {}

  // To be called when the image has moved, before anything else.
  void Refresh();

  struct Answer {
    bool plain = false;  // else nothing is known
    std::optional<Node> node;
  };
  // As FileSystem::Lookup.
  Answer Lookup(std::string_view path);

  // Of a regular file: equal stamps mean equal sizes and equal bytes, in all images of one store.
  // Nothing where the layout is not plain.
  std::optional<image::Fingerprint> Stamp(uint32_t inode);

  // As FileSystem::Read; false where the layout is not plain.
  bool Read(uint32_t inode, uint64_t offset, std::span<uint8_t> out);

 private:
  struct Extent {
    uint64_t logical;
    uint64_t blocks;
    uint64_t physical;
    bool unwritten;
  };
  struct Inode {
    Node node;
    std::vector<Extent> extents;  // ascending, apart
  };
  using Names = std::unordered_map<std::string, uint32_t>;

  const Inode* InodeOf(uint32_t number);
  std::optional<Inode> ParseInode(uint32_t number) const;
  // Of a folder's block; null when it is malformed.
  const Names* NamesIn(uint64_t block);

  const image::CowImage& image_;
  bool plain_ = false;
  uint32_t inodes_count_ = 0;
  uint32_t inodes_per_group_ = 0;
  uint32_t inode_bytes_ = 0;
  uint32_t descriptor_bytes_ = 0;
  uint64_t first_descriptor_ = 0;  // byte
  uint64_t blocks_count_ = 0;
  std::unordered_map<uint32_t, std::optional<Inode>> inodes_;         // of the present state
  std::unordered_map<const uint8_t*, std::unique_ptr<Names>> names_;  // by address, of all states
};

}  // namespace plugpull::ext4
