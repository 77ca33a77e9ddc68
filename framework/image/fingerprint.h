// SPDX-License-Identifier: Apache-2.0
// XXH3-128 fingerprints: equal images have equal ones; different images have different ones but
// for a chance of about 2^-64 over all states of a run.
#pragma once

#include <xxhash.h>

#include <compare>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace plugpull::image {

struct Fingerprint {
  uint64_t high = 0;
  uint64_t low = 0;
  auto operator<=>(const Fingerprint&) const = default;
  std::string ToHex() const;  // 32 lower-case digits
};

struct FingerprintHash {
  size_t operator()(const Fingerprint& fingerprint) const { return fingerprint.low; }
};

Fingerprint FingerprintOf(std::span<const uint8_t> bytes);

// The same over bytes that come in pieces.
class FingerprintStream {
 public:
  FingerprintStream();
  void Add(std::span<const uint8_t> bytes);
  void AddNumber(uint64_t number);
  Fingerprint Finish() const;

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_;
};

}  // namespace plugpull::image
