// SPDX-License-Identifier: Apache-2.0
// Stale data of a real kernel (Debian's 6.1): a twin of recordings of one workload, of which the
// one with data=writeback exposes stale data and the one with data=ordered must not. A stale data
// oracle that is blind, or that is told the wrong story, is found out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/crashstate/state_cursor.h"
#include "framework/oracle/ext4_view.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/stale_data.h"
#include "framework/run/check.h"
#include "framework/run/disk_check.h"
#include "recorded.h"

namespace plugpull::run {
namespace {

using oracle::Outcome;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

RunReport Checked(const std::string& name) {
  CheckOptions options;
  options.jobs = 2;
  const RunReport report = CheckRecording(GoldenRecording(name), options);
  EXPECT_FALSE(report.has_error()) << report.error();
  return report;
}

TEST(StaleDataOfAKernel, DataWritebackExposesIt) {
  const RunReport report = Checked("stale_writeback");
  EXPECT_TRUE(report.as_expected()) << report.DebugString();
  ASSERT_EQ(report.disk(0).finding_size(), 1);
  const Finding& finding = report.disk(0).finding(0);
  EXPECT_EQ(finding.class_(), STALE_DATA_EXPOSED);
  EXPECT_GT(finding.count(), 5U);
  EXPECT_THAT(finding.evidence(), HasSubstr("of the disk held before mkfs"));
  EXPECT_THAT(finding.evidence(), HasSubstr("data=writeback allows it"));
}

TEST(StaleDataOfAKernel, DataOrderedDoesNot) {
  const RunReport report = Checked("stale_ordered");
  EXPECT_TRUE(report.as_expected()) << report.DebugString();
  EXPECT_EQ(report.disk(0).states().holds(), report.disk(0).states().enumerated());
  EXPECT_GT(report.disk(0).states().distinct(), 10U);
}

// How many of some states of a recording, each recovered by e2fsck, a way of judging accuses.
uint64_t CountAccused(const std::string& name,
                      const std::function<Outcome(const workload::ObligationIndex&,
                                                  oracle::FileSystemView&)>& judge) {
  Recorded recorded(GoldenRecording(name));
  if (!recorded.ok()) return 0;
  const auto traces = recorded.reader->ReadTraces("vol");
  EXPECT_TRUE(traces.ok() && traces->size() == 1);
  const auto index = workload::ObligationIndex::Make(traces->at(0));
  EXPECT_TRUE(index.ok());
  auto fsck = *oracle::Fsck::Find();
  auto work = *oracle::WorkImage::Make(recorded.source->base(), recorded.source->base_extents());
  crashstate::StateCursor cursor(recorded.space());
  uint64_t accused = 0;
  for (size_t i = 0; i < recorded.states.size(); i += 10) {
    const auto& spec = recorded.states[i];
    cursor.MoveTo(spec.cut, recorded.LostOf(spec), spec.overlapping_older);
    work.Load(cursor.image());
    EXPECT_EQ(fsck.Recover(work, recorded.source->journal()).outcome, Outcome::kHolds);
    auto fs = ext4::FileSystem::Open(work.bytes());
    EXPECT_TRUE(fs.ok());
    oracle::Ext4View view(std::move(*fs));
    accused += judge(*index, view) == Outcome::kViolated ? 1 : 0;
    EXPECT_TRUE(work.Scan(recorded.source->journal()).ok());
  }
  return accused;
}

Outcome Real(const workload::ObligationIndex& index, oracle::FileSystemView& view) {
  return oracle::JudgeStaleData(oracle::StaleDataIndex(index), view).outcome;
}

TEST(StaleDataMeta, TheRealOracleTellsTheTwinsApart) {
  EXPECT_GT(CountAccused("stale_writeback", Real), 0U);
  EXPECT_EQ(CountAccused("stale_ordered", Real), 0U);
}

// An oracle that compares with the wrong workload calls everything stale: the healthy twin fails.
TEST(StaleDataMeta, AnOracleWithAnotherRunsTraceAccusesTheHealthy) {
  const recording::Reader other = *recording::Reader::Open(GoldenRecording("ordered"));
  const auto traces = *other.ReadTraces("vol");
  const auto foreign = *workload::ObligationIndex::Make(traces.at(0));
  const auto confused = [&](const workload::ObligationIndex&, oracle::FileSystemView& view) {
    return Real(foreign, view);
  };
  EXPECT_GT(CountAccused("stale_ordered", confused), 0U);
}

// What a scenario expects shows that the oracle is awake.
TEST(StaleDataMeta, WhatABlindOracleDoesNotFindIsMissed) {
  const auto blind = [](const workload::ObligationIndex&, oracle::FileSystemView&) {
    return Outcome::kHolds;
  };
  EXPECT_EQ(CountAccused("stale_writeback", blind), 0U);
  RunReport report = Checked("stale_writeback");
  report.mutable_disk(0)->clear_finding();
  Conclude(report);
  EXPECT_THAT(report.missed(), ElementsAre(STALE_DATA_EXPOSED));
  EXPECT_FALSE(report.as_expected());
}

}  // namespace
}  // namespace plugpull::run
