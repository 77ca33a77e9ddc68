// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ext4_tools.h"
#include "framework/base/prng.h"
#include "framework/ext4/file_system.h"
#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {
namespace {

using ::testing::HasSubstr;

std::string Content() {
  std::string content;
  Prng prng(3);
  for (int i = 0; i < 5000; ++i) content += static_cast<char>(prng.Next());
  return content;
}

Image WithFiles() {
  Image image = MakeExt4();
  Debugfs(image,
          {"mkdir d", "mkdir d/e", "write @input d/e/file", "write @input top", "ln top d/same",
           "symlink link top", "write @input gone", "rm gone"},
          Content());
  return image;
}

TEST(FileSystem, FindsNamesAndReadsFiles) {
  const Image image = WithFiles();
  auto fs = FileSystem::Open(image);
  ASSERT_TRUE(fs.ok()) << fs.error().ToString();
  const auto root = fs->Lookup("");
  ASSERT_TRUE(root.ok() && root->has_value());
  EXPECT_TRUE((*root)->folder);
  const auto file = fs->Lookup("d/e/file");
  ASSERT_TRUE(file.ok() && file->has_value());
  EXPECT_TRUE((*file)->regular);
  EXPECT_EQ((*file)->size_bytes, 5000U);
  const auto top = fs->Lookup("top");
  const auto same = fs->Lookup("d/same");
  ASSERT_TRUE(top.ok() && same.ok() && same->has_value());
  EXPECT_EQ((*top)->inode, (*same)->inode);
  const auto link = fs->Lookup("link");
  ASSERT_TRUE(link.ok() && link->has_value());
  EXPECT_FALSE((*link)->regular || (*link)->folder);
  for (const char* none : {"gone", "d/x", "x/y", "top/x", "//", "d//e"}) {
    const auto found = fs->Lookup(none);
    ASSERT_TRUE(found.ok()) << none;
    EXPECT_FALSE(found->has_value()) << none;
  }
  std::vector<uint8_t> bytes(5000);
  ASSERT_TRUE(fs->Read((*file)->inode, 0, bytes).ok());
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), Content());
  bytes.assign(100, 0xee);
  ASSERT_TRUE(fs->Read((*file)->inode, 4950, bytes).ok());
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 50), Content().substr(4950));
  EXPECT_EQ(std::vector<uint8_t>(bytes.begin() + 50, bytes.end()), std::vector<uint8_t>(50))
      << "behind the end there are zeroes";
}

TEST(FileSystem, SaysWhichBlockHoldsTheDataOfAFile) {
  Image image = MakeExt4({.mib = 16});
  Debugfs(image, {"write @input f"}, std::string(2500, 't'));
  auto fs = FileSystem::Open(image);
  ASSERT_TRUE(fs.ok());
  const auto node = fs->Lookup("f");
  ASSERT_TRUE(node.ok() && node->has_value());
  const uint32_t inode = (*node)->inode;
  std::string held;
  for (uint64_t place = 0; place < 3; ++place) {
    const auto block = fs->DataBlock(inode, place);
    ASSERT_TRUE(block.has_value()) << place;
    held.append(image.begin() + static_cast<ptrdiff_t>(*block * 1024),
                image.begin() + static_cast<ptrdiff_t>((*block + 1) * 1024));
  }
  EXPECT_EQ(held.substr(0, 2500), std::string(2500, 't'));
  EXPECT_FALSE(fs->DataBlock(inode, 3).has_value()) << "behind the end";
  EXPECT_FALSE(fs->DataBlock(inode, ~0ULL).has_value());
  EXPECT_FALSE(fs->DataBlock(2, 0).has_value()) << "a folder";
  EXPECT_FALSE(fs->DataBlock(60000, 0).has_value()) << "no inode";
  // Allocated, and not written: nothing of it is to be seen.
  Debugfs(image, {"fallocate f 5 6", "set_inode_field f size 8192"});
  auto more = FileSystem::Open(image);
  ASSERT_TRUE(more.ok());
  EXPECT_TRUE(more->DataBlock(inode, 2).has_value());
  EXPECT_FALSE(more->DataBlock(inode, 4).has_value()) << "a hole";
  EXPECT_FALSE(more->DataBlock(inode, 5).has_value()) << "unwritten";
}

TEST(FileSystem, TheJournalsBlocksAreDebugfsBlocks) {
  Image image = MakeExt4();
  auto fs = FileSystem::Open(image);
  ASSERT_TRUE(fs.ok());
  const auto blocks = fs->JournalBlocks();
  ASSERT_TRUE(blocks.ok());
  const ToolEnd said = RunTool("debugfs", {"-R", "blocks <8>", "@image"}, image);
  std::string text;
  for (const uint64_t block : *blocks) text += std::to_string(block) + " ";
  EXPECT_THAT(said.out, HasSubstr(text));
}

TEST(FileSystem, AJournalWithHolesIsRefused) {
  Image image = MakeExt4({.features = std::string(kFeatures) + ",^extent,^64bit"});
  Debugfs(image, {"set_inode_field <8> block[3] 0"});
  auto fs = FileSystem::Open(image);
  ASSERT_TRUE(fs.ok());
  const auto blocks = fs->JournalBlocks();
  ASSERT_FALSE(blocks.ok());
  EXPECT_THAT(blocks.error().ToString(), HasSubstr("block 3 of the journal"));
}

TEST(FileSystem, AJournalLongerThanTheDiskIsRefused) {
  Image image = MakeExt4();
  Debugfs(image, {"set_inode_field <8> size 0x4000000000"});
  auto fs = FileSystem::Open(image);
  ASSERT_TRUE(fs.ok());
  const auto blocks = fs->JournalBlocks();
  ASSERT_FALSE(blocks.ok());
  EXPECT_THAT(blocks.error().ToString(), HasSubstr("at most 4096"));
}

TEST(FileSystem, WhatIsNoneIsAnError) {
  EXPECT_FALSE(FileSystem::Open({}).ok());
  EXPECT_FALSE(FileSystem::Open(Image(1 << 20)).ok());
  Image image = MakeExt4();
  image.resize(image.size() / 2);
  const auto fs = FileSystem::Open(image);
  ASSERT_FALSE(fs.ok());
  EXPECT_THAT(fs.error().ToString(), HasSubstr("4096 blocks"));
}

TEST(FileSystem, HostileImagesNeverCrash) {
  const Image whole = WithFiles();
  Prng prng(4);
  int opened = 0;
  int read = 0;
  std::vector<uint8_t> bytes(5000);
  for (int i = 0; i < 1500; ++i) {
    Image image = whole;
    const size_t damages = 1 + prng.Below(30);
    for (size_t d = 0; d < damages; ++d) {
      // Superblock, descriptors, bitmaps, inode table and folders lie in the first 64 KiB.
      const size_t at = prng.Chance(300) ? kSuperblockAt + prng.Below(1024) : prng.Below(65536);
      image[at] = static_cast<uint8_t>(prng.Chance(300) ? 0xff : prng.Next());
    }
    auto fs = FileSystem::Open(image);
    if (!fs.ok()) continue;
    ++opened;
    for (const char* name : {"d/e/file", "top", "link", "d/x"}) {
      const auto node = fs->Lookup(name);
      if (!node.ok() || !node->has_value()) continue;
      const Status status = fs->Read((*node)->inode, prng.Below(6000), bytes);
      read += status.ok() ? 1 : 0;
    }
    const auto blocks = fs->JournalBlocks();
    if (blocks.ok()) {
      EXPECT_LE(blocks->size(), image.size() / 1024);
    }
    if (prng.Chance(500)) (void)fs->DataBlock(12, prng.Below(20));
  }
  EXPECT_GT(opened, 100);
  EXPECT_GT(read, 100);
}

}  // namespace
}  // namespace plugpull::ext4
