// SPDX-License-Identifier: Apache-2.0
// One rule a test: a legal state must hold, and one deliberate loss must be found.
#include "content_oracle_fixture.h"

namespace plugpull::oracle {
namespace {

TEST(ContentOracle, FsyncCoversBytesSizeAndName) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 5000).Fsync("a");
  const MemoryView good = ViewAfter(script.trace(), 3);
  ExpectHolds(script, AllOf(script), good);

  MemoryView zeroed = good;
  zeroed.Zero("a", 4096, 512);
  const auto lost = ExpectViolated(script, AllOf(script), zeroed, Kind::kBytesLost);
  EXPECT_EQ(lost.evidence,
            "/a: byte 4096 holds zeroes; fsync (operation 2) had made version 2 durable");
  EXPECT_EQ(lost.path, "/a");
  EXPECT_EQ(lost.file, 1u);
  EXPECT_EQ(lost.offset, 4096u);
  EXPECT_EQ(lost.found, ContentViolation::Found::kZeroes);
  EXPECT_EQ(lost.expected_versions, std::vector<uint64_t>{2});

  MemoryView shorter = good;
  shorter.BytesOf("a").resize(4999);
  EXPECT_EQ(ExpectViolated(script, AllOf(script), shorter, Kind::kWrongSize).evidence,
            "/a: is 4999 bytes long; fsync (operation 2) had made a size of 5000 bytes durable");
  MemoryView longer = good;
  longer.BytesOf("a").resize(5001);
  ExpectViolated(script, AllOf(script), longer, Kind::kWrongSize);

  EXPECT_EQ(ExpectViolated(script, AllOf(script), {}, Kind::kNameMissing).evidence,
            "/a: is missing; fsync (operation 2) had made its creation (operation 0) durable");
  MemoryView folder;
  folder.AddFolder("a");
  ExpectViolated(script, AllOf(script), folder, Kind::kWrongType);
}

TEST(ContentOracle, WhatWasNeverSyncedOwesNothing) {
  Script script;
  script.Mkdir("d").Create("d/a", 1).Write("d/a", 1, 0, 5000).Rename("d/a", "d/b");
  ExpectHolds(script, AllOf(script), {});
  MemoryView empty;
  empty.AddFolder("d");
  empty.AddFile("d/a", {});
  ExpectHolds(script, AllOf(script), empty);
}

TEST(ContentOracle, ASyncThatWasNotAcknowledgedOwesNothing) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 5000).Fsync("a");
  ExpectHolds(script, {0, 3}, {});
  ExpectHolds(script, {2, 3}, {});
}

TEST(ContentOracle, FdatasyncCoversCreationBytesAndSizeButNotRename) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 900).Rename("a", "b").Fdatasync("b");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 2));
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 3));
  MemoryView both = ViewAfter(script.trace(), 2);
  both.names["b"] = both.names["a"];
  ExpectHolds(script, AllOf(script), both);

  const auto gone = ExpectViolated(script, AllOf(script), {}, Kind::kFileLost);
  EXPECT_NE(gone.evidence.find("none of the 2 names"), std::string::npos) << gone.evidence;
  for (const uint64_t count : {2, 3}) {
    MemoryView damaged = ViewAfter(script.trace(), count);
    damaged.Zero(count == 2 ? "a" : "b", 0, 900);
    const ContentVerdict verdict = JudgeAt(script, AllOf(script), damaged);
    EXPECT_EQ(verdict.outcome, Outcome::kViolated) << count;
  }
}

TEST(ContentOracle, FdatasyncDoesNotCoverALink) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 900).Link("a", "b").Fdatasync("b");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 2));
  ExpectViolated(script, AllOf(script), {}, Kind::kNameMissing);
}

TEST(ContentOracle, FsyncCoversARename) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 900).Fsync("a").Rename("a", "b").Fsync("b");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 4));
  ExpectViolated(script, AllOf(script), ViewAfter(script.trace(), 3), Kind::kNameResurrected);
  MemoryView both = ViewAfter(script.trace(), 4);
  both.names["a"] = both.names["b"];
  ExpectViolated(script, AllOf(script), both, Kind::kNameResurrected);
  ExpectViolated(script, AllOf(script), {}, Kind::kNameMissing);
}

TEST(ContentOracle, ARenameWithoutSyncShowsEitherNameButNeverNone) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 900).Fsync("a").Rename("a", "b");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 3));
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 4));
  ExpectViolated(script, AllOf(script), {}, Kind::kFileLost);
  // Not begun: the old name must be there.
  ExpectViolated(script, {3, 3}, ViewAfter(script.trace(), 4), Kind::kNameMissing);
}

TEST(ContentOracle, ARenameOverAFileShowsTheOldOrTheNewOne) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 900).Fsync("a");
  script.Create("b", 2).Write("b", 2, 0, 700).Fsync("b").Rename("a", "b");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 6));
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 7));
  MemoryView neither = ViewAfter(script.trace(), 7);
  neither.names.erase("b");
  ExpectViolated(script, AllOf(script), neither, Kind::kNameMissing);
  MemoryView damaged = ViewAfter(script.trace(), 6);
  damaged.Fill("b", 2, 99, 0, 512);
  ExpectViolated(script, AllOf(script), damaged, Kind::kBytesLost);
  MemoryView new_damaged = ViewAfter(script.trace(), 7);
  new_damaged.Zero("b", 0, 512);
  EXPECT_EQ(JudgeAt(script, AllOf(script), new_damaged).outcome, Outcome::kViolated);

  script.Fsync("b");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 7));
  ExpectViolated(script, AllOf(script), ViewAfter(script.trace(), 6), Kind::kNameResurrected);
}

TEST(ContentOracle, AnUnsyncedFileRenamedOverASyncedOneMayBeEmpty) {
  Script script;
  script.Create("b", 2).Write("b", 2, 0, 700).Fsync("b");
  script.Create("a", 1).Write("a", 1, 0, 900).Rename("a", "b");
  MemoryView empty;
  empty.AddFile("b", {});
  ExpectHolds(script, AllOf(script), empty);
}

TEST(ContentOracle, AFoldersFsyncCoversNamesAndNotBytes) {
  Script script;
  script.Mkdir("d").Create("d/a", 1).Write("d/a", 1, 0, 900).Fsync("d");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 3));
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 2));
  ExpectViolated(script, AllOf(script), ViewAfter(script.trace(), 1), Kind::kNameMissing);
  ExpectViolated(script, AllOf(script), {}, Kind::kNameMissing);
}

TEST(ContentOracle, AFoldersFsyncCoversNoOtherFolder) {
  Script script;
  script.Mkdir("d").Mkdir("e").Sync().Create("d/a", 1).Create("e/b", 2).Fsync("d");
  MemoryView view = ViewAfter(script.trace(), 5);
  ExpectHolds(script, AllOf(script), view);
  view.names.erase("e/b");
  ExpectHolds(script, AllOf(script), view);
  view.names.erase("d/a");
  ExpectViolated(script, AllOf(script), view, Kind::kNameMissing);
}

TEST(ContentOracle, AFsyncOfTheSourceFolderKeepsAMovedFile) {
  Script script;
  script.Mkdir("d").Mkdir("e").Create("d/a", 1).Write("d/a", 1, 0, 900).Sync();
  script.Rename("d/a", "e/a").Fsync("d");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 6));
  MemoryView lost = ViewAfter(script.trace(), 6);
  lost.names.erase("e/a");
  ExpectViolated(script, AllOf(script), lost, Kind::kFileLost);
  ExpectViolated(script, AllOf(script), ViewAfter(script.trace(), 5), Kind::kNameResurrected);
}

TEST(ContentOracle, LinkAndUnlinkOfOneNameAreCoveredByFsyncOfTheFile) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 900).Fsync("a").Link("a", "b").Unlink("a");
  for (uint64_t count = 3; count <= 5; ++count) {
    ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), count));
  }
  ExpectViolated(script, AllOf(script), {}, Kind::kFileLost);
  script.Fsync("b");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 5));
  ExpectViolated(script, AllOf(script), ViewAfter(script.trace(), 4), Kind::kNameResurrected);
  ExpectViolated(script, AllOf(script), ViewAfter(script.trace(), 3), Kind::kNameResurrected);
}

TEST(ContentOracle, EveryHardLinkIsOwed) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 900).Link("a", "b").Fsync("a");
  const MemoryView good = ViewAfter(script.trace(), 3);
  ExpectHolds(script, AllOf(script), good);
  for (const char* name : {"a", "b"}) {
    MemoryView lost = good;
    lost.names.erase(name);
    EXPECT_EQ(ExpectViolated(script, AllOf(script), lost, Kind::kNameMissing).path,
              std::string("/") + name);
  }
}

TEST(ContentOracle, ARemovedNameStaysRemovedUntilItIsMadeAgain) {
  Script script;
  script.Mkdir("d").Create("d/a", 1).Write("d/a", 1, 0, 900).Sync().Unlink("d/a").Fsync("d");
  const MemoryView before = ViewAfter(script.trace(), 4);
  ExpectHolds(script, {4, 5}, before);
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 6));
  EXPECT_EQ(ExpectViolated(script, AllOf(script), before, Kind::kNameResurrected).evidence,
            "/d/a: is there again; fsync of a folder (operation 5) had made its unlink "
            "(operation 4) durable");
  script.Create("d/a", 2).Write("d/a", 2, 0, 100).Fdatasync("d/a");
  ExpectHolds(script, {6, 9}, ViewAfter(script.trace(), 6));
  ExpectHolds(script, {6, 9}, ViewAfter(script.trace(), 8));
  const auto foreign = ExpectViolated(script, AllOf(script), before, Kind::kWrongSize);
  EXPECT_EQ(foreign.file, 2u);
}

TEST(ContentOracle, RemovingBegunMeansAbsentOrWhole) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 900).Fsync("a").Unlink("a");
  ExpectHolds(script, {3, 4}, {});
  ExpectHolds(script, {3, 4}, ViewAfter(script.trace(), 3));
  ExpectViolated(script, {3, 3}, {}, Kind::kNameMissing);
  MemoryView zeroed = ViewAfter(script.trace(), 3);
  zeroed.Zero("a", 0, 512);
  ExpectHolds(script, {3, 4}, zeroed);
  ExpectViolated(script, {3, 3}, zeroed, Kind::kBytesLost);
  MemoryView older = ViewAfter(script.trace(), 3);
  older.Fill("a", 1, 77, 0, 512);
  ExpectViolated(script, {3, 4}, older, Kind::kBytesLost);
}

TEST(ContentOracle, FoldersAreOwedToo) {
  Script script;
  script.Mkdir("d").Fsync("d");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 1));
  ExpectViolated(script, AllOf(script), {}, Kind::kNameMissing);
  MemoryView file;
  file.AddFile("d", {});
  ExpectViolated(script, AllOf(script), file, Kind::kWrongType);
  script.Rmdir("d");
  ExpectHolds(script, AllOf(script), {});
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 1));
  script.Fsync("");
  ExpectViolated(script, AllOf(script), ViewAfter(script.trace(), 1), Kind::kNameResurrected);
}

TEST(ContentOracle, SyncCoversEverythingBeforeIt) {
  Script script;
  script.Mkdir("d").Create("d/a", 1).Write("d/a", 1, 0, 900).Create("b", 2).Sync();
  script.Create("c", 3);
  const MemoryView good = ViewAfter(script.trace(), 5);
  ExpectHolds(script, AllOf(script), good);
  for (const char* name : {"d", "d/a", "b"}) {
    MemoryView lost = good;
    lost.names.erase(name);
    ExpectViolated(script, AllOf(script), lost, Kind::kNameMissing);
  }
}

TEST(ContentOracle, WhatWasFoundIsNamed) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 4096).Fsync("a");
  const auto found = [&](auto change) {
    MemoryView view = ViewAfter(script.trace(), 3);
    change(view);
    return ExpectViolated(script, AllOf(script), view, Kind::kBytesLost);
  };
  using Found = ContentViolation::Found;
  const auto foreign = found([](MemoryView& v) { v.Fill("a", 9, 4, 512, 512); });
  EXPECT_EQ(foreign.found, Found::kForeign);
  EXPECT_EQ(foreign.tag, (workload::ContentTag{9, 4, 16}));
  EXPECT_NE(foreign.evidence.find("byte 512 holds bytes of file 9, version 4"), std::string::npos);
  const auto other = found([](MemoryView& v) { v.Fill("a", 1, 1, 512, 512); });
  EXPECT_EQ(other.found, Found::kOtherVersion);
  const auto misplaced = found([](MemoryView& v) {
    workload::FillContent(1, 2, 0, std::span(v.BytesOf("a")).subspan(1024, 512));
  });
  EXPECT_EQ(misplaced.found, Found::kMisplaced);
  EXPECT_EQ(misplaced.offset, 1024u);
  const auto garbage = found([](MemoryView& v) { v.BytesOf("a")[4095] = 0xaa; });
  EXPECT_EQ(garbage.offset, 4064u);
}

TEST(ContentOracle, WhatCannotBeReadIsLost) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 900).Fsync("a");
  MemoryView no_bytes = ViewAfter(script.trace(), 3);
  no_bytes.unreadable_inodes.insert(no_bytes.names["a"]);
  const auto lost = ExpectViolated(script, AllOf(script), no_bytes, Kind::kUnreadable);
  EXPECT_NE(lost.evidence.find("an extent block is damaged"), std::string::npos) << lost.evidence;
  MemoryView no_name = ViewAfter(script.trace(), 3);
  no_name.unreadable_paths.insert("a");
  ExpectViolated(script, AllOf(script), no_name, Kind::kUnreadable);
  // Nothing has to be there: then it is merely not known.
  script.Unlink("a");
  EXPECT_EQ(JudgeAt(script, AllOf(script), no_name).outcome, Outcome::kUnknown);
}

TEST(ContentOracle, ViolationsAreCountedAndBounded) {
  Script script;
  for (uint64_t i = 1; i <= 20; ++i) script.Create("f" + std::to_string(i), i);
  script.Sync();
  MemoryView empty;
  const ContentVerdict verdict = JudgeAt(script, AllOf(script), empty);
  EXPECT_EQ(verdict.violation_count, 20u);
  EXPECT_EQ(verdict.violations.size(), kContentViolationsMax);
  EXPECT_NE(verdict.evidence.find("(and 19 more)"), std::string::npos) << verdict.evidence;
  EXPECT_EQ(verdict.names_checked, 20u);
}

TEST(ContentOracle, ACutOfAnotherRecordingIsUnknown) {
  Script script;
  script.Create("a", 1);
  MemoryView view;
  EXPECT_EQ(JudgeAt(script, {1, 9}, view).outcome, Outcome::kUnknown);
}

}  // namespace
}  // namespace plugpull::oracle
