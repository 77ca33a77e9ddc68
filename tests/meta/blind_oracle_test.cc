// SPDX-License-Identifier: Apache-2.0
// An e2fsck that is blind, breaks off or hangs must be found out: what it cannot say is unknown,
// and what it overlooks is missed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/oracle/fsck.h"
#include "framework/run/check.h"
#include "framework/run/disk_check.h"
#include "recorded.h"
#include "tests/support/fake_e2fsck.h"

namespace plugpull::run {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

RunReport Checked(const std::string& name, uint32_t states, bool e2fsck_only = false) {
  CheckOptions options;
  options.jobs = 2;
  options.e2fsck_only = e2fsck_only;
  options.max_states = states;
  const RunReport report = CheckRecording(GoldenRecording(name), options);
  EXPECT_FALSE(report.has_error()) << report.error();
  return report;
}

uint64_t CountOf(const RunReport& report, FindingClass finding_class) {
  uint64_t count = 0;
  for (const Finding& finding : report.disk(0).finding()) {
    if (finding.kind() == Finding::VIOLATED && finding.class_() == finding_class) {
      count += finding.count();
    }
  }
  return count;
}

// The healthy twin of all that follows.
TEST(BlindOracle, TheRealOneFindsWhatIsThere) {
  const RunReport report = Checked("writeback_nobarrier", 150);
  EXPECT_GT(CountOf(report, METADATA_INCONSISTENT), 0U);
  EXPECT_EQ(report.disk(0).states().unknown(), 0U);
  EXPECT_EQ(Checked("ordered", 150).disk(0).states().holds(),
            Checked("ordered", 150).disk(0).states().enumerated());
}

TEST(BlindOracle, OneThatAlwaysSaysYesIsFoundOut) {
  const FakeE2fsck fake("exit 0");
  const RunReport nobarrier = Checked("writeback_nobarrier", 150);
  EXPECT_EQ(CountOf(nobarrier, METADATA_INCONSISTENT), 0U);
  EXPECT_THAT(nobarrier.missed(), Contains(METADATA_INCONSISTENT));
  EXPECT_FALSE(nobarrier.as_expected());
  const RunReport ordered = Checked("ordered", 150, true);
  EXPECT_GT(ordered.disk(0).states().unknown(), 0U);
  EXPECT_FALSE(ordered.as_expected());
}

TEST(BlindOracle, OneThatRecoversAndThenSeesNothingIsMissed) {
  const FakeE2fsck fake("case \"$ARGUMENTS\" in -fn*) exit 0;; esac; exec $REAL $ARGUMENTS");
  const RunReport report = Checked("writeback_nobarrier", 150);
  EXPECT_EQ(report.disk(0).states().unknown(), 0U);
  EXPECT_EQ(CountOf(report, METADATA_INCONSISTENT), 0U);
  EXPECT_THAT(report.missed(), Contains(METADATA_INCONSISTENT));
  EXPECT_FALSE(report.as_expected());
}

TEST(BlindOracle, OneThatSeesGhostsIsASurprise) {
  const FakeE2fsck fake("case \"$ARGUMENTS\" in -fn*) exit 4;; esac; exec $REAL $ARGUMENTS");
  const RunReport report = Checked("ordered", 60);
  EXPECT_EQ(CountOf(report, METADATA_INCONSISTENT), report.disk(0).states().enumerated())
      << "a sample that e2fsck does not confirm makes it judge every image";
  EXPECT_FALSE(report.as_expected());
  ASSERT_GT(report.disk(0).note_size(), 0);
  EXPECT_THAT(report.disk(0).note(0), HasSubstr("a fault of plugpull"));
}

// The classic mistake: with -f it repairs everything, and a check after it passes. What it does not
// get to recover (a journal that nobody asks to replay) is still seen.
TEST(BlindOracle, OneThatRepairsBeforeItIsAskedHidesWhatIsThere) {
  const uint64_t real = CountOf(Checked("writeback_nobarrier", 150, true), METADATA_INCONSISTENT);
  const FakeE2fsck fake(
      "case \"$ARGUMENTS\" in -y*) exec $REAL -f $ARGUMENTS;; esac; exec $REAL $ARGUMENTS");
  EXPECT_LT(CountOf(Checked("writeback_nobarrier", 150, true), METADATA_INCONSISTENT), real);
}

class BrokenOracle : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Ways, BrokenOracle,
                         testing::Values("exit 8", "exit 128", "exit 16", "kill -SEGV $$",
                                         "$REAL $ARGUMENTS; kill -SEGV $$",
                                         "$REAL $ARGUMENTS; exit 136"));

TEST_P(BrokenOracle, MakesEverythingUnknownAndNothingGood) {
  const FakeE2fsck fake(GetParam());
  const RunReport report = Checked("ordered", 60);
  const StateCounts& states = report.disk(0).states();
  EXPECT_EQ(states.unknown(), states.enumerated());
  EXPECT_EQ(states.holds(), 0U);
  ASSERT_EQ(report.disk(0).finding_size(), 1);
  EXPECT_EQ(report.disk(0).finding(0).kind(), Finding::UNKNOWN);
  EXPECT_EQ(report.disk(0).finding(0).oracle(), FSCK);
  EXPECT_FALSE(report.disk(0).finding(0).evidence().empty());
  EXPECT_FALSE(report.disk(0).finding(0).expected());
  EXPECT_FALSE(report.as_expected());
}

TEST(BrokenOracle, OneThatHangsIsEnded) {
  const FakeE2fsck fake("exec sleep 1000");
  Recorded recorded(GoldenRecording("ordered"));
  ASSERT_TRUE(recorded.ok());
  auto fsck = *oracle::Fsck::Find(Millis(50));
  recorded.check.set_max_states(12);
  const auto report = CheckDisk(*recorded.source, recorded.check, nullptr, fsck, {});
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(report->states().unknown(), report->states().enumerated());
  EXPECT_EQ(report->states().holds(), 0U);
}

}  // namespace
}  // namespace plugpull::run
