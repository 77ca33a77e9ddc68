// SPDX-License-Identifier: Apache-2.0
// The kernel's recovery in a real guest, on the golden recordings: on an honest disk it can be cut
// anywhere; without barriers it cannot, and what is found is found again in the recording that is
// left of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>

#include "../meta/recorded.h"
#include "framework/run/nested_cuts.h"
#include "framework/run/workdir.h"
#include "tests/support/program.h"

namespace plugpull::run {
namespace {

using ::testing::HasSubstr;

class NestedCutsGuestTest : public ::testing::Test {
 protected:
  // Judges a golden recording and cuts the kernel's recovery of three of its states.
  DiskReport Run(const std::string& name) {
    const ScopedEnvironment guest("PLUGPULL_GUEST_DIR", std::string(PLUGPULL_BINARY_DIR) + "/bin");
    const Recorded recorded(GoldenRecording(name));
    auto fsck = oracle::Fsck::Find();
    DiskReport report;
    if (!recorded.ok() || !fsck.ok()) {
      ADD_FAILURE();
      return report;
    }
    JudgeOptions judge_options;
    judge_options.content = false;
    judge_options.jobs = 2;
    Judge judge(recorded.space(), recorded.source->journal(), recorded.source->base_extents(),
                nullptr, *fsck, judge_options);
    const auto verdicts = judge.Run(recorded.states);
    EXPECT_TRUE(verdicts.ok());
    Check check = recorded.check;
    check.mutable_nested()->add_by(Nested::KERNEL);
    check.mutable_nested()->set_max_recoveries(3);
    check.mutable_nested()->set_max_states(200);
    NestedOptions options;
    options.recording = folder_ / "recording";
    options.manifest = &recorded.reader->manifest();
    options.kernel_image = [] {
      Guest wanted;
      wanted.set_kernel(os::GetEnv("PLUGPULL_TEST_KERNEL", "debian:6.1"));
      return PrepareGuestImage(wanted, "tcg", "");
    };
    RunNestedCuts(*recorded.source, check, *fsck, options, recorded.states, *verdicts, report);
    for (const std::string& note : report.note()) std::cout << note << "\n";
    return report;
  }

  const TestFolder folder_{"nested-guest"};
};

TEST_F(NestedCutsGuestTest, RecoveryWithBarriersCanBeCut) {
  const DiskReport report = Run("ordered");
  EXPECT_EQ(report.finding_size(), 0) << report.ShortDebugString();
  ASSERT_EQ(report.note_size(), 2);
  EXPECT_THAT(report.note(1), HasSubstr("3 recoveries recorded, 0 not"));
  EXPECT_THAT(report.note(1), HasSubstr("0 differ, 0 unknown"));
}

TEST_F(NestedCutsGuestTest, RecoveryWithoutBarriersCannot) {
  const DiskReport report = Run("writeback_nobarrier");
  ASSERT_EQ(report.finding_size(), 1) << report.ShortDebugString();
  EXPECT_EQ(report.finding(0).class_(), RECOVERY_DIFFERS);
  const auto recoveries = os::ListFolder(folder_ / "recoveries");
  ASSERT_TRUE(recoveries.ok());
  uint64_t found = 0;
  for (const std::string& name : *recoveries) {
    const RunReport again = CheckRecording(folder_ / ("recoveries/" + name + "/recording"), {});
    EXPECT_FALSE(again.has_error()) << again.error();
    for (const Finding& finding : again.disk(0).finding()) {
      if (finding.class_() == RECOVERY_DIFFERS) found += finding.count();
    }
  }
  EXPECT_EQ(found, report.finding(0).count());
}

}  // namespace
}  // namespace plugpull::run
