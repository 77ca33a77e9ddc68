// SPDX-License-Identifier: Apache-2.0
#include "framework/run/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "ext4_tools.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/log_writer.h"
#include "framework/run/check.h"
#include "framework/run/disk_source.h"
#include "framework/run/materialize.h"
#include "journal_builder.h"
#include "memory_view.h"

namespace plugpull::run {
namespace {

using blocklog::Event;
using ::testing::HasSubstr;

// A history of writes (.) and acknowledgements ("workload.operation").
blocklog::History HistoryOf(const std::vector<std::string>& parts) {
  blocklog::History history;
  for (size_t i = 0; i < parts.size(); ++i) {
    Event event;
    event.entry = i;
    if (parts[i] != ".") {
      event.kind = Event::Kind::kMark;
      event.mark = {"ack", parts[i]};
    }
    history.events.push_back(event);
  }
  return history;
}

TEST(KeysOfCuts, AnOperationHasEndedBehindItsAcknowledgement) {
  const auto history = HistoryOf({".", "0.2", ".", ".", "0.5", "."});
  const auto keys = KeysOfCuts(history, 0, 10);
  ASSERT_EQ(keys.size(), 7U);
  const auto key = [&](size_t cut) {
    return std::pair(keys[cut].ended_count, keys[cut].begun_count);
  };
  EXPECT_EQ(key(0), std::pair(0UL, 3UL)) << "operations 0 to 2 may have begun";
  EXPECT_EQ(key(1), std::pair(0UL, 3UL)) << "a cut before the mark has not seen it";
  EXPECT_EQ(key(2), std::pair(3UL, 6UL));
  EXPECT_EQ(key(4), std::pair(3UL, 6UL));
  EXPECT_EQ(key(5), std::pair(6UL, 10UL)) << "the rest may have begun";
  EXPECT_EQ(key(6), std::pair(6UL, 10UL));
}

TEST(KeysOfCuts, OthersMarksAndDamagedOnesAreNone) {
  const auto history =
      HistoryOf({"1.2", "0.x", "0.", "0.10", "00.1", "0.99999999999999999999", "0.3 ", "0.3"});
  const auto keys = KeysOfCuts(history, 0, 10);
  EXPECT_EQ(keys[7].ended_count, 0U);
  EXPECT_EQ(keys[8].ended_count, 4U);
}

TEST(KeysOfCuts, EndedNeverGoesBackAndBegunIsNeverLess) {
  const auto history = HistoryOf({"0.5", ".", "0.3", ".", "0.7"});
  const auto keys = KeysOfCuts(history, 0, 10);
  for (size_t cut = 0; cut < keys.size(); ++cut) {
    EXPECT_GE(keys[cut].begun_count, keys[cut].ended_count);
    if (cut > 0) {
      EXPECT_GE(keys[cut].ended_count, keys[cut - 1].ended_count);
    }
  }
}

// A log over a fresh ext4 that is judged by e2fsck alone.
class LogOverExt4 : public testing::Test {
 protected:
  Check PrefixesAndSubsets() const {
    Check check;
    check.set_disk("log");
    check.add_oracle(FSCK);
    check.add_enumerate()->mutable_prefix();
    check.add_enumerate()->mutable_lose_subset();
    return check;
  }
  RunReport CheckLog() { return CheckLog(PrefixesAndSubsets()); }
  RunReport CheckLog(const Check& check, const CheckOptions& options = {}) {
    const auto& bytes = writer_.bytes();
    EXPECT_TRUE(os::WriteFileAtomic(folder_ / "log",
                                    {reinterpret_cast<const char*>(bytes.data()), bytes.size()})
                    .ok());
    EXPECT_TRUE(os::WriteFileAtomic(folder_ / "base",
                                    {reinterpret_cast<const char*>(base_.data()), base_.size()})
                    .ok());
    RunReport report = CheckLogFile(folder_ / "log", folder_ / "base", false, check, options);
    EXPECT_FALSE(report.has_error()) << report.error();
    return report;
  }
  // The block bitmap, as it is and damaged.
  std::span<const uint8_t> Good() const { return std::span(base_).subspan(at_, 1024); }
  std::vector<uint8_t> Bad() const { return std::vector<uint8_t>(1024, 0x5a); }

  // Of 1 KiB blocks: the block bitmap of the only group.
  uint64_t BitmapAt() const {
    uint32_t block;
    std::memcpy(&block, &base_[2048], sizeof block);
    return block * 1024ULL;
  }

  TestFolder folder_{"log-over-ext4"};
  ext4::Image base_ = ext4::MakeExt4();
  uint64_t at_ = BitmapAt();
  blocklog::LogWriter writer_;
};

TEST_F(LogOverExt4, AVerdictThatHangsOnAnUnknownOrderIsUnknown) {
  writer_.Write(Bytes(at_), Good(), blocklog::kFlagFua);
  writer_.Write(Bytes(at_), Bad());
  const RunReport report = CheckLog();
  ASSERT_EQ(report.disk(0).finding_size(), 1);
  EXPECT_EQ(report.disk(0).finding(0).kind(), Finding::UNKNOWN);
  EXPECT_THAT(report.disk(0).finding(0).evidence(), HasSubstr("order"));
  EXPECT_GT(report.disk(0).coverage().order_unknown(), 0U);
  EXPECT_FALSE(report.as_expected());
}

TEST_F(LogOverExt4, AFlushBetweenSettlesTheOrder) {
  writer_.Write(Bytes(at_), Good(), blocklog::kFlagFua);
  writer_.Flush();
  writer_.Write(Bytes(at_), Bad());
  const RunReport report = CheckLog();
  ASSERT_EQ(report.disk(0).finding_size(), 1);
  EXPECT_EQ(report.disk(0).finding(0).kind(), Finding::VIOLATED);
  EXPECT_EQ(report.disk(0).finding(0).class_(), METADATA_INCONSISTENT);
  EXPECT_EQ(report.disk(0).coverage().order_unknown(), 0U);
}

TEST_F(LogOverExt4, TheCheckLeavesTheBaseAsItIs) {
  writer_.Write(Bytes(at_), Bad());
  CheckLog();
  const auto after = os::ReadFile(folder_ / "base", Bytes(64 << 20));
  ASSERT_TRUE(after.ok());
  EXPECT_TRUE(std::equal(base_.begin(), base_.end(), after->begin(), after->end(),
                         [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); }));
}

TEST_F(LogOverExt4, EqualImagesAreRecoveredByE2fsckOnce) {
  writer_.Write(Bytes(at_), Bad());
  writer_.Write(Bytes(at_), Bad());
  writer_.Write(Bytes(at_), Good());
  writer_.Write(Bytes(at_), Bad());
  Check check;
  check.set_disk("log");
  check.add_oracle(FSCK);
  check.add_enumerate()->mutable_lose_subset();
  CheckOptions options;
  options.e2fsck_only = true;
  for (const unsigned jobs : {1U, 3U}) {
    options.jobs = jobs;
    const RunReport report = CheckLog(check, options);
    EXPECT_GT(report.disk(0).states().enumerated(), 8U);
    EXPECT_EQ(report.disk(0).states().distinct(), 2U);
    std::map<std::string, uint64_t> runs;
    for (const JudgeCount& judge : report.disk(0).judge()) runs[judge.judge()] = judge.runs();
    EXPECT_EQ(runs["recovery by e2fsck"], 2U);
    EXPECT_EQ(runs["e2fsck -fn"], 2U);
  }
}

// A folder whose block is damaged: what is in it cannot be looked up, and e2fsck condemns it.
void BreakFolder(ext4::Image& image) {
  ext4::Debugfs(image, {"mkdir /d"});
  for (size_t at = 0; at + 1024 <= image.size(); at += 1024) {
    const uint8_t* block = &image[at];
    uint32_t inode;
    std::memcpy(&inode, block, sizeof inode);
    const bool first = block[6] == 1 && block[7] == 2 && block[8] == '.';
    if (inode != 12 || !first) continue;
    image[at + 4] = 7;  // no length of an entry
    return;
  }
  FAIL() << "there is no folder /d";
}

TEST_F(LogOverExt4, WhatACondemnedImageHidesOfAPromiseIsNoOpenQuestion) {
  BreakFolder(base_);
  writer_.Write(Bytes(at_), Good());
  CheckLog();  // writes the files
  oracle::Script script;
  script.Mkdir("d").Create("d/f", 1).Fsync("d/f").Unlink("d/f").Sync();
  auto index = workload::ObligationIndex::Make(script.trace());
  ASSERT_TRUE(index.ok()) << index.error().ToString();
  std::vector<KeptPromise> promises;
  promises.push_back({1, *std::move(index), {script.size(), script.size()}});
  const auto source = DiskSource::FromLogFile({folder_ / "log", folder_ / "base", false, {}});
  ASSERT_TRUE(source.ok()) << source.error().ToString();
  auto fsck = oracle::Fsck::Find();
  ASSERT_TRUE(fsck.ok());
  const auto verdict_on = [&](bool structure) {
    JudgeOptions options;
    options.fsck = structure;
    options.promises = &promises;
    Judge judge((*source)->space(), (*source)->journal(), (*source)->base_extents(), nullptr, *fsck,
                options);
    crashstate::StateSpec all;
    all.cut = (*source)->space().last_cut();
    const auto verdicts = judge.Run({all});
    EXPECT_TRUE(verdicts.ok());
    return verdicts.ok() ? verdicts->at(0) : StateVerdict();
  };
  const StateVerdict condemned = verdict_on(true);
  EXPECT_EQ(condemned.structure, oracle::Outcome::kViolated);
  EXPECT_EQ(condemned.content, oracle::Outcome::kHolds);
  EXPECT_EQ(verdict_on(false).content, oracle::Outcome::kUnknown) << "nobody has condemned it";
}

// The superblock with another label; its checksum lies in the second sector.
std::vector<uint8_t> Relabeled(const ext4::Image& base) {
  constexpr size_t kLabelAt = 0x78;
  constexpr size_t kChecksumAt = 0x3fc;
  std::vector<uint8_t> super(base.begin() + 1024, base.begin() + 2048);
  super[kLabelAt] = 'x';
  const uint32_t crc = ext4::SlowCrc32c(~0U, std::span(super).first(kChecksumAt));
  std::memcpy(&super[kChecksumAt], &crc, sizeof crc);
  return super;
}

TEST_F(LogOverExt4, AHealthySuperblockThatTearsIsCondemnedAsTorn) {
  writer_.Write(Bytes(1024), Relabeled(base_), blocklog::kFlagFua | blocklog::kFlagFlush);
  Check check = PrefixesAndSubsets();
  check.mutable_model()->set_atomic_unit(512);
  const RunReport whole = CheckLog(check);
  EXPECT_EQ(whole.disk(0).finding_size(), 0) << "absent or present, it is healthy";
  EXPECT_THAT(whole.disk(0).model(), HasSubstr("atomic unit 512 bytes"));
  check.add_enumerate()->mutable_torn();
  const RunReport report = CheckLog(check);
  ASSERT_EQ(report.disk(0).finding_size(), 1);
  const Finding& finding = report.disk(0).finding(0);
  EXPECT_EQ(finding.kind(), Finding::VIOLATED);
  EXPECT_EQ(finding.class_(), TORN_WRITE);
  EXPECT_EQ(finding.count(), 2U) << "the first sector alone, or the second";
  EXPECT_EQ(finding.example(), "log:cache.u512@1-torn.0.first.1");
  ASSERT_EQ(finding.lost_size(), 1);
  EXPECT_THAT(finding.lost(0), HasSubstr("superblock"));
  EXPECT_EQ(report.disk(0).enumerator(2).found_size(), 1);
  EXPECT_EQ(report.disk(0).enumerator(0).found_size(), 0);
}

TEST_F(LogOverExt4, ATornStateIsMaterialized) {
  const auto super = Relabeled(base_);
  writer_.Write(Bytes(1024), super);
  CheckLog();  // writes the files
  StateImageRequest request;
  request.log = folder_ / "log";
  request.base = folder_ / "base";
  request.image = folder_ / "image";
  request.id = "log:cache.u512@1-torn.0.last.1";
  const auto said = WriteStateImage(request);
  ASSERT_TRUE(said.ok()) << said.error().ToString();
  EXPECT_THAT(*said, HasSubstr("torn: entry 0"));
  const auto image = os::ReadFile(request.image, Bytes(64 << 20));
  ASSERT_TRUE(image.ok());
  ext4::Image expected = base_;
  std::copy(super.begin() + 512, super.end(), expected.begin() + 1536);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), image->begin(), image->end(),
                         [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); }));
  request.id = "log:cache.u512@1-torn.0.first.2";
  EXPECT_FALSE(WriteStateImage(request).ok()) << "it has two units";
}

}  // namespace
}  // namespace plugpull::run
