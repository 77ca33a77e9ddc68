// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "framework/base/prng.h"
#include "framework/workload/content.h"
#include "gtest/gtest.h"

namespace plugpull::workload {
namespace {

TEST(Content, IsTheSameInWhateverPiecesItIsFilled) {
  std::vector<uint8_t> whole(1000);
  FillContent(7, 3, 100, whole);
  Prng prng(1);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t start = prng.Below(whole.size());
    const uint64_t length = prng.Between(0, whole.size() - start);
    std::vector<uint8_t> piece(length);
    FillContent(7, 3, 100 + start, piece);
    ASSERT_TRUE(
        std::equal(piece.begin(), piece.end(), whole.begin() + static_cast<std::ptrdiff_t>(start)));
    ASSERT_TRUE(HoldsContent(7, 3, 100 + start, piece));
  }
}

TEST(Content, EveryWholeCellSaysWhereItBelongs) {
  std::vector<uint8_t> bytes(kCellBytes * 4);
  FillContent(0x1234567890abcdef, 42, kCellBytes * 9, bytes);
  for (uint64_t i = 0; i < 4; ++i) {
    const auto tag = DecodeCell(std::span(bytes).subspan(i * kCellBytes, kCellBytes));
    ASSERT_TRUE(tag.has_value());
    EXPECT_EQ(*tag, (ContentTag{0x1234567890abcdef, 42, 9 + i}));
  }
}

TEST(Content, LayoutIsAsDocumented) {
  std::vector<uint8_t> bytes(kCellBytes);
  FillContent(0x0102, 0x0304, kCellBytes * 5, bytes);
  std::vector<uint8_t> expected = {'p', 'l', 'u', 'g', 'c', 'e', 'l', 'l'};
  expected.resize(kCellBytes);
  expected[8] = 2, expected[9] = 1, expected[16] = 4, expected[17] = 3, expected[24] = 5;
  EXPECT_EQ(bytes, expected);
}

TEST(Content, WhatIsNoCellHasNoTag) {
  std::vector<uint8_t> bytes(kCellBytes + 1);
  FillContent(1, 1, 0, bytes);
  EXPECT_FALSE(DecodeCell(std::span(bytes)).has_value());
  EXPECT_FALSE(DecodeCell(std::span(bytes).first(kCellBytes - 1)).has_value());
  EXPECT_FALSE(DecodeCell(std::span(bytes).subspan(1)).has_value());
  EXPECT_FALSE(DecodeCell(std::vector<uint8_t>(kCellBytes)).has_value());
}

TEST(Content, AnyChangedByteIsSeen) {
  for (const uint64_t offset : {0, 5, 32, 61}) {
    std::vector<uint8_t> bytes(150);
    FillContent(9, 8, offset, bytes);
    for (uint8_t& byte : bytes) {
      byte ^= 0x10;
      ASSERT_FALSE(HoldsContent(9, 8, offset, bytes)) << offset << " " << (&byte - bytes.data());
      byte ^= 0x10;
    }
    EXPECT_TRUE(HoldsContent(9, 8, offset, bytes));
    EXPECT_FALSE(HoldsContent(9, 7, offset, bytes));
    EXPECT_FALSE(HoldsContent(8, 8, offset, bytes));
    EXPECT_FALSE(HoldsContent(9, 8, offset + kCellBytes, bytes));
  }
}

TEST(Content, ZeroesAreZeroesToTheLastByte) {
  std::vector<uint8_t> bytes(77);
  EXPECT_TRUE(HoldsZeroes(bytes));
  EXPECT_TRUE(HoldsZeroes({}));
  for (uint8_t& byte : bytes) {
    byte = 1;
    EXPECT_FALSE(HoldsZeroes(bytes));
    byte = 0;
  }
}

}  // namespace
}  // namespace plugpull::workload
