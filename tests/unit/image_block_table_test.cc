// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "framework/image/block_table.h"
#include "framework/image/fingerprint.h"

namespace plugpull::image {
namespace {

std::vector<uint8_t> Pattern(size_t bytes, uint8_t start) {
  std::vector<uint8_t> pattern(bytes);
  for (size_t i = 0; i < bytes; ++i) pattern[i] = static_cast<uint8_t>(start + i / 512);
  return pattern;
}

TEST(BlockTable, EqualContentsHaveEqualNumbers) {
  auto base = Pattern(4096, 1);
  std::fill(base.begin() + 1024, base.begin() + 1536, 0);
  BlockTable table(base, 512, {0, 2, 7});
  const auto& state = table.base_state();
  ASSERT_EQ(state.size(), 3U);
  EXPECT_EQ(state[1], table.zero_content());
  EXPECT_NE(state[0], state[2]);
  const std::vector<uint8_t> same(base.begin(), base.begin() + 512);
  EXPECT_EQ(table.Intern(same), state[0]);
  const std::vector<uint8_t> other(512, 0xee);
  const ContentId id = table.Intern(other);
  EXPECT_NE(id, state[0]);
  EXPECT_EQ(table.Intern(other), id);
  EXPECT_EQ(table.Content(id).data(), other.data());
  EXPECT_EQ(table.Content(id).size(), 512U);
}

TEST(BlockTable, RanksAreFoundByBlock) {
  const std::vector<uint8_t> base(8192);
  const BlockTable table(base, 512, {3, 4, 9});
  EXPECT_EQ(table.RankOf(3), 0U);
  EXPECT_EQ(table.RankOf(9), 2U);
  EXPECT_EQ(table.RankOf(5), 3U);
  EXPECT_EQ(table.RankOf(0), 3U);
  EXPECT_EQ(table.RankAtOrAfter(0), 0U);
  EXPECT_EQ(table.RankAtOrAfter(5), 2U);
  EXPECT_EQ(table.RankAtOrAfter(10), 3U);
}

TEST(BlockTable, NothingTouchedIsAnEmptyState) {
  const std::vector<uint8_t> base(512);
  const BlockTable table(base, 512, {});
  EXPECT_TRUE(table.base_state().empty());
  EXPECT_EQ(table.RankOf(0), 0U);
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
