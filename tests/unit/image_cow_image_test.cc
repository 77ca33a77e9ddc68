// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "framework/base/prng.h"
#include "framework/image/cow_image.h"

namespace plugpull::image {
namespace {

constexpr uint32_t kBlock = 512;

std::vector<uint8_t> RandomBytes(Prng& prng, size_t size) {
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(prng.Below(256));
  return bytes;
}

TEST(ContentStoreTest, EqualBytesAreOneContent) {
  Prng prng(1);
  const auto first = RandomBytes(prng, kBlock);
  const auto second = RandomBytes(prng, kBlock);
  const auto again = first;
  ContentStore below(kBlock);
  const Content* a = below.Intern(first);
  EXPECT_EQ(a->bytes, first.data());
  EXPECT_EQ(below.InternCopy(again), a);
  ContentStore store(kBlock, &below);
  EXPECT_EQ(store.Intern(again), a);
  const Content* b = store.InternCopy(second);
  EXPECT_NE(b->bytes, second.data());
  EXPECT_TRUE(std::equal(second.begin(), second.end(), b->bytes));
  EXPECT_EQ(store.Intern(second), b);
  EXPECT_EQ(store.size(), 1u);
  EXPECT_EQ(store.Intern(std::vector<uint8_t>(kBlock)), below.zeroes());
}

// Against a plain copy of the image, with a last block that the base does not fill.
TEST(CowImageTest, IsWhatWasSet) {
  Prng prng(2);
  constexpr uint64_t kBlocks = 3000;  // more than one leaf
  auto base = RandomBytes(prng, kBlocks * kBlock);
  std::fill(base.begin(), base.begin() + 100 * kBlock, 0);
  base.resize(base.size() - 100);
  ContentStore store(kBlock);
  CowImage image(base, store);
  CowImage other(base, store);
  ASSERT_EQ(image.blocks(), kBlocks);
  std::vector<uint8_t> expected = base;
  expected.resize(kBlocks * kBlock);
  const auto original = expected;
  std::vector<std::vector<uint8_t>> contents;
  for (int i = 0; i < 20; ++i) contents.push_back(RandomBytes(prng, kBlock));
  std::set<uint64_t> touched;
  for (int step = 0; step < 20'000; ++step) {
    const uint64_t block = prng.Below(kBlocks);
    const uint64_t kind = prng.Below(23);
    std::span<const uint8_t> bytes(original.data() + block * kBlock, kBlock);
    if (kind < 20) bytes = contents[kind];
    if (kind == 20) {
      image.Set(block, nullptr);
    } else {
      image.SetCopy(block, bytes);  // kinds 21 and 22: what the base has
    }
    std::copy(bytes.begin(), bytes.end(),
              expected.begin() + static_cast<ptrdiff_t>(block * kBlock));
    touched.insert(block);
    if (kind > 19) {
      EXPECT_EQ(image.Difference(block), nullptr);
    }
  }
  for (const uint64_t block : touched) {
    const auto now = image.Block(block);
    ASSERT_TRUE(std::equal(now.begin(), now.end(), expected.data() + block * kBlock)) << block;
    other.SetCopy(block, now);  // in another order, and once
  }
  EXPECT_EQ(image.sum(), other.sum());
  const std::set<uint64_t> changes(image.changes().begin(), image.changes().end());
  EXPECT_EQ(changes.size(), image.changes().size());
  EXPECT_TRUE(std::includes(touched.begin(), touched.end(), changes.begin(), changes.end()));
  uint64_t differ = 0;
  uint64_t last = 0;
  image.ForEachDifference([&](uint64_t block, const Content& content) {
    EXPECT_TRUE(differ == 0 || block > last);
    last = block;
    ++differ;
    EXPECT_TRUE(changes.contains(block));
    EXPECT_NE(std::memcmp(content.bytes, original.data() + block * kBlock, kBlock), 0);
  });
  EXPECT_GT(differ, 1000u);
  std::vector<uint8_t> read(3 * kBlock + 7);
  image.Read(700 * kBlock + 13, read);
  EXPECT_TRUE(std::equal(read.begin(), read.end(), expected.data() + 700 * kBlock + 13));
  for (const uint64_t block : touched) image.Set(block, nullptr);
  EXPECT_EQ(image.sum(), DifferenceSum{});
}

TEST(CowImageTest, TheSumTellsBlocksAndContentsApart) {
  Prng prng(3);
  const std::vector<uint8_t> base(64 * kBlock);
  ContentStore store(kBlock);
  const auto a = RandomBytes(prng, kBlock);
  const auto b = RandomBytes(prng, kBlock);
  std::set<DifferenceSum> sums;
  for (uint64_t first = 0; first < 64; ++first) {
    for (uint64_t second = 0; second < 64; ++second) {
      CowImage image(base, store);
      image.SetCopy(first, a);
      image.SetCopy(second, b);
      sums.insert(image.sum());
    }
  }
  EXPECT_EQ(sums.size(), 64u * 64u);
}

TEST(CowImageTest, BlocksKeptApartHaveTheirOwnSum) {
  const std::vector<uint8_t> base(8 * kBlock);
  ContentStore store(kBlock);
  CowImage image(base, store);
  image.KeepApart(3);
  const std::vector<uint8_t> ones(kBlock, 1);
  image.SetCopy(3, ones);
  EXPECT_EQ(image.sum(), DifferenceSum{});
  EXPECT_NE(image.apart_sum(), DifferenceSum{});
  image.SetCopy(4, ones);
  EXPECT_NE(image.sum(), image.apart_sum());
  image.Set(3, nullptr);
  EXPECT_EQ(image.apart_sum(), DifferenceSum{});
}

TEST(CowImageTest, ListsWhatChanged) {
  const std::vector<uint8_t> base(8 * kBlock);
  ContentStore store(kBlock);
  CowImage image(base, store);
  image.SetCopy(2, std::vector<uint8_t>(kBlock, 1));
  image.SetCopy(2, std::vector<uint8_t>(kBlock, 2));
  image.SetCopy(5, std::vector<uint8_t>(kBlock));  // as it was
  EXPECT_EQ(image.changes(), std::vector<uint64_t>{2});
  image.ClearChanges();
  EXPECT_TRUE(image.changes().empty());
  image.Set(2, nullptr);
  EXPECT_EQ(image.changes(), std::vector<uint64_t>{2});
}

}  // namespace
}  // namespace plugpull::image
