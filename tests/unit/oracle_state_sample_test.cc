// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "framework/base/prng.h"
#include "framework/oracle/state_sample.h"

namespace plugpull::oracle {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<SampleCandidate> Many(size_t count, int kinds, size_t keys) {
  std::vector<SampleCandidate> candidates;
  Prng prng(7);
  for (size_t i = 0; i < count; ++i) {
    candidates.push_back({i, static_cast<int>(prng.Below(static_cast<uint64_t>(kinds))),
                          std::to_string(prng.Below(keys))});
  }
  return candidates;
}

TEST(StateSampleTest, IsAscendingBoundedDistinctAndSeeded) {
  const auto candidates = Many(500, 4, 60);
  for (const size_t wanted : {1, 7, 40, 1000}) {
    const auto sample = SampleStates(candidates, wanted, 3);
    EXPECT_LE(sample.size(), wanted);
    EXPECT_TRUE(std::is_sorted(sample.begin(), sample.end()));
    std::set<std::pair<int, std::string>> seen;
    for (const size_t state : sample) {
      EXPECT_TRUE(seen.emplace(candidates[state].kind, candidates[state].key).second);
    }
    EXPECT_EQ(sample, SampleStates(candidates, wanted, 3));
  }
  EXPECT_NE(SampleStates(candidates, 40, 3), SampleStates(candidates, 40, 4));
}

TEST(StateSampleTest, KindsGetEqualSharesAsFarAsTheyGo) {
  std::vector<SampleCandidate> candidates;
  for (size_t i = 0; i < 100; ++i) candidates.push_back({i, 0, std::to_string(i)});
  for (size_t i = 100; i < 103; ++i) candidates.push_back({i, 1, std::to_string(i)});
  for (size_t i = 103; i < 200; ++i) candidates.push_back({i, 2, std::to_string(i)});
  std::map<int, size_t> of_kind;
  for (const size_t state : SampleStates(candidates, 23, 1)) ++of_kind[candidates[state].kind];
  EXPECT_EQ(of_kind[0], 10u);
  EXPECT_EQ(of_kind[1], 3u);
  EXPECT_EQ(of_kind[2], 10u);
}

TEST(StateSampleTest, TakesAllWhenThereIsRoomAndNothingFromNothing) {
  EXPECT_THAT(SampleStates({{4, 0, "a"}, {2, 0, "b"}, {9, 1, "a"}, {7, 0, "a"}}, 10, 1),
              ElementsAre(2, 4, 9));
  EXPECT_THAT(SampleStates({}, 10, 1), IsEmpty());
}

}  // namespace
}  // namespace plugpull::oracle
