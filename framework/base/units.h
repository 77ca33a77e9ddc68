// SPDX-License-Identifier: Apache-2.0
// Sectors and bytes are different types; a value of one never becomes the other by accident.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace plugpull {

template <typename Tag>
struct Quantity {
  uint64_t value = 0;

  constexpr Quantity() = default;
  constexpr explicit Quantity(uint64_t v) : value(v) {}
  constexpr auto operator<=>(const Quantity&) const = default;
  constexpr Quantity operator+(Quantity other) const { return Quantity(value + other.value); }
  constexpr Quantity operator-(Quantity other) const { return Quantity(value - other.value); }
  constexpr Quantity& operator+=(Quantity other) {
    value += other.value;
    return *this;
  }
};

using Bytes = Quantity<struct BytesTag>;
// A sector of the Linux block layer and of device-mapper tables: always 512 bytes.
using Sectors = Quantity<struct SectorsTag>;

inline constexpr uint64_t kSectorBytes = 512;

constexpr Bytes ToBytes(Sectors sectors) { return Bytes(sectors.value * kSectorBytes); }
// Rounds down; the caller checks for a remainder where it matters.
constexpr Sectors ToSectors(Bytes bytes) { return Sectors(bytes.value / kSectorBytes); }
constexpr Bytes Mebibytes(uint64_t mebibytes) { return Bytes(mebibytes << 20); }

using Millis = std::chrono::milliseconds;

}  // namespace plugpull
