// SPDX-License-Identifier: Apache-2.0
// A valid small file system and a list of patches: what a fuzzer's bytes stand for. Most bytes of a
// file system are zero and most of the rest are guarded by checksums, so bytes thrown at a whole
// image reach little; patches go where something is, and checksums can be made right behind them.
//
//   byte 0  which base image, modulo their number
//   byte 1  kSealJournal, kSealSuper; other bits are the target's
//   then    patches: a byte K and, by K modulo 4,
//     0  block, offset (2 bytes, little-endian), K / 4 + 1 bytes that are put there
//     1  block, from: a block is copied
//     2  block: it is filled with zeroes
//     3  block, offset (2 bytes), delta: added to the big-endian number of 32 bits there
// A block is one byte: an index, modulo their number, into the blocks that hold something.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/ext4/journal.h"

namespace plugpull::fuzz {

inline constexpr uint8_t kSealJournal = 1;  // checksums of the log's blocks and its superblock
inline constexpr uint8_t kSealSuper = 2;    // checksum of the ext4 superblock
inline constexpr size_t kPatchesMax = 64;

struct BaseImage {
  std::string name;
  std::vector<uint8_t> bytes;
  ext4::JournalLayout journal;
  std::vector<uint64_t> blocks;  // those that hold something: of the journal first, then the others
  size_t journal_blocks = 0;     // how many of them are of the journal
};

// The images of tests/fuzz/images, by name. Read once; aborts when they cannot be read.
const std::vector<BaseImage>& BaseImages();

enum class Target : uint8_t { kEverything, kOutsideJournal };

// One at a time: the bytes are shared, and put back when the object ends.
class HostileImage {
 public:
  HostileImage(std::span<const uint8_t> input, Target target);
  ~HostileImage();
  HostileImage(const HostileImage&) = delete;
  HostileImage& operator=(const HostileImage&) = delete;

  const BaseImage& base() const { return base_; }
  std::span<const uint8_t> bytes() const { return bytes_; }
  // Blocks that may differ from the base image's, some more than once.
  const std::vector<uint64_t>& touched() const { return touched_; }
  // To write to; such blocks are put back too.
  std::span<uint8_t> Touch(uint64_t block);

 private:
  void Patch(std::span<const uint8_t> patches, std::span<const uint64_t> blocks);
  void SealJournal();
  void SealSuper();

  const BaseImage& base_;
  std::vector<uint8_t>& bytes_;
  std::vector<uint64_t> touched_;
};

}  // namespace plugpull::fuzz
