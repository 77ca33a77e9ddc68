// SPDX-License-Identifier: Apache-2.0
// From recordings to the counts of a report: what a disk with barriers keeps and one without
// breaks, and that every example is a state in which it can be seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstring>
#include <map>
#include <string>

#include "framework/blocklog/log_reader.h"
#include "framework/ext4/superblock.h"
#include "framework/oracle/fsck.h"
#include "framework/recording/recording.h"
#include "framework/run/check.h"
#include "framework/run/disk_check.h"
#include "framework/run/disk_source.h"
#include "tests/support/program.h"

namespace plugpull::run {
namespace {

using ::testing::HasSubstr;
using Counts = std::map<GuaranteeReport::Guarantee, GuaranteeReport>;

class GuaranteeCheck : public testing::Test {
 protected:
  void Open(const std::string& name) {
    OpenFolder(std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/recordings/" + name);
  }
  void OpenFolder(const std::string& folder) {
    auto reader = recording::Reader::Open(folder);
    ASSERT_TRUE(reader.ok());
    reader_.emplace(*std::move(reader));
    auto source = DiskSource::FromRecording(*reader_, "vol", {});
    ASSERT_TRUE(source.ok()) << source.error().ToString();
    source_ = *std::move(source);
    auto trace = TraceOf(*reader_, "vol");
    ASSERT_TRUE(trace.ok());
    trace_ = *std::move(trace);
    ASSERT_TRUE(trace_.has_value());
  }

  // The recording again, of a file system that has fast commits, as far as its superblock says.
  void OpenWithFastCommits(const std::string& name) {
    Open(name);
    const RecordedDisk& disk = *reader_->FindDisk("vol");
    auto bytes = reader_->ReadLog(disk);
    ASSERT_TRUE(bytes.ok());
    const auto log = blocklog::ReadLog(*bytes, {true, std::nullopt});
    ASSERT_TRUE(log.ok());
    size_t changed = 0;
    for (const auto& entry : log->entries) {
      const bool super = entry.offset.value <= ext4::kSuperblockAt &&
                         entry.offset.value + entry.data.size() >= ext4::kSuperblockAt + 1024;
      if (!super) continue;
      uint8_t* at = bytes->data() + (entry.data.data() - bytes->data()) +
                    (ext4::kSuperblockAt - entry.offset.value);
      if (at[0x38] != 0x53 || at[0x39] != 0xef) continue;
      at[0x5d] |= ext4::kCompatFastCommit >> 8;
      const uint32_t crc = ext4::Crc32c(~0U, std::span(at, 0x3fc));
      std::memcpy(at + 0x3fc, &crc, sizeof crc);
      ++changed;
    }
    ASSERT_GT(changed, 0U);
    auto writer = recording::Writer::Start(folder_ / "fast");
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->AddCompressed(disk.log_file(), *bytes).ok());
    ASSERT_TRUE(writer->AddTrace(*trace_).ok());
    ASSERT_TRUE(writer->Finish(reader_->manifest()).ok());
    OpenFolder(folder_ / "fast");
  }

  // All that is asked of e2fsck from here on it cannot do.
  void BreakE2fsck() {
    const std::string path = folder_ / "e2fsck";
    ASSERT_TRUE(os::WriteFileAtomic(path, "#!/bin/sh\n[ \"$1\" = -V ] && exit 0\nexit 32\n").ok());
    ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
    ASSERT_EQ(::setenv("PATH", folder_.path().c_str(), 1), 0);
  }
  void TearDown() override { ::setenv("PATH", path_.c_str(), 1); }

  DiskReport CheckIt(std::initializer_list<Oracle> oracles, DiskCheckOptions options = {}) {
    Check check;
    check.set_disk("vol");
    check.add_enumerate()->mutable_prefix();
    check.add_enumerate()->mutable_lose_one();
    check.add_enumerate()->mutable_lose_subset();
    check.set_max_states(300);
    for (const Oracle oracle : oracles) check.add_oracle(oracle);
    auto fsck = oracle::Fsck::Find();
    EXPECT_TRUE(fsck.ok());
    options.command_for = [](const std::string& id) { return "materialize " + id; };
    auto report = CheckDisk(*source_, check, &*trace_, *fsck, options);
    EXPECT_TRUE(report.ok()) << report.error().ToString();
    return report.ok() ? *report : DiskReport();
  }

  static Counts CountsOf(const DiskReport& report) {
    Counts counts;
    for (const GuaranteeReport& one : report.guarantee()) counts[one.guarantee()] = one;
    return counts;
  }

  std::optional<recording::Reader> reader_;
  std::unique_ptr<DiskSource> source_;
  std::optional<WorkloadTrace> trace_;
  TestFolder folder_{"guarantee-check"};
  const std::string path_ = os::GetEnv("PATH", "");
};

TEST_F(GuaranteeCheck, BarriersKeepMetadataAndWhatWasSynced) {
  Open("ordered");
  const DiskReport report = CheckIt({FSCK, CONTENT, GUARANTEES});
  Counts counts = CountsOf(report);
  EXPECT_EQ(counts[GuaranteeReport::METADATA_CONSISTENT].asked(), report.states().enumerated());
  for (const auto guarantee : {GuaranteeReport::METADATA_CONSISTENT, GuaranteeReport::FSYNC_NAME,
                               GuaranteeReport::FSYNC_SIZE, GuaranteeReport::FSYNC_DATA}) {
    EXPECT_GT(counts[guarantee].asked(), 0U);
    EXPECT_EQ(counts[guarantee].broken(), 0U) << counts[guarantee].evidence();
    EXPECT_FALSE(counts[guarantee].has_example());
  }
  EXPECT_FALSE(counts.contains(GuaranteeReport::NO_STALE_DATA)) << "STALE_DATA was not asked";
  EXPECT_EQ(report.finding_size(), 0) << "what is observed is no finding";
}

TEST_F(GuaranteeCheck, WithoutBarriersBothBreakAndAgreeWithTheFindings) {
  Open("writeback_nobarrier");
  const DiskReport report = CheckIt({FSCK, CONTENT, GUARANTEES});
  Counts counts = CountsOf(report);
  uint64_t condemned = 0;
  uint64_t lost = 0;
  for (const Finding& finding : report.finding()) {
    if (finding.oracle() == FSCK) condemned += finding.count();
    if (finding.class_() == DURABILITY_LOST) lost = finding.count();
  }
  const GuaranteeReport& metadata = counts[GuaranteeReport::METADATA_CONSISTENT];
  EXPECT_GT(metadata.broken(), 0U);
  EXPECT_EQ(metadata.broken(), condemned);
  EXPECT_THAT(metadata.command(), HasSubstr("materialize " + metadata.example()));
  uint64_t most = 0;
  uint64_t sum = 0;
  for (const auto guarantee :
       {GuaranteeReport::FSYNC_NAME, GuaranteeReport::FSYNC_SIZE, GuaranteeReport::FSYNC_DATA}) {
    most = std::max(most, counts[guarantee].broken());
    sum += counts[guarantee].broken();
  }
  EXPECT_GT(most, 0U);
  EXPECT_LE(most, lost);
  EXPECT_GE(sum, lost) << "every loss is of a name, a size or bytes";
}

TEST_F(GuaranteeCheck, StatesThatNobodyCanJudgeAreCountedAsUnknown) {
  Open("ordered");
  const DiskReport known = CheckIt({FSCK, CONTENT, GUARANTEES});
  Counts before = CountsOf(known);
  BreakE2fsck();
  DiskCheckOptions options;
  options.e2fsck_only = true;
  const DiskReport report = CheckIt({FSCK, CONTENT, GUARANTEES}, options);
  EXPECT_EQ(report.states().unknown(), report.states().enumerated());
  Counts counts = CountsOf(report);
  EXPECT_EQ(counts.size(), before.size());
  for (const auto& [guarantee, count] : before) {
    EXPECT_GE(counts[guarantee].unknown() + counts[guarantee].asked(), count.asked())
        << GuaranteeReport::Guarantee_Name(guarantee);
    EXPECT_GT(counts[guarantee].unknown(), 0U);
    EXPECT_EQ(counts[guarantee].broken(), 0U);
  }
  EXPECT_EQ(counts[GuaranteeReport::METADATA_CONSISTENT].asked(), 0U);
}

TEST_F(GuaranteeCheck, WhatADoubtfulRecoveryBreaksIsUnknown) {
  Open("writeback_nobarrier");
  Counts sure = CountsOf(CheckIt({FSCK, CONTENT, GUARANTEES}));
  OpenWithFastCommits("writeback_nobarrier");
  Counts counts = CountsOf(CheckIt({FSCK, CONTENT, GUARANTEES}));
  uint64_t unknown = 0;
  for (const auto guarantee : {GuaranteeReport::METADATA_CONSISTENT, GuaranteeReport::FSYNC_NAME,
                               GuaranteeReport::FSYNC_SIZE, GuaranteeReport::FSYNC_DATA}) {
    EXPECT_GE(counts[guarantee].asked() + counts[guarantee].unknown(), sure[guarantee].asked())
        << GuaranteeReport::Guarantee_Name(guarantee);
    EXPECT_LE(counts[guarantee].broken(), sure[guarantee].broken());
    if (sure[guarantee].broken() > 0) {
      EXPECT_GT(counts[guarantee].unknown(), 0U);
    }
    unknown += counts[guarantee].unknown();
  }
  EXPECT_GT(unknown, 0U);
}

TEST_F(GuaranteeCheck, ABootOfWhoseBeginningNobodyKnowsWhetherItHoldsIsUnknown) {
  Open("ordered");
  BreakE2fsck();
  DiskCheckOptions options;
  options.begins_as_crash_state = true;
  const DiskReport report = CheckIt({FSCK, CONTENT}, options);
  ASSERT_EQ(report.finding_size(), 1);
  EXPECT_EQ(report.finding(0).kind(), Finding::UNKNOWN);
  EXPECT_EQ(report.finding(0).oracle(), FSCK);
  EXPECT_THAT(report.finding(0).command(), HasSubstr("materialize " + report.finding(0).example()));
  EXPECT_EQ(report.states().unknown(), 1U);
  RunReport run;
  *run.add_disk() = report;
  Conclude(run);
  EXPECT_FALSE(run.as_expected());
}

TEST_F(GuaranteeCheck, QuestionsAreOnlyAskedWhenTheCheckAsksThem) {
  Open("ordered");
  EXPECT_EQ(CheckIt({FSCK, CONTENT}).guarantee_size(), 0);
  Counts counts = CountsOf(CheckIt({GUARANTEES}));
  EXPECT_FALSE(counts.contains(GuaranteeReport::METADATA_CONSISTENT));
  EXPECT_FALSE(counts.contains(GuaranteeReport::FSYNC_NAME));
  EXPECT_GT(counts[GuaranteeReport::APPEND_SOUND].asked() +
                counts[GuaranteeReport::OVERWRITE_WHOLE].asked(),
            0U)
      << "a files workload puts questions, too";
}

}  // namespace
}  // namespace plugpull::run
