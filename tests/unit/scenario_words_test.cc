// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string_view>

#include "framework/scenario/words.h"

namespace plugpull::scenario {
namespace {

using namespace std::string_view_literals;  // NOLINT(build/namespaces): texts with NUL

TEST(ScenarioWordsTest, DistanceCountsEdits) {
  EXPECT_EQ(EditDistance("", ""), 0U);
  EXPECT_EQ(EditDistance("count", "count"), 0U);
  EXPECT_EQ(EditDistance("cuont", "count"), 1U);
  EXPECT_EQ(EditDistance("cont", "count"), 1U);
  EXPECT_EQ(EditDistance("counts", "count"), 1U);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3U);
  EXPECT_EQ(EditDistance("", "abc"), 3U);
  EXPECT_EQ(EditDistance(std::string(1000, 'a'), std::string(1000, 'b')), 64U);
}

TEST(ScenarioWordsTest, OnlyNearNamesAreSuggested) {
  EXPECT_EQ(DidYouMean("cuont", {"seed", "count", "mount"}), "; did you mean count?");
  EXPECT_EQ(DidYouMean("wibble", {"seed", "count"}), "");
  EXPECT_EQ(DidYouMean("x", {"y"}), "");
  EXPECT_EQ(DidYouMean("", {"y"}), "");
  EXPECT_EQ(ListNames({}), "none");
}

TEST(ScenarioWordsTest, Utf8IsTold) {
  EXPECT_TRUE(IsUtf8("plain \xc3\xa4 \xe2\x82\xac \xf0\x9d\x84\x9e"));
  EXPECT_FALSE(IsUtf8("\xff"));
  EXPECT_FALSE(IsUtf8("\xc0\xaf"));          // overlong
  EXPECT_FALSE(IsUtf8("\xe0\x80\x80"));      // overlong
  EXPECT_FALSE(IsUtf8("\xed\xa0\x80"));      // surrogate
  EXPECT_FALSE(IsUtf8("\xf4\x90\x80\x80"));  // above U+10FFFF
  EXPECT_FALSE(IsUtf8("\xe2\x82"));          // cut
}

TEST(ScenarioWordsTest, QuotationsAreShortAndPrintable) {
  EXPECT_EQ(Quoted("a\"b\\c\n\0d"sv), "\"a\\\"b\\\\c\\x0a\\x00d\"");
  EXPECT_EQ(Quoted("\xc3\xa4"), "\"\xc3\xa4\"");
  EXPECT_EQ(Quoted("\xff"), "\"\\xff\"");
  const std::string cut = Quoted(std::string(79, 'a') + "\xc3\xa4 and more");
  EXPECT_EQ(cut, "\"" + std::string(79, 'a') + "...\"");
}

}  // namespace
}  // namespace plugpull::scenario
