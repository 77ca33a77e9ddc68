// SPDX-License-Identifier: Apache-2.0
// What debugfs says of an image, block by block and inode by inode, and images that lie.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstring>
#include <map>
#include <sstream>

#include "ext4_tools.h"
#include "framework/base/prng.h"
#include "framework/ext4/block_roles.h"

namespace plugpull::ext4 {
namespace {

using Kind = BlockUse::Kind;
using ::testing::HasSubstr;

// Answers of debugfs to several requests, by request.
std::string Ask(Image& image, const std::vector<std::string>& requests) {
  std::string text;
  for (const std::string& request : requests) text += request + "\n";
  const ToolEnd end = RunTool("debugfs", {"-f", "@input", "@image"}, image, text);
  EXPECT_EQ(end.status, 0) << end.out;
  return end.out;
}

// Lines of two columns, the second of which may be a text with spaces.
std::map<uint64_t, std::string> Columns(const std::string& text) {
  std::map<uint64_t, std::string> columns;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    uint64_t number = 0;
    std::string rest;
    if (words >> number >> std::ws && std::getline(words, rest)) columns[number] = rest;
  }
  return columns;
}

// Folders, a file with an extent tree, links, attributes, a deleted file.
Image Populated(const MkfsOptions& options) {
  Image image = MakeExt4(options);
  std::vector<std::string> commands = {"mkdir d1", "mkdir d1/inner", "mkdir big"};
  for (int i = 0; i < 20; ++i) commands.push_back(fmt::format("write @input d1/f{}", i));
  for (int i = 0; i < 12; ++i) {
    commands.push_back(fmt::format("write @input big/{}{}", std::string(200, 'n'), i));
  }
  // Holes between the rest: a file in many pieces, so that its extents do not fit the inode.
  for (int i = 0; i < 20; i += 2) commands.push_back(fmt::format("rm d1/f{}", i));
  commands.push_back("symlink d1/link f1");
  commands.push_back("ln d1/f1 d1/inner/again");
  commands.push_back("ea_set d1/f3 user.long " + std::string(300, 'a'));
  Debugfs(image, commands, std::string(5000, 'x'));
  Debugfs(image, {"write @input d1/pieces"}, std::string(60'000, 'p'));
  return image;
}

struct Shape {
  const char* name;
  MkfsOptions options;
};

class BlockRolesOf : public testing::TestWithParam<Shape> {};

// Every block: the inode that icheck names is the one that we name.
TEST_P(BlockRolesOf, BlocksOfInodesAreThoseThatIcheckNames) {
  Image image = Populated(GetParam().options);
  const auto roles = BlockRoles::Make(image);
  ASSERT_TRUE(roles.ok()) << roles.error().ToString();
  const uint64_t blocks = image.size() / roles->block_bytes();
  std::vector<std::string> requests;
  for (uint64_t block = 1; block < blocks; ++block) {
    if (block % 500 == 1) requests.emplace_back("icheck");  // debugfs has a limit on lines
    requests.back() += fmt::format(" {}", block);
  }
  const auto columns = Columns(Ask(image, requests));
  ASSERT_EQ(columns.size(), blocks - 1);
  for (const auto& [block, inode] : columns) {
    const BlockUse use = roles->UseOf(block);
    const bool owned = use.inode != 0;
    EXPECT_EQ(owned ? std::to_string(use.inode) : "<block not found>", inode)
        << block << ": " << roles->InWords(block);
  }
}

TEST_P(BlockRolesOf, BlocksInUseAreThoseOfTheBitmap) {
  Image image = Populated(GetParam().options);
  const auto roles = BlockRoles::Make(image);
  ASSERT_TRUE(roles.ok());
  const uint64_t blocks = image.size() / roles->block_bytes();
  std::vector<std::string> requests;
  for (uint64_t block = 1; block < blocks; ++block) {
    requests.push_back(fmt::format("testb {}", block));
  }
  const std::string said = Ask(image, requests);
  for (uint64_t block = 1; block < blocks; ++block) {
    const bool free = said.find(fmt::format("Block {} not in use", block)) != std::string::npos;
    EXPECT_EQ(roles->UseOf(block).kind == Kind::kFree, free)
        << block << ": " << roles->InWords(block);
    EXPECT_NE(roles->UseOf(block).kind, Kind::kUnknown) << block;
  }
  EXPECT_EQ(roles->UseOf(blocks).kind, Kind::kOutside);
}

TEST_P(BlockRolesOf, PathsAreThoseThatNcheckNames) {
  Image image = Populated(GetParam().options);
  const auto roles = BlockRoles::Make(image);
  ASSERT_TRUE(roles.ok());
  // One at a time: debugfs stops after as many names as it was asked for inodes.
  std::vector<std::string> requests;
  for (int inode = 11; inode <= 64; ++inode) requests.push_back(fmt::format("ncheck {}", inode));
  std::string said = Ask(image, requests);
  // It writes names in the root folder with two slashes.
  for (size_t at; (at = said.find("	//")) != std::string::npos;) said.erase(at + 1, 1);
  size_t named = 0;
  for (uint32_t inode = 11; inode <= 64; ++inode) {
    const std::string path = roles->PathOf(inode);
    if (path.empty()) continue;
    ++named;
    EXPECT_THAT(said, HasSubstr(fmt::format("{}\t{}\n", inode, path)));
  }
  EXPECT_GE(named, 25u);
  EXPECT_EQ(roles->PathOf(2), "/");
  EXPECT_EQ(roles->PathOf(64), "");
}

TEST_P(BlockRolesOf, InodeTablesBitmapsAndDataAreWhereDebugfsSaysTheyAre) {
  Image image = Populated(GetParam().options);
  const auto roles = BlockRoles::Make(image);
  ASSERT_TRUE(roles.ok());
  const std::string said = Ask(image, {"imap d1/f5", "stats", "bmap d1/f5 1", "blocks d1/pieces"});
  unsigned inode = 0;
  unsigned group = 0;
  unsigned long long table = 0;
  size_t at = said.find("Inode ");
  ASSERT_NE(at, std::string::npos) << said;
  ASSERT_EQ(
      std::sscanf(said.c_str() + at, "Inode %u is part of block group %u\n\tlocated at block %llu",
                  &inode, &group, &table),
      3)
      << said;
  EXPECT_EQ(roles->UseOf(table).kind, Kind::kInodeTable);
  const uint32_t first = roles->FirstInodeOf(table);
  EXPECT_LE(first, inode);
  EXPECT_LT(inode, first + roles->block_bytes() / roles->inode_bytes());
  EXPECT_EQ(roles->PathOf(inode), "/d1/f5");

  unsigned long long bitmap = 0;
  unsigned long long inode_bitmap = 0;
  at = said.find("block bitmap at ");
  ASSERT_EQ(std::sscanf(said.c_str() + at, "block bitmap at %llu, inode bitmap at %llu", &bitmap,
                        &inode_bitmap),
            2);
  EXPECT_EQ(roles->InWords(bitmap), "block bitmap of group 0");
  EXPECT_EQ(roles->InWords(inode_bitmap), "inode bitmap of group 0");
  unsigned long long data = 0;
  at = said.find("bmap d1/f5 1\n");
  ASSERT_EQ(std::sscanf(said.c_str() + at, "bmap d1/f5 1\n%llu", &data), 1) << said;
  EXPECT_EQ(roles->InWords(data),
            fmt::format("data of /d1/f5 (inode {}), byte {}", inode, roles->block_bytes()));
}

TEST_P(BlockRolesOf, EachKindIsFound) {
  const Image image = Populated(GetParam().options);
  const auto roles = BlockRoles::Make(image);
  ASSERT_TRUE(roles.ok());
  std::map<Kind, uint64_t> count;
  for (uint64_t block = 0; block < image.size() / roles->block_bytes(); ++block) {
    ++count[roles->UseOf(block).kind];
  }
  for (const Kind kind : {Kind::kSuperblock, Kind::kGroupDescriptors, Kind::kBlockBitmap,
                          Kind::kInodeBitmap, Kind::kInodeTable, Kind::kFolder, Kind::kFile,
                          Kind::kTree, Kind::kAttributes, Kind::kFree}) {
    EXPECT_GT(count[kind], 0u) << static_cast<int>(kind);
  }
  EXPECT_EQ(count[Kind::kJournal], 1024u);
  // The bytes of the superblock are in the block that we call so.
  EXPECT_EQ(roles->UseOf(1024 / roles->block_bytes()).kind, Kind::kSuperblock);
}

// Random damage anywhere in the metadata: some answer, in bounded time, and no wrong memory.
TEST_P(BlockRolesOf, DamagedImagesAreReadWithoutHarm) {
  const Image good = Populated(GetParam().options);
  const auto healthy = BlockRoles::Make(good);
  ASSERT_TRUE(healthy.ok());
  std::vector<uint64_t> metadata;
  const uint64_t size = healthy->block_bytes();
  for (uint64_t block = 0; block < good.size() / size; ++block) {
    const Kind kind = healthy->UseOf(block).kind;
    if (kind != Kind::kFree && kind != Kind::kFile && kind != Kind::kJournal) {
      metadata.push_back(block);
    }
  }
  Prng prng(7);
  size_t opened = 0;
  for (int round = 0; round < 150; ++round) {
    Image image = good;
    for (uint64_t i = prng.Between(1, 40); i > 0; --i) {
      const uint64_t block = metadata[prng.Below(metadata.size())];
      const uint64_t at = block * size + prng.Below(size);
      const uint64_t kind = prng.Below(3);
      image[at] = kind == 0 ? 0xff : kind == 1 ? 0 : static_cast<uint8_t>(prng.Next());
      // The same in a row: pointers and counts as a whole.
      if (prng.Chance(300))
        std::fill_n(image.begin() + static_cast<ptrdiff_t>(at & ~3ULL), 4, 0xff);
    }
    const auto roles = BlockRoles::Make(image);
    if (!roles.ok()) continue;
    ++opened;
    for (uint64_t block = 0; block <= good.size() / size; ++block) {
      EXPECT_FALSE(roles->InWords(block).empty());
    }
    for (uint32_t inode = 0; inode < 70; ++inode) roles->PathOf(inode);
  }
  EXPECT_GT(opened, 20u);
}

INSTANTIATE_TEST_SUITE_P(
    , BlockRolesOf,
    testing::Values(Shape{"extents_1k", {}},
                    Shape{"extents_4k", {kFeatures, "4096", 16, {"-J", "size=4"}}},
                    Shape{"indirect_1k",
                          {"none,has_journal,ext_attr,dir_index,filetype,sparse_super,resize_inode",
                           "1024",
                           12,
                           {"-J", "size=1"}}}),
    [](const auto& one) { return std::string(one.param.name); });

// An extent tree whose blocks point back at themselves would be walked for ever.
TEST(BlockRoles, AFolderThatHoldsItselfIsWalkedOnce) {
  Image image = MakeExt4();
  Debugfs(image, {"mkdir a", "mkdir a/b", "link a a/b/loop"});
  const auto roles = BlockRoles::Make(image);
  ASSERT_TRUE(roles.ok());
  EXPECT_EQ(roles->PathOf(12), "/a");
  EXPECT_EQ(roles->PathOf(13), "/a/b");
}

TEST(BlockRoles, WhatIsNoFileSystemIsAnError) {
  const Image zeroes(1 << 20);
  EXPECT_FALSE(BlockRoles::Make(zeroes).ok());
  Image large = MakeExt4();
  large.resize(2 << 20);
  EXPECT_FALSE(BlockRoles::Make(large).ok());
}

}  // namespace
}  // namespace plugpull::ext4
