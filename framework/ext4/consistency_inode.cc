// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/consistency_inode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "framework/ext4/consistency_xattr.h"
#include "framework/ext4/journal.h"

namespace plugpull::ext4 {
namespace {

constexpr size_t kBlockNumbersAt = 40;
constexpr size_t kBlockNumbersBytes = 60;

constexpr uint32_t kIndexFlag = 0x1000;
constexpr uint32_t kExtentsFlag = 0x80000;
// Flags that change nothing for e2fsck: secure deletion, undeletion, synchronous, no dump, no
// access times, data journalling, synchronous directory, top directory, DAX, project.
constexpr uint32_t kHarmlessFlags =
    0x1 | 0x2 | 0x8 | 0x40 | 0x80 | 0x4000 | 0x10000 | 0x20000 | 0x2000000 | 0x20000000;
constexpr uint32_t kImmutableFlags = 0x10 | 0x20;  // immutable, append-only

enum Type : uint8_t {
  kRegular = 1,
  kDirectory = 2,
  kCharacterDevice = 3,
  kBlockDevice = 4,
  kFifo = 5,
  kSocket = 6,
  kSymlink = 7,
};

// 0: none that there is.
uint8_t TypeOfMode(uint32_t mode) {
  switch (mode & 0170000) {
    case 0100000:
      return kRegular;
    case 0040000:
      return kDirectory;
    case 0020000:
      return kCharacterDevice;
    case 0060000:
      return kBlockDevice;
    case 0010000:
      return kFifo;
    case 0140000:
      return kSocket;
    case 0120000:
      return kSymlink;
    default:
      return 0;
  }
}

bool IsZero(const uint8_t* bytes, size_t count) {
  return std::all_of(bytes, bytes + count, [](uint8_t byte) { return byte == 0; });
}

class InodeReader {
 public:
  InodeReader(const Geometry& geometry, BlockView& view, uint32_t number, const uint8_t* inode,
              const InodeFacts* before, InodeFacts& facts)
      : g_(geometry),
        number_(number),
        inode_(inode),
        before_(before),
        facts_(facts),
        reader_(geometry, view, map_) {
    mode_ = LoadAt<uint16_t>(inode, 0x0);
    flags_ = LoadAt<uint32_t>(inode, 0x20);
    size_ = LoadAt<uint32_t>(inode, 0x4) | static_cast<uint64_t>(LoadAt<uint32_t>(inode, 0x6c))
                                               << 32;
    extra_ = g_.inode_bytes > 128 ? LoadAt<uint16_t>(inode, 0x80) : 0;
    seed_ = Crc32cOf(Crc32cOf(g_.checksum_seed, number), LoadAt<uint32_t>(inode, 0x64));
    facts_.links = LoadAt<uint16_t>(inode, 0x1a);
  }

  void Read() {
    facts_.judgement = Judge();
    facts_.charge = map_.charge;
    facts_.claims = std::move(map_.claims);
    facts_.watched = std::move(map_.watched);
  }

 private:
  Judgement Judge() {
    if (!ChecksumMatches()) return Problem("wrong checksum");
    const uint32_t deleted = LoadAt<uint32_t>(inode_, 0x14);
    if (deleted != 0 && deleted < g_.inodes) {
      return Problem(fmt::format("deletion time {}, as of an orphan", deleted));
    }
    if (number_ < kFirstInode && number_ != kRootInode) return JudgeReserved();
    if (number_ == g_.orphan_file) return JudgeOrphanFile();
    if (facts_.links == 0) {
      if (number_ == kRootInode) return Problem("the root is unused");
      if (deleted == 0 && mode_ != 0) return Problem("deleted, without a time");
      return Fine();
    }
    facts_.in_use = true;
    facts_.type = TypeOfMode(mode_);
    facts_.directory = facts_.type == kDirectory;
    if (number_ == kRootInode && !facts_.directory) return Problem("the root is no directory");
    PP_RETURN_UNLESS_FINE(JudgeCommon());
    switch (facts_.type) {
      case kRegular:
        return JudgeRegular();
      case kDirectory:
        return JudgeDirectory();
      case kSymlink:
        return JudgeSymlink();
      case 0:
        return Problem(fmt::format("mode {:o}", mode_));
      default:
        return JudgeSpecial();
    }
  }

  // lib/ext2fs/csum.c, ext2fs_inode_csum_verify.
  bool ChecksumMatches() const {
    if (!g_.metadata_checksums()) return true;
    std::array<uint8_t, 256> copy;
    std::copy_n(inode_, g_.inode_bytes, copy.data());
    const bool wide = g_.inode_bytes > 128 && extra_ >= 4;
    std::fill_n(copy.data() + 0x7c, 2, uint8_t{0});
    if (wide) std::fill_n(copy.data() + 0x82, 2, uint8_t{0});
    uint32_t crc = Crc32c(seed_, {copy.data(), g_.inode_bytes});
    uint32_t found = LoadAt<uint16_t>(inode_, 0x7c);
    if (wide) {
      found |= static_cast<uint32_t>(LoadAt<uint16_t>(inode_, 0x82)) << 16;
    } else {
      crc &= 0xffff;
    }
    return crc == found;
  }

  // What holds for every inode in use.
  Judgement JudgeCommon() {
    if (LoadAt<uint32_t>(inode_, 0x14) != 0) return Problem("in use, with a deletion time");
    if (LoadAt<uint32_t>(inode_, 0x70) != 0) return Problem("a fragment address");
    const uint32_t known = kHarmlessFlags | kImmutableFlags | kIndexFlag | kExtentsFlag;
    if ((flags_ & ~known) != 0) return Unjudged(fmt::format("flags {:#x}", flags_));
    if ((flags_ & kExtentsFlag) != 0 && !g_.extents())
      return Problem("extents without the feature");
    if ((flags_ & kIndexFlag) != 0 && (!facts_.directory || !g_.dir_index())) {
      return Problem("an index flag that cannot be");
    }
    const uint64_t attributes_high = LoadAt<uint16_t>(inode_, 0x76);
    if (attributes_high != 0 && !g_.has_64bit()) return Problem("attribute block too high");
    facts_.attribute_block = LoadAt<uint32_t>(inode_, 0x68) | attributes_high << 32;
    if (facts_.attribute_block != 0 && (!g_.xattr() || !g_.Holds(facts_.attribute_block))) {
      return Problem(fmt::format("attribute block {}", facts_.attribute_block));
    }
    if (g_.inode_bytes == 128) return Fine();
    const uint32_t room = g_.inode_bytes - 128;
    if (extra_ != 0 && (extra_ < 4 || extra_ > room || extra_ % 4 != 0)) {
      return Problem(fmt::format("{} extra bytes", extra_));
    }
    return JudgeInodeAttributes({inode_ + 128 + extra_, room - extra_});
  }

  // Maps the blocks and compares their number.
  Judgement MapBlocks() {
    const uint8_t* numbers = inode_ + kBlockNumbersAt;
    PP_RETURN_UNLESS_FINE((flags_ & kExtentsFlag) != 0 ? reader_.WalkExtents(numbers, size_, seed_)
                                                       : reader_.WalkIndirect(numbers));
    return CheckBlockCount(map_.blocks);
  }

  Judgement CheckBlockCount(uint64_t blocks) const {
    const uint64_t high = LoadAt<uint16_t>(inode_, 0x74);
    if (high != 0 && !g_.huge_file()) return Problem("block count too high");
    const uint64_t counted =
        (blocks + (facts_.attribute_block != 0 ? 1 : 0)) * (g_.block_bytes / 512);
    const uint64_t said = LoadAt<uint32_t>(inode_, 0x1c) | high << 32;
    if (counted == said) return Fine();
    return Problem(fmt::format("block count {}, counted {}", said, counted));
  }

  Judgement CheckRegularSize() const {
    if (map_.last_written >= 0 &&
        size_ < static_cast<uint64_t>(map_.last_written) * g_.block_bytes) {
      return Problem(fmt::format("size {}, but block {} is written", size_, map_.last_written));
    }
    const uint64_t per_block = g_.block_bytes / 4;
    const uint64_t blocks_max =
        (flags_ & kExtentsFlag) != 0
            ? (1ULL << 32) - 1
            : 12 + per_block + per_block * per_block + per_block * per_block * per_block;
    if (size_ > blocks_max * g_.block_bytes) return Problem(fmt::format("size {}", size_));
    if (size_ >= 0x80000000ULL && !g_.large_file()) {
      return Problem(fmt::format("size {} without the feature", size_));
    }
    // e2fsck has an upper bound of its own, which no image that is judged here reaches.
    if (map_.blocks >= (1ULL << 28)) return Unjudged("a very large file");
    return Fine();
  }

  Judgement JudgeRegular() {
    PP_RETURN_UNLESS_FINE(MapBlocks());
    return CheckRegularSize();
  }

  Judgement JudgeSpecial() {
    const uint8_t* numbers = inode_ + kBlockNumbersAt;
    if ((flags_ & (kExtentsFlag | kImmutableFlags)) != 0) return Unjudged("flags of a device");
    if (size_ != 0) return Problem(fmt::format("a device of size {}", size_));
    // Could be taken for a directory.
    const bool device = facts_.type == kCharacterDevice || facts_.type == kBlockDevice;
    if (LoadAt<uint32_t>(numbers, 0) != 0 &&
        (!device || facts_.links != 1 || !IsZero(numbers + 16, kBlockNumbersBytes - 16))) {
      return Unjudged("a device, fifo or socket with block numbers");
    }
    return CheckBlockCount(0);
  }

  Judgement JudgeSymlink() {
    if ((flags_ & kImmutableFlags) != 0) return Unjudged("an immutable symbolic link");
    if (facts_.attribute_block != 0) return Unjudged("a symbolic link with an attribute block");
    if (size_ == 0 || size_ >= g_.block_bytes) return Problem(fmt::format("link size {}", size_));
    const uint8_t* target = inode_ + kBlockNumbersAt;
    size_t room = kBlockNumbersBytes;
    if (size_ < kBlockNumbersBytes) {
      if ((flags_ & kExtentsFlag) != 0) return Problem("a short symbolic link with extents");
      PP_RETURN_UNLESS_FINE(CheckBlockCount(0));
    } else {
      PP_RETURN_UNLESS_FINE(MapBlocks());
      if (map_.extents.size() != 1 || map_.blocks != 1 || map_.extents[0].logical != 0 ||
          map_.uninitialised) {
        return Problem("a symbolic link of other than one block");
      }
      target = reader_.Read(map_.extents[0].first);
      room = g_.block_bytes;
    }
    const uint8_t* end = std::find(target, target + room, uint8_t{0});
    if (static_cast<uint64_t>(end - target) == size_) return Fine();
    return Problem(fmt::format("link size {}, target of {}", size_, end - target));
  }

  Judgement JudgeDirectory() {
    PP_RETURN_UNLESS_FINE(MapBlocks());
    const uint64_t blocks = size_ / g_.block_bytes;
    if (size_ % g_.block_bytes != 0 || size_ >> 32 != 0 || blocks == 0 ||
        static_cast<int64_t>(blocks) != map_.last_block + 1 || map_.uninitialised ||
        blocks > (1U << 21) / (g_.block_bytes / 1024)) {
      return Problem(fmt::format("a directory of size {}, last block {}", size_, map_.last_block));
    }
    uint64_t logical = 0;
    for (const Extent& extent : map_.extents) {
      if (extent.logical != logical) return Problem("a hole in a directory");
      for (uint64_t i = 0; i < extent.blocks; ++i, ++logical) {
        PP_RETURN_UNLESS_FINE(ReadDirectoryBlock(logical, extent.first + i));
      }
    }
    return context_.indexed ? JudgeIndex(facts_.directory_blocks) : Fine();
  }

  Judgement ReadDirectoryBlock(uint64_t logical, uint64_t block) {
    const uint8_t* bytes = reader_.Read(block);
    if (logical == 0) {
      context_ = {number_, seed_, (flags_ & kIndexFlag) != 0, 0};
      if (context_.indexed) {
        HashChoice choice = ReadHashChoice(g_, bytes);
        PP_RETURN_UNLESS_FINE(choice.judgement);
        context_.hash_version = choice.version;
      }
    }
    std::shared_ptr<const DirectoryBlock> parsed;
    if (before_ != nullptr && logical < before_->directory_blocks.size()) {
      const auto& old = before_->directory_blocks[logical];
      if (old->bytes == bytes && old->context == context_) parsed = old;
    }
    if (!parsed) {
      parsed = std::make_shared<const DirectoryBlock>(
          ParseDirectoryBlock(g_, context_, logical == 0, bytes));
    }
    facts_.directory_blocks.push_back(parsed);
    if (parsed->judgement.fine()) return Fine();
    return {parsed->judgement.level, fmt::format("block {}: {}", block, parsed->judgement.reason)};
  }

  // Inodes 1 to 10 but the root; they always count as used.
  Judgement JudgeReserved() {
    facts_.in_use = true;
    facts_.hidden = true;
    if (number_ == kJournalInode && g_.journal()) return JudgeJournal();
    if (number_ == kResizeInode && g_.resize_inode()) return JudgeResizeInode();
    // The boot loader's could hold something, and the others must not; neither is looked into.
    if (mode_ != 0 || facts_.links != 0 || flags_ != 0 || size_ != 0 ||
        LoadAt<uint16_t>(inode_, 0x2) != 0 || LoadAt<uint16_t>(inode_, 0x18) != 0 ||
        LoadAt<uint32_t>(inode_, 0x1c) != 0 || LoadAt<uint16_t>(inode_, 0x74) != 0 ||
        LoadAt<uint32_t>(inode_, 0x68) != 0 || LoadAt<uint16_t>(inode_, 0x76) != 0 ||
        LoadAt<uint32_t>(inode_, 0x70) != 0 ||
        !IsZero(inode_ + kBlockNumbersAt, kBlockNumbersBytes)) {
      return Unjudged("a reserved inode is not empty");
    }
    return Fine();
  }

  // A hidden regular file that has all its blocks.
  Judgement JudgeHiddenFile() {
    facts_.in_use = true;
    facts_.hidden = true;
    facts_.type = kRegular;
    if (TypeOfMode(mode_) != kRegular || facts_.links == 0) return Problem("no regular file");
    PP_RETURN_UNLESS_FINE(JudgeCommon());
    if (facts_.attribute_block != 0) return Unjudged("attributes of a hidden file");
    PP_RETURN_UNLESS_FINE(MapBlocks());
    PP_RETURN_UNLESS_FINE(CheckRegularSize());
    uint64_t logical = 0;
    for (const Extent& extent : map_.extents) {
      if (extent.logical != logical) return Problem("a hole in a hidden file");
      logical += extent.blocks;
    }
    if (size_ % g_.block_bytes != 0 || size_ / g_.block_bytes != logical || logical == 0 ||
        map_.uninitialised) {
      return Problem(fmt::format("a hidden file of size {} with {} blocks", size_, logical));
    }
    return Fine();
  }

  // e2fsck/journal.c, e2fsck_check_ext3_journal.
  Judgement JudgeJournal() {
    PP_RETURN_UNLESS_FINE(JudgeHiddenFile());
    const uint64_t blocks = size_ / g_.block_bytes;
    const uint8_t* bytes = reader_.Read(map_.extents[0].first);
    const auto super = ParseJournalSuper({bytes, g_.block_bytes});
    if (!super.ok()) return Problem("journal: " + super.error().message);
    constexpr uint8_t kVersion2 = 4;
    constexpr uint32_t kIncompatKnown = 0x1 | 0x2 | 0x8 | 0x10;
    constexpr size_t kUsersAt = 0x40;
    if (bytes[7] != kVersion2 || super->feature_compat != 0 || super->feature_ro_compat != 0 ||
        (super->feature_incompat & ~kIncompatKnown) != 0 || !IsZero(bytes + 4, 3) ||
        !IsZero(bytes + kUsersAt, 3) || bytes[kUsersAt + 3] > 1) {
      return Unjudged("journal: version, features or users");
    }
    constexpr size_t kChecksumTypeAt = 0x50;
    constexpr uint8_t kChecksumCrc32c = 4;
    const bool checksums = super->checksum_v2() || super->checksum_v3();
    if ((super->checksum_v2() && super->checksum_v3()) ||
        (checksums && (!super->checksum_valid || bytes[kChecksumTypeAt] != kChecksumCrc32c))) {
      return Problem("journal: checksum");
    }
    if (super->block_bytes != g_.block_bytes || super->blocks > blocks || super->blocks < 1024) {
      return Problem(fmt::format("journal: {} blocks of {}", super->blocks, blocks));
    }
    if (super->start != 0 || super->error != 0) {
      return Problem(
          fmt::format("journal: begins at block {}, error {}", super->start, super->error));
    }
    return Fine();
  }

  // e2fsck/super.c, check_init_orphan_file.
  Judgement JudgeOrphanFile() {
    constexpr uint32_t kMagic = 0x0b10ca04;
    PP_RETURN_UNLESS_FINE(JudgeHiddenFile());
    const uint32_t generation = LoadAt<uint32_t>(inode_, 0x64);
    const size_t tail = g_.block_bytes - 8;
    for (const Extent& extent : map_.extents) {
      for (uint64_t block = extent.first; block < extent.first + extent.blocks; ++block) {
        const uint8_t* bytes = reader_.Read(block);
        uint32_t crc = 0;
        if (g_.metadata_checksums()) {
          crc = Crc32cOf(Crc32cOf(g_.checksum_seed, number_), generation);
          crc = Crc32c(Crc32cOf(crc, block), {bytes, tail});
        }
        if (!IsZero(bytes, tail) || LoadAt<uint32_t>(bytes, tail) != kMagic ||
            LoadAt<uint32_t>(bytes, tail + 4) != crc) {
          return Problem(fmt::format("orphan file block {} is not empty", block));
        }
      }
    }
    return Fine();
  }

  // Holds the blocks that the group descriptors may grow into; all but its double indirect block
  // belong to the groups. e2fsck/super.c, check_resize_inode.
  Judgement JudgeResizeInode() {
    const uint8_t* numbers = inode_ + kBlockNumbersAt;
    constexpr size_t kDoubleAt = 13 * 4;
    if (TypeOfMode(mode_) != kRegular || facts_.links == 0 || !IsZero(numbers, kDoubleAt) ||
        !IsZero(numbers + kDoubleAt + 4, 4)) {
      return Problem("the resize inode is wrong");
    }
    PP_RETURN_UNLESS_FINE(JudgeCommon());
    const uint64_t top = LoadAt<uint32_t>(numbers, kDoubleAt);
    if ((flags_ & kExtentsFlag) != 0 || facts_.attribute_block != 0 || !g_.Holds(top)) {
      return Problem("the resize inode is wrong");
    }
    const uint32_t per_block = g_.block_bytes / 4;
    const uint8_t* top_numbers = reader_.Read(top);
    uint64_t counted = 1;
    std::vector<bool> expected(per_block);
    for (uint32_t i = 0; i < g_.reserved_descriptor_blocks; ++i) {
      const uint32_t slot = (g_.descriptor_blocks + i) % per_block;
      const uint64_t block = g_.first_block + 1ULL + g_.descriptor_blocks + i;
      expected[slot] = true;
      if (LoadAt<uint32_t>(top_numbers, 4 * slot) != block) {
        return Problem(fmt::format("the resize inode lacks block {}", block));
      }
      PP_RETURN_UNLESS_FINE(CheckReserved(block, counted));
      if (last_reserved_ < 0) continue;
      map_.last_written =
          std::max<int64_t>(map_.last_written, last_reserved_ + 12 + per_block +
                                                   static_cast<int64_t>(slot) * per_block);
    }
    for (uint32_t slot = 0; slot < per_block; ++slot) {
      if (!expected[slot] && LoadAt<uint32_t>(top_numbers, 4 * slot) != 0) {
        return Problem("the resize inode has a block too many");
      }
    }
    map_.claims.push_back({top, 1});
    PP_RETURN_UNLESS_FINE(CheckBlockCount(counted));
    return CheckRegularSize();
  }

  // A reserved descriptor block, which lists its copies in the other groups.
  Judgement CheckReserved(uint64_t block, uint64_t& counted) {
    const uint8_t* copies = reader_.Read(block);
    const uint32_t per_block = g_.block_bytes / 4;
    uint32_t at = 0;
    ++counted;
    for (uint32_t group = 1; group < g_.groups && at < per_block; ++group) {
      if (!g_.HasSuperblock(group)) continue;
      const uint64_t copy = block + static_cast<uint64_t>(group) * g_.blocks_per_group;
      if (LoadAt<uint32_t>(copies, 4 * at) != copy || !g_.Holds(copy)) {
        return Problem(fmt::format("the resize inode lacks block {}", copy));
      }
      ++at;
      ++counted;
    }
    last_reserved_ = static_cast<int64_t>(at) - 1;
    if (IsZero(copies + 4 * at, 4 * (per_block - at))) return Fine();
    return Problem("the resize inode has a block too many");
  }

  const Geometry& g_;
  uint32_t number_;
  const uint8_t* inode_;
  const InodeFacts* before_;
  InodeFacts& facts_;
  BlockMap map_;
  MapReader reader_;
  DirectoryContext context_;
  uint32_t mode_ = 0;
  uint32_t flags_ = 0;
  uint64_t size_ = 0;
  uint32_t extra_ = 0;
  uint32_t seed_ = 0;
  int64_t last_reserved_ = -1;
};

}  // namespace

bool IsBlankInode(const uint8_t* inode) {
  uint64_t any = 0;
  for (size_t at = 0; at < 128; at += 8) any |= LoadAt<uint64_t>(inode, at);
  return any == 0;
}

InodeFacts ReadInode(const Geometry& geometry, BlockView& view, uint32_t number,
                     const uint8_t* inode, const InodeFacts* before) {
  InodeFacts facts;
  if (IsBlankInode(inode)) {
    facts.links = 0;
    if (number == kRootInode || number == geometry.orphan_file ||
        (number == kJournalInode && geometry.journal()) ||
        (number == kResizeInode && geometry.resize_inode())) {
      facts.judgement = Problem("clear, and should not be");
    }
    facts.in_use = facts.hidden = number < kFirstInode && number != kRootInode;
    return facts;
  }
  InodeReader(geometry, view, number, inode, before, facts).Read();
  return facts;
}

}  // namespace plugpull::ext4
