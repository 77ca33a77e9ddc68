// SPDX-License-Identifier: Apache-2.0
// Numbers of the jbd2 format that its readers here share; include/linux/jbd2.h. Big-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "framework/ext4/superblock.h"

namespace plugpull::ext4::jbd2 {

inline constexpr uint32_t kMagic = 0xc03b3998;
inline constexpr size_t kHeaderBytes = 12;
inline constexpr size_t kSuperBytes = 1024;
inline constexpr size_t kSequenceAt = 0x18;
inline constexpr size_t kStartAt = 0x1c;
inline constexpr size_t kErrorAt = 0x20;
inline constexpr size_t kSuperChecksumAt = 0xfc;
inline constexpr size_t kTailBytes = 4;  // checksum at the end of descriptor and revoke blocks
inline constexpr size_t kCommitChecksumAt = 16;  // h_chksum[0]
inline constexpr size_t kCommitTimeAt = 48;
inline constexpr size_t kCommitHeaderBytes = 64;  // struct commit_header; zeroes behind it

inline uint32_t Be16(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint32_t>(bytes[at]) << 8 | bytes[at + 1];
}

inline uint32_t Be32(std::span<const uint8_t> bytes, size_t at) {
  return Be16(bytes, at) << 16 | Be16(bytes, at + 2);
}

inline void PutBe32(std::span<uint8_t> bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

// crc32c of `bytes` with four zeroes in place of those at `at`.
inline uint32_t ChecksumWithout(uint32_t seed, std::span<const uint8_t> bytes, size_t at) {
  const uint8_t zeroes[4] = {};
  const uint32_t crc = Crc32c(Crc32c(seed, bytes.first(at)), zeroes);
  return Crc32c(crc, bytes.subspan(at + 4));
}

// Transaction numbers wrap: `a` is at or behind `b`.
inline bool TidAtOrAfter(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) >= 0; }

}  // namespace plugpull::ext4::jbd2
