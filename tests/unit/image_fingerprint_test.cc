// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "framework/image/fingerprint.h"

namespace plugpull::image {
namespace {

std::vector<uint8_t> Pattern(size_t bytes, uint8_t start) {
  std::vector<uint8_t> pattern(bytes);
  for (size_t i = 0; i < bytes; ++i) pattern[i] = static_cast<uint8_t>(start + i / 512);
  return pattern;
}

TEST(Fingerprint, ADifferenceAnywhereChangesIt) {
  std::vector<uint8_t> bytes(1000, 7);
  std::set<Fingerprint> seen = {FingerprintOf(bytes)};
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 1;
    EXPECT_TRUE(seen.insert(FingerprintOf(bytes)).second) << "byte " << i;
    bytes[i] ^= 1;
  }
  EXPECT_EQ(FingerprintOf(bytes).ToHex().size(), 32U);
}

TEST(Fingerprint, PiecesGiveWhatTheWholeGives) {
  const auto bytes = Pattern(5000, 3);
  FingerprintStream stream;
  stream.Add({bytes.data(), 1});
  stream.Add({bytes.data() + 1, 4000});
  stream.Add({bytes.data() + 4001, 999});
  EXPECT_EQ(stream.Finish(), FingerprintOf(bytes));
}

// The value of XXH3_128bits("", 0) as the xxHash specification prints it: fingerprints are kept in
// recordings, and must be the same everywhere.
TEST(Fingerprint, IsXxh3) {
  EXPECT_EQ(FingerprintOf({}).ToHex(), "99aa06d3014798d86001c324468d497f");
}

}  // namespace
}  // namespace plugpull::image
