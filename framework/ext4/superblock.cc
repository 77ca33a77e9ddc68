// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/superblock.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace plugpull::ext4 {
namespace {

template <typename T>
T Read(std::span<const uint8_t> bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0);
    table[i] = crc;
  }
  return table;
}

constexpr auto kCrcTable = MakeCrcTable();
constexpr size_t kChecksumAt = 0x3fc;

// EXT4_DEFM_* of fs/ext4/ext4.h.
void ReadMountOptions(std::span<const uint8_t> bytes, Superblock& super) {
  constexpr uint32_t kDataModes = 0x60;
  constexpr uint32_t kJournalData = 0x20;
  constexpr uint32_t kOrderedData = 0x40;
  constexpr uint32_t kNoBarrier = 0x100;
  constexpr size_t kOptionsAt = 0x200;
  constexpr size_t kOptionsBytes = 64;
  const auto defaults = Read<uint32_t>(bytes, 0x100);
  const uint32_t mode = defaults & kDataModes;
  if (mode != 0) {
    super.default_data_mode = mode == kJournalData   ? DataMode::kJournal
                              : mode == kOrderedData ? DataMode::kOrdered
                                                     : DataMode::kWriteback;
  }
  super.default_nobarrier = (defaults & kNoBarrier) != 0;
  for (const uint8_t byte : bytes.subspan(kOptionsAt, kOptionsBytes)) {
    if (byte == 0) break;
    super.mount_options += static_cast<char>(byte);
  }
}

}  // namespace

namespace {

uint32_t Crc32cByTable(uint32_t crc, std::span<const uint8_t> bytes) {
  for (const uint8_t byte : bytes) crc = kCrcTable[(crc ^ byte) & 0xff] ^ (crc >> 8);
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t Crc32cByInstruction(uint32_t seed,
                                                               std::span<const uint8_t> bytes) {
  uint64_t crc = seed;
  while (bytes.size() >= sizeof(uint64_t)) {
    crc = __builtin_ia32_crc32di(crc, Read<uint64_t>(bytes, 0));
    bytes = bytes.subspan(sizeof(uint64_t));
  }
  for (const uint8_t byte : bytes) crc = __builtin_ia32_crc32qi(static_cast<uint32_t>(crc), byte);
  return static_cast<uint32_t>(crc);
}
#endif

}  // namespace

uint32_t Crc32c(uint32_t seed, std::span<const uint8_t> bytes) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return Crc32cByInstruction(seed, bytes);
#endif
  return Crc32cByTable(seed, bytes);
}

Result<Superblock> ParseSuperblock(std::span<const uint8_t> image) {
  if (image.size() < kSuperblockAt + kSuperblockBytes) {
    return UserError(
        fmt::format("no ext4 file system: the image has {} bytes, the superblock ends "
                    "at byte {}",
                    image.size(), kSuperblockAt + kSuperblockBytes));
  }
  return ParseSuperblockBytes(image.subspan(kSuperblockAt, kSuperblockBytes));
}

Result<Superblock> ParseSuperblockBytes(std::span<const uint8_t> bytes) {
  PP_CHECK(bytes.size() == kSuperblockBytes);
  if (const auto magic = Read<uint16_t>(bytes, 0x38); magic != 0xef53) {
    return UserError(
        fmt::format("no ext4 file system: magic {:#06x} at byte 1080, not 0xef53", magic));
  }
  const auto log_block_size = Read<uint32_t>(bytes, 0x18);
  if (log_block_size > 6) {
    return UserError(
        fmt::format("damaged ext4 superblock: log_block_size {}, at most 6", log_block_size));
  }
  Superblock super;
  super.block_bytes = 1024U << log_block_size;
  super.feature_compat = Read<uint32_t>(bytes, 0x5c);
  super.feature_incompat = Read<uint32_t>(bytes, 0x60);
  super.feature_ro_compat = Read<uint32_t>(bytes, 0x64);
  super.blocks_count = Read<uint32_t>(bytes, 0x4);
  constexpr uint32_t kIncompat64Bit = 0x80;
  if ((super.feature_incompat & kIncompat64Bit) != 0) {
    super.blocks_count |= static_cast<uint64_t>(Read<uint32_t>(bytes, 0x150)) << 32;
  }
  super.state = Read<uint16_t>(bytes, 0x3a);
  super.last_orphan = Read<uint32_t>(bytes, 0xe8);
  super.journal_inode = Read<uint32_t>(bytes, 0xe0);
  super.error_count = Read<uint32_t>(bytes, 0x194);
  ReadMountOptions(bytes, super);
  if ((super.feature_ro_compat & kRoCompatMetadataCsum) != 0) {
    super.checksum_valid =
        Read<uint32_t>(bytes, kChecksumAt) == Crc32c(~0U, bytes.first(kChecksumAt));
  }
  return super;
}

std::vector<ByteRange> CounterRanges(const Superblock& superblock) {
  std::vector<ByteRange> ranges = {
      {0x2c, 0x36},    // s_mtime, s_wtime, s_mnt_count
      {0x40, 0x44},    // s_lastcheck
      {0x178, 0x180},  // s_kbytes_written
      {0x274, 0x276},  // s_wtime_hi, s_mtime_hi
      {0x277, 0x278},  // s_lastcheck_hi
  };
  if (superblock.checksum_valid) ranges.push_back({kChecksumAt, kChecksumAt + 4});
  for (ByteRange& range : ranges) {
    range.start += kSuperblockAt;
    range.end += kSuperblockAt;
  }
  return ranges;
}

}  // namespace plugpull::ext4
