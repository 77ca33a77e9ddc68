// SPDX-License-Identifier: Apache-2.0
// Demands of steps that were not met, in every report.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <pugixml.hpp>

#include "framework/report/baseline.h"
#include "framework/report/json.h"
#include "framework/report/junit.h"
#include "framework/report/summary.h"
#include "framework/report/terminal.h"

namespace plugpull::report {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

RunReport Refused(uint32_t step) {
  RunReport run;
  run.set_name("scenario");
  run.set_kernel("debian:6.1");
  run.set_steps(9);
  run.set_steps_run(step);
  Finding& finding = *run.add_finding();
  finding.set_kind(Finding::VIOLATED);
  finding.set_oracle(STEPS);
  finding.set_class_(DEMAND_UNMET);
  finding.set_count(1);
  finding.set_step(step);
  finding.set_line(30 + step);
  finding.set_evidence("mount of vol at /data\nasked for: EUCLEAN\nbut: it was mounted");
  return run;
}

ReportList ListOf(const RunReport& run) {
  ReportList reports;
  *reports.add_run() = run;
  return reports;
}

TEST(DemandsTest, AnUnmetDemandFailsTheRun) {
  EXPECT_EQ(ExitStatus(ListOf(Refused(4))), 1);
  EXPECT_THAT(Differences(Refused(4)),
              ElementsAre("not expected: DEMAND_UNMET in step 4 (line 34), mount of vol at /data"));
}

TEST(DemandsTest, TheTerminalSaysWhatWasAskedAndWhatDidNotRun) {
  EXPECT_THAT(RenderTerminal(ListOf(Refused(4)), {}),
              AllOf(HasSubstr("DEMAND_UNMET"), HasSubstr("step 4 (line 34)"),
                    HasSubstr("asked for: EUCLEAN"), HasSubstr("but: it was mounted"),
                    HasSubstr("4 of 9 carried out; those behind them did not run")));
  RunReport good;
  good.set_steps(9);
  good.set_steps_run(9);
  good.set_as_expected(true);
  EXPECT_THAT(RenderTerminal(ListOf(good), {}), HasSubstr("all 9 carried out, every demand met"));
}

TEST(DemandsTest, JsonHasItAmongTheVerdicts) {
  RunReport run = Refused(4);
  run.add_note("disk vol was not checked");
  const auto list = nlohmann::json::parse(RenderJson(ListOf(run)));
  ASSERT_EQ(list[0]["verdicts"].size(), 1u);
  const auto& verdict = list[0]["verdicts"][0];
  EXPECT_EQ(verdict["class"], "DEMAND_UNMET");
  EXPECT_EQ(verdict["oracle"], "steps");
  EXPECT_EQ(verdict["step"], 4);
  EXPECT_EQ(verdict["line"], 34);
  EXPECT_EQ(list[0]["steps"]["planned"], 9);
  EXPECT_EQ(list[0]["steps"]["run"], 4);
  EXPECT_EQ(list[0]["notes"][0], "disk vol was not checked");
  EXPECT_EQ(list[0]["outcome"], "differs");
}

TEST(DemandsTest, JUnitHasItAsAFailure) {
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(RenderJUnit(ListOf(Refused(4))).c_str()));
  const pugi::xml_node failure =
      document.child("testsuites").child("testsuite").child("testcase").child("failure");
  EXPECT_THAT(failure.attribute("message").value(), HasSubstr("DEMAND_UNMET in step 4 (line 34)"));
  EXPECT_THAT(failure.text().get(), HasSubstr("but: it was mounted"));
}

TEST(DemandsTest, ABaselineExcusesTheSameStepOnly) {
  const std::string baseline = RenderJson(ListOf(Refused(4)));
  ReportList same = ListOf(Refused(4));
  const auto marked = FilterAgainstBaseline(same, baseline);
  ASSERT_TRUE(marked.ok()) << marked.error().ToString();
  EXPECT_EQ(*marked, 1u);
  EXPECT_EQ(ExitStatus(same), 0);
  ReportList other = ListOf(Refused(5));
  const auto none = FilterAgainstBaseline(other, baseline);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, 0u);
  EXPECT_EQ(ExitStatus(other), 1);
}

}  // namespace
}  // namespace plugpull::report
