// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "framework/base/prng.h"
#include "framework/workload/file_tree.h"
#include "framework/workload/interval_map.h"
#include "gtest/gtest.h"

namespace plugpull::workload {
namespace {

Operation Make(Operation::Kind kind, const std::string& path, const std::string& path2 = "",
               uint64_t file = 0, uint64_t offset = 0, uint64_t length = 0) {
  Operation operation;
  operation.set_kind(kind);
  operation.set_path(path);
  operation.set_path2(path2);
  operation.set_file(file);
  operation.set_offset(offset);
  operation.set_length(length);
  return operation;
}

// Against an array with one value for each position.
TEST(IntervalMap, IsLikeAnArray) {
  constexpr uint64_t kPositions = 60;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Prng prng(seed);
    IntervalMap<int> map;
    std::vector<int> model(kPositions, -1);
    for (int step = 0; step < 40; ++step) {
      const uint64_t start = prng.Below(kPositions);
      const uint64_t end = prng.Between(start, kPositions);
      const auto kind = prng.Below(3);
      const int value = static_cast<int>(prng.Below(100));
      if (kind == 0) map.Erase(start, end);
      if (kind == 1) map.Assign(start, end, value);
      if (kind == 2) map.Update(start, end, [](int& old) { return ++old % 5 != 0; });
      for (uint64_t i = start; i < end; ++i) {
        if (kind == 0) model[i] = -1;
        if (kind == 1) model[i] = value;
        if (kind == 2 && model[i] >= 0 && ++model[i] % 5 == 0) model[i] = -1;
      }
      std::vector<int> seen(kPositions, -1);
      uint64_t last_end = 0;
      for (const auto& [from, stretch] : map.stretches()) {
        ASSERT_LE(last_end, from);
        ASSERT_LT(from, stretch.end);
        last_end = stretch.end;
        for (uint64_t i = from; i < stretch.end; ++i) seen[i] = stretch.value;
      }
      ASSERT_EQ(seen, model);
    }
  }
}

TEST(FileTree, RefusesWhatAHealthyFileSystemRefuses) {
  FileTree tree;
  ASSERT_TRUE(tree.Apply(Make(Operation::MKDIR, "d"), 0).ok());
  ASSERT_TRUE(tree.Apply(Make(Operation::CREATE, "d/a", "", 1), 1).ok());
  const Operation refused[] = {
      Make(Operation::MKDIR, "d"),
      Make(Operation::MKDIR, "d/a/b"),
      Make(Operation::CREATE, "d/a", "", 2),
      Make(Operation::CREATE, "e/a", "", 2),
      Make(Operation::CREATE, "d/b", "", 1),
      Make(Operation::CREATE, "d/b", "", 0),
      Make(Operation::WRITE, "d/b", "", 1, 0, 5),
      Make(Operation::WRITE, "d/a", "", 2, 0, 5),
      Make(Operation::WRITE, "d", "", 1, 0, 5),
      Make(Operation::TRUNCATE, "d", "", 1, 0, 5),
      Make(Operation::RENAME, "d/x", "d/y"),
      Make(Operation::RENAME, "d/a", "d"),
      Make(Operation::RENAME, "d", "e"),
      Make(Operation::RENAME, "d/a", "e/a"),
      Make(Operation::LINK, "d/a", "d/a"),
      Make(Operation::LINK, "d", "e"),
      Make(Operation::UNLINK, "d"),
      Make(Operation::UNLINK, "d/b"),
      Make(Operation::RMDIR, "d"),
      Make(Operation::RMDIR, "d/a"),
      Make(Operation::RMDIR, ""),
      Make(Operation::FSYNC, "d/b"),
      Make(Operation::FDATASYNC, "d"),
      Make(Operation::UNSPECIFIED, "d/a"),
      Make(static_cast<Operation::Kind>(77), "d/a"),
  };
  for (const Operation& operation : refused) {
    EXPECT_FALSE(tree.Apply(operation, 9).ok()) << operation.ShortDebugString();
  }
  EXPECT_EQ(tree.Lookup("d/a"), (Binding{Binding::Kind::kFile, 1}));
  EXPECT_EQ(tree.FindFile(1)->content.size_bytes(), 0u);
}

TEST(FileTree, RenameOntoAnotherNameOfTheSameFileDoesNothing) {
  FileTree tree;
  ASSERT_TRUE(tree.Apply(Make(Operation::CREATE, "a", "", 1), 0).ok());
  ASSERT_TRUE(tree.Apply(Make(Operation::LINK, "a", "b"), 1).ok());
  const auto changes = tree.Apply(Make(Operation::RENAME, "a", "b"), 2);
  ASSERT_TRUE(changes.ok());
  EXPECT_TRUE(changes->empty());
  EXPECT_EQ(tree.FindFile(1)->names, 2u);
}

TEST(FileTree, RenameReplacesAndTheReplacedFileIsGone) {
  FileTree tree;
  ASSERT_TRUE(tree.Apply(Make(Operation::CREATE, "a", "", 1), 0).ok());
  ASSERT_TRUE(tree.Apply(Make(Operation::CREATE, "b", "", 2), 1).ok());
  const auto changes = tree.Apply(Make(Operation::RENAME, "a", "b"), 2);
  ASSERT_TRUE(changes.ok());
  ASSERT_EQ(changes->size(), 2u);
  EXPECT_EQ(tree.Lookup("b"), (Binding{Binding::Kind::kFile, 1}));
  EXPECT_EQ(tree.Lookup("a"), Binding{});
  EXPECT_EQ(tree.FindFile(2), nullptr);
}

TEST(FileTree, PathsAreChecked) {
  for (const char* good : {"", "a", "a/b", "..a/b."}) EXPECT_TRUE(CheckPath(good).ok()) << good;
  for (const char* bad : {"/", "/a", "a/", "a//b", ".", "a/..", "./a"}) {
    EXPECT_FALSE(CheckPath(bad).ok()) << bad;
  }
  EXPECT_FALSE(CheckPath(std::string(kNameBytesMax + 1, 'x')).ok());
  EXPECT_TRUE(CheckPath(std::string(kNameBytesMax, 'x')).ok());
  EXPECT_FALSE(CheckPath(std::string("a\0b", 3)).ok());
  std::string deep = "a";
  while (deep.size() <= kPathBytesMax) deep += "/a";
  EXPECT_FALSE(CheckPath(deep).ok());
}

TEST(FileTree, FilesStayWithinTheirBound) {
  FileTree tree;
  ASSERT_TRUE(tree.Apply(Make(Operation::CREATE, "a", "", 1), 0).ok());
  const uint64_t max = kFileBytesMax.value;
  EXPECT_TRUE(tree.Apply(Make(Operation::WRITE, "a", "", 1, max - 1, 1), 1).ok());
  EXPECT_FALSE(tree.Apply(Make(Operation::WRITE, "a", "", 1, max, 1), 2).ok());
  EXPECT_FALSE(tree.Apply(Make(Operation::WRITE, "a", "", 1, UINT64_MAX, UINT64_MAX), 2).ok());
  EXPECT_FALSE(tree.Apply(Make(Operation::TRUNCATE, "a", "", 1, 0, max + 1), 2).ok());
}

}  // namespace
}  // namespace plugpull::workload
