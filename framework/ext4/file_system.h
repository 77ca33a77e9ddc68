// SPDX-License-Identifier: Apache-2.0
// Files of an ext4 image in memory, read with libext2fs. Nothing is repaired and nothing is
// written; hostile images give errors, not crashes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "framework/base/inode_times.h"
#include "framework/base/result.h"
#include "framework/image/cow_image.h"

namespace plugpull::ext4 {

struct Superblock;
class MemoryImage;

struct Node {
  uint32_t inode = 0;
  bool folder = false;
  bool regular = false;
  uint64_t size_bytes = 0;
  bool symlink = false;
  uint32_t mode = 0;  // permissions, set-id and sticky bits
  uint32_t owner = 0;
  uint32_t group = 0;
  uint32_t links = 0;
  // Without the part below a second where the inode has no room for it (128 bytes).
  InodeTimes times = {};
};

class FileSystem {
 public:
  // `image` must not change, and must outlive the result. A user error when there is no file
  // system that libext2fs can open.
  static Result<FileSystem> Open(std::span<const uint8_t> image);
  static Result<FileSystem> Open(const image::CowImage& image);
  FileSystem(FileSystem&&) noexcept;
  FileSystem& operator=(FileSystem&&) noexcept;
  ~FileSystem();

  // What a path names, relative to the root, without a leading slash; "" is the root. Nothing
  // when there is no such name; an error when a folder on the way cannot be read.
  Result<std::optional<Node>> Lookup(std::string_view path);
  // The names in a folder with their inodes, in order; without "." and "..". An error when it
  // cannot be read, or is none.
  Result<std::vector<std::pair<std::string, uint32_t>>> List(uint32_t folder);
  // Fills `out` from a regular file; what is behind its end, and holes, are zeroes.
  Result<void> Read(uint32_t inode, uint64_t offset, std::span<uint8_t> out);

  // The block that holds block `place` of a regular file; nothing for a hole, for what is behind
  // the file's end, for blocks that are allocated and count as not written, and without such a
  // file.
  std::optional<uint64_t> DataBlock(uint32_t inode, uint64_t place);

  // What a symbolic link points to.
  Result<std::string> Target(uint32_t inode);

  // Blocks of the journal inode, by their place in the journal; empty without an internal journal.
  Result<std::vector<uint64_t>> JournalBlocks();

 private:
  struct Impl;
  explicit FileSystem(std::unique_ptr<Impl> impl);
  static Result<FileSystem> Open(std::unique_ptr<MemoryImage> image, uint64_t size_bytes);
  std::unique_ptr<Impl> impl_;
};

}  // namespace plugpull::ext4
