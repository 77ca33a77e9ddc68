// SPDX-License-Identifier: Apache-2.0
// ddmin against failures that are known: monotone ones, others, and a budget that ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "framework/base/prng.h"
#include "framework/diagnose/minimize.h"

namespace plugpull::diagnose {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Le;

using Fails = std::function<bool(const CutAndLost&)>;

// What was asked for, and how.
struct Asked {
  std::vector<CutAndLost> states;
  size_t largest_batch = 0;
};

FailureTest TestOf(const Fails& fails, Asked& asked) {
  return [&fails, &asked](const std::vector<CutAndLost>& states) -> Result<std::vector<bool>> {
    asked.largest_batch = std::max(asked.largest_batch, states.size());
    std::vector<bool> answers;
    for (const CutAndLost& state : states) {
      asked.states.push_back(state);
      answers.push_back(fails(state));
    }
    return answers;
  };
}

// Loses all of 0 to count - 1, cut behind them.
CutAndLost All(size_t count) {
  CutAndLost state{count, std::vector<size_t>(count)};
  std::iota(state.lost.begin(), state.lost.end(), size_t{0});
  return state;
}

bool Loses(const CutAndLost& state, size_t event) {
  return std::binary_search(state.lost.begin(), state.lost.end(), event);
}

MinimizeResult MustMinimize(const CutAndLost& start, const Fails& fails,
                            const MinimizeOptions& options = {}, Asked* asked = nullptr) {
  Asked own;
  const auto result = Minimize(start, options, TestOf(fails, asked != nullptr ? *asked : own));
  EXPECT_TRUE(result.ok());
  EXPECT_TRUE(fails(result->state)) << "what is handed back must fail";
  return *result;
}

TEST(Minimize, FindsTheOneWriteAmongThousands) {
  const Fails fails = [](const CutAndLost& state) { return Loses(state, 1234); };
  const MinimizeResult result = MustMinimize(All(5000), fails);
  EXPECT_THAT(result.state.lost, ElementsAre(1234));
  EXPECT_EQ(result.state.cut, 1235u) << "right behind it";
  EXPECT_TRUE(result.one_minimal);
  EXPECT_TRUE(result.cut_minimal);
  EXPECT_THAT(result.states_judged, Le(100u));
}

TEST(Minimize, FindsAllOfASetThatHasToBeLostTogether) {
  const Fails fails = [](const CutAndLost& state) {
    return Loses(state, 3) && Loses(state, 400) && Loses(state, 401);
  };
  const MinimizeResult result = MustMinimize(All(1000), fails);
  EXPECT_THAT(result.state.lost, ElementsAre(3, 400, 401));
  EXPECT_TRUE(result.one_minimal);
}

TEST(Minimize, WhatHasToArriveKeepsTheCutBehindIt) {
  // Event 70 must have arrived while 20 is lost: as a commit block and a block of its journal.
  const Fails fails = [](const CutAndLost& state) {
    return Loses(state, 20) && state.cut > 70 && !Loses(state, 70);
  };
  CutAndLost start{100, {}};
  for (size_t i = 0; i < 100; i += 2) {
    if (i != 70) start.lost.push_back(i);
  }
  const MinimizeResult result = MustMinimize(start, fails);
  EXPECT_EQ(result.state, (CutAndLost{71, {20}}));
  EXPECT_TRUE(result.cut_minimal);
}

TEST(Minimize, AFailureThatNeedsNoLossLosesNothing) {
  const Fails fails = [](const CutAndLost& state) { return state.cut >= 40; };
  const MinimizeResult result = MustMinimize(All(64), fails, {.first_cut = 10});
  EXPECT_THAT(result.state.lost, IsEmpty());
  EXPECT_EQ(result.state.cut, 40u);
  EXPECT_TRUE(result.one_minimal);
}

TEST(Minimize, AlreadyMinimalStaysAsItIs) {
  const Fails fails = [](const CutAndLost& state) {
    return state.cut == 9 && state.lost == std::vector<size_t>{2, 5};
  };
  const MinimizeResult result = MustMinimize({9, {2, 5}}, fails);
  EXPECT_EQ(result.state, (CutAndLost{9, {2, 5}}));
  EXPECT_TRUE(result.one_minimal);
}

TEST(Minimize, NeverCutsBeforeTheFirstCut) {
  Asked asked;
  const Fails fails = [](const CutAndLost&) { return true; };
  const MinimizeResult result = MustMinimize({50, {30, 40}}, fails, {.first_cut = 25}, &asked);
  EXPECT_EQ(result.state, (CutAndLost{25, {}}));
  EXPECT_TRUE(result.cut_minimal);
  for (const CutAndLost& state : asked.states) EXPECT_GE(state.cut, 25u);
}

TEST(Minimize, NoStateIsJudgedTwiceAndBatchesAreBounded) {
  Asked asked;
  const Fails fails = [](const CutAndLost& state) {
    return Loses(state, 17) && Loses(state, 90) && state.lost.size() % 3 != 0;
  };
  const MinimizeResult result = MustMinimize(All(100), fails, {}, &asked);
  EXPECT_THAT(asked.largest_batch, Le(kMinimizeBatch));
  const std::set<CutAndLost> distinct(asked.states.begin(), asked.states.end());
  EXPECT_EQ(distinct.size(), asked.states.size());
  EXPECT_EQ(result.states_judged, asked.states.size());
  for (const CutAndLost& state : asked.states) {
    EXPECT_TRUE(std::is_sorted(state.lost.begin(), state.lost.end()));
    EXPECT_TRUE(state.lost.empty() || state.lost.back() < state.cut);
  }
}

// Failures of no particular shape: whatever comes out fails and is 1-minimal.
TEST(Minimize, ResultsAreOneMinimalWhateverTheFailure) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    // By a hash of the set: neither monotone nor of any other order.
    const uint64_t one_in = 2 + seed % 5;
    const Fails fails = [&](const CutAndLost& state) {
      if (state.lost.size() == 24) return true;
      uint64_t hash = seed * 0x9e3779b97f4a7c15ULL + state.cut;
      for (const size_t event : state.lost) hash = DeriveSeed(hash, "x", event);
      return hash % one_in == 0;
    };
    const MinimizeResult result = MustMinimize(All(24), fails);
    ASSERT_TRUE(result.one_minimal) << seed;
    for (size_t i = 0; i < result.state.lost.size(); ++i) {
      CutAndLost less = result.state;
      less.lost.erase(less.lost.begin() + static_cast<ptrdiff_t>(i));
      EXPECT_FALSE(fails(less)) << seed << ": " << i << " can be given back";
    }
    if (result.cut_minimal && result.state.cut > 0) {
      CutAndLost earlier = result.state;
      --earlier.cut;
      std::erase(earlier.lost, earlier.cut);
      EXPECT_FALSE(fails(earlier)) << seed;
    }
  }
}

TEST(Minimize, ABudgetThatEndsIsSaidAndNeverOverdrawn) {
  const Fails fails = [](const CutAndLost& state) {
    return Loses(state, 100) && Loses(state, 500) && Loses(state, 900);
  };
  bool was_minimal = false;
  for (uint64_t states_max = 1; states_max < 400; ++states_max) {
    Asked asked;
    const MinimizeResult result =
        MustMinimize(All(1000), fails, {.states_max = states_max, .states_judged = 1}, &asked);
    ASSERT_THAT(asked.states.size() + 1, Le(states_max));
    EXPECT_EQ(result.states_judged, asked.states.size() + 1);
    if (result.one_minimal) {
      EXPECT_THAT(result.state.lost, ElementsAre(100, 500, 900)) << states_max;
    }
    was_minimal |= result.one_minimal;
  }
  EXPECT_TRUE(was_minimal);
}

TEST(Minimize, AnErrorEndsTheSearch) {
  int calls = 0;
  const auto result =
      Minimize(All(100), {}, [&](const std::vector<CutAndLost>&) -> Result<std::vector<bool>> {
        ++calls;
        return EnvironmentError("no memory");
      });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kEnvironment);
  EXPECT_EQ(calls, 1);
}

bool Misses(const CutAndLost& state, size_t event, uint64_t unit) {
  return std::any_of(state.torn.begin(), state.torn.end(), [&](const TornUnits& torn) {
    return torn.event == event && std::ranges::count(torn.missing, unit) > 0;
  });
}

TEST(MinimizeTorn, FewestLostWritesAndFewestTornUnits) {
  CutAndLost start = All(200);
  start.cut = 220;
  start.torn = {{205, {1, 2, 3, 4, 5, 6, 7}}, {210, {0, 1}}};
  const Fails fails = [](const CutAndLost& state) {
    return Loses(state, 17) && Misses(state, 205, 3) && Misses(state, 205, 6);
  };
  const auto result = MustMinimize(start, fails);
  EXPECT_EQ(result.state, (CutAndLost{206, {17}, {{205, {3, 6}}}}));
  EXPECT_TRUE(result.one_minimal);
  EXPECT_TRUE(result.cut_minimal);
  EXPECT_EQ(result.state.torn_units(), 2u);
}

TEST(MinimizeTorn, ATearThatDoesNotMatterGoes) {
  CutAndLost start{10, {2, 5}, {{7, {0, 2}}}};
  const auto result = MustMinimize(start, [](const CutAndLost& state) { return Loses(state, 5); });
  EXPECT_EQ(result.state, (CutAndLost{6, {5}}));
}

TEST(MinimizeTorn, ATornWriteIsNeverAskedAboutAsLostOrWhollyMissing) {
  Asked asked;
  CutAndLost start{10, {2, 5}, {{6, {0, 2}}, {7, {1}}}};
  MustMinimize(
      start, [](const CutAndLost& state) { return Misses(state, 7, 1) && Loses(state, 2); }, {},
      &asked);
  for (const CutAndLost& state : asked.states) {
    for (const TornUnits& torn : state.torn) {
      EXPECT_FALSE(Loses(state, torn.event));
      EXPECT_FALSE(torn.missing.empty());
      EXPECT_LT(torn.event, state.cut);
    }
  }
}

}  // namespace
}  // namespace plugpull::diagnose
