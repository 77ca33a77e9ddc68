// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/consistency_xattr.h"

#include <fmt/format.h>

#include <bitset>

namespace plugpull::ext4 {
namespace {

constexpr uint32_t kMagic = 0xea020000;
constexpr size_t kEntryBytes = 16;

// Words of four bytes that something lies in; nothing may lie in one twice.
class Occupied {
 public:
  explicit Occupied(size_t bytes) : words_(bytes / 4) {}
  // False when the range leaves the area, is empty, or meets another.
  bool Take(size_t offset, size_t bytes) {
    if (offset % 4 != 0 || bytes % 4 != 0 || bytes == 0) return false;
    const size_t first = offset / 4;
    const size_t count = bytes / 4;
    if (first > words_ || count > words_ - first) return false;
    for (size_t i = first; i < first + count; ++i) {
      if (taken_[i]) return false;
      taken_[i] = true;
    }
    return true;
  }

 private:
  size_t words_;
  std::bitset<1024> taken_;  // of at most 4096 bytes
};

template <typename Char>
uint32_t HashOf(std::span<const uint8_t> name, std::span<const uint8_t> padded_value) {
  uint32_t hash = 0;
  for (const uint8_t byte : name) {
    hash = (hash << 5) ^ (hash >> 27) ^ static_cast<uint32_t>(static_cast<Char>(byte));
  }
  for (size_t at = 0; at + 4 <= padded_value.size(); at += 4) {
    hash = (hash << 16) ^ (hash >> 16) ^ LoadAt<uint32_t>(padded_value.data(), at);
  }
  return hash;
}

// Entries from `first` on; the offsets of values count from `values_at`.
Judgement JudgeEntries(std::span<const uint8_t> area, size_t first, size_t values_at, bool in_inode,
                       Occupied& occupied) {
  size_t at = first;
  while (true) {
    if (area.size() - at < 4) return Problem("attributes without an end");
    if (LoadAt<uint32_t>(area.data(), at) == 0) break;
    if (area.size() - at < kEntryBytes) return Problem("an attribute leaves its area");
    const uint8_t* entry = area.data() + at;
    const size_t name_bytes = entry[0];
    const size_t value_offset = LoadAt<uint16_t>(entry, 2);
    const uint32_t value_inode = LoadAt<uint32_t>(entry, 4);
    const size_t value_bytes = LoadAt<uint32_t>(entry, 8);
    const uint32_t hash = LoadAt<uint32_t>(entry, 12);
    if (value_inode != 0) return Unjudged("an attribute's value is in an inode");
    const size_t entry_bytes = (kEntryBytes + name_bytes + 3) & ~size_t{3};
    if (entry_bytes > area.size() - at || !occupied.Take(at, entry_bytes)) {
      return Problem("an attribute leaves its area");
    }
    if (entry[1] == 0) return Unjudged("an attribute without a name space");
    if (value_bytes > area.size()) return Problem("an attribute's value leaves its area");
    const size_t padded_bytes = (value_bytes + 3) & ~size_t{3};
    std::span<const uint8_t> value;
    if (value_bytes != 0) {
      const size_t value_at = values_at + value_offset;
      if (!occupied.Take(value_at, padded_bytes)) {
        return Problem("an attribute's value leaves its area or meets another");
      }
      value = area.subspan(value_at, padded_bytes);
    }
    const auto name = area.subspan(at + kEntryBytes, name_bytes);
    const bool hash_matches =
        hash == HashOf<uint8_t>(name, value) || hash == HashOf<int8_t>(name, value);
    if (!hash_matches && !(in_inode && hash == 0)) return Problem("an attribute's hash is wrong");
    at += entry_bytes;
  }
  if (!occupied.Take(at, 4)) return Problem("an attribute's value lies over the end of the names");
  return Fine();
}

}  // namespace

Judgement JudgeInodeAttributes(std::span<const uint8_t> area) {
  if (area.size() <= 4 || area.size() % 4 != 0 || LoadAt<uint32_t>(area.data(), 0) != kMagic) {
    return Fine();
  }
  Occupied occupied(area.size());
  if (!occupied.Take(0, 4)) return Problem("attributes without room");
  return JudgeEntries(area, 4, 4, true, occupied);
}

AttributeBlock JudgeAttributeBlock(const Geometry& geometry, uint64_t block, const uint8_t* bytes) {
  constexpr size_t kHeaderBytes = 32;
  AttributeBlock result;
  const auto wrong = [&](const char* what) {
    result.judgement = Problem(fmt::format("attribute block {}: {}", block, what));
    return result;
  };
  result.references = LoadAt<uint32_t>(bytes, 4);
  if (LoadAt<uint32_t>(bytes, 0) != kMagic) return wrong("no magic");
  if (LoadAt<uint32_t>(bytes, 8) != 1) return wrong("not one block long");
  if (geometry.metadata_checksums()) {
    constexpr uint8_t kZeroes[4] = {};
    uint32_t crc = Crc32cOf(geometry.checksum_seed, block);
    crc = Crc32c(crc, {bytes, 16});
    crc = Crc32c(crc, kZeroes);
    crc = Crc32c(crc, {bytes + 20, geometry.block_bytes - 20});
    if (crc != LoadAt<uint32_t>(bytes, 16)) return wrong("wrong checksum");
  }
  Occupied occupied(geometry.block_bytes);
  (void)occupied.Take(0, kHeaderBytes);
  result.judgement = JudgeEntries({bytes, geometry.block_bytes}, kHeaderBytes, 0, false, occupied);
  if (!result.judgement.fine()) {
    result.judgement.reason = fmt::format("attribute block {}: {}", block, result.judgement.reason);
  }
  return result;
}

}  // namespace plugpull::ext4
