// SPDX-License-Identifier: Apache-2.0
// The quick reader against libext2fs: where it says anything, it says the same.
#include <gtest/gtest.h>

#include <map>

#include "ext4_tools.h"
#include "framework/base/prng.h"
#include "framework/ext4/block_roles.h"
#include "framework/ext4/raw_inode_times.h"
#include "framework/ext4/tree_reader.h"

namespace plugpull::ext4 {
namespace {

std::string Content(size_t bytes) {
  std::string content;
  Prng prng(5);
  while (content.size() < bytes) content += static_cast<char>(prng.Next());
  return content;
}

Image WithFiles(const MkfsOptions& options) {
  Image image = MakeExt4(options);
  std::vector<std::string> commands = {
      "mkdir d",       "mkdir d/e",        "write @input d/e/file", "write @input top",
      "ln top d/same", "symlink link top", "write @input gone",     "rm gone"};
  for (int i = 0; i < 120; ++i) commands.push_back("ln top d/name" + std::to_string(i));
  Debugfs(image, commands, Content(30'000));
  return image;
}

const std::vector<std::string> kPaths = {"",     "d",       "d/e",    "d/e/file", "top", "d/same",
                                         "link", "d/name7", "d/none", "gone",     "//",  "top/x"};

struct Counts {
  size_t answers = 0;
  size_t reads = 0;
};

// Everything that the reader says of the image.
void Compare(const Image& bytes, const image::CowImage& image, TreeReader& reader, Counts& counts) {
  reader.Refresh();
  auto fs = FileSystem::Open(bytes);
  if (!fs.ok()) return;  // nobody asks the reader then
  for (const std::string& path : kPaths) {
    const auto quick = reader.Lookup(path);
    if (!quick.plain) continue;
    const auto slow = fs->Lookup(path);
    ASSERT_TRUE(slow.ok()) << path << ": " << slow.error().ToString();
    ASSERT_EQ(quick.node.has_value(), slow->has_value()) << path;
    ++counts.answers;
    if (!quick.node) continue;
    ASSERT_EQ(quick.node->inode, (*slow)->inode) << path;
    ASSERT_EQ(quick.node->folder, (*slow)->folder) << path;
    ASSERT_EQ(quick.node->regular, (*slow)->regular) << path;
    ASSERT_EQ(quick.node->size_bytes, (*slow)->size_bytes) << path;
    ASSERT_EQ(quick.node->times, (*slow)->times) << path;
    if (!quick.node->regular) continue;
    std::vector<uint8_t> a(40'000, 1);
    std::vector<uint8_t> b(40'000, 2);
    for (const uint64_t offset : {0U, 1U, 5000U, 29'999U}) {
      if (!reader.Read(quick.node->inode, offset, a)) continue;
      ASSERT_TRUE(fs->Read(quick.node->inode, offset, b).ok()) << path;
      ASSERT_EQ(a, b) << path << " from byte " << offset;
      ++counts.reads;
    }
  }
  ASSERT_EQ(image.size_bytes(), bytes.size());
}

TEST(TreeReader, SaysWhatLibext2fsSays) {
  for (const char* block_bytes : {"1024", "4096"}) {
    const Image bytes = WithFiles({.features = "none,filetype,extent,dir_index,metadata_csum",
                                   .block_bytes = block_bytes,
                                   .mib = 16,
                                   .more = {}});
    image::ContentStore store(static_cast<uint32_t>(std::stoul(block_bytes)));
    const image::CowImage image(bytes, store);
    TreeReader reader(image);
    Counts counts;
    Compare(bytes, image, reader, counts);
    EXPECT_EQ(counts.answers, kPaths.size());
    EXPECT_EQ(counts.reads, 4 * 4U);
  }
}

TEST(TreeReader, TimesAreThoseOfTheInodeToTheNanosecond) {
  Image bytes = WithFiles({.features = "none,filetype,extent,dir_index",
                           .block_bytes = "1024",
                           .mib = 16,
                           .more = {"-I", "256"}});
  Debugfs(bytes,
          {"set_inode_field top atime 20240102030405", "set_inode_field top atime_extra 0x77359404",
           "set_inode_field top mtime 19690101000000", "set_inode_field top mtime_extra 0x4",
           "set_inode_field top ctime @7", "set_inode_field top ctime_extra 0x9"});
  image::ContentStore store(1024);
  const image::CowImage image(bytes, store);
  TreeReader reader(image);
  reader.Refresh();
  const auto quick = reader.Lookup("top");
  ASSERT_TRUE(quick.plain && quick.node);
  EXPECT_EQ(quick.node->times.atime_ns, 1'704'164'645'500'000'001);
  EXPECT_EQ(quick.node->times.mtime_ns, -31'536'000'000'000'000 + 1);
  EXPECT_EQ(quick.node->times.ctime_ns, (7 + (int64_t{1} << 32)) * 1'000'000'000 + 2);
  auto fs = FileSystem::Open(bytes);
  ASSERT_TRUE(fs.ok());
  EXPECT_EQ((*fs->Lookup("top"))->times, quick.node->times);
}

TEST(RawInodeTimes, NothingIsReadBehindTheEnd) {
  std::vector<uint8_t> inode(128, 0xff);
  EXPECT_EQ(TimesOf(inode).atime_ns, -1'000'000'000) << "an old inode has no nanoseconds";
  inode.resize(140, 0xff);
  EXPECT_EQ(TimesOf(inode).ctime_ns % 4, (int64_t{0x3fffffff} - 1'000'000'000) % 4);
  EXPECT_EQ(TimesOf(inode).atime_ns, -1'000'000'000) << "i_extra_isize claims more than there is";
}

TEST(TreeReader, IsSilentWhereTheLayoutIsNotPlain) {
  const Image bytes = WithFiles({.features = "none,has_journal,filetype", .mib = 16});
  image::ContentStore store(1024);
  const image::CowImage image(bytes, store);
  TreeReader reader(image);
  reader.Refresh();
  EXPECT_FALSE(reader.Lookup("top").plain) << "blocks without extents";
  EXPECT_EQ(reader.Stamp(12), std::nullopt);
}

// Bytes of the metadata are changed one after the other, so that the image moves, too.
TEST(TreeReader, SaysNothingElseOfDamagedImages) {
  Image bytes = WithFiles({.mib = 16});
  const Image original = bytes;
  image::ContentStore store(1024);
  image::CowImage image(original, store);
  TreeReader reader(image);
  std::vector<uint64_t> metadata = {1};
  using Kind = BlockUse::Kind;
  const auto roles = *BlockRoles::Make(bytes);
  std::map<std::pair<Kind, uint32_t>, int> taken;  // four of each kind in each group
  for (uint64_t block = 2; block < bytes.size() / 1024; ++block) {
    const BlockUse use = roles.UseOf(block);
    const bool of_group = use.kind == Kind::kGroupDescriptors || use.kind == Kind::kBlockBitmap ||
                          use.kind == Kind::kInodeBitmap || use.kind == Kind::kInodeTable;
    if (of_group && taken[{use.kind, use.group}]++ < 4) metadata.push_back(block);
  }
  // Folders' blocks, too: those that hold a name.
  for (uint64_t block = 0; block < bytes.size() / 1024; ++block) {
    const std::string text(bytes.begin() + static_cast<int64_t>(block * 1024),
                           bytes.begin() + static_cast<int64_t>((block + 1) * 1024));
    if (text.find("name7") != std::string::npos || text.find("link") != std::string::npos) {
      metadata.push_back(block);
    }
  }
  Prng prng(11);
  Counts counts;
  for (int i = 0; i < 1500; ++i) {
    const uint64_t block = metadata[prng.Below(metadata.size())];
    const size_t at = prng.Below(1024);
    auto content = std::span(bytes).subspan(block * 1024, 1024);
    const uint8_t before = content[at];
    content[at] ^= static_cast<uint8_t>(1U << prng.Below(8));
    image.SetCopy(block, content);
    SCOPED_TRACE(testing::Message() << "byte " << at << " of block " << block);
    Compare(bytes, image, reader, counts);
    if (HasFatalFailure()) return;
    if (prng.Chance(900)) content[at] = before;
    image.SetCopy(block, content);
  }
  EXPECT_GT(counts.answers, 5000U);
  EXPECT_GT(counts.reads, 5000U);
}

TEST(TreeReader, AStampIsOfSizeAndBytes) {
  Image bytes = WithFiles({.mib = 16});
  image::ContentStore store(1024);
  image::CowImage image(bytes, store);
  TreeReader reader(image);
  reader.Refresh();
  const uint32_t file = reader.Lookup("d/e/file").node->inode;
  const uint32_t other = reader.Lookup("top").node->inode;
  const auto stamp = reader.Stamp(file);
  ASSERT_TRUE(stamp);
  EXPECT_NE(reader.Stamp(other), stamp) << "other blocks, even with equal bytes";
  EXPECT_EQ(reader.Stamp(reader.Lookup("d").node->inode), std::nullopt) << "a folder";
  // The file's first block.
  std::vector<uint8_t> first(1024);
  ASSERT_TRUE(reader.Read(file, 0, first));
  uint64_t at = 0;
  std::vector<uint64_t> places;
  for (; at < image.blocks(); ++at) {
    if (std::equal(first.begin(), first.end(), image.Block(at).begin())) places.push_back(at);
  }
  ASSERT_FALSE(places.empty());
  first[0] ^= 1;
  for (const uint64_t place : places) image.SetCopy(place, first);
  reader.Refresh();
  const auto changed = reader.Stamp(file);
  ASSERT_TRUE(changed);
  EXPECT_NE(changed, stamp);
  for (const uint64_t place : places) image.Set(place, nullptr);
  reader.Refresh();
  EXPECT_EQ(reader.Stamp(file), stamp);
}

}  // namespace
}  // namespace plugpull::ext4
