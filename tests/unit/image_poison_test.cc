// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "framework/base/prng.h"
#include "framework/image/poison.h"
#include "framework/workload/content.h"

namespace plugpull::image {
namespace {

std::vector<uint8_t> CellAt(uint64_t seed, uint64_t offset) {
  std::vector<uint8_t> cell(kPoisonCellBytes);
  FillPoison(seed, offset, cell);
  return cell;
}

TEST(Poison, IsTheSameInWhateverPiecesItIsFilled) {
  std::vector<uint8_t> whole(5000);
  FillPoison(7, 4096, whole);
  Prng prng(1);
  for (int i = 0; i < 500; ++i) {
    const uint64_t start = prng.Below(whole.size());
    std::vector<uint8_t> piece(prng.Between(0, whole.size() - start));
    FillPoison(7, 4096 + start, piece);
    ASSERT_TRUE(
        std::equal(piece.begin(), piece.end(), whole.begin() + static_cast<ptrdiff_t>(start)));
  }
}

TEST(Poison, LayoutIsAsDocumented) {
  const auto cell = CellAt(0x0102, 0x10320);
  const std::vector<uint8_t> start = {'P', 'O', 'I', 'S', 'O', 'N', 'E', 'D', 0x20, 0x03, 1, 0,
                                      0,   0,   0,   0,   2,   1,   0,   0,   0,    0,    0, 0};
  EXPECT_TRUE(std::equal(start.begin(), start.end(), cell.begin()));
}

TEST(Poison, EveryCellSaysWhereItLies) {
  for (const uint64_t offset : {0ULL, 32ULL, 4096ULL, (256ULL << 20) - 32, 1ULL << 40}) {
    for (const uint64_t seed : {0ULL, 1ULL, ~0ULL}) {
      const auto poison = RecognisePoison(CellAt(seed, offset));
      ASSERT_TRUE(poison.has_value());
      EXPECT_EQ(poison->disk_offset, offset);
    }
  }
}

TEST(Poison, TheSeedChangesEveryCell) {
  EXPECT_NE(CellAt(1, 0), CellAt(2, 0));
  EXPECT_NE(CellAt(1, 0), CellAt(1, 32));
}

TEST(Poison, TheBeginningOfACellIsEnough) {
  const auto cell = CellAt(9, 8192);
  for (size_t length = 1; length <= cell.size(); ++length) {
    const auto poison = RecognisePoison(std::span(cell).first(length));
    ASSERT_TRUE(poison.has_value()) << length;
    EXPECT_EQ(poison->disk_offset.has_value(), length >= 16) << length;
  }
  EXPECT_FALSE(RecognisePoison({}).has_value());
}

TEST(Poison, OneBitMakesItSomethingElse) {
  const auto good = CellAt(9, 8192);
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto cell = good;
    cell[bit / 8] = static_cast<uint8_t>(cell[bit / 8] ^ (1U << (bit % 8)));
    EXPECT_FALSE(RecognisePoison(cell).has_value()) << bit;
  }
}

TEST(Poison, IsNeitherContentNorZeroes) {
  EXPECT_FALSE(RecognisePoison(std::vector<uint8_t>(kPoisonCellBytes)).has_value());
  Prng prng(3);
  for (int i = 0; i < 10'000; ++i) {
    std::vector<uint8_t> content(kPoisonCellBytes);
    workload::FillContent(prng.Next(), prng.Next(), prng.Below(1 << 30) * kPoisonCellBytes,
                          content);
    for (size_t length = 1; length <= content.size(); ++length) {
      ASSERT_FALSE(RecognisePoison(std::span(content).first(length)).has_value());
    }
    const auto poison = CellAt(prng.Next(), prng.Below(1 << 30) * kPoisonCellBytes);
    ASSERT_FALSE(workload::DecodeCell(poison).has_value());
    ASSERT_FALSE(workload::HoldsZeroes(std::span(poison).first(1)));
  }
}

}  // namespace
}  // namespace plugpull::image
