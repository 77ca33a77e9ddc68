// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/jbd2_writer.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/base/check.h"
#include "framework/blocklog/format.h"

namespace plugpull::bench {
namespace {

constexpr uint32_t kMagic = 0xc03b3998;
constexpr uint32_t kDescriptor = 1;
constexpr uint32_t kCommit = 2;
constexpr uint32_t kRevoke = 5;
constexpr uint32_t kEscaped = 1;
constexpr uint32_t kSameUuid = 2;
constexpr uint32_t kLastTag = 8;
constexpr size_t kHeaderBytes = 12;
constexpr size_t kTagBytes = 16;
constexpr size_t kUuidBytes = 16;
constexpr size_t kTailBytes = 4;
constexpr size_t kRevokeRecordBytes = 8;
constexpr size_t kSuperBytes = 1024;
constexpr uint32_t kFeatures = 0x1 | 0x2 | 0x10;  // revoke, 64bit, checksum v3

void Put(std::vector<uint8_t>& block, size_t at, uint64_t value, size_t bytes = 4) {
  for (size_t i = 0; i < bytes; ++i) {
    block[at + i] = static_cast<uint8_t>(value >> (8 * (bytes - 1 - i)));
  }
}

uint32_t Crc(uint32_t seed, std::span<const uint8_t> bytes) {
  return ext2fs_crc32c_le(seed, bytes.data(), bytes.size());
}

}  // namespace

Jbd2Writer::Jbd2Writer(MemoryDisk& disk, std::vector<uint64_t> journal, blocklog::LogWriter& log)
    : disk_(disk), places_(std::move(journal)), log_(log), block_bytes_(disk.block_bytes()) {
  PP_CHECK(places_.size() >= 1024);
  const auto super = disk_.Block(places_[0]);
  super_.assign(super.begin(), super.end());
  seed_ = Crc(~0U, std::span(super_).subspan(0x30, 16));
}

void Jbd2Writer::Log(uint64_t block, std::span<const uint8_t> bytes, uint64_t flags) {
  log_.Write(Bytes(block * block_bytes_), bytes, flags);
  ++activity_.writes;
}

void Jbd2Writer::WriteThrough(uint64_t block) {
  Log(block, disk_.Block(block), blocklog::kFlagFua | blocklog::kFlagMetadata);
}

void Jbd2Writer::WriteSuper(uint32_t sequence, uint32_t start) {
  Put(super_, 0x18, sequence);
  Put(super_, 0x1c, start);
  Put(super_, 0xfc, 0);
  Put(super_, 0xfc, Crc(~0U, std::span(super_).first(kSuperBytes)));
  Log(places_[0], super_, blocklog::kFlagFua | blocklog::kFlagMetadata);
}

void Jbd2Writer::Mount() {
  Put(super_, 0x28, kFeatures);
  super_[0x50] = 4;  // s_checksum_type: crc32c
  WriteSuper(sequence_, 0);
}

uint64_t Jbd2Writer::BlocksFor(const Transaction& transaction) const {
  const uint64_t tags = (block_bytes_ - kHeaderBytes - kUuidBytes - kTailBytes) / kTagBytes;
  const uint64_t records = (block_bytes_ - kHeaderBytes - 4 - kTailBytes) / kRevokeRecordBytes;
  const uint64_t copies = transaction.metadata.size();
  return copies + (copies + tags - 1) / tags +
         (transaction.revokes.size() + records - 1) / records + 1;
}

void Jbd2Writer::Append(std::vector<uint8_t> bytes, uint64_t flags) {
  Log(places_[next_], bytes, flags);
  ++live_.back().blocks;
  ++used_;
  if (++next_ == places_.size()) {
    next_ = 1;
    ++activity_.wraps;
  }
}

std::vector<uint8_t> Jbd2Writer::Headed(uint32_t type) const {
  std::vector<uint8_t> block(block_bytes_);
  Put(block, 0, kMagic);
  Put(block, 4, type);
  Put(block, 8, sequence_);
  return block;
}

void Jbd2Writer::Seal(std::vector<uint8_t>& block, size_t at) const {
  Put(block, at, Crc(seed_, block));
}

void Jbd2Writer::AppendRevokes(const Transaction& transaction) {
  const size_t room = block_bytes_ - kTailBytes;
  auto it = transaction.revokes.begin();
  while (it != transaction.revokes.end()) {
    std::vector<uint8_t> block = Headed(kRevoke);
    size_t at = kHeaderBytes + 4;
    for (; it != transaction.revokes.end() && at + kRevokeRecordBytes <= room; ++it) {
      Put(block, at, *it, kRevokeRecordBytes);
      at += kRevokeRecordBytes;
    }
    Put(block, kHeaderBytes, at);
    Seal(block, room);
    Append(std::move(block), blocklog::kFlagMetadata);
  }
  activity_.revokes += transaction.revokes.size();
}

void Jbd2Writer::AppendCopies(const Transaction& transaction) {
  const size_t room = block_bytes_ - kTailBytes;
  const size_t tags_max = (room - kHeaderBytes - kUuidBytes) / kTagBytes;
  std::vector<uint8_t> number(4);
  Put(number, 0, sequence_);
  const std::vector<uint64_t> homes(transaction.metadata.begin(), transaction.metadata.end());
  for (size_t first = 0; first < homes.size(); first += tags_max) {
    const size_t last = std::min(first + tags_max, homes.size());
    std::vector<uint8_t> descriptor = Headed(kDescriptor);
    std::vector<std::vector<uint8_t>> copies;
    size_t at = kHeaderBytes;
    for (size_t i = first; i < last; ++i) {
      const auto now = disk_.Block(homes[i]);
      std::vector<uint8_t>& copy = copies.emplace_back(now.begin(), now.end());
      uint32_t flags = (i == first ? 0 : kSameUuid) | (i + 1 == last ? kLastTag : 0);
      if (copy[0] == 0xc0 && copy[1] == 0x3b && copy[2] == 0x39 && copy[3] == 0x98) {
        flags |= kEscaped;
        Put(copy, 0, 0);
        ++activity_.escapes;
      }
      Put(descriptor, at, homes[i] & 0xffffffff);
      Put(descriptor, at + 4, flags);
      Put(descriptor, at + 8, homes[i] >> 32);
      Put(descriptor, at + 12, Crc(Crc(seed_, number), copy));
      at += kTagBytes + (i == first ? kUuidBytes : 0);
    }
    Seal(descriptor, room);
    Append(std::move(descriptor), blocklog::kFlagMetadata);
    for (auto& copy : copies) Append(std::move(copy), blocklog::kFlagMetadata);
  }
}

void Jbd2Writer::AppendCommit() {
  std::vector<uint8_t> block = Headed(kCommit);
  Put(block, 48, 1'700'000'000 + sequence_, 8);
  Seal(block, 16);
  log_.Flush();
  Append(std::move(block), blocklog::kFlagFua | blocklog::kFlagMetadata);
}

void Jbd2Writer::Checkpoint() {
  const size_t count = (live_.size() + 1) / 2;
  for (size_t i = 0; i < count; ++i) {
    const Committed committed = std::move(live_.front());
    live_.pop_front();
    used_ -= committed.blocks;
    for (const uint64_t home : committed.homes) {
      // A later transaction holds what has been written again since, and brings it home.
      const auto it = latest_.find(home);
      if (it == latest_.end() || it->second.sequence != committed.sequence) continue;
      Log(home, it->second.bytes, blocklog::kFlagMetadata);
      ++activity_.home_writes;
      latest_.erase(it);
    }
  }
  log_.Flush();
  if (live_.empty()) {
    WriteSuper(sequence_, next_);
  } else {
    WriteSuper(live_.front().sequence, live_.front().first_place);
  }
  ++activity_.checkpoints;
}

void Jbd2Writer::Commit(const Transaction& transaction) {
  const uint64_t wanted = BlocksFor(transaction);
  PP_CHECK(wanted <= (places_.size() - 1) / 4);
  while (used_ + wanted > (places_.size() - 1) / 4 * 3) Checkpoint();
  if (empty_) {
    WriteSuper(sequence_, next_);
    empty_ = false;
  }
  for (const auto& [first, blocks] : transaction.data) {
    log_.Write(Bytes(first * block_bytes_),
               disk_.bytes().subspan(first * block_bytes_, blocks * block_bytes_));
    ++activity_.writes;
  }
  live_.push_back({sequence_, next_, 0, transaction.metadata});
  AppendRevokes(transaction);
  AppendCopies(transaction);
  AppendCommit();
  for (const uint64_t home : transaction.metadata) {
    const auto now = disk_.Block(home);
    latest_[home] = {sequence_, {now.begin(), now.end()}};
  }
  for (const uint64_t home : transaction.revokes) latest_.erase(home);
  log_.Mark(fmt::format("committed {}", sequence_));
  ++sequence_;
  ++activity_.transactions;
}

}  // namespace plugpull::bench
