// SPDX-License-Identifier: Apache-2.0
#include "consistency_mutants.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace plugpull::ext4 {
namespace {

uint16_t Crc16(uint16_t crc, std::span<const uint8_t> bytes) {
  for (const uint8_t byte : bytes) {
    crc = static_cast<uint16_t>(crc ^ byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = static_cast<uint16_t>((crc >> 1) ^ ((crc & 1) != 0 ? 0xa001 : 0));
    }
  }
  return crc;
}

}  // namespace

Mutator::Mutator(std::span<uint8_t> image, std::span<const uint8_t> earlier)
    : image_(image), original_(image.begin(), image.end()), earlier_(earlier) {
  const SuperJudgement super =
      JudgeSuperblock(image_.subspan(kSuperblockAt, kSuperblockBytes), image_.size());
  EXPECT_TRUE(super.layout.fine()) << super.layout.reason;
  g_ = super.geometry;
  FindParts();
  for (uint64_t block = 0; block < g_.blocks; ++block) {
    const uint64_t at = block * g_.block_bytes;
    if (!std::equal(&image_[at], &image_[at] + g_.block_bytes, &earlier_[at])) {
      differing_.push_back(block);
    }
  }
}

void Mutator::FindParts() {
  parts_.push_back({Kind::kSuper, g_.block_bytes == 1024 ? 1U : 0U, 0});
  for (uint32_t i = 0; i < g_.descriptor_blocks; ++i) {
    parts_.push_back({Kind::kDescriptors, g_.first_block + 1ULL + i, 0});
  }
  for (uint32_t group = 0; group < g_.groups; ++group) {
    const uint64_t at = (g_.first_block + 1ULL) * g_.block_bytes + group * g_.descriptor_bytes;
    groups_.push_back(ParseGroupDescriptor(g_, group, &image_[at]));
    const GroupDescriptor& d = groups_.back();
    if (!d.blocks_uninitialised()) parts_.push_back({Kind::kBlockBitmap, d.block_bitmap, group});
    if (d.inodes_uninitialised()) continue;
    parts_.push_back({Kind::kInodeBitmap, d.inode_bitmap, group});
    const uint32_t scanned = g_.inodes_per_group - d.unused_inodes;
    for (uint32_t i = 0; i < scanned; i += g_.inodes_per_block()) {
      parts_.push_back({Kind::kInodeTable, d.inode_table + i / g_.inodes_per_block(), group});
    }
    for (uint32_t i = 0; i < scanned; ++i) FindPartsOf(group * g_.inodes_per_group + i + 1);
  }
}

void Mutator::FindPartsOf(uint32_t inode) {
  image::ContentStore store(4096);
  const image::CowImage cow_image(image_, store);
  BlockView view(cow_image);
  view.SetBlockBytes(g_.block_bytes);
  const uint8_t* bytes = &image_[InodeAt(inode)];
  if (IsBlankInode(bytes)) return;
  const InodeFacts facts = ReadInode(g_, view, inode, bytes, nullptr);
  EXPECT_TRUE(facts.judgement.fine()) << facts.judgement.reason;
  if (!facts.in_use) return;
  used_inodes_.push_back(inode);
  for (const Watched& watched : facts.watched) {
    const bool extents = LoadAt<uint16_t>(watched.bytes, 0) == 0xf30a;
    const bool directory =
        std::any_of(facts.directory_blocks.begin(), facts.directory_blocks.end(),
                    [&](const auto& block) { return block->bytes == watched.bytes; });
    parts_.push_back({directory ? Kind::kDirectory
                      : extents ? Kind::kExtents
                                : Kind::kNumbers,
                      watched.block, inode});
  }
  if (facts.attribute_block != 0) {
    parts_.push_back({Kind::kAttributes, facts.attribute_block, inode});
  }
}

uint64_t Mutator::InodeAt(uint32_t inode) const {
  const uint32_t place = (inode - 1) % g_.inodes_per_group;
  return groups_[g_.GroupOfInode(inode)].inode_table * g_.block_bytes +
         static_cast<uint64_t>(place) * g_.inode_bytes;
}

uint64_t Mutator::PickInode(Prng& prng) {
  return InodeAt(used_inodes_[prng.Below(used_inodes_.size())]);
}

const Mutator::Part& Mutator::Pick(Prng& prng, Kind kind) {
  std::vector<const Part*> of_kind;
  for (const Part& part : parts_) {
    if (part.kind == kind) of_kind.push_back(&part);
  }
  return of_kind.empty() ? parts_[0] : *of_kind[prng.Below(of_kind.size())];
}

// Every kind alike, however many parts there are of it.
const Mutator::Part& Mutator::PickAny(Prng& prng) {
  return Pick(prng, static_cast<Kind>(prng.Below(static_cast<uint64_t>(Kind::kAttributes) + 1)));
}

template <typename T>
void Mutator::Put(uint64_t at, T value) {
  std::memcpy(&image_[at], &value, sizeof value);
  written_.insert(at / g_.block_bytes);
}

void Mutator::Copy(uint64_t to, std::span<const uint8_t> bytes) {
  std::memmove(&image_[to], bytes.data(), bytes.size());
  written_.insert(to / g_.block_bytes);
}

void Mutator::Undo() {
  for (const uint64_t block : written_) {
    const uint64_t at = block * g_.block_bytes;
    std::memcpy(&image_[at], &original_[at], g_.block_bytes);
  }
  written_.clear();
}

uint64_t Mutator::Interesting(Prng& prng, uint64_t now) {
  switch (prng.Below(12)) {
    case 0:
      return 0;
    case 1:
      return 1;
    case 2:
      return ~0ULL;
    case 3:
      return now + 1;
    case 4:
      return now - 1;
    case 5:
      return prng.Below(32);
    case 6:
      return prng.Below(g_.blocks + 2);
    case 7:
      return prng.Below(g_.inodes + 2);
    case 8:
      return used_inodes_[prng.Below(used_inodes_.size())];
    case 9:
      return parts_[prng.Below(parts_.size())].block;
    case 10:
      return prng.Next();
    default:
      return now ^ (1ULL << prng.Below(32));
  }
}

void Mutator::Change(Prng& prng, uint64_t at, uint32_t bytes) {
  if (bytes == 1)
    return Put<uint8_t>(at, static_cast<uint8_t>(Interesting(prng, Get<uint8_t>(at))));
  if (bytes == 2) {
    return Put<uint16_t>(at, static_cast<uint16_t>(Interesting(prng, Get<uint16_t>(at))));
  }
  Put<uint32_t>(at, static_cast<uint32_t>(Interesting(prng, Get<uint32_t>(at))));
}

std::string Mutator::Mutate(Prng& prng) {
  std::string what;
  const uint64_t times = 1 + (prng.Chance(300) ? prng.Below(3) : 0);
  for (uint64_t i = 0; i < times; ++i) what += MutateOnce(prng) + "; ";
  if (prng.Chance(850)) {
    FixChecksums();
    what += "checksums fixed";
  }
  return what;
}

std::string Mutator::MutateOnce(Prng& prng) {
  switch (prng.Below(12)) {
    case 0:
    case 1: {
      const Part part = PickAny(prng);
      const uint64_t bytes = 1ULL << prng.Below(3);
      const uint64_t within = prng.Below(g_.block_bytes / bytes) * bytes;
      Change(prng, part.block * g_.block_bytes + within, static_cast<uint32_t>(bytes));
      return fmt::format("kind {} block {} byte {}", static_cast<int>(part.kind), part.block,
                         within);
    }
    case 2:
    case 3:
      return MutateInode(prng);
    case 4:
    case 5:
      return MutateMap(prng);
    case 6:
      return MutateDescriptor(prng);
    case 7:
      return MutateSuper(prng);
    case 8:
      return MutateName(prng);
    case 9:
      return MutateBitmap(prng);
    case 10:
      return MutateBlocks(prng);
    default:
      return MixWithEarlier(prng);
  }
}

std::string Mutator::MutateInode(Prng& prng) {
  struct Field {
    uint32_t at;
    uint32_t bytes;
  };
  static constexpr Field kFields[] = {
      {0x0, 2},  {0x4, 4},  {0x14, 4}, {0x1a, 2}, {0x1c, 4}, {0x20, 4}, {0x64, 4},
      {0x68, 4}, {0x6c, 4}, {0x70, 4}, {0x74, 2}, {0x76, 2}, {0x80, 2},
  };
  const uint64_t inode = PickInode(prng);
  if (prng.Chance(100)) {
    const uint64_t other = PickInode(prng);
    Copy(inode, std::vector<uint8_t>(&image_[other], &image_[other] + g_.inode_bytes));
    return fmt::format("inode at {} replaced by another", inode);
  }
  const Field field = kFields[prng.Below(std::size(kFields) - (g_.inode_bytes > 128 ? 0 : 1))];
  if (field.at == 0x20 && prng.Chance(800)) {
    Put<uint32_t>(inode + field.at, Get<uint32_t>(inode + field.at) ^ (1U << prng.Below(32)));
  } else if (field.at == 0x4 && prng.Chance(700)) {
    // Sizes near the end of the last block.
    const uint32_t delta = static_cast<uint32_t>(prng.Below(4) * g_.block_bytes + prng.Below(3));
    const uint32_t size = Get<uint32_t>(inode + 0x4);
    Put<uint32_t>(inode + 0x4, prng.Chance(500) ? size + delta : size - delta);
  } else if (field.at == 0 && prng.Chance(700)) {
    Put<uint16_t>(inode,
                  static_cast<uint16_t>((Get<uint16_t>(inode) & 07777) | (prng.Below(16) << 12)));
  } else {
    Change(prng, inode + field.at, field.bytes);
  }
  return fmt::format("inode at {} field {:#x}", inode, field.at);
}

// Block numbers and extents, in an inode or in a block.
std::string Mutator::MutateMap(Prng& prng) {
  if (prng.Chance(500)) {
    const Part part = Pick(prng, prng.Chance(700) ? Kind::kExtents : Kind::kNumbers);
    const uint64_t within =
        prng.Chance(700) ? prng.Below(40) * 2 : prng.Below(g_.block_bytes / 2) * 2;
    Change(prng, part.block * g_.block_bytes + within, prng.Chance(500) ? 2 : 4);
    return fmt::format("map block {} byte {}", part.block, within);
  }
  const uint64_t at = PickInode(prng) + 40 + prng.Below(29) * 2;
  Change(prng, at, prng.Chance(500) ? 2 : 4);
  return fmt::format("map of an inode at {}", at);
}

std::string Mutator::MutateDescriptor(Prng& prng) {
  const uint64_t group = prng.Below(g_.groups);
  const uint64_t at = (g_.first_block + 1ULL) * g_.block_bytes + group * g_.descriptor_bytes;
  const uint64_t within = prng.Below(g_.descriptor_bytes / 2) * 2;
  if (within == 0x12 && prng.Chance(800)) {
    Put<uint16_t>(at + within,
                  Get<uint16_t>(at + within) ^ static_cast<uint16_t>(1 + prng.Below(7)));
  } else {
    Change(prng, at + within, 2);
  }
  return fmt::format("descriptor {} byte {:#x}", group, within);
}

std::string Mutator::MutateSuper(Prng& prng) {
  const uint64_t within = prng.Chance(700) ? prng.Below(0x180) : prng.Below(0x3fc);
  const bool features = prng.Chance(300);
  const uint64_t at = kSuperblockAt + (features ? 0x5c + 4 * prng.Below(3) : within & ~3ULL);
  if (features) {
    Put<uint32_t>(at, Get<uint32_t>(at) ^ (1U << prng.Below(20)));
  } else {
    Change(prng, at, prng.Chance(500) ? 2 : 4);
  }
  return fmt::format("superblock byte {:#x}", at - kSuperblockAt);
}

std::string Mutator::MutateName(Prng& prng) {
  const Part part = Pick(prng, Kind::kDirectory);
  const uint64_t base = part.block * g_.block_bytes;
  std::vector<uint64_t> entries;
  for (uint64_t at = 0; at + 12 <= g_.block_bytes;) {
    const uint16_t length = Get<uint16_t>(base + at + 4);
    if (length < 12 || length % 4 != 0) break;
    entries.push_back(base + at);
    at += length;
  }
  if (entries.empty()) return "nothing";
  const size_t picked = prng.Below(entries.size());
  const uint64_t entry = entries[picked];
  switch (prng.Below(8)) {
    case 0:
      Change(prng, entry, 4);
      break;
    case 1:
      Put<uint8_t>(entry + 7, static_cast<uint8_t>(prng.Below(9)));
      break;
    case 2:
      Change(prng, entry + 4, 2);
      break;
    case 3:
      Change(prng, entry + 6, 1);
      break;
    case 4:
      Change(prng, entry + 8 + prng.Below(4), 1);
      break;
    case 5:  // lost: the one before takes its room
      if (picked > 0) {
        Put<uint16_t>(entries[picked - 1] + 4,
                      static_cast<uint16_t>(Get<uint16_t>(entries[picked - 1] + 4) +
                                            Get<uint16_t>(entry + 4)));
      }
      break;
    case 6: {  // another's name or inode
      const uint64_t other = entries[prng.Below(entries.size())];
      if (prng.Chance(500)) {
        Put<uint32_t>(entry, Get<uint32_t>(other));
      } else if (other + 20 < base + g_.block_bytes && entry + 20 < base + g_.block_bytes) {
        Put<uint64_t>(entry + 6, Get<uint64_t>(other + 6));
      }
      break;
    }
    default:
      Put<uint32_t>(entry, 0);
  }
  return fmt::format("entry {} of directory block {}", picked, part.block);
}

// A bit, often with the group's count that goes with it.
std::string Mutator::MutateBitmap(Prng& prng) {
  const bool blocks = prng.Chance(500);
  const Part part = Pick(prng, blocks ? Kind::kBlockBitmap : Kind::kInodeBitmap);
  const uint64_t bits = prng.Chance(900) ? (blocks ? g_.blocks_per_group : g_.inodes_per_group)
                                         : 8ULL * g_.block_bytes;
  const uint64_t bit = prng.Below(bits);
  const uint64_t at = part.block * g_.block_bytes + bit / 8;
  const auto mask = static_cast<uint8_t>(1U << (bit % 8));
  const bool was_set = (Get<uint8_t>(at) & mask) != 0;
  Put<uint8_t>(at, Get<uint8_t>(at) ^ mask);
  if (prng.Chance(600)) {
    const uint64_t descriptor = (g_.first_block + 1ULL) * g_.block_bytes +
                                static_cast<uint64_t>(part.owner) * g_.descriptor_bytes;
    const uint64_t count = descriptor + (blocks ? 0xc : 0xe);
    Put<uint16_t>(count, static_cast<uint16_t>(Get<uint16_t>(count) + (was_set ? 1 : -1)));
  }
  return fmt::format("bit {} of bitmap {}", bit, part.block);
}

std::string Mutator::MutateBlocks(Prng& prng) {
  const Part one = PickAny(prng);
  const Part other = Pick(prng, one.kind);
  const uint64_t a = one.block * g_.block_bytes;
  const uint64_t b = other.block * g_.block_bytes;
  const std::vector<uint8_t> first(&image_[a], &image_[a] + g_.block_bytes);
  const std::vector<uint8_t> second(&image_[b], &image_[b] + g_.block_bytes);
  switch (prng.Below(3)) {
    case 0:
      Copy(a, second);
      Copy(b, first);
      return fmt::format("blocks {} and {} swapped", one.block, other.block);
    case 1:
      Copy(a, second);
      return fmt::format("block {} is a copy of {}", one.block, other.block);
    default:
      Copy(a, std::vector<uint8_t>(g_.block_bytes));
      return fmt::format("block {} is zero", one.block);
  }
}

std::string Mutator::MixWithEarlier(Prng& prng) {
  if (differing_.empty()) return "nothing";
  const uint32_t permille = static_cast<uint32_t>(prng.Below(1000));
  const bool single = prng.Chance(300);
  const uint64_t only = differing_[prng.Below(differing_.size())];
  for (const uint64_t block : differing_) {
    if (single ? block != only : !prng.Chance(permille)) continue;
    Copy(block * g_.block_bytes, earlier_.subspan(block * g_.block_bytes, g_.block_bytes));
  }
  return single ? fmt::format("block {} is old", only)
                : fmt::format("{} in 1000 blocks are old", permille);
}

void Mutator::FixChecksums() {
  FixInodes();
  for (const Part& part : parts_) FixPart(part);
  FixGroups();
  if (g_.metadata_checksums()) {
    Put<uint32_t>(kSuperblockAt + 0x3fc, Crc32c(~0U, image_.subspan(kSuperblockAt, 0x3fc)));
  }
}

void Mutator::FixInodes() {
  if (!g_.metadata_checksums()) return;
  for (const Part& part : parts_) {
    if (part.kind != Kind::kInodeTable) continue;
    const uint64_t place = (part.block - groups_[part.owner].inode_table) * g_.inodes_per_block();
    for (uint32_t i = 0; i < g_.inodes_per_block(); ++i) {
      const uint64_t at = part.block * g_.block_bytes + i * g_.inode_bytes;
      if (IsBlankInode(&image_[at])) continue;
      const auto number = static_cast<uint32_t>(part.owner * g_.inodes_per_group + place + i + 1);
      std::array<uint8_t, 256> copy;
      std::memcpy(copy.data(), &image_[at], g_.inode_bytes);
      const bool wide = g_.inode_bytes > 128 && LoadAt<uint16_t>(copy.data(), 0x80) >= 4;
      std::memset(copy.data() + 0x7c, 0, 2);
      if (wide) std::memset(copy.data() + 0x82, 0, 2);
      const uint32_t seed = Crc32cOf(Crc32cOf(g_.checksum_seed, number), Get<uint32_t>(at + 0x64));
      const uint32_t crc = Crc32c(seed, {copy.data(), g_.inode_bytes});
      if (Get<uint16_t>(at + 0x7c) != (crc & 0xffff)) {
        Put<uint16_t>(at + 0x7c, static_cast<uint16_t>(crc));
      }
      if (wide && Get<uint16_t>(at + 0x82) != crc >> 16) {
        Put<uint16_t>(at + 0x82, static_cast<uint16_t>(crc >> 16));
      }
    }
  }
}

void Mutator::FixPart(const Part& part) {
  if (!g_.metadata_checksums() || !written_.contains(part.block)) return;
  const uint64_t at = part.block * g_.block_bytes;
  const auto bytes = image_.subspan(at, g_.block_bytes);
  if (part.kind == Kind::kAttributes) {
    Put<uint32_t>(at + 16, 0);
    Put<uint32_t>(at + 16, Crc32c(Crc32cOf(g_.checksum_seed, part.block), bytes));
    return;
  }
  if (part.kind != Kind::kDirectory && part.kind != Kind::kExtents) return;
  const uint32_t seed =
      Crc32cOf(Crc32cOf(g_.checksum_seed, part.owner), Get<uint32_t>(InodeAt(part.owner) + 0x64));
  if (part.kind == Kind::kExtents) {
    const uint64_t covered = 12 + 12ULL * Get<uint16_t>(at + 4);
    if (covered + 4 > g_.block_bytes) return;
    Put<uint32_t>(at + covered, Crc32c(seed, bytes.first(covered)));
    return;
  }
  const uint64_t leaf = g_.block_bytes - 12;
  if (Get<uint32_t>(at + leaf) == 0 && Get<uint16_t>(at + leaf + 4) == 12 &&
      Get<uint8_t>(at + leaf + 7) == 0xde) {
    Put<uint32_t>(at + leaf + 8, Crc32c(seed, bytes.first(leaf)));
    return;
  }
  const uint64_t index = Get<uint16_t>(at + 4) == 12 ? 32 : 8;
  const uint64_t limit = Get<uint16_t>(at + index);
  const uint64_t count = Get<uint16_t>(at + index + 2);
  if (index + 8 * limit + 8 > g_.block_bytes || index + 8 * count > g_.block_bytes) return;
  constexpr uint8_t kZeroes[4] = {};
  uint32_t crc = Crc32c(seed, bytes.first(index + 8 * count));
  crc = Crc32c(Crc32c(crc, bytes.subspan(index + 8 * limit, 4)), kZeroes);
  Put<uint32_t>(at + index + 8 * limit + 4, crc);
}

void Mutator::FixGroups() {
  if (!g_.descriptor_checksums()) return;
  for (uint32_t group = 0; group < g_.groups; ++group) {
    const uint64_t at = (g_.first_block + 1ULL) * g_.block_bytes +
                        static_cast<uint64_t>(group) * g_.descriptor_bytes;
    const GroupDescriptor& d = groups_[group];
    if (g_.metadata_checksums()) {
      const auto fix = [&](uint64_t bitmap, uint32_t bits, uint64_t low, uint64_t high) {
        const uint32_t crc =
            Crc32c(g_.checksum_seed, image_.subspan(bitmap * g_.block_bytes, bits / 8));
        if (!written_.contains(bitmap)) return;
        Put<uint16_t>(at + low, static_cast<uint16_t>(crc));
        if (g_.descriptor_bytes >= 64) Put<uint16_t>(at + high, static_cast<uint16_t>(crc >> 16));
      };
      fix(d.block_bitmap, g_.blocks_per_group, 0x18, 0x38);
      fix(d.inode_bitmap, g_.inodes_per_group, 0x1a, 0x3a);
    }
    const auto descriptor = image_.subspan(at, g_.descriptor_bytes);
    uint16_t crc = 0;
    if (g_.metadata_checksums()) {
      std::vector<uint8_t> copy(descriptor.begin(), descriptor.end());
      copy[0x1e] = copy[0x1f] = 0;
      crc = static_cast<uint16_t>(Crc32c(Crc32cOf(g_.checksum_seed, group), copy));
    } else {
      crc = Crc16(0xffff, g_.uuid);
      crc = Crc16(crc, {reinterpret_cast<const uint8_t*>(&group), 4});
      crc = Crc16(crc, descriptor.first(0x1e));
      crc = Crc16(crc, descriptor.subspan(0x20));
    }
    if (Get<uint16_t>(at + 0x1e) != crc) Put<uint16_t>(at + 0x1e, crc);
  }
}

}  // namespace plugpull::ext4
