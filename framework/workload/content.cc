// SPDX-License-Identifier: Apache-2.0
#include "framework/workload/content.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace plugpull::workload {
namespace {

constexpr size_t kWords = kCellBytes / sizeof(uint64_t);
using Cell = std::array<uint64_t, kWords>;

constexpr uint64_t LittleEndian(uint64_t value) {
  if constexpr (std::endian::native == std::endian::big) return __builtin_bswap64(value);
  return value;
}

// "plugcell" read as a little-endian number.
constexpr uint64_t kMagic = 0x6c6c656367756c70ULL;

Cell MakeCell(uint64_t file, uint64_t version, uint64_t cell) {
  return {LittleEndian(kMagic), LittleEndian(file), LittleEndian(version), LittleEndian(cell)};
}

// How many of the `length` bytes from `offset` on lie in the cell that `offset` is inside of.
size_t BytesInFirstCell(uint64_t offset, size_t length) {
  return std::min<size_t>(length, kCellBytes - offset % kCellBytes);
}

bool PartHolds(const Cell& cell, size_t start, std::span<const uint8_t> part) {
  return std::memcmp(reinterpret_cast<const uint8_t*>(cell.data()) + start, part.data(),
                     part.size()) == 0;
}

}  // namespace

void FillContent(uint64_t file, uint64_t version, uint64_t offset, std::span<uint8_t> out) {
  while (!out.empty()) {
    const Cell cell = MakeCell(file, version, offset / kCellBytes);
    const size_t length = BytesInFirstCell(offset, out.size());
    std::memcpy(out.data(), reinterpret_cast<const uint8_t*>(cell.data()) + offset % kCellBytes,
                length);
    out = out.subspan(length);
    offset += length;
  }
}

bool HoldsContent(uint64_t file, uint64_t version, uint64_t offset,
                  std::span<const uint8_t> bytes) {
  if (bytes.empty()) return true;
  Cell cell = MakeCell(file, version, offset / kCellBytes);
  if (offset % kCellBytes != 0) {
    const size_t length = BytesInFirstCell(offset, bytes.size());
    if (!PartHolds(cell, offset % kCellBytes, bytes.first(length))) return false;
    bytes = bytes.subspan(length);
    offset += length;
  }
  // Differences are gathered and looked at once: most stretches are as they should be.
  uint64_t difference = 0;
  uint64_t number = offset / kCellBytes;
  for (; bytes.size() >= kCellBytes; bytes = bytes.subspan(kCellBytes), ++number) {
    Cell found;
    std::memcpy(found.data(), bytes.data(), kCellBytes);
    difference |= (found[0] ^ cell[0]) | (found[1] ^ cell[1]) | (found[2] ^ cell[2]) |
                  (found[3] ^ LittleEndian(number));
  }
  if (difference != 0) return false;
  return bytes.empty() || PartHolds(MakeCell(file, version, number), 0, bytes);
}

bool HoldsZeroes(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return true;
  // Every byte equals its successor and the first is zero.
  return bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

std::optional<ContentTag> DecodeCell(std::span<const uint8_t> cell) {
  if (cell.size() != kCellBytes) return std::nullopt;
  Cell words;
  std::memcpy(words.data(), cell.data(), kCellBytes);
  if (LittleEndian(words[0]) != kMagic) return std::nullopt;
  return ContentTag{LittleEndian(words[1]), LittleEndian(words[2]), LittleEndian(words[3])};
}

}  // namespace plugpull::workload
