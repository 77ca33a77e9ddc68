// SPDX-License-Identifier: Apache-2.0
// What a disk is filled with before anything is made on it, so that bytes which nobody wrote can
// be told from all others, and say where on the disk they lie. It is computed, never stored.
//
// A cell of 32 bytes at byte `offset` of the disk is four little-endian words: "POISONED", the
// offset, the seed, and a check word of the two. Byte by byte "POISONED" differs from zeroes and
// from the "plugcell" that cells of file content begin with (framework/workload/content.h), so
// even one byte of a cell's beginning cannot be taken for either.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace plugpull::image {

inline constexpr size_t kPoisonCellBytes = 32;

// Fills `out` with the poison of the disk from byte `offset` on.
void FillPoison(uint64_t seed, uint64_t offset, std::span<uint8_t> out);

struct Poison {
  // Of the cell on the disk; nothing when too little of the cell is there to say.
  std::optional<uint64_t> disk_offset;
};

// Whether `bytes`, at most a cell, are the beginning of a poison cell of whatever place and seed.
// Nothing when they are not, or when there are none.
std::optional<Poison> RecognisePoison(std::span<const uint8_t> bytes);

}  // namespace plugpull::image
