// SPDX-License-Identifier: Apache-2.0
// The only source of random choices. Same seed, same sequence, on every machine.
// Algorithms: SplitMix64 (Steele, Lea, Flood 2014) to spread seeds, xoshiro256** (Blackman and
// Vigna 2018) for the sequence.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "framework/base/check.h"

namespace plugpull {

constexpr uint64_t SplitMix64(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

// A seed for a named sub-stream of `seed`, so that adding a stream does not shift the others.
constexpr uint64_t DeriveSeed(uint64_t seed, std::string_view name, uint64_t index = 0) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
  uint64_t state = seed ^ hash;
  const uint64_t first = SplitMix64(state);
  state = first + index;
  return SplitMix64(state);
}

class Prng {
 public:
  explicit constexpr Prng(uint64_t seed) {
    for (auto& word : state_) word = SplitMix64(seed);
  }

  constexpr uint64_t Next() {
    const uint64_t result = Rotl(state_[1] * 5, 7) * 9;
    const uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = Rotl(state_[3], 45);
    return result;
  }

  // Uniform in [0, bound); bound > 0.
  constexpr uint64_t Below(uint64_t bound) {
    PP_CHECK(bound > 0);
    const uint64_t threshold = (0 - bound) % bound;
    for (;;) {
      const uint64_t value = Next();
      if (value >= threshold) return value % bound;
    }
  }

  // Uniform in [low, high]; low <= high.
  constexpr uint64_t Between(uint64_t low, uint64_t high) {
    PP_CHECK(low <= high);
    const uint64_t span = high - low + 1;
    return span == 0 ? Next() : low + Below(span);
  }

  // True `permille` times in a thousand.
  constexpr bool Chance(uint32_t permille) { return Below(1000) < permille; }

 private:
  static constexpr uint64_t Rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  std::array<uint64_t, 4> state_{};
};

}  // namespace plugpull
