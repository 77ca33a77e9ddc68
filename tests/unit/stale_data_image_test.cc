// SPDX-License-Identifier: Apache-2.0
// The stale data oracle on real ext4 images, made over poison: blocks of files are swapped for
// what lay on the disk before, as a file system would expose it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>

#include "ext4_tools.h"
#include "framework/ext4/file_system.h"
#include "framework/image/poison.h"
#include "framework/oracle/ext4_view.h"
#include "framework/oracle/stale_data.h"
#include "memory_view.h"

namespace plugpull::oracle {
namespace {

using ext4::Image;

constexpr uint64_t kSeed = 11;
constexpr size_t kBlock = 1024;

// An ext4 over poison with two files of five blocks.
class StaleDataImage : public testing::Test {
 protected:
  void SetUp() override {
    script_.Mkdir("d").Create("d/a", 1).Write("d/a", 1, 0, kBytes).Create("d/b", 2);
    script_.Write("d/b", 2, 0, kBytes);
    image_.resize(4 << 20);
    image::FillPoison(kSeed, 0, image_);
    const ext4::ToolEnd made = ext4::RunTool(
        "mkfs.ext4",
        {"-q", "-F", "-t", "ext4", "-b", "1024", "-N", "64", "-O", ext4::kFeatures, "-J", "size=1",
         "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0", "@image"},
        image_);
    ASSERT_EQ(made.status, 0) << made.out;
    ext4::Debugfs(image_, {"mkdir d"});
    for (const auto& [path, file, version] : {std::tuple("d/a", 1, 3), std::tuple("d/b", 2, 5)}) {
      std::string bytes(kBytes, '\0');
      workload::FillContent(static_cast<uint64_t>(file), static_cast<uint64_t>(version), 0,
                            {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
      ext4::Debugfs(image_, {std::string("write @input ") + path}, bytes);
    }
  }

  StaleDataVerdict JudgeImage() {
    const auto index = workload::ObligationIndex::Make(script_.trace());
    EXPECT_TRUE(index.ok());
    auto fs = ext4::FileSystem::Open(image_);
    EXPECT_TRUE(fs.ok());
    if (!fs.ok()) return {};
    Ext4View view(std::move(*fs));
    return JudgeStaleData(StaleDataIndex(*index), view);
  }

  // Where a block of a file lies on the disk.
  uint64_t PlaceOf(const std::string& path, int block) {
    Image copy = image_;
    const ext4::ToolEnd end = ext4::RunTool(
        "debugfs", {"-R", "bmap " + path + " " + std::to_string(block), "@image"}, copy);
    // Behind a line with the version.
    const size_t at = end.out.find('\n') + 1;
    uint64_t place = 0;
    std::from_chars(end.out.data() + at, end.out.data() + end.out.size(), place);
    EXPECT_GT(place, 0U) << end.out;
    return place * kBlock;
  }

  static constexpr size_t kBytes = 5 * kBlock - 100;
  Script script_;
  Image image_;
};

TEST_F(StaleDataImage, AFreshOneHoldsOverPoison) {
  const StaleDataVerdict verdict = JudgeImage();
  EXPECT_EQ(verdict.outcome, Outcome::kHolds) << verdict.evidence;
  EXPECT_EQ(verdict.files_checked, 2U);
  EXPECT_EQ(verdict.bytes_checked, 2 * kBytes);
}

TEST_F(StaleDataImage, ABlockThatWasNeverWrittenIsPoisonOfItsOwnPlace) {
  const uint64_t place = PlaceOf("d/b", 2);
  image::FillPoison(kSeed, place, std::span(image_).subspan(place, kBlock));
  const StaleDataVerdict verdict = JudgeImage();
  ASSERT_EQ(verdict.files.size(), 1U);
  EXPECT_EQ(verdict.files[0].path, "/d/b");
  EXPECT_EQ(verdict.files[0].offset, 2 * kBlock);
  EXPECT_EQ(verdict.files[0].length, kBlock);
  EXPECT_EQ(verdict.files[0].disk_offset, place);
}

TEST_F(StaleDataImage, TheLastBlockIsLookedAtUpToTheSize) {
  const uint64_t place = PlaceOf("d/a", 4);
  image::FillPoison(kSeed, place, std::span(image_).subspan(place, kBlock));
  const StaleDataVerdict verdict = JudgeImage();
  ASSERT_EQ(verdict.files.size(), 1U);
  EXPECT_EQ(verdict.files[0].stale_bytes, kBytes - 4 * kBlock);
  // Behind the size nobody sees it.
  workload::FillContent(1, 3, 4 * kBlock, std::span(image_).subspan(place, kBytes - 4 * kBlock));
  EXPECT_EQ(JudgeImage().outcome, Outcome::kHolds);
}

TEST_F(StaleDataImage, AnotherFilesBlockIsToldByItsTags) {
  const uint64_t from = PlaceOf("d/a", 1);
  const uint64_t to = PlaceOf("d/b", 3);
  std::copy_n(image_.begin() + static_cast<ptrdiff_t>(from), kBlock,
              image_.begin() + static_cast<ptrdiff_t>(to));
  const StaleDataVerdict verdict = JudgeImage();
  ASSERT_EQ(verdict.files.size(), 1U);
  EXPECT_EQ(verdict.files[0].kind, StaleFile::Kind::kOtherFile);
  EXPECT_EQ(verdict.files[0].tag->file, 1U);
  EXPECT_EQ(verdict.files[0].tag->cell, kBlock / workload::kCellBytes);
}

TEST_F(StaleDataImage, AFolderBlockInAFileIsWhatNobodyWrote) {
  const uint64_t from = PlaceOf("d", 0);
  const uint64_t to = PlaceOf("d/b", 0);
  std::copy_n(image_.begin() + static_cast<ptrdiff_t>(from), kBlock,
              image_.begin() + static_cast<ptrdiff_t>(to));
  const StaleDataVerdict verdict = JudgeImage();
  ASSERT_EQ(verdict.files.size(), 1U);
  EXPECT_EQ(verdict.files[0].kind, StaleFile::Kind::kUnrecognised);
}

// dioread_nolock and fallocate allocate such extents: what lies in their blocks is not shown.
TEST_F(StaleDataImage, UnwrittenExtentsAndHolesShowZeroes) {
  script_.Create("d/c", 3).Truncate("d/c", 3, 64 * kBlock);
  ext4::Debugfs(image_, {"write @input d/c", "fallocate d/c 8 15",
                         "set_inode_field d/c size " + std::to_string(64 * kBlock)});
  const uint64_t place = PlaceOf("d/c", 8);
  EXPECT_TRUE(image::RecognisePoison(std::span(image_).subspan(place, 32)).has_value());
  const StaleDataVerdict verdict = JudgeImage();
  EXPECT_EQ(verdict.outcome, Outcome::kHolds) << verdict.evidence;
  EXPECT_EQ(verdict.files_checked, 3U);
}

TEST_F(StaleDataImage, AFolderThatCannotBeReadIsUnknown) {
  const uint64_t place = PlaceOf("d", 0);
  std::fill_n(image_.begin() + static_cast<ptrdiff_t>(place), kBlock, uint8_t{0xff});
  EXPECT_EQ(JudgeImage().outcome, Outcome::kUnknown);
}

}  // namespace
}  // namespace plugpull::oracle
