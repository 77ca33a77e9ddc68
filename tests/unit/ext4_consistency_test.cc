// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "consistency_images.h"
#include "framework/base/prng.h"
#include "framework/ext4/consistency.h"
#include "framework/image/cow_image.h"

namespace plugpull::ext4 {
namespace {

using Outcome = ConsistencyVerdict::Outcome;

constexpr uint64_t kSuper = 1024;

// One for all tests of this program: they cost seconds.
const NamedImage& Made(const std::string& recipe) {
  static std::map<std::string, NamedImage> made;
  auto found = made.find(recipe);
  if (found == made.end()) found = made.emplace(recipe, MakeConsistencyImage(recipe)).first;
  return found->second;
}

class ConsistencyRecipe : public ::testing::TestWithParam<std::string> {};

TEST_P(ConsistencyRecipe, IsClean) {
  NamedImage made = Made(GetParam());
  for (Image* image : {&made.earlier, &made.image}) {
    const ToolEnd end = E2fsck(*image, {"-fn"});
    ASSERT_EQ(end.status, 0) << end.out;
    const ConsistencyVerdict verdict = CheckConsistency(*image);
    EXPECT_EQ(verdict.outcome, Outcome::kClean) << verdict.reason;
    EXPECT_TRUE(verdict.reason.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(All, ConsistencyRecipe, ::testing::ValuesIn(ConsistencyRecipes()),
                         [](const auto& recipe) { return recipe.param; });

// Whatever came before, the outcome is that of a look at the whole.
TEST(Consistency, WalksAgreeWithAFreshLook) {
  for (const uint32_t block_bytes : {512U, 1024U, 4096U, 8192U}) {
    SCOPED_TRACE(block_bytes);
    const NamedImage& made = Made("default_1k");
    image::ContentStore store(block_bytes);
    image::CowImage image(made.image, store);
    ConsistencyChecker checker(image);
    std::vector<uint64_t> differing;
    for (uint64_t block = 0; block < image.blocks(); ++block) {
      const uint64_t at = block * block_bytes;
      if (!std::equal(&made.image[at], &made.image[at] + block_bytes, &made.earlier[at])) {
        differing.push_back(block);
      }
    }
    ASSERT_GT(differing.size(), 10U);
    Prng prng(block_bytes);
    std::map<Outcome, int> outcomes;
    for (int step = 0; step < 60; ++step) {
      image.ClearChanges();
      // Often all of one state, or all but a block.
      const auto permille = static_cast<uint32_t>(step % 3 == 0 ? 0 : step % 3 == 1 ? 1000 : 500);
      for (const uint64_t block : differing) {
        const bool earlier = prng.Chance(permille) != prng.Chance(step % 2 == 0 ? 0 : 20);
        const uint64_t at = block * block_bytes;
        const Image& from = earlier ? made.earlier : made.image;
        image.SetCopy(block, {&from[at], block_bytes});
      }
      const ConsistencyVerdict verdict = checker.Check(image.changes());
      const ConsistencyVerdict fresh = ConsistencyChecker(image).Check({});
      ASSERT_EQ(verdict.outcome, fresh.outcome) << verdict.reason << "\n" << fresh.reason;
      ++outcomes[verdict.outcome];
    }
    EXPECT_GT(outcomes[Outcome::kClean], 5);
    EXPECT_GT(outcomes[Outcome::kSuspect], 5);
  }
}

TEST(Consistency, NamesWhatIsWrong) {
  Image image = Made("no_checksums").image;
  Debugfs(image, {"sif d/file5 links_count 9"});
  const ConsistencyVerdict verdict = CheckConsistency(image);
  EXPECT_EQ(verdict.outcome, Outcome::kSuspect);
  EXPECT_NE(verdict.reason.find("9 links, counted 1"), std::string::npos) << verdict.reason;
}

TEST(Consistency, LeavesWhatItDoesNotKnowToE2fsck) {
  Image image = Made("no_checksums").image;
  image[kSuper + 0x60 + 1] |= 0x80;  // inline data
  EXPECT_EQ(CheckConsistency(image).outcome, Outcome::kCannotJudge);
  image = Made("no_checksums").image;
  image[kSuper + 0x64 + 1] |= 0x01;  // quota
  EXPECT_EQ(CheckConsistency(image).outcome, Outcome::kCannotJudge);
}

TEST(Consistency, WantsARecoveredImage) {
  Image image = Made("no_checksums").image;
  image[kSuper + 0x60] |= 0x04;  // needs recovery
  EXPECT_EQ(CheckConsistency(image).outcome, Outcome::kSuspect);
  image = Made("no_checksums").image;
  image[kSuper + 0xe8] = 12;  // orphans
  EXPECT_EQ(CheckConsistency(image).outcome, Outcome::kSuspect);
  image = Made("no_checksums").image;
  image[kSuper + 0x3a] |= 0x02;  // errors
  EXPECT_EQ(CheckConsistency(image).outcome, Outcome::kSuspect);
}

TEST(Consistency, NoFileSystem) {
  EXPECT_EQ(CheckConsistency({}).outcome, Outcome::kSuspect);
  EXPECT_EQ(CheckConsistency(Image(2047)).outcome, Outcome::kSuspect);
  EXPECT_EQ(CheckConsistency(Image(1 << 20)).outcome, Outcome::kSuspect);
  EXPECT_EQ(CheckConsistency(Image(1 << 20, 0xff)).outcome, Outcome::kSuspect);
}

// Any bytes are judged without harm: cut short, and with a superblock that says anything.
TEST(Consistency, HostileSuperblocks) {
  const Image& image = Made("no_checksums").image;
  for (const size_t bytes : {size_t{2048}, size_t{2049}, size_t{50'000}, image.size() - 1}) {
    const Image cut(image.begin(), image.begin() + static_cast<ptrdiff_t>(bytes));
    EXPECT_NE(CheckConsistency(cut).outcome, Outcome::kClean) << bytes;
  }
  Prng prng(5);
  Image hostile = image;
  for (int i = 0; i < 400; ++i) {
    const size_t at = kSuper + prng.Below(0x180);
    const uint8_t before = hostile[at];
    hostile[at] = static_cast<uint8_t>(prng.Next());
    const ConsistencyVerdict verdict = CheckConsistency(hostile);
    EXPECT_EQ(verdict.outcome == Outcome::kClean, verdict.reason.empty());
    hostile[at] = before;
  }
}

// e2fsck may take an inode for garbage when most others in its block are, in use or not.
TEST(Consistency, InodeAmongGarbage) {
  Image image = Made("no_checksums").image;
  constexpr uint32_t kInodeBytes = 256;
  constexpr uint32_t kPerBlock = 4;
  uint32_t table = 0;
  std::memcpy(&table, &image[2048 + 8], sizeof table);
  const auto used = [&](uint32_t place) {
    return image[table * 1024 + place * kInodeBytes + 0x1a] != 0;
  };
  // The last block of inodes in use gets to hold one of them.
  uint32_t last = 0;
  for (int tries = 0; tries < 5; ++tries) {
    last = 12;
    while (used(last + 1)) ++last;
    if (last % kPerBlock == 0) break;
    Debugfs(image, {fmt::format("mknod extra{} p", tries)});
  }
  ASSERT_EQ(last % kPerBlock, 0U);
  ASSERT_EQ(CheckConsistency(image).outcome, Outcome::kClean);
  for (uint32_t place = last + 1; place < last + kPerBlock; ++place) {
    uint8_t* inode = &image[table * 1024 + place * kInodeBytes];
    std::memset(inode, 0, 128);
    inode[1] = 0x81;         // a regular file
    inode[0x14 + 3] = 0x70;  // deleted long ago
    inode[0x20 + 2] = 0x08;  // extents
    inode[40] = 0x55;        // and no header
  }
  EXPECT_EQ(CheckConsistency(image).outcome, Outcome::kCannotJudge);
}

// Every inode claims the whole disk: the work is bounded by the disk, not by inodes times disk.
TEST(Consistency, ManyInodesThatClaimEverything) {
  Image image = Made("indirect_1k").image;
  // The inode table of group 0, found by its descriptor.
  uint32_t table = 0;
  std::memcpy(&table, &image[2048 + 8], sizeof table);
  const uint32_t inodes = 600;
  for (uint32_t i = 11; i < inodes; ++i) {
    uint8_t* inode = &image[table * 1024 + i * 256];
    std::memset(inode, 0, 128);
    inode[1] = 0x81;  // a regular file
    inode[0x1a] = 1;
    // All pointers lead to one block, which leads to itself.
    for (int n = 0; n < 15; ++n) inode[40 + 4 * n + 1] = 0x20;
  }
  for (int n = 0; n < 256; ++n) {
    const uint8_t pointer[4] = {0, 0x20, 0, 0};
    std::memcpy(&image[0x2000 * 1024 + 4 * n], pointer, 4);
  }
  EXPECT_EQ(CheckConsistency(image).outcome, Outcome::kSuspect);
}

}  // namespace
}  // namespace plugpull::ext4
