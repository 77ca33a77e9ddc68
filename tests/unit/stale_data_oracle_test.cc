// SPDX-License-Identifier: Apache-2.0
// What the stale data oracle accuses, and what it leaves alone, on file systems made by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/image/poison.h"
#include "framework/oracle/stale_data.h"
#include "memory_view.h"

namespace plugpull::oracle {
namespace {

using ::testing::HasSubstr;
using Kind = StaleFile::Kind;

constexpr uint64_t kSeed = 5;

// Two files in a folder, the first with a second name.
Script TwoFiles() {
  Script script;
  script.Mkdir("d").Create("d/a", 1).Write("d/a", 1, 0, 4096);  // version 3
  script.Create("d/b", 2).Write("d/b", 2, 0, 4096);             // version 5
  script.Link("d/a", "d/c");
  return script;
}

StaleDataVerdict JudgeView(const Script& script, MemoryView& view) {
  const auto index = workload::ObligationIndex::Make(script.trace());
  EXPECT_TRUE(index.ok()) << index.error().ToString();
  const StaleDataIndex stale(*index);
  return JudgeStaleData(stale, view);
}

MemoryView After(const Script& script) { return ViewAfter(script.trace(), script.size()); }

void PoisonIn(MemoryView& view, const std::string& path, uint64_t offset, uint64_t length,
              uint64_t disk_offset) {
  image::FillPoison(kSeed, disk_offset, std::span(view.BytesOf(path)).subspan(offset, length));
}

void ExpectHolds(const Script& script, MemoryView view) {
  const StaleDataVerdict verdict = JudgeView(script, view);
  EXPECT_EQ(verdict.outcome, Outcome::kHolds) << verdict.evidence;
  EXPECT_EQ(verdict.stale_files, 0U);
}

StaleFile ExpectStale(const Script& script, MemoryView view, Kind kind) {
  const StaleDataVerdict verdict = JudgeView(script, view);
  EXPECT_EQ(verdict.outcome, Outcome::kViolated);
  if (verdict.files.empty()) return {};
  EXPECT_STREQ(StaleKindName(verdict.files[0].kind), StaleKindName(kind)) << verdict.evidence;
  return verdict.files[0];
}

TEST(StaleData, AHealthyFileSystemHolds) {
  const Script script = TwoFiles();
  MemoryView view = After(script);
  const StaleDataVerdict verdict = JudgeView(script, view);
  EXPECT_EQ(verdict.outcome, Outcome::kHolds) << verdict.evidence;
  EXPECT_EQ(verdict.files_checked, 2U) << "a file with two names is one file";
  EXPECT_EQ(verdict.bytes_checked, 8192U);
}

TEST(StaleData, PoisonSaysWhereItCameFrom) {
  const Script script = TwoFiles();
  MemoryView view = After(script);
  PoisonIn(view, "d/b", 1024, 2048, 77824);
  const StaleFile stale = ExpectStale(script, view, Kind::kPoison);
  EXPECT_EQ(stale.path, "/d/b");
  EXPECT_EQ(stale.file, 2U);
  EXPECT_EQ(stale.offset, 1024U);
  EXPECT_EQ(stale.length, 2048U);
  EXPECT_EQ(stale.disk_offset, 77824U);
  EXPECT_EQ(stale.stale_bytes, 2048U);
  EXPECT_EQ(stale.evidence,
            "/d/b: bytes 1024 to 3071 hold what byte 77824 of the disk held before mkfs; 2048 of "
            "its 4096 bytes are stale");
}

TEST(StaleData, StretchesOfDifferentPlacesAreNotOne) {
  const Script script = TwoFiles();
  MemoryView view = After(script);
  PoisonIn(view, "d/b", 0, 1024, 77824);
  PoisonIn(view, "d/b", 1024, 1024, 4096);
  const StaleFile stale = ExpectStale(script, view, Kind::kPoison);
  EXPECT_EQ(stale.length, 1024U);
  EXPECT_EQ(stale.stale_bytes, 2048U);
}

TEST(StaleData, PoisonBeforeTheEndOfAShortFileIsSeen) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 3);
  MemoryView view = After(script);
  PoisonIn(view, "a", 0, 3, 4096);
  const StaleFile stale = ExpectStale(script, view, Kind::kPoison);
  EXPECT_FALSE(stale.disk_offset.has_value());
  EXPECT_THAT(stale.evidence, HasSubstr("what the disk held before mkfs"));
}

TEST(StaleData, BytesOfAnotherFileSayWhose) {
  const Script script = TwoFiles();
  MemoryView view = After(script);
  view.Fill("d/b", 1, 3, 2048, 1024);
  const StaleFile stale = ExpectStale(script, view, Kind::kOtherFile);
  ASSERT_TRUE(stale.tag.has_value());
  EXPECT_EQ(stale.tag->file, 1U);
  EXPECT_EQ(stale.tag->version, 3U);
  EXPECT_EQ(stale.length, 1024U);
  EXPECT_THAT(stale.evidence, HasSubstr("file 1 (created as /d/a), version 3, from its byte 2048"));
}

TEST(StaleData, AFilesOwnBytesFromAnotherPlaceAreStale) {
  const Script script = TwoFiles();
  MemoryView view = After(script);
  std::vector<uint8_t>& bytes = view.BytesOf("d/b");
  std::copy_n(bytes.begin() + 1024, 1024, bytes.begin() + 2048);
  const StaleFile stale = ExpectStale(script, view, Kind::kMisplaced);
  EXPECT_EQ(stale.offset, 2048U);
  EXPECT_EQ(stale.tag->cell, 1024 / workload::kCellBytes);
}

TEST(StaleData, WhatNobodyWroteIsStaleInAFileOfTheWorkload) {
  const Script script = TwoFiles();
  MemoryView view = After(script);
  std::fill_n(view.BytesOf("d/b").begin() + 1024, 1024, uint8_t{0xee});
  EXPECT_EQ(ExpectStale(script, view, Kind::kUnrecognised).stale_bytes, 1024U);
}

TEST(StaleData, ZeroesAndOlderBytesAreFine) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 4096).Write("a", 1, 100, 50).Truncate("a", 1, 9000);
  MemoryView view = After(script);
  view.Zero("a", 0, 1024);
  ExpectHolds(script, view);
  view.Fill("a", 1, 2, 0, 4096);  // before the second write
  ExpectHolds(script, view);
}

TEST(StaleData, ACellMayBePutTogetherOfOwnBytesAndZeroes) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 4096);
  for (int i = 0; i < 600; ++i) script.Write("a", 1, 0, 1);
  script.Write("a", 1, 1029, 7).Truncate("a", 1, 2061).Truncate("a", 1, 4096);
  script.Write("a", 1, 2070, 100);
  ExpectHolds(script, After(script));
}

// Such a cell may look like one of another file: with byte 9 zero, file 0x107 reads as file 7.
TEST(StaleData, APieceOfAnOwnCellIsNotTakenForAnotherFiles) {
  Script script;
  script.Create("a", 7).Write("a", 7, 0, 64).Create("b", 0x107).Write("b", 0x107, 0, 64);
  MemoryView view = After(script);
  for (const auto& [from, to] : {std::pair<size_t, size_t>{9, 10}, {9, 17}, {9, 32}, {0, 9}}) {
    MemoryView holed = view;
    holed.Zero("b", from, to - from);
    ExpectHolds(script, holed);
  }
  view.Fill("b", 7, 2, 0, 32);
  ExpectStale(script, view, Kind::kOtherFile);
}

TEST(StaleData, AFileKeepsItsBytesUnderANewName) {
  Script script = TwoFiles();
  script.Rename("d/b", "d/z").Rename("d/z", "e").Link("e", "f");
  const MemoryView view = After(script);
  ExpectHolds(script, view);
  // Recovered to before the renames, to after some, and with one name of two.
  for (const char* name : {"d/b", "d/z", "e", "f"}) {
    MemoryView moved = view;
    const uint64_t inode = moved.names.at("e");
    moved.names.erase("e");
    moved.names.erase("f");
    moved.names[name] = inode;
    ExpectHolds(script, moved);
  }
}

TEST(StaleData, ANameThatWasReplacedMayShowEitherFile) {
  Script script = TwoFiles();
  script.Rename("d/b", "d/a");
  MemoryView view = After(script);
  ExpectHolds(script, view);
  view.Fill("d/a", 1, 3, 0, 4096);  // the inode of file 1 is there still
  ExpectHolds(script, view);
  view.Fill("d/a", 2, 5, 1024, 1024);  // but not with bytes of its successor in it
  EXPECT_EQ(ExpectStale(script, view, Kind::kOtherFile).tag->file, 2U);
}

TEST(StaleData, AnotherNameOfTheInodeTellsWhichFileItIs) {
  Script script = TwoFiles();
  script.Rename("d/b", "d/c");  // c was file 1, and is file 2
  ExpectHolds(script, After(script));
  MemoryView view = ViewAfter(script.trace(), script.size() - 1);
  view.Fill("d/a", 2, 5, 0, 4096);
  EXPECT_EQ(ExpectStale(script, view, Kind::kOtherFile).file, 1U)
      << "d/a was never file 2, and d/c is the same inode";
}

TEST(StaleData, OfFilesOfOthersOnlyPoisonIsStale) {
  const Script script = TwoFiles();
  MemoryView view = After(script);
  std::vector<uint8_t> copy(4096, 0xee);
  workload::FillContent(1, 3, 0, std::span(copy).first(1024));
  view.AddFile("copy", copy);
  view.AddFile("letter", {'P'});
  ExpectHolds(script, view);
  PoisonIn(view, "copy", 2048, 1024, 4096);
  EXPECT_EQ(ExpectStale(script, view, Kind::kPoison).file, 0U);
}

TEST(StaleData, AFailedOperationLeavesItsNamesToAnybody) {
  Script script = TwoFiles();
  script.Rename("d/a", "d/b").Failed();
  MemoryView view = ViewAfter(script.trace(), 5);
  view.Fill("d/b", 1, 3, 0, 4096);
  ExpectHolds(script, view);
  PoisonIn(view, "d/b", 0, 4096, 0);
  ExpectStale(script, view, Kind::kPoison);
}

TEST(StaleData, WhatCannotBeReadIsUnknownUnlessSomethingIsFound) {
  const Script script = TwoFiles();
  for (const bool poisoned : {false, true}) {
    MemoryView view = After(script);
    if (poisoned) PoisonIn(view, "d/a", 0, 1024, 0);
    view.unreadable_inodes.insert(view.names.at("d/b"));
    const StaleDataVerdict verdict = JudgeView(script, view);
    EXPECT_EQ(verdict.outcome, poisoned ? Outcome::kViolated : Outcome::kUnknown);
    EXPECT_THAT(verdict.evidence, HasSubstr(poisoned ? "/d/a: bytes" : "/d/b cannot be read"));
  }
  MemoryView view = After(script);
  view.unreadable_paths.insert("d");
  EXPECT_EQ(JudgeView(script, view).outcome, Outcome::kUnknown);
}

TEST(StaleData, AFileThatIsTooLargeIsUnknown) {
  class HugeView : public MemoryView {
   public:
    Result<std::optional<NodeInfo>> Lookup(const std::string& path) override {
      auto found = MemoryView::Lookup(path);
      if (path == "d/a" && found.ok() && *found) (*found)->size = uint64_t{1} << 62;
      return found;
    }
  };
  const Script script = TwoFiles();
  HugeView view;
  static_cast<MemoryView&>(view) = After(script);
  view.names.erase("d/c");
  const StaleDataVerdict verdict = JudgeView(script, view);
  EXPECT_EQ(verdict.outcome, Outcome::kUnknown);
  EXPECT_THAT(verdict.evidence, HasSubstr("/d/a cannot be read"));
}

TEST(StaleData, FilesAreCountedAndTheFirstFewDescribed) {
  Script script;
  for (uint64_t i = 1; i <= 20; ++i) {
    const std::string path = "f" + std::to_string(i);
    script.Create(path, i).Write(path, i, 0, 1024);
  }
  MemoryView view = After(script);
  for (uint64_t i = 1; i <= 20; ++i) PoisonIn(view, "f" + std::to_string(i), 0, 1024, i * 1024);
  const StaleDataVerdict verdict = JudgeView(script, view);
  EXPECT_EQ(verdict.stale_files, 20U);
  EXPECT_EQ(verdict.files.size(), kStaleFilesMax);
  EXPECT_THAT(verdict.evidence, HasSubstr("(and stale data in 19 more files)"));
}

TEST(StaleData, TheFaultIsTheOneOfWhoBrokeTheOrder) {
  EXPECT_THAT(StaleDataBlame(DataMode::kOrdered, WriteOrder::kKept), HasSubstr("ordered forbids"));
  EXPECT_THAT(StaleDataBlame(DataMode::kJournal, WriteOrder::kKept), HasSubstr("journal forbids"));
  for (const WriteOrder order : {WriteOrder::kKept, WriteOrder::kNotAsked, WriteOrder::kHidden}) {
    EXPECT_THAT(StaleDataBlame(DataMode::kWriteback, order), HasSubstr("data=writeback allows"));
  }
  for (const DataMode mode : {DataMode::kOrdered, DataMode::kJournal}) {
    EXPECT_THAT(StaleDataBlame(mode, WriteOrder::kHidden), HasSubstr("the disk broke the order"));
    EXPECT_THAT(StaleDataBlame(mode, WriteOrder::kIgnored), HasSubstr("the disk broke the order"));
    EXPECT_THAT(StaleDataBlame(mode, WriteOrder::kNotAsked), HasSubstr("nobarrier"));
  }
}

}  // namespace
}  // namespace plugpull::oracle
