// SPDX-License-Identifier: Apache-2.0
// When two logs' verdicts contradict each other, and what the reports make of a cross-check.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/report/json.h"
#include "framework/report/summary.h"
#include "framework/report/terminal.h"
#include "framework/run/cross_check.h"

namespace plugpull::run {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

DiskReport Report(uint64_t states, uint64_t violated) {
  DiskReport report;
  report.set_disk("vol");
  report.mutable_states()->set_enumerated(states);
  report.mutable_states()->set_violated(violated);
  report.mutable_states()->set_holds(states - violated);
  if (violated == 0) return report;
  Finding& finding = *report.add_finding();
  finding.set_kind(Finding::VIOLATED);
  finding.set_class_(METADATA_INCONSISTENT);
  finding.set_oracle(FSCK);
  finding.set_count(violated);
  return report;
}

TEST(CompareVerdicts, TheSameClassesAgreeWhateverTheirCounts) {
  CrossCheckReport report;
  CompareVerdicts(Report(1000, 300), Report(500, 7), report);
  EXPECT_THAT(report.verdict_contradiction(), IsEmpty());
  EXPECT_THAT(report.host_found(), ElementsAre(METADATA_INCONSISTENT));
  EXPECT_EQ(report.host_states().enumerated(), 500U);
}

TEST(CompareVerdicts, AClassOfOneLogAloneIsAContradictionWhereItIsCommon) {
  for (const bool guest_finds : {true, false}) {
    CrossCheckReport report;
    const DiskReport finds = Report(1000, 100);
    const DiskReport holds = Report(1000, 0);
    CompareVerdicts(guest_finds ? finds : holds, guest_finds ? holds : finds, report);
    ASSERT_EQ(report.verdict_contradiction_size(), 1);
    EXPECT_THAT(report.verdict_contradiction(0),
                HasSubstr(guest_finds ? "in 100 of 1000 states of the guest's log, and in none"
                                      : "in 100 of 1000 states of the host's log, and in none"));
  }
}

TEST(CompareVerdicts, ARareClassIsNoted) {
  CrossCheckReport report;
  CompareVerdicts(Report(1000, 3), Report(1000, 0), report);
  EXPECT_THAT(report.verdict_contradiction(), IsEmpty());
  ASSERT_EQ(report.note_size(), 1);
  EXPECT_THAT(report.note(0), HasSubstr("too rare"));
}

TEST(CompareVerdicts, OraclesInAGuestAreNotCompared) {
  CrossCheckReport report;
  DiskReport guest = Report(1000, 500);
  guest.mutable_finding(0)->set_oracle(COMMAND);
  guest.mutable_finding(0)->set_class_(COMMAND_FAILED);
  CompareVerdicts(guest, Report(1000, 0), report);
  EXPECT_THAT(report.verdict_contradiction(), IsEmpty());
}

TEST(Contradiction, IsAFaultOfPlugpullAndSaysWhereToLook) {
  DiskReport report = Report(10, 0);
  EXPECT_TRUE(ContradictionOf(report).ok());
  report.mutable_cross_check()->add_contradiction(
      "entry 7 of the guest's log writes sectors 2 to 3");
  report.mutable_cross_check()->add_command("./plugpull log show R --disk vol --first 4 --count 8");
  const Status status = ContradictionOf(report);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kInternal);
  EXPECT_THAT(status.error().message, HasSubstr("taken for a fault of plugpull"));
  EXPECT_THAT(status.error().message, HasSubstr("sectors 2 to 3\n./plugpull log show R"));
}

TEST(Reports, ShowTheCrossCheck) {
  ReportList list;
  RunReport& run = *list.add_run();
  run.set_name("x");
  run.set_as_expected(true);
  *run.add_disk() = Report(10, 0);
  CrossCheckReport& report = *run.mutable_disk(0)->mutable_cross_check();
  report.set_flush_points(214);
  report.set_flush_points_agree(212);
  report.mutable_host_states()->set_enumerated(10);
  EXPECT_THAT(report::RenderTerminal(list, {false, 200}),
              HasSubstr("214 flush points compared, 212 agree, 2 but for requests in flight"));
  EXPECT_THAT(report::RenderJson(list), HasSubstr("\"flush_points_agree\": 212"));
  report.Clear();
  report.set_not_done("its host's log is cut short");
  EXPECT_THAT(report::RenderTerminal(list, {false, 200}), HasSubstr("not done: its host's log is"));
  EXPECT_THAT(report::RenderJson(list), HasSubstr("\"not_done\": \"its host's log is cut short\""));
}

}  // namespace
}  // namespace plugpull::run
