// SPDX-License-Identifier: Apache-2.0
// Damages ext4 images in ways that a consistency check could overlook: fields of every kind of
// metadata, swapped, lost and old blocks, names, claims, counts; mostly with checksums made right
// again, so that the damage itself has to be seen.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "framework/base/prng.h"
#include "framework/ext4/consistency_inode.h"
#include "framework/ext4/consistency_layout.h"

namespace plugpull::ext4 {

class Mutator {
 public:
  // `image` is changed by Mutate and Undo, and is consistent now. `earlier`: another state of the
  // same file system, of the same length. Both outlive the mutator.
  Mutator(std::span<uint8_t> image, std::span<const uint8_t> earlier);

  // Damages the image; the same generator, the same damage. Says what was done.
  std::string Mutate(Prng& prng);
  // Blocks (of the file system) that were written since the last Undo.
  const std::set<uint64_t>& written() const { return written_; }
  // As it was at first.
  void Undo();
  uint32_t block_bytes() const { return g_.block_bytes; }

 private:
  enum class Kind : uint8_t {
    kSuper,
    kDescriptors,
    kBlockBitmap,
    kInodeBitmap,
    kInodeTable,
    kDirectory,
    kExtents,
    kNumbers,  // indirect blocks, symbolic links, the journal's and the orphan file's blocks
    kAttributes,
  };
  struct Part {
    Kind kind;
    uint64_t block;
    uint32_t owner;  // inode or group
  };
  void FindParts();
  void FindPartsOf(uint32_t inode);
  const Part& Pick(Prng& prng, Kind kind);
  const Part& PickAny(Prng& prng);
  uint64_t InodeAt(uint32_t inode) const;
  uint64_t PickInode(Prng& prng);

  template <typename T>
  T Get(uint64_t at) const {
    return LoadAt<T>(image_.data(), at);
  }
  template <typename T>
  void Put(uint64_t at, T value);
  void Copy(uint64_t to, std::span<const uint8_t> bytes);
  uint64_t Interesting(Prng& prng, uint64_t now);
  // Changes a little-endian number of 1, 2 or 4 bytes.
  void Change(Prng& prng, uint64_t at, uint32_t bytes);

  std::string MutateOnce(Prng& prng);
  std::string MutateInode(Prng& prng);
  std::string MutateMap(Prng& prng);
  std::string MutateDescriptor(Prng& prng);
  std::string MutateSuper(Prng& prng);
  std::string MutateName(Prng& prng);
  std::string MutateBitmap(Prng& prng);
  std::string MutateBlocks(Prng& prng);
  std::string MixWithEarlier(Prng& prng);
  void FixChecksums();
  void FixInodes();
  void FixPart(const Part& part);
  void FixGroups();

  std::span<uint8_t> image_;
  std::vector<uint8_t> original_;
  std::span<const uint8_t> earlier_;
  std::vector<uint64_t> differing_;  // blocks that are other in the earlier state
  Geometry g_;
  std::vector<GroupDescriptor> groups_;
  std::vector<Part> parts_;
  std::vector<uint32_t> used_inodes_;
  std::set<uint64_t> written_;
};

}  // namespace plugpull::ext4
