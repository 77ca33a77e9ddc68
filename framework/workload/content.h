// SPDX-License-Identifier: Apache-2.0
// What the files of a workload hold. A file is a row of cells of 32 bytes, the first at offset 0;
// each says which file it belongs to, where in the file, and which write put it there, so that
// every stretch of bytes found on a disk can be told from every other, also one that starts or
// ends inside a cell:
//
//   bytes 0-7    "plugcell"
//   bytes 8-15   file, little-endian
//   bytes 16-23  version, little-endian
//   bytes 24-31  number of the cell in the file, little-endian
//
// Two versions of a cell differ in nothing but one aligned 64-bit word, so a cell that was caught
// in the middle of being copied still holds one version or the other.
// Pure functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace plugpull::workload {

inline constexpr size_t kCellBytes = 32;

// What a cell says of itself.
struct ContentTag {
  uint64_t file = 0;
  uint64_t version = 0;  // from 1
  uint64_t cell = 0;     // file offset / kCellBytes
  bool operator==(const ContentTag&) const = default;
};

// Fills `out` with what version `version` of file `file` holds from byte `offset` on.
void FillContent(uint64_t file, uint64_t version, uint64_t offset, std::span<uint8_t> out);

// Whether `bytes`, found at byte `offset` of a file, are exactly what FillContent makes there.
bool HoldsContent(uint64_t file, uint64_t version, uint64_t offset, std::span<const uint8_t> bytes);

// Whether all of `bytes` are zero; true when there are none.
bool HoldsZeroes(std::span<const uint8_t> bytes);

// The tag of a whole cell, or nothing when `cell` is not kCellBytes long or holds something else.
std::optional<ContentTag> DecodeCell(std::span<const uint8_t> cell);

}  // namespace plugpull::workload
