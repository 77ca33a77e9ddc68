// SPDX-License-Identifier: Apache-2.0
// From recordings to the counts of a report: what a disk with barriers keeps and one without
// breaks, and that every example is a state in which it can be seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "framework/oracle/fsck.h"
#include "framework/recording/recording.h"
#include "framework/run/disk_check.h"
#include "framework/run/disk_source.h"

namespace plugpull::run {
namespace {

using ::testing::HasSubstr;
using Counts = std::map<GuaranteeReport::Guarantee, GuaranteeReport>;

class GuaranteeCheck : public testing::Test {
 protected:
  void Open(const std::string& name) {
    const std::string folder =
        std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/recordings/" + name;
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

  DiskReport CheckIt(std::initializer_list<Oracle> oracles) {
    Check check;
    check.set_disk("vol");
    check.add_enumerate()->mutable_prefix();
    check.add_enumerate()->mutable_lose_one();
    check.add_enumerate()->mutable_lose_subset();
    check.set_max_states(300);
    for (const Oracle oracle : oracles) check.add_oracle(oracle);
    auto fsck = oracle::Fsck::Find();
    EXPECT_TRUE(fsck.ok());
    DiskCheckOptions options;
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
