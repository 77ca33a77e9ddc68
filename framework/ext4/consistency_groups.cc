// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/consistency_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace plugpull::ext4 {
namespace {

constexpr uint32_t kWordBits = 64;

bool AllOnes(const uint8_t* bytes, size_t count) {
  return std::all_of(bytes, bytes + count, [](uint8_t byte) { return byte == 0xff; });
}

}  // namespace

void GroupBooks::Reset(const Geometry& geometry) {
  g_ = geometry;
  groups_.assign(g_.groups, {});
  dirty_.clear();
  claimed_again_.clear();
  wrong_.clear();
  for (uint32_t i = 0; i < g_.groups; ++i) {
    Group& group = groups_[i];
    group.blocks.assign((g_.blocks_per_group + kWordBits - 1) / kWordBits, 0);
    group.inodes.assign((g_.inodes_per_group + kWordBits - 1) / kWordBits, 0);
    for (uint32_t bit = g_.BlocksIn(i); bit < g_.blocks_per_group; ++bit) {
      group.blocks[bit / kWordBits] |= 1ULL << (bit % kWordBits);
    }
    MarkDirty(i);
  }
}

void GroupBooks::SetDescriptor(uint32_t group, const GroupDescriptor& descriptor) {
  groups_[group].descriptor = descriptor;
  MarkDirty(group);
}

Judgement GroupBooks::ClaimTables() {
  for (uint32_t i = 0; i < g_.groups; ++i) {
    if (!g_.HasSuperblock(i)) continue;
    PP_RETURN_UNLESS_FINE(ClaimTable(
        i, {g_.FirstBlockOf(i), 1ULL + g_.descriptor_blocks + g_.reserved_descriptor_blocks}));
  }
  for (uint32_t i = 0; i < g_.groups; ++i) {
    const GroupDescriptor& d = groups_[i].descriptor;
    PP_RETURN_UNLESS_FINE(ClaimTable(i, {d.block_bitmap, 1}));
    PP_RETURN_UNLESS_FINE(ClaimTable(i, {d.inode_bitmap, 1}));
    PP_RETURN_UNLESS_FINE(ClaimTable(i, {d.inode_table, g_.inode_table_blocks()}));
  }
  return Fine();
}

Judgement GroupBooks::ClaimTable(uint32_t owner, const BlockRange& range) {
  const uint64_t first = g_.flex_bg() ? g_.first_block : g_.FirstBlockOf(owner);
  const uint64_t end = g_.flex_bg() ? g_.blocks : g_.FirstBlockOf(owner) + g_.BlocksIn(owner);
  if (range.first < first || range.first >= end || range.blocks > end - range.first) {
    return Problem(fmt::format("group {}: a table at block {} is outside", owner, range.first));
  }
  for (uint64_t block = range.first; block < range.first + range.blocks; ++block) {
    const auto in = static_cast<uint32_t>((block - g_.first_block) / g_.blocks_per_group);
    ++(in == owner ? groups_[in].own_tables : groups_[in].other_tables);
  }
  Claim(range);
  if (claimed_again_.empty()) return Fine();
  return Problem(fmt::format("group {}: the table at block {} meets another", owner, range.first));
}

void GroupBooks::MarkDirty(uint32_t group) {
  if (groups_[group].dirty) return;
  groups_[group].dirty = true;
  dirty_.push_back(group);
}

void GroupBooks::Change(const BlockRange& range, bool claim) {
  uint64_t block = range.first - g_.first_block;
  for (uint64_t left = range.blocks; left > 0;) {
    const auto group = static_cast<uint32_t>(block / g_.blocks_per_group);
    const auto bit = static_cast<uint32_t>(block % g_.blocks_per_group);
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(left, g_.blocks_per_group - bit));
    ChangeInGroup(group, bit, count, claim);
    block += count;
    left -= count;
  }
}

void GroupBooks::ChangeInGroup(uint32_t number, uint32_t first, uint32_t count, bool claim) {
  Group& group = groups_[number];
  MarkDirty(number);
  const uint64_t base = g_.FirstBlockOf(number);
  for (uint32_t bit = first; bit < first + count;) {
    const uint32_t within = bit % kWordBits;
    const uint32_t taken = std::min(kWordBits - within, first + count - bit);
    const uint64_t mask = (taken == kWordBits ? ~0ULL : (1ULL << taken) - 1) << within;
    uint64_t& word = group.blocks[bit / kWordBits];
    if (claim && (word & mask) == 0) {
      word |= mask;
      group.claimed += taken;
    } else if (!claim && claimed_again_.empty()) {
      word &= ~mask;
      group.claimed -= taken;
    } else {
      for (uint32_t i = bit; i < bit + taken; ++i) ChangeBit(group, base + i, i, claim);
    }
    bit += taken;
  }
}

void GroupBooks::ChangeBit(Group& group, uint64_t block, uint32_t bit, bool claim) {
  uint64_t& word = group.blocks[bit / kWordBits];
  const uint64_t mask = 1ULL << (bit % kWordBits);
  if (claim) {
    if ((word & mask) != 0) {
      ++claimed_again_[block];
    } else {
      word |= mask;
      ++group.claimed;
    }
    return;
  }
  if (const auto again = claimed_again_.find(block); again != claimed_again_.end()) {
    if (--again->second == 0) claimed_again_.erase(again);
    return;
  }
  word &= ~mask;
  --group.claimed;
}

void GroupBooks::SetInode(uint32_t inode, bool used, bool directory) {
  const uint32_t number = g_.GroupOfInode(inode);
  Group& group = groups_[number];
  const uint32_t bit = (inode - 1) % g_.inodes_per_group;
  uint64_t& word = group.inodes[bit / kWordBits];
  const uint64_t mask = 1ULL << (bit % kWordBits);
  MarkDirty(number);
  word = used ? word | mask : word & ~mask;
  group.inodes_used += used ? 1U : ~0U;
  if (directory) group.directories += used ? 1U : ~0U;
}

bool GroupBooks::Evaluate(BlockView& view) {
  for (const uint32_t group : dirty_) {
    groups_[group].dirty = false;
    Judgement judged = Judge(group, view);
    if (judged.fine()) {
      wrong_.erase(group);
    } else {
      wrong_[group] = std::move(judged);
    }
  }
  dirty_.clear();
  return wrong_.empty() && claimed_again_.empty();
}

Judgement GroupBooks::FirstProblem() const {
  if (!claimed_again_.empty()) {
    const auto first =
        std::min_element(claimed_again_.begin(), claimed_again_.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
    return Problem(fmt::format("block {} is claimed {} times", first->first, first->second + 1));
  }
  return wrong_.empty() ? Fine() : wrong_.begin()->second;
}

Judgement GroupBooks::Judge(uint32_t group, BlockView& view) const {
  PP_RETURN_UNLESS_FINE(JudgeGroupDescriptor(g_, group, groups_[group].descriptor));
  PP_RETURN_UNLESS_FINE(JudgeBlocks(group, view));
  return JudgeInodes(group, view);
}

Judgement GroupBooks::JudgeBlocks(uint32_t number, BlockView& view) const {
  const Group& group = groups_[number];
  const GroupDescriptor& d = group.descriptor;
  if (d.free_blocks != g_.BlocksIn(number) - group.claimed) {
    return Problem(fmt::format("group {}: {} free blocks, counted {}", number, d.free_blocks,
                               g_.BlocksIn(number) - group.claimed));
  }
  if (d.blocks_uninitialised()) {
    // e2fsck takes such a bitmap to hold the group's own tables and nothing else.
    if (group.claimed == group.own_tables && group.other_tables == 0) return Fine();
    return Problem(fmt::format("group {}: blocks in use, bitmap uninitialised", number));
  }
  const uint8_t* bitmap = view.Block(d.block_bitmap);
  const uint32_t bytes = g_.blocks_per_group / 8;
  if (!BitmapChecksumMatches(g_, bitmap, bytes, d.block_bitmap_checksum)) {
    return Problem(fmt::format("group {}: wrong checksum of the block bitmap", number));
  }
  if (std::memcmp(bitmap, group.blocks.data(), bytes) != 0 ||
      !AllOnes(bitmap + bytes, g_.block_bytes - bytes)) {
    return Problem(fmt::format("group {}: the block bitmap differs", number));
  }
  return Fine();
}

Judgement GroupBooks::JudgeInodes(uint32_t number, BlockView& view) const {
  const Group& group = groups_[number];
  const GroupDescriptor& d = group.descriptor;
  if (d.free_inodes != g_.inodes_per_group - group.inodes_used ||
      d.used_directories != group.directories) {
    return Problem(fmt::format("group {}: {} free inodes, counted {}; {} directories, counted {}",
                               number, d.free_inodes, g_.inodes_per_group - group.inodes_used,
                               d.used_directories, group.directories));
  }
  if (d.inodes_uninitialised()) {
    if (group.inodes_used == 0) return Fine();
    return Problem(fmt::format("group {}: inodes in use, bitmap uninitialised", number));
  }
  const uint8_t* bitmap = view.Block(d.inode_bitmap);
  const uint32_t bytes = g_.inodes_per_group / 8;
  if (!BitmapChecksumMatches(g_, bitmap, bytes, d.inode_bitmap_checksum)) {
    return Problem(fmt::format("group {}: wrong checksum of the inode bitmap", number));
  }
  if (std::memcmp(bitmap, group.inodes.data(), bytes) != 0 ||
      !AllOnes(bitmap + bytes, g_.block_bytes - bytes)) {
    return Problem(fmt::format("group {}: the inode bitmap differs", number));
  }
  return Fine();
}

}  // namespace plugpull::ext4
