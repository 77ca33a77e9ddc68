// SPDX-License-Identifier: Apache-2.0
#include "framework/image/poison.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "framework/base/check.h"
#include "framework/base/prng.h"

namespace plugpull::image {
namespace {

constexpr size_t kWordBytes = sizeof(uint64_t);
using Cell = std::array<uint64_t, kPoisonCellBytes / kWordBytes>;

// "POISONED" read as a little-endian number.
constexpr uint64_t kMagic = 0x44454e4f53494f50ULL;

constexpr uint64_t LittleEndian(uint64_t value) {
  if constexpr (std::endian::native == std::endian::big) return __builtin_bswap64(value);
  return value;
}

Cell MakeCell(uint64_t seed, uint64_t offset) {
  uint64_t state = seed ^ std::rotl(offset, 17);
  return {LittleEndian(kMagic), LittleEndian(offset), LittleEndian(seed),
          LittleEndian(SplitMix64(state))};
}

}  // namespace

void FillPoison(uint64_t seed, uint64_t offset, std::span<uint8_t> out) {
  while (!out.empty()) {
    const size_t within = offset % kPoisonCellBytes;
    const size_t length = std::min(out.size(), kPoisonCellBytes - within);
    const Cell cell = MakeCell(seed, offset - within);
    std::memcpy(out.data(), reinterpret_cast<const uint8_t*>(cell.data()) + within, length);
    out = out.subspan(length);
    offset += length;
  }
}

std::optional<Poison> RecognisePoison(std::span<const uint8_t> bytes) {
  PP_CHECK(bytes.size() <= kPoisonCellBytes);
  if (bytes.empty()) return std::nullopt;
  Cell found{};
  std::memcpy(found.data(), bytes.data(), bytes.size());
  const auto word = [&](size_t i) { return LittleEndian(found[i]); };
  const auto has = [&](size_t words) { return bytes.size() >= words * kWordBytes; };
  // What is not there is taken from what must be there.
  Cell expected{LittleEndian(kMagic), found[1], found[2], found[3]};
  if (has(4)) expected = MakeCell(word(2), word(1));
  if (std::memcmp(expected.data(), bytes.data(), bytes.size()) != 0) return std::nullopt;
  if (!has(2)) return Poison{};
  if (word(1) % kPoisonCellBytes != 0) return std::nullopt;
  return Poison{word(1)};
}

}  // namespace plugpull::image
