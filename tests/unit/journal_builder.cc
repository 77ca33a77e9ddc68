// SPDX-License-Identifier: Apache-2.0
#include "journal_builder.h"

#include <algorithm>
#include <cstring>

namespace plugpull::ext4 {
namespace {

constexpr uint32_t kMagic = 0xc03b3998;
constexpr size_t kExt4SuperAt = 1024;

void Put(std::span<uint8_t> block, size_t at, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    block[at + i] = static_cast<uint8_t>(value >> (8 * (bytes - 1 - i)));
  }
}

void PutLittle(std::span<uint8_t> block, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) block[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

bool NeedsEscape(const std::vector<uint8_t>& bytes) {
  const uint8_t magic[4] = {0xc0, 0x3b, 0x39, 0x98};
  return std::memcmp(bytes.data(), magic, 4) == 0;
}

}  // namespace

uint32_t SlowCrc32c(uint32_t seed, std::span<const uint8_t> bytes) {
  uint32_t crc = seed;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78U : crc >> 1;
  }
  return crc;
}

JournalBuilder::JournalBuilder(std::span<uint8_t> image, const std::vector<uint64_t>& blocks,
                               uint32_t block_bytes, const JournalFormat& format)
    : image_(image),
      blocks_(blocks),
      block_bytes_(block_bytes),
      format_(format),
      sequence_(format.sequence),
      next_(format.start),
      seed_(SlowCrc32c(~0U, Place(0).subspan(0x30, 16))) {}

std::span<uint8_t> JournalBuilder::Place(uint32_t place) {
  return image_.subspan(blocks_[place] * block_bytes_, block_bytes_);
}

std::span<uint8_t> JournalBuilder::Next(uint32_t type) {
  const auto block = Place(next_);
  places_.back().push_back(next_);
  next_ = next_ + 1 == blocks_.size() ? 1 : next_ + 1;
  std::fill(block.begin(), block.end(), 0);
  if (type != 0) {
    Put(block, 0, kMagic, 4);
    Put(block, 4, type, 4);
    Put(block, 8, sequence_, 4);
  }
  return block;
}

void JournalBuilder::SealTail(std::span<uint8_t> block) {
  if (format_.checksum != 0) Put(block, block.size() - 4, SlowCrc32c(seed_, block), 4);
}

size_t JournalBuilder::TagBytes() const {
  if (format_.checksum == 3) return 16;
  return 8 + (format_.checksum == 2 ? 2 : 0) + (format_.wide ? 4 : 0);
}

void JournalBuilder::AddDescriptor(const TransactionParts& parts, size_t first, size_t count) {
  const auto descriptor = Next(1);
  uint8_t number[4];
  Put(number, 0, sequence_, 4);
  size_t at = 12;
  for (size_t i = first; i < first + count; ++i) {
    const auto& [home, bytes] = parts.writes[i];
    const auto copy = Next(0);
    std::copy(bytes.begin(), bytes.end(), copy.begin());
    uint32_t flags = (i == first ? 0 : 2) | (i + 1 == first + count ? 8 : 0);
    if (NeedsEscape(bytes)) {
      flags |= 1;
      std::fill_n(copy.begin(), 4, 0);
    }
    const uint32_t crc = SlowCrc32c(SlowCrc32c(seed_, number), copy);
    Put(descriptor, at, home & 0xffffffff, 4);
    if (format_.checksum == 3) {
      Put(descriptor, at + 4, flags, 4);
      Put(descriptor, at + 8, home >> 32, 4);
      Put(descriptor, at + 12, crc, 4);
    } else {
      Put(descriptor, at + 4, format_.checksum == 2 ? crc & 0xffff : 0, 2);
      Put(descriptor, at + 6, flags, 2);
      if (format_.wide) Put(descriptor, at + 8, home >> 32, 4);
    }
    at += TagBytes() + (i == first ? 16 : 0);
  }
  SealTail(descriptor);
}

void JournalBuilder::AddRevokes(const TransactionParts& parts) {
  if (parts.revokes.empty()) return;
  const size_t record = format_.wide ? 8 : 4;
  const auto block = Next(5);
  Put(block, 12, 16 + record * parts.revokes.size(), 4);
  for (size_t i = 0; i < parts.revokes.size(); ++i) {
    Put(block, 16 + i * record, parts.revokes[i], record);
  }
  SealTail(block);
}

void JournalBuilder::AddCommit(const TransactionParts& parts) {
  const auto block = Next(2);
  Put(block, 48, parts.commit_seconds, 8);
  if (format_.checksum != 0) Put(block, 16, SlowCrc32c(seed_, block), 4);
}

void JournalBuilder::Add(const TransactionParts& parts) {
  places_.emplace_back();
  added_.push_back(parts);
  AddRevokes(parts);
  const size_t room = block_bytes_ - 12 - 16 - (format_.checksum != 0 ? 4 : 0);
  const size_t most = room / TagBytes();
  for (size_t i = 0; i < parts.writes.size(); i += most) {
    AddDescriptor(parts, i, std::min(most, parts.writes.size() - i));
  }
  if (!parts.commit) return;
  AddCommit(parts);
  ++sequence_;
}

void JournalBuilder::SealJournalSuper() {
  const auto super = Place(0).first(1024);
  Put(super, 0xfc, 0, 4);
  if (format_.checksum != 0) Put(super, 0xfc, SlowCrc32c(~0U, super), 4);
}

void JournalBuilder::SealExt4Super() {
  const auto super = image_.subspan(kExt4SuperAt, 1024);
  PutLittle(super, 0x3fc, SlowCrc32c(~0U, super.first(0x3fc)));
}

void JournalBuilder::Finish(bool needs_recovery) {
  const auto super = Place(0).first(1024);
  Put(super, 0x18, format_.sequence, 4);
  Put(super, 0x1c, format_.start, 4);
  const uint32_t checksum = format_.checksum == 3 ? 0x10 : format_.checksum == 2 ? 8 : 0;
  Put(super, 0x28, 1 | (format_.wide ? 2 : 0) | checksum, 4);
  super[0x50] = format_.checksum != 0 ? 4 : 0;  // s_checksum_type: crc32c
  SealJournalSuper();
  uint8_t& incompat = image_[kExt4SuperAt + 0x60];
  incompat = static_cast<uint8_t>(needs_recovery ? incompat | 4 : incompat & ~4);
  SealExt4Super();
}

std::map<uint64_t, std::vector<uint8_t>> JournalBuilder::Homes() const {
  std::map<uint64_t, size_t> revoked;  // the last transaction that revokes a block
  size_t complete = added_.size();
  while (complete > 0 && !added_[complete - 1].commit) --complete;
  for (size_t i = 0; i < complete; ++i) {
    for (const uint64_t home : added_[i].revokes) revoked[home] = i;
  }
  std::map<uint64_t, std::vector<uint8_t>> homes;
  for (size_t i = 0; i < complete; ++i) {
    for (const auto& [home, bytes] : added_[i].writes) {
      const auto it = revoked.find(home);
      if (it == revoked.end() || it->second < i) homes[home] = bytes;
    }
  }
  return homes;
}

}  // namespace plugpull::ext4
