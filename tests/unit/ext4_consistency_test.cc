// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "framework/base/prng.h"
#include "framework/ext4/consistency.h"
#include "framework/image/cow_image.h"
#include "consistency_images.h"

namespace plugpull::ext4 {
namespace {

using Outcome = ConsistencyVerdict::Outcome;

class ConsistencyRecipe : public ::testing::TestWithParam<std::string> {};

TEST_P(ConsistencyRecipe, IsClean) {
  NamedImage made = MakeConsistencyImage(GetParam());
  for (Image* image : {&made.earlier, &made.image}) {
    const ToolEnd end = E2fsck(*image, {"-fn"});
    ASSERT_EQ(end.status, 0) << end.out;
    const ConsistencyVerdict verdict = CheckConsistency(*image);
    EXPECT_EQ(verdict.outcome, Outcome::kClean) << verdict.reason;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ConsistencyRecipe, ::testing::ValuesIn(ConsistencyRecipes()),
                         [](const auto& recipe) { return recipe.param; });

}  // namespace
}  // namespace plugpull::ext4
