// SPDX-License-Identifier: Apache-2.0
// Lists of trees: that two views of one file system agree, and that every single difference is
// seen and named. The file system is a folder of the host, and an ext4 image with the same in it.
#include "framework/tree/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "ext4_tools.h"
#include "framework/ext4/file_system.h"
#include "framework/oracle/recovered_tree.h"
#include "tests/support/program.h"
#include "vm/guest/mounted_tree.h"

namespace plugpull::tree {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Names in the order of a list, without content.
class MemoryTree : public Reader {
 public:
  std::map<std::string, TreeEntry> entries;
  std::map<std::string, std::vector<std::string>> folders;
  std::map<std::string, std::string> contents;  // of files and links
  std::string broken = "/";                     // a path that cannot be read; this one is none

  MemoryTree() { Folder("", {}); }
  void Folder(const std::string& path, const std::vector<std::string>& names) {
    entries[path].set_kind(TreeEntry::FOLDER);
    folders[path] = names;
  }
  void File(const std::string& path, const std::string& content) {
    entries[path].set_kind(TreeEntry::FILE);
    entries[path].set_size_bytes(content.size());
    contents[path] = content;
  }

  Result<TreeEntry> Look(const std::string& path) override {
    if (!entries.contains(path)) return UserError("no such name");
    return entries[path];
  }
  Result<std::vector<std::string>> List(const std::string& path) override {
    if (path == broken) return UserError("EUCLEAN");
    return folders[path];
  }
  Status Read(const std::string& path, uint64_t offset, std::span<uint8_t> out) override {
    if (path == broken) return UserError("EIO");
    std::copy_n(contents[path].begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
    return OkStatus();
  }
  Result<std::string> Target(const std::string& path) override { return contents[path]; }
};

MemoryTree Sample() {
  MemoryTree tree;
  tree.Folder("", {"z", "a", "a.b", "l"});
  tree.Folder("a", {"f"});
  tree.File("a/f", "hello");
  tree.File("a.b", "");
  tree.File("z", std::string(3 << 20, 'x'));
  tree.entries["l"].set_kind(TreeEntry::SYMLINK);
  tree.contents["l"] = "a/f";
  return tree;
}

std::string DifferenceFromSample(MemoryTree other) {
  MemoryTree sample = Sample();
  const auto there = FirstDifference(ReadTree(sample), "one", ReadTree(other), "two");
  const auto back = FirstDifference(ReadTree(other), "two", ReadTree(sample), "one");
  EXPECT_EQ(there.has_value(), back.has_value());
  return there.value_or("");
}

TEST(TreeTest, ListsFoldersBeforeWhatIsInThemAndNamesInOrder) {
  MemoryTree sample = Sample();
  const FileTree tree = ReadTree(sample);
  std::string paths;
  for (const TreeEntry& entry : tree.entry()) paths += entry.path() + ",";
  EXPECT_EQ(paths, ",a,a/f,a.b,l,z,");
  EXPECT_EQ(DifferenceFromSample(Sample()), "");
}

TEST(TreeTest, EveryDifferenceIsSeenAndNamed) {
  MemoryTree other = Sample();
  other.contents["z"][3'000'000] = 'y';
  EXPECT_THAT(DifferenceFromSample(other), AllOf(HasSubstr("/z"), HasSubstr("content")));
  other = Sample();
  other.contents["l"] = "a/g";
  EXPECT_THAT(DifferenceFromSample(other), HasSubstr("/l"));
  other = Sample();
  other.File("a/f", "hello2");
  EXPECT_THAT(DifferenceFromSample(other), HasSubstr("/a/f: bytes: 5 by one, bytes: 6 by two"));
  other = Sample();
  other.folders["a"] = {};
  EXPECT_EQ(DifferenceFromSample(other), "/a/f: one has it, two does not");
  other = Sample();
  other.folders[""].push_back("zz");
  other.File("zz", "");
  EXPECT_EQ(DifferenceFromSample(other), "/zz: two has it, one does not");
  other = Sample();
  other.Folder("a.b", {});
  EXPECT_THAT(DifferenceFromSample(other), HasSubstr("a folder by two"));
  for (const auto& change : std::vector<std::function<void(TreeEntry&)>>{
           [](TreeEntry& e) { e.set_mode(0644); }, [](TreeEntry& e) { e.set_owner(1); },
           [](TreeEntry& e) { e.set_group(1); }, [](TreeEntry& e) { e.set_links(2); }}) {
    other = Sample();
    change(other.entries["a/f"]);
    EXPECT_THAT(DifferenceFromSample(other), HasSubstr("/a/f"));
  }
}

TEST(TreeTest, WhatCannotBeReadIsInTheList) {
  for (const char* path : {"a", "z"}) {
    MemoryTree other = Sample();
    other.broken = path;
    EXPECT_THAT(DifferenceFromSample(other), HasSubstr("unreadable")) << path;
    const FileTree once = ReadTree(other);
    EXPECT_FALSE(FirstDifference(once, "one", once, "two").has_value());
  }
}

TEST(TreeTest, LargeTreesAreCutAtTheSamePlace) {
  MemoryTree sample = Sample();
  const FileTree few = ReadTree(sample, {.entries = 3});
  EXPECT_EQ(few.entry_size(), 3);
  EXPECT_NE(few.cut_reason(), "");
  const FileTree small = ReadTree(sample, {.content_bytes = 100});
  EXPECT_EQ(small.entry_size(), 6);
  EXPECT_EQ(small.entry(5).content_low(), 0u);
  EXPECT_NE(small.cut_reason(), "");
  EXPECT_EQ(ReadTree(sample, {.depth = 1}).entry_size(), 5);
}

TEST(TreeTest, AnImageAndAFolderWithTheSameInThemAgree) {
  const TestFolder folder("tree");
  namespace fs = std::filesystem;
  fs::create_directories(folder / "src/d/e");
  WriteText(folder / "src/d/f", std::string(5000, 'q'));
  WriteText(folder / "src/empty", "");
  fs::create_symlink("d/f", folder / "src/short");
  fs::create_symlink(std::string(100, 'n'), folder / "src/long");
  fs::create_hard_link(folder / "src/d/f", folder / "src/d/g");
  ASSERT_EQ(::chmod((folder / "src/empty").c_str(), 0640), 0);
  ASSERT_EQ(::truncate((folder / "src/empty").c_str(), 1 << 20), 0);  // a hole
  const ext4::Image image = ext4::MakeExt4({.more = {"-J", "size=1", "-d", folder / "src"}});
  auto opened = ext4::FileSystem::Open(image);
  ASSERT_TRUE(opened.ok()) << opened.error().ToString();
  oracle::RecoveredTree of_image(*std::move(opened));
  guest::MountedTree of_folder(folder / "src");
  FileTree a = ReadTree(of_image);
  FileTree b = ReadTree(of_folder);
  // The image has a folder that mkfs made, and mkfs gives the root to root.
  for (int i = 0; i < a.entry_size(); ++i) {
    if (a.entry(i).path() == "lost+found") a.mutable_entry()->DeleteSubrange(i--, 1);
  }
  ASSERT_GT(b.entry_size(), 6);
  for (FileTree* tree : {&a, &b}) tree->mutable_entry(0)->Clear();
  EXPECT_EQ(FirstDifference(a, "image", b, "folder").value_or(""), "");
  b.mutable_entry(b.entry_size() - 1)->set_content_low(1);
  EXPECT_TRUE(FirstDifference(a, "image", b, "folder").has_value());
}

}  // namespace
}  // namespace plugpull::tree
