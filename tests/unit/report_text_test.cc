// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "framework/base/prng.h"
#include "framework/report/table.h"
#include "framework/report/text.h"

namespace plugpull::report {
namespace {

TEST(PrintableTest, KeepsWhatIsSeen) {
  EXPECT_EQ(Printable("/d3/f80 caf\u00e9 \u4e2d\u6587"), "/d3/f80 caf\u00e9 \u4e2d\u6587");
}

TEST(PrintableTest, ShowsWhatIsNotSeen) {
  EXPECT_EQ(Printable("a\x1b[31mb"), "a\\x1b[31mb");
  EXPECT_EQ(Printable("a\nb\tc\r"), "a b c ");
  EXPECT_EQ(Printable("\u009b2J"), "\\u{009b}2J");
  EXPECT_EQ(Printable("\u202egnp"), "\\u{202e}gnp");
  EXPECT_EQ(Printable(std::string_view("\0x", 2)), "\\x00x");
}

TEST(PrintableTest, BytesThatAreNotUtf8) {
  EXPECT_EQ(Printable("\xff"), "\\xff");
  EXPECT_EQ(Printable("\xc0\x80"), "\\xc0\\x80");                    // overlong
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // surrogate
  EXPECT_EQ(Printable("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80");  // above U+10FFFF
  EXPECT_EQ(Printable("caf\xc3"), "caf\\xc3");                       // cut in the middle
}

TEST(XmlTextTest, LeavesOutWhatXmlCannotHold) {
  EXPECT_EQ(XmlText("a\x1b\x01\nb\tc\r\x7f"), "a\nb\tc");
  EXPECT_EQ(XmlText("\xff"), "\ufffd");
  EXPECT_EQ(XmlText("\ufffe\uffff\u00e9"), "\u00e9");
}

TEST(DisplayWidthTest, CountsColumns) {
  EXPECT_EQ(DisplayWidth(""), 0);
  EXPECT_EQ(DisplayWidth("caf\u00e9"), 4);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1);
  EXPECT_EQ(DisplayWidth("\u4e2d\u6587"), 4);
  EXPECT_EQ(DisplayWidth("\U0001f4be"), 2);
}

TEST(CutToWidthTest, CutsBetweenCharacters) {
  EXPECT_EQ(CutToWidth("abcdef", 6, "..."), "abcdef");
  EXPECT_EQ(CutToWidth("abcdefg", 6, "..."), "abc...");
  EXPECT_EQ(CutToWidth("\u4e2d\u6587\u4e2d", 5, "\u2026"), "\u4e2d\u6587\u2026");
  EXPECT_EQ(CutToWidth("\u4e2d\u6587\u4e2d", 4, "\u2026"), "\u4e2d\u2026");
  EXPECT_EQ(CutToWidth("abcdef", 2, "..."), "ab");
}

TEST(WrapToWidthTest, BreaksAtSpaces) {
  EXPECT_EQ(WrapToWidth("", 10), std::vector<std::string>{""});
  EXPECT_EQ(WrapToWidth("one two three", 7), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(WrapToWidth("a bcdefghi", 4), (std::vector<std::string>{"a", "bcde", "fghi"}));
  EXPECT_EQ(WrapToWidth("\u4e2d\u6587", 1), (std::vector<std::string>{"\u4e2d", "\u6587"}));
}

// Whatever the bytes are: every line fits, nothing but spaces is lost, no control character stays.
TEST(WrapToWidthTest, HoldsForRandomBytes) {
  Prng prng(11);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (uint64_t i = prng.Below(80); i > 0; --i) text += static_cast<char>(prng.Below(256));
    const std::string printable = Printable(text);
    for (const char c : printable) ASSERT_FALSE(c >= 0 && c < 0x20) << round;
    const int width = static_cast<int>(prng.Between(2, 30));
    std::string joined;
    for (const std::string& line : WrapToWidth(printable, width)) {
      ASSERT_LE(DisplayWidth(line), width) << round;
      joined += line;
    }
    std::string without_spaces = printable;
    std::erase(without_spaces, ' ');
    std::erase(joined, ' ');
    ASSERT_EQ(joined, without_spaces) << round;
    ASSERT_LE(DisplayWidth(CutToWidth(printable, width, "...")), width) << round;
  }
}

TEST(TableTest, AlignsAndFits) {
  Table table;
  table.AddColumn("name", Table::Kind::kText);
  table.AddColumn("n", Table::Kind::kNumber);
  table.AddRow({{"\u4e2d\u6587"}, {"1"}}, {"below"});
  table.AddRow({{"a name that is far too long"}, {"100"}});
  EXPECT_EQ(table.Render({.colour = false, .width = 20}, 2),
            "  name             n\n"
            "  -------------  ---\n"
            "  \u4e2d\u6587             1\n"
            "below\n"
            "  a name tha...  100\n");
}

}  // namespace
}  // namespace plugpull::report
