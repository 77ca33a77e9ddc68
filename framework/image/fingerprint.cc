// SPDX-License-Identifier: Apache-2.0
#include "framework/image/fingerprint.h"

#include <cstdio>

#include "framework/base/check.h"

namespace plugpull::image {

std::string Fingerprint::ToHex() const {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text;
}

Fingerprint FingerprintOf(std::span<const uint8_t> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

FingerprintStream::FingerprintStream() : state_(XXH3_createState()) {
  PP_CHECK(state_ != nullptr);
  XXH3_128bits_reset(state_.get());
}

void FingerprintStream::Add(std::span<const uint8_t> bytes) {
  XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
}

void FingerprintStream::AddNumber(uint64_t number) {
  XXH3_128bits_update(state_.get(), &number, sizeof number);
}

Fingerprint FingerprintStream::Finish() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  return {hash.high64, hash.low64};
}

}  // namespace plugpull::image
