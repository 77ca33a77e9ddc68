// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/damage_signatures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <string_view>

namespace plugpull::ext4 {
namespace {

constexpr uint64_t kSector = 512;
constexpr uint64_t kPartitionStart = 2048;  // sectors
constexpr uint64_t kDiskBytesMin = 4 << 20;
constexpr size_t kMbrAt = 440;
constexpr size_t kGptEntries = 128;
constexpr size_t kGptEntryBytes = 128;
constexpr size_t kGptHeaderBytes = 92;
constexpr uint64_t kGptEntrySectors = kGptEntries * kGptEntryBytes / kSector;
constexpr size_t kLuksBytes = 592;
constexpr uint8_t kTypeLinux = 0x83;
constexpr uint8_t kTypeProtective = 0xee;

void PutLittle(std::span<uint8_t> bytes, size_t at, uint64_t value, size_t width) {
  for (size_t i = 0; i < width; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

void PutBig(std::span<uint8_t> bytes, size_t at, uint64_t value, size_t width) {
  for (size_t i = 0; i < width; ++i) {
    bytes[at + i] = static_cast<uint8_t>(value >> (8 * (width - 1 - i)));
  }
}

void PutText(std::span<uint8_t> bytes, size_t at, std::string_view text) {
  std::memcpy(bytes.data() + at, text.data(), text.size());
}

// CRC-32 of IEEE 802.3, as GUID partition tables have it.
uint32_t Crc32(std::span<const uint8_t> bytes) {
  uint32_t crc = ~0U;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0);
  }
  return ~crc;
}

Status CheckSize(uint64_t disk_bytes) {
  if (disk_bytes >= kDiskBytesMin) return OkStatus();
  return UserError(fmt::format("the disk has {} bytes; a signature needs a disk of at least {}",
                               disk_bytes, kDiskBytesMin));
}

// Of a boot sector, from kMbrAt to its end.
std::vector<uint8_t> BootSector(uint8_t type, uint64_t first_sector, uint64_t sectors) {
  std::vector<uint8_t> bytes(kSector - kMbrAt);
  PutLittle(bytes, 0, 0x5ac3d1e7, 4);  // identifier of the disk
  constexpr size_t kEntry = 446 - kMbrAt;
  PutLittle(bytes, kEntry + 1, 0x000200, 3);  // cylinder, head, sector: not used any more
  bytes[kEntry + 4] = type;
  PutLittle(bytes, kEntry + 5, 0xffffff, 3);
  PutLittle(bytes, kEntry + 8, first_sector, 4);
  PutLittle(bytes, kEntry + 12, std::min<uint64_t>(sectors, 0xffffffff), 4);
  PutLittle(bytes, 510 - kMbrAt, 0xaa55, 2);
  return bytes;
}

// GUIDs in their order on the disk.
constexpr std::array<uint8_t, 16> kLinuxType = {0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
                                                0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};
constexpr std::array<uint8_t, 16> kDiskId = {0x31, 0x5e, 0x0b, 0x9a, 0x77, 0xc2, 0x4d, 0x48,
                                             0x91, 0x0e, 0x6f, 0x23, 0xd8, 0x14, 0xa5, 0x5c};
constexpr std::array<uint8_t, 16> kPartitionId = {0x8c, 0x42, 0xf6, 0x1d, 0x09, 0xbe, 0x53, 0x46,
                                                  0xa7, 0x35, 0xc0, 0x9b, 0x12, 0x6e, 0xd4, 0x70};

std::vector<uint8_t> GptHeader(uint64_t at, uint64_t other, uint64_t entries_at,
                               uint64_t first_usable, uint64_t last_usable, uint32_t entries_crc) {
  std::vector<uint8_t> bytes(kSector);
  PutText(bytes, 0, "EFI PART");
  PutLittle(bytes, 8, 0x00010000, 4);  // revision 1.0
  PutLittle(bytes, 12, kGptHeaderBytes, 4);
  PutLittle(bytes, 24, at, 8);
  PutLittle(bytes, 32, other, 8);
  PutLittle(bytes, 40, first_usable, 8);
  PutLittle(bytes, 48, last_usable, 8);
  std::ranges::copy(kDiskId, bytes.begin() + 56);
  PutLittle(bytes, 72, entries_at, 8);
  PutLittle(bytes, 80, kGptEntries, 4);
  PutLittle(bytes, 84, kGptEntryBytes, 4);
  PutLittle(bytes, 88, entries_crc, 4);
  PutLittle(bytes, 16, Crc32(std::span(bytes).first(kGptHeaderBytes)), 4);
  return bytes;
}

}  // namespace

Result<std::vector<SignaturePart>> MbrSignature(uint64_t disk_bytes) {
  PP_RETURN_IF_ERROR(CheckSize(disk_bytes));
  return std::vector<SignaturePart>{
      {kMbrAt, BootSector(kTypeLinux, kPartitionStart, disk_bytes / kSector - kPartitionStart)}};
}

Result<std::vector<SignaturePart>> GptSignature(uint64_t disk_bytes) {
  PP_RETURN_IF_ERROR(CheckSize(disk_bytes));
  const uint64_t last = disk_bytes / kSector - 1;
  const uint64_t last_usable = last - kGptEntrySectors - 1;
  std::vector<uint8_t> entries(kGptEntries * kGptEntryBytes);
  std::ranges::copy(kLinuxType, entries.begin());
  std::ranges::copy(kPartitionId, entries.begin() + 16);
  PutLittle(entries, 32, kPartitionStart, 8);
  PutLittle(entries, 40, last_usable, 8);
  const uint32_t crc = Crc32(entries);
  const uint64_t first_usable = 2 + kGptEntrySectors;
  return std::vector<SignaturePart>{
      {kMbrAt, BootSector(kTypeProtective, 1, last)},
      {kSector, GptHeader(1, last, 2, first_usable, last_usable, crc)},
      {2 * kSector, entries},
      {(last_usable + 1) * kSector, entries},
      {last * kSector, GptHeader(last, 1, last_usable + 1, first_usable, last_usable, crc)},
  };
}

Result<std::vector<SignaturePart>> LuksSignature(uint64_t disk_bytes) {
  PP_RETURN_IF_ERROR(CheckSize(disk_bytes));
  std::vector<uint8_t> bytes(kLuksBytes);
  PutText(bytes, 0, "LUKS\xba\xbe");
  PutBig(bytes, 6, 1, 2);  // version
  PutText(bytes, 8, "aes");
  PutText(bytes, 40, "xts-plain64");
  PutText(bytes, 72, "sha256");
  PutBig(bytes, 104, 4096, 4);  // sector of the payload
  PutBig(bytes, 108, 64, 4);    // bytes of the key
  for (size_t i = 112; i < 164; ++i) bytes[i] = static_cast<uint8_t>(i * 151);  // digest and salt
  PutBig(bytes, 164, 100000, 4);                                                // iterations
  PutText(bytes, 168, "c1f0a6d2-5b7e-4e39-8a14-f29d60b7c853");
  constexpr size_t kSlots = 8;
  constexpr size_t kSlotBytes = 48;
  for (size_t slot = 0; slot < kSlots; ++slot) {
    const size_t at = 208 + slot * kSlotBytes;
    PutBig(bytes, at, 0xdead, 4);               // not in use
    PutBig(bytes, at + 40, 8 + 504 * slot, 4);  // sector of its key material
    PutBig(bytes, at + 44, 4000, 4);            // stripes
  }
  return std::vector<SignaturePart>{{0, std::move(bytes)}};
}

Result<std::vector<SignaturePart>> XfsSignature(uint64_t disk_bytes) {
  PP_RETURN_IF_ERROR(CheckSize(disk_bytes));
  constexpr uint64_t kBlock = 4096;
  const uint64_t blocks = disk_bytes / kBlock;
  std::vector<uint8_t> bytes(kSector);
  PutText(bytes, 0, "XFSB");
  PutBig(bytes, 4, kBlock, 4);
  PutBig(bytes, 8, blocks, 8);
  for (size_t i = 32; i < 48; ++i) bytes[i] = static_cast<uint8_t>(i * 89);  // UUID
  PutBig(bytes, 48, 64, 8);   // first block of the log
  PutBig(bytes, 56, 128, 8);  // root inode
  PutBig(bytes, 64, 129, 8);
  PutBig(bytes, 72, 130, 8);
  PutBig(bytes, 80, 1, 4);                                       // blocks of a real-time extent
  PutBig(bytes, 84, std::min<uint64_t>(blocks, 0xffffffff), 4);  // of an allocation group
  PutBig(bytes, 88, 1, 4);                                       // allocation groups
  PutBig(bytes, 96, 512, 4);                                     // blocks of the log
  PutBig(bytes, 100, 0xb484, 2);                                 // version 4 and its features
  PutBig(bytes, 102, kSector, 2);
  PutBig(bytes, 104, 256, 2);  // bytes of an inode
  PutBig(bytes, 106, 16, 2);   // inodes of a block
  bytes[120] = 12;             // logarithms: block, sector, inode, inodes of a block, group
  bytes[121] = 9;
  bytes[122] = 8;
  bytes[123] = 4;
  bytes[124] = static_cast<uint8_t>(std::bit_width(blocks - 1));
  bytes[127] = 25;  // most of the space that inodes may take, in percent
  return std::vector<SignaturePart>{{0, std::move(bytes)}};
}

}  // namespace plugpull::ext4
