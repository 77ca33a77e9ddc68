// SPDX-License-Identifier: Apache-2.0
// What e2fsck writes while it recovers, recorded with the real one and with ones that misbehave;
// records that are cut short; and what of a kernel's log is its replay.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "ext4_tools.h"
#include "framework/blocklog/history.h"
#include "framework/blocklog/log_reader.h"
#include "framework/crashstate/crash_space.h"
#include "framework/oracle/recovery_recorder.h"
#include "framework/oracle/same_recovery.h"
#include "framework/preload/write_record.h"
#include "framework/run/workdir.h"
#include "journal_builder.h"
#include "tests/support/fake_e2fsck.h"

namespace plugpull::oracle {
namespace {

using ext4::Debugfs;
using ext4::Image;
using ext4::JournalBuilder;
using ext4::TransactionParts;
using preload::RecordHeader;
using preload::RecordKind;
using ::testing::HasSubstr;
using Kind = RecordedCall::Kind;

constexpr uint64_t kHome = 3000;
constexpr uint32_t kBlock = 1024;

void AddRecord(std::vector<uint8_t>& record, RecordKind kind, uint64_t offset, uint64_t length,
               std::span<const uint8_t> data = {}) {
  const RecordHeader header{preload::kRecordMagic, kind, offset, length};
  const auto* bytes = reinterpret_cast<const uint8_t*>(&header);
  record.insert(record.end(), bytes, bytes + sizeof header);
  record.insert(record.end(), data.begin(), data.end());
}

TEST(WriteRecordTest, GivesCallsInTheirOrder) {
  std::vector<uint8_t> record;
  const std::vector<uint8_t> data(10, 'x');
  AddRecord(record, RecordKind::kWrite, 5, 10, data);
  AddRecord(record, RecordKind::kFlush, 0, 0);
  AddRecord(record, RecordKind::kZeroes, 100, 50);
  const auto calls = ParseWriteRecord(record, 1000);
  ASSERT_TRUE(calls.ok()) << calls.error().ToString();
  ASSERT_EQ(calls->size(), 3U);
  EXPECT_EQ((*calls)[0].kind, Kind::kWrite);
  EXPECT_EQ((*calls)[0].offset, 5U);
  EXPECT_EQ((*calls)[0].data.size(), 10U);
  EXPECT_EQ((*calls)[1].kind, Kind::kFlush);
  EXPECT_EQ((*calls)[2].kind, Kind::kZeroes);
  EXPECT_EQ((*calls)[2].length, 50U);
}

TEST(WriteRecordTest, RefusesOneThatIsCutAnywhere) {
  std::vector<uint8_t> record;
  const std::vector<uint8_t> data(10, 'x');
  AddRecord(record, RecordKind::kWrite, 5, 10, data);
  for (size_t size = 1; size < record.size(); ++size) {
    EXPECT_FALSE(ParseWriteRecord(std::span(record).first(size), 1000).ok()) << size;
  }
  EXPECT_TRUE(ParseWriteRecord(record, 1000).ok());
}

TEST(WriteRecordTest, RefusesWhatCannotBe) {
  const std::vector<uint8_t> data(10, 'x');
  std::vector<uint8_t> outside;
  AddRecord(outside, RecordKind::kWrite, 995, 10, data);
  EXPECT_FALSE(ParseWriteRecord(outside, 1000).ok());
  std::vector<uint8_t> far;
  AddRecord(far, RecordKind::kZeroes, ~0ULL, 2);
  EXPECT_FALSE(ParseWriteRecord(far, 1000).ok());
  std::vector<uint8_t> unknown;
  AddRecord(unknown, static_cast<RecordKind>(9), 0, 0);
  EXPECT_FALSE(ParseWriteRecord(unknown, 1000).ok());
  EXPECT_FALSE(ParseWriteRecord(std::vector<uint8_t>(24), 1000).ok());
}

struct LogView {
  explicit LogView(const blocklog::LogWriter& writer) : bytes(writer.bytes()) {
    auto read = blocklog::ReadLog(bytes, {});
    EXPECT_TRUE(read.ok());
    log = *std::move(read);
  }
  std::vector<uint8_t> bytes;
  blocklog::BlockLog log;
};

TEST(CallsToLogTest, TouchedPagesAreWrittenWhole) {
  std::vector<uint8_t> image(4 * 4096 + 512, 'o');
  const std::vector<uint8_t> data(5000, 'n');
  std::vector<RecordedCall> calls;
  calls.push_back({Kind::kWrite, 4000, 5000, data});
  calls.push_back({Kind::kFlush, 0, 0, {}});
  calls.push_back({Kind::kZeroes, 4 * 4096, 512, {}});
  blocklog::LogWriter writer;
  AddCallsToLog(calls, true, image, writer);
  const LogView view(writer);
  ASSERT_EQ(view.log.entries.size(), 5U);
  EXPECT_EQ(view.log.entries[0].offset.value, 0U);
  EXPECT_EQ(view.log.entries[0].length.value, 4096U);
  EXPECT_EQ(view.log.entries[0].data[3999], 'o');
  EXPECT_EQ(view.log.entries[0].data[4000], 'n');
  EXPECT_EQ(view.log.entries[2].offset.value, 8192U);
  EXPECT_TRUE(view.log.entries[3].flush());
  EXPECT_EQ(view.log.entries[4].length.value, 512U);
  EXPECT_EQ(view.log.entries[4].data[0], 0);
  EXPECT_EQ(image[4000], 'n');
  EXPECT_EQ(image[4 * 4096], 0);
}

TEST(CallsToLogTest, PiecesOfOnePageAreOneWriteUpToTheNextCall) {
  std::vector<uint8_t> image(3 * 4096);
  const std::vector<uint8_t> data(4, 'n');
  std::vector<RecordedCall> calls = {{Kind::kWrite, 0, 4, data},    {Kind::kWrite, 100, 4, data},
                                     {Kind::kWrite, 8192, 4, data}, {Kind::kWrite, 200, 4, data},
                                     {Kind::kFlush, 0, 0, {}},      {Kind::kWrite, 300, 4, data},
                                     {Kind::kWrite, 4094, 4, data}};
  blocklog::LogWriter writer;
  AddCallsToLog(calls, false, image, writer);
  const LogView view(writer);
  std::vector<uint64_t> pages;
  for (const auto& entry : view.log.entries) pages.push_back(entry.offset.value / 4096);
  EXPECT_THAT(pages, ::testing::ElementsAre(0, 2, 0, 0, 0, 1));
}

class RecorderTest : public testing::Test {
 protected:
  RecorderTest() : programs_("PLUGPULL_GUEST_DIR", std::string(PLUGPULL_BINARY_DIR) + "/bin") {}

  void SetUp() override {
    image_ = ext4::MakeExt4();
    Debugfs(image_, {"write @input file"}, "bytes of a file");
    journal_ = *ext4::FindJournal(image_);
    JournalBuilder builder(image_, journal_.blocks, kBlock, {});
    TransactionParts parts;
    parts.writes = {{kHome, std::vector<uint8_t>(kBlock, 'n')}};
    parts.commit = true;
    builder.Add(parts);
    builder.Finish(true);
  }

  Status Record() {
    auto recorder = RecoveryRecorder::Find();
    if (!recorder.ok()) return recorder.error();
    auto fsck = Fsck::Find();
    EXPECT_TRUE(fsck.ok());
    auto work = WorkImage::Make(image_, std::vector<os::Extent>{{Bytes(0), Bytes(image_.size())}});
    EXPECT_TRUE(work.ok());
    return recorder->Record(*fsck, journal_, true, *work, log_);
  }

  ScopedEnvironment programs_;
  Image image_;
  ext4::JournalLayout journal_;
  blocklog::LogWriter log_;
};

TEST_F(RecorderTest, RecordsWritesAndFlushesOfE2fsck) {
  const Status recorded = Record();
  ASSERT_TRUE(recorded.ok()) << recorded.error().ToString();
  const LogView view(log_);
  const auto history = blocklog::MakeHistory(view.log, {Bytes(image_.size()), Bytes(0)});
  ASSERT_TRUE(history.ok());
  const uint64_t journal_super = journal_.blocks[0] * kBlock;
  std::optional<size_t> home;
  std::optional<size_t> flush;
  std::optional<size_t> emptied;
  for (size_t i = 0; i < history->events.size(); ++i) {
    const auto& event = history->events[i];
    const auto covers = [&](uint64_t at) {
      return event.ChangesBlocks() && event.offset.value <= at &&
             at < (event.offset + event.length).value;
    };
    if (covers(kHome * kBlock) && !home) home = i;
    if (home && !flush && event.HasFlush()) flush = i;
    if (home && covers(journal_super)) emptied = i;
  }
  // The block is home and durable before the journal is empty.
  ASSERT_TRUE(home && flush && emptied);
  EXPECT_LT(*home, *flush);
  EXPECT_LT(*flush, *emptied);
}

TEST_F(RecorderTest, AnE2fsckThatIsKilledIsNoRecovery) {
  const FakeE2fsck fake("$REAL $ARGUMENTS\nkill -9 $$");
  const Status recorded = Record();
  ASSERT_FALSE(recorded.ok());
  EXPECT_THAT(recorded.error().ToString(), HasSubstr("killed by signal 9"));
}

TEST_F(RecorderTest, WritesThatAreNotSeenAreFoundOut) {
  const FakeE2fsck fake("unset LD_PRELOAD\nexec $REAL $ARGUMENTS");
  const Status recorded = Record();
  ASSERT_FALSE(recorded.ok());
  EXPECT_THAT(recorded.error().ToString(), HasSubstr("e2fsck wrote what was not seen"));
}

TEST_F(RecorderTest, SaysWhereTheRecorderIsMissing) {
  const ScopedEnvironment nowhere("PLUGPULL_GUEST_DIR", "/nonexistent");
  const Status recorded = Record();
  ASSERT_FALSE(recorded.ok());
  EXPECT_THAT(recorded.error().ToString(), HasSubstr("/nonexistent/plugpull-write-recorder.so"));
}

blocklog::Event WriteAt(uint64_t offset, uint64_t length) {
  blocklog::Event event;
  event.offset = Bytes(offset);
  event.length = Bytes(length);
  return event;
}

TEST(LastCutOfReplayTest, EndsBehindTheFirstJournalSuperblocks) {
  const ext4::JournalLayout journal{{50, 51, 52}, kBlock};
  blocklog::History history;
  history.base = 1;
  history.events = {WriteAt(50 * kBlock, kBlock), WriteAt(10 * kBlock, kBlock),
                    WriteAt(11 * kBlock, kBlock), WriteAt(50 * kBlock, kBlock),
                    WriteAt(50 * kBlock, kBlock), WriteAt(1024, kBlock),
                    WriteAt(50 * kBlock, kBlock)};
  EXPECT_EQ(LastCutOfReplay(history, journal), 5U);
  history.events.resize(5);
  EXPECT_EQ(LastCutOfReplay(history, journal), 5U);
  history.events.resize(3);
  EXPECT_EQ(LastCutOfReplay(history, journal), 0U);
  EXPECT_EQ(LastCutOfReplay(history, {}), 0U);
}

TEST(RecoveryPathsTest, LieBesideTheRecording) {
  using run::Workdir;
  EXPECT_EQ(Workdir::RecoveryRecording("out/s/v/recording", "kernel", "vol:cache@12"),
            "out/s/v/recoveries/kernel-vol:cache@12/recording");
  EXPECT_EQ(Workdir::RecoveriesFolder("recording/"), "recoveries");
  const std::string id = "vol:cache@12-lose" + std::string(500, '.');
  const std::string one = Workdir::RecoveryRecording("r", "e2fsck", id + "1");
  EXPECT_LT(one.size(), 150U);
  EXPECT_NE(one, Workdir::RecoveryRecording("r", "e2fsck", id + "2"));
}

}  // namespace
}  // namespace plugpull::oracle
