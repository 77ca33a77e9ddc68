// SPDX-License-Identifier: Apache-2.0
// Sizes and bytes between the last sync and the cut; and what is in doubt.
#include "content_oracle_fixture.h"

namespace plugpull::oracle {
namespace {

// A file of 5000 bytes, synced, and then one more operation.
class Synced : public testing::Test {
 protected:
  Synced() { script.Create("a", 1).Write("a", 1, 0, 5000).Fsync("a"); }
  MemoryView Before() const { return ViewAfter(script.trace(), 3); }
  MemoryView After() const { return ViewAfter(script.trace(), script.size()); }

  Script script;
};

TEST_F(Synced, AnOverwriteShowsOldAndNewBytesButNoOlderOnes) {
  script.Write("a", 1, 512, 2048);  // version 4
  ExpectHolds(script, AllOf(script), Before());
  ExpectHolds(script, AllOf(script), After());
  MemoryView mixed = Before();
  mixed.Fill("a", 1, 4, 1024, 512);
  ExpectHolds(script, AllOf(script), mixed);
  ExpectViolated(script, {3, 3}, mixed, Kind::kBytesLost);
  MemoryView outside = Before();
  outside.Fill("a", 1, 4, 4096, 512);
  ExpectViolated(script, AllOf(script), outside, Kind::kBytesLost);
  MemoryView zeroed = After();
  zeroed.Zero("a", 1024, 512);
  ExpectViolated(script, AllOf(script), zeroed, Kind::kBytesLost);

  script.Fsync("a");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 4));
  const auto stale = ExpectViolated(script, AllOf(script), mixed, Kind::kBytesLost);
  EXPECT_EQ(stale.evidence,
            "/a: byte 512 holds version 2; fsync (operation 4) had made version 4 durable");
}

TEST_F(Synced, BytesThatSeveralWritesMayHaveReachedHoldAnyOfThem) {
  script.Write("a", 1, 0, 1024).Write("a", 1, 0, 1024).Write("a", 1, 0, 1024);
  for (const uint64_t version : {2, 4, 5, 6}) {
    MemoryView view = Before();
    view.Fill("a", 1, version, 0, 1024);
    ExpectHolds(script, AllOf(script), view);
  }
  MemoryView begun_later = Before();
  begun_later.Fill("a", 1, 6, 0, 1024);
  ExpectViolated(script, {3, 5}, begun_later, Kind::kBytesLost);
}

TEST_F(Synced, AnAppendShowsAnySizeInBetween) {
  script.Write("a", 1, 5000, 6000);
  for (const uint64_t size : {5000, 5120, 8192, 11000}) {
    MemoryView view = After();
    view.BytesOf("a").resize(size);
    ExpectHolds(script, AllOf(script), view);
    view.Zero("a", 5000, size - 5000);  // the bytes may come after the size
    ExpectHolds(script, AllOf(script), view);
    view.Zero("a", 4096, 512);
    ExpectViolated(script, AllOf(script), view, Kind::kBytesLost);
  }
  for (const uint64_t size : {4999, 11001}) {
    MemoryView view = After();
    view.BytesOf("a").resize(size);
    ExpectViolated(script, AllOf(script), view, Kind::kWrongSize);
  }
}

TEST_F(Synced, ATruncateShowsTheOldOrTheNewSize) {
  script.Truncate("a", 1, 1000);
  ExpectHolds(script, AllOf(script), Before());
  ExpectHolds(script, AllOf(script), After());
  MemoryView between = Before();
  between.BytesOf("a").resize(3000);
  ExpectViolated(script, AllOf(script), between, Kind::kWrongSize);
  MemoryView zeroed_tail = Before();
  zeroed_tail.Zero("a", 1000, 24);
  ExpectHolds(script, AllOf(script), zeroed_tail);
  ExpectViolated(script, {3, 3}, zeroed_tail, Kind::kBytesLost);
  MemoryView zeroed_head = Before();
  zeroed_head.Zero("a", 512, 24);
  ExpectViolated(script, AllOf(script), zeroed_head, Kind::kBytesLost);
  MemoryView garbage = Before();
  garbage.Fill("a", 1, 1, 2048, 512);
  ExpectViolated(script, AllOf(script), garbage, Kind::kBytesLost);

  script.Fdatasync("a");
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 4));
  ExpectViolated(script, AllOf(script), Before(), Kind::kWrongSize);
}

TEST_F(Synced, ShrunkAndWrittenAgainTheOldBytesOweNothing) {
  script.Truncate("a", 1, 1000).Write("a", 1, 3000, 1000);
  for (uint64_t count = 3; count <= 5; ++count) {
    ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), count));
  }
  // New blocks, committed before their bytes (data=writeback).
  MemoryView stale = After();
  stale.Fill("a", 9, 9, 3008, 992);
  ExpectHolds(script, AllOf(script), stale);
  stale.Zero("a", 512, 64);
  ExpectViolated(script, AllOf(script), stale, Kind::kBytesLost);
  // 5000 and 1000 to 4000 are sizes it can have.
  MemoryView larger = Before();
  larger.BytesOf("a").resize(4500);
  ExpectViolated(script, AllOf(script), larger, Kind::kWrongSize);
}

TEST_F(Synced, AGrownFileReadsAsZeroes) {
  script.Truncate("a", 1, 9000).Fsync("a");
  ExpectHolds(script, AllOf(script), After());
  MemoryView dirty = After();
  dirty.Fill("a", 9, 9, 6144, 512);
  ExpectViolated(script, AllOf(script), dirty, Kind::kBytesLost);
  ExpectViolated(script, AllOf(script), Before(), Kind::kWrongSize);
  // A write into the hole may allocate the block around it.
  script.Write("a", 1, 7000, 100);
  ExpectHolds(script, AllOf(script), dirty);
}

TEST_F(Synced, AHoleFarFromAnyWriteStaysOwed) {
  script.Truncate("a", 1, 300'000).Fsync("a").Write("a", 1, 0, 100);
  MemoryView dirty = After();
  dirty.Fill("a", 9, 9, 200'704, 512);
  ExpectViolated(script, AllOf(script), dirty, Kind::kBytesLost);
}

TEST_F(Synced, ATruncateToTheSameSizeChangesNothing) {
  script.Write("a", 1, 5000, 1000).Truncate("a", 1, 6000);
  MemoryView between = After();
  between.BytesOf("a").resize(5632);
  ExpectHolds(script, AllOf(script), between);
}

TEST_F(Synced, TruncatedToNothingAndRewrittenMayBeEmpty) {
  script.Truncate("a", 1, 0).Write("a", 1, 0, 2000);
  MemoryView empty;
  empty.AddFile("a", {});
  ExpectHolds(script, AllOf(script), empty);
  ExpectViolated(script, {3, 3}, empty, Kind::kWrongSize);
}

TEST(ContentOracleCut, OSyncCoversItsOwnBytesAndTheSizeUpToThem) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 20'000).Write("a", 1, 4096, 4096, true);
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 3));
  MemoryView only = ViewAfter(script.trace(), 3);
  only.BytesOf("a").resize(8192);
  only.Zero("a", 0, 4096);
  ExpectHolds(script, AllOf(script), only);
  MemoryView shorter = only;
  shorter.BytesOf("a").resize(8191);
  const auto size = ExpectViolated(script, AllOf(script), shorter, Kind::kWrongSize);
  EXPECT_NE(size.evidence.find("O_SYNC write (operation 2) had made a size of at least 8192"),
            std::string::npos)
      << size.evidence;
  MemoryView lost = only;
  lost.Fill("a", 1, 2, 4096, 512);
  ExpectViolated(script, AllOf(script), lost, Kind::kBytesLost);
  ExpectViolated(script, AllOf(script), {}, Kind::kNameMissing);
  ExpectHolds(script, {2, 3}, {});
}

TEST(ContentOracleCut, OSyncCoversTheNamesOfTheFile) {
  Script script;
  script.Create("a", 1).Fsync("a").Rename("a", "b").Write("b", 1, 0, 100, true);
  ExpectHolds(script, AllOf(script), ViewAfter(script.trace(), 4));
  MemoryView old_name = ViewAfter(script.trace(), 4);
  old_name.names["a"] = old_name.names["b"];
  ExpectViolated(script, AllOf(script), old_name, Kind::kNameResurrected);
}

TEST(ContentOracleCut, AnEmptyFileIsOwedAsEmpty) {
  Script script;
  script.Create("a", 1).Fsync("a");
  MemoryView grown;
  grown.AddFile("a", std::vector<uint8_t>(10));
  ExpectViolated(script, AllOf(script), grown, Kind::kWrongSize);
  script.Write("a", 1, 0, 100);
  ExpectHolds(script, AllOf(script), grown);
}

TEST(ContentOracleCut, OneWriteThatFailedPutsTheFileInDoubt) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 5000).Create("b", 2).Sync();
  script.Write("a", 1, 0, 5000).Failed().Fsync("a");
  MemoryView garbage = ViewAfter(script.trace(), 4);
  garbage.Zero("a", 0, 5000);
  ExpectHolds(script, {6, 6}, garbage);
  ExpectHolds(script, {4, 5}, garbage);
  ExpectViolated(script, {4, 4}, garbage, Kind::kBytesLost);
  garbage.names.erase("b");
  ExpectViolated(script, {6, 6}, garbage, Kind::kNameMissing);
}

TEST(ContentOracleCut, AFailedFsyncMakesNothingDurableThenOrLater) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 5000).Fsync("a").Failed().Fsync("a");
  MemoryView zeroed = ViewAfter(script.trace(), 2);
  zeroed.Zero("a", 0, 5000);
  ExpectHolds(script, AllOf(script), zeroed);
  ExpectViolated(script, AllOf(script), {}, Kind::kNameMissing);
}

TEST(ContentOracleCut, AFailedRenamePutsBothNamesInDoubt) {
  Script script;
  script.Create("a", 1).Create("b", 2).Create("c", 3).Sync().Rename("a", "b").Failed();
  MemoryView only_c;
  only_c.AddFile("c", {});
  ExpectHolds(script, AllOf(script), only_c);
  ExpectViolated(script, AllOf(script), {}, Kind::kNameMissing);
}

TEST(ContentOracleCut, AFailedSyncPutsEverythingInDoubt) {
  Script script;
  script.Create("a", 1).Sync().Sync().Failed();
  ExpectViolated(script, {2, 2}, {}, Kind::kNameMissing);
  ExpectHolds(script, {3, 3}, {});
}

TEST(ContentOracleCut, AnOperationAfterAFailedOneMayContradictTheModel) {
  Script script;
  script.Create("a", 1).Failed(28).Write("a", 1, 0, 100).Fsync("a").Create("b", 2).Fsync("b");
  MemoryView only_b;
  only_b.AddFile("b", {});
  ExpectHolds(script, AllOf(script), only_b);
  ExpectViolated(script, AllOf(script), {}, Kind::kNameMissing);
}

TEST(ContentOracleCut, WithoutAResultAnOperationMayHaveHappened) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 900).Fsync("a").Unlink("a").NoResult();
  ExpectHolds(script, {3, 4}, {});
  ExpectHolds(script, {3, 4}, ViewAfter(script.trace(), 3));
  MemoryView zeroed = ViewAfter(script.trace(), 3);
  zeroed.Fill("a", 1, 1, 0, 512);
  ExpectViolated(script, {3, 4}, zeroed, Kind::kBytesLost);
  // It has ended, nobody knows how.
  ExpectHolds(script, {4, 4}, zeroed);
}

}  // namespace
}  // namespace plugpull::oracle
