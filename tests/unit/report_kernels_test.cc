// SPDX-License-Identifier: Apache-2.0
// The same runs under several kernels: what is compared, and how each report shows it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <pugixml.hpp>

#include "framework/report/json.h"
#include "framework/report/junit.h"
#include "framework/report/kernels.h"
#include "framework/report/summary.h"
#include "framework/report/terminal.h"

namespace plugpull::report {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

RunReport RunOn(const std::string& kernel, const std::string& variant = "v") {
  RunReport run;
  run.set_name("scenario");
  run.set_variant(variant);
  run.set_seed(1);
  run.set_kernel(kernel);
  run.set_as_expected(true);
  DiskReport& disk = *run.add_disk();
  disk.set_disk("vol");
  disk.mutable_states()->set_enumerated(400);
  disk.mutable_states()->set_holds(400);
  return run;
}

void Find(RunReport& run, FindingClass found, Oracle oracle, uint64_t count, bool expected) {
  Finding& finding = *run.mutable_disk(0)->add_finding();
  finding.set_kind(Finding::VIOLATED);
  finding.set_class_(found);
  finding.set_oracle(oracle);
  finding.set_count(count);
  finding.set_expected(expected);
  if (!expected) run.set_as_expected(false);
}

void Refuse(RunReport& run, uint32_t step, const std::string& but) {
  Finding& finding = *run.add_finding();
  finding.set_kind(Finding::VIOLATED);
  finding.set_class_(DEMAND_UNMET);
  finding.set_oracle(STEPS);
  finding.set_step(step);
  finding.set_evidence("mount of vol at /data\nasked for: EINVAL\nbut: " + but + "\nmore");
  run.set_as_expected(false);
}

ReportList ListOf(const std::vector<RunReport>& runs) {
  ReportList reports;
  for (const RunReport& run : runs) *reports.add_run() = run;
  return reports;
}

std::vector<std::string> DifferencesOf(const std::vector<RunReport>& runs) {
  const ReportList reports = ListOf(runs);
  return KernelDifferences(CompareKernels(reports));
}

TEST(CompareKernelsTest, OneKernelOrOtherRunsAreNoComparison) {
  const ReportList reports = ListOf({RunOn("a", "v"), RunOn("b", "w"), RunOn("a", "x")});
  EXPECT_TRUE(CompareKernels(reports).empty());
  EXPECT_THAT(RenderTerminal(reports, {}), Not(HasSubstr("side by side")));
  EXPECT_THAT(RenderJson(reports), Not(HasSubstr("kernel_comparison")));
}

TEST(CompareKernelsTest, RowsAreVariantsAndColumnsKernelsInTheirOrder) {
  const ReportList reports = ListOf({RunOn("b", "v"), RunOn("b", "w"), RunOn("a", "v"),
                                     RunOn("a", "w"), RunOn("c", "w"), RunOn("b", "alone")});
  const KernelComparison comparison = CompareKernels(reports);
  EXPECT_THAT(comparison.kernels, ElementsAre("b", "a", "c"));
  ASSERT_EQ(comparison.rows.size(), 2u);
  EXPECT_EQ(comparison.rows[0].variant, "v");
  EXPECT_EQ(comparison.rows[0].cells[1].run, &reports.run(2));
  EXPECT_EQ(comparison.rows[0].cells[2].run, nullptr);
  EXPECT_EQ(comparison.rows[1].cells[2].run, &reports.run(4));
  EXPECT_EQ(CellOf(comparison, reports.run(5)), nullptr);
  EXPECT_THAT(KernelDifferences(comparison), IsEmpty());
  EXPECT_THAT(RenderTerminal(reports, {}), AllOf(HasSubstr("side by side"), HasSubstr("none")));
}

TEST(CompareKernelsTest, OtherSeedsAreOtherRows) {
  RunReport other = RunOn("b");
  other.set_seed(2);
  EXPECT_TRUE(CompareKernels(ListOf({RunOn("a"), other})).empty());
}

TEST(CompareKernelsTest, CountsAreNoDifferenceAndClassesAre) {
  RunReport a = RunOn("a");
  RunReport b = RunOn("b");
  Find(a, METADATA_INCONSISTENT, FSCK, 20, true);
  Find(b, METADATA_INCONSISTENT, FSCK, 30, true);
  EXPECT_THAT(DifferencesOf({a, b}), IsEmpty());
  Find(b, KERNEL_DISAGREES, KERNEL_MOUNT, 3, false);
  EXPECT_THAT(DifferencesOf({a, b}),
              ElementsAre("scenario/v: as expected with a, not as expected with b",
                          "scenario/v: KERNEL_DISAGREES by kernel_mount (3 of 400 states) with b, "
                          "not with a"));
}

TEST(CompareKernelsTest, BothMeetTheirExpectationAndDifferAllTheSame) {
  RunReport a = RunOn("a");
  RunReport b = RunOn("b");
  Find(a, JOURNAL_REFUSED, FSCK, 1, true);
  const ReportList reports = ListOf({a, b});
  EXPECT_EQ(ExitStatus(reports), 0) << "a difference is shown, not failed";
  EXPECT_THAT(DifferencesOf({a, b}),
              ElementsAre("scenario/v: JOURNAL_REFUSED by fsck (1 of 400 states) with a, not with "
                          "b"));
}

TEST(CompareKernelsTest, TheSameFindingInAnotherBootIsADifference) {
  const auto found_in = [](const std::string& kernel, uint32_t boot) {
    RunReport run = RunOn(kernel);
    run.mutable_disk(0)->set_boot(1);
    *run.add_disk() = run.disk(0);
    run.mutable_disk(1)->set_boot(2);
    Find(run, DURABILITY_LOST, CONTENT, 3, true);
    if (boot == 2) run.mutable_disk()->SwapElements(0, 1);
    run.mutable_disk(0)->set_boot(1);
    run.mutable_disk(1)->set_boot(2);
    return run;
  };
  EXPECT_THAT(DifferencesOf({found_in("a", 1), found_in("b", 1)}), IsEmpty());
  EXPECT_THAT(DifferencesOf({found_in("a", 1), found_in("b", 2)}),
              ElementsAre("scenario/v: DURABILITY_LOST by content on disk vol, boot 1 (3 of 400 "
                          "states) with a, not with b",
                          "scenario/v: DURABILITY_LOST by content on disk vol, boot 2 (3 of 400 "
                          "states) with b, not with a"));
}

TEST(CompareKernelsTest, DemandsDifferByStepAndByWhatCame) {
  RunReport a = RunOn("a");
  RunReport b = RunOn("b");
  Refuse(a, 4, "the mount said EUCLEAN");
  Refuse(b, 4, "the mount said EUCLEAN");
  EXPECT_THAT(DifferencesOf({a, b}), IsEmpty());
  b.mutable_finding(0)->set_evidence("x\nasked for: EINVAL\nbut: the mount said EIO");
  EXPECT_THAT(
      DifferencesOf({a, b}),
      ElementsAre("scenario/v: DEMAND_UNMET in step 4 (the mount said EUCLEAN) with a, not with b",
                  "scenario/v: DEMAND_UNMET in step 4 (the mount said EIO) with b, not with a"));
}

TEST(CompareKernelsTest, ARunThatWasNotJudgedIsADifferenceAndNothingElseIsSaid) {
  RunReport a = RunOn("a");
  Find(a, METADATA_INCONSISTENT, FSCK, 20, true);
  RunReport b = RunOn("b");
  b.clear_disk();
  b.set_error("the guest panicked\nits console");
  b.set_error_kind("guest");
  EXPECT_THAT(DifferencesOf({a, b}),
              ElementsAre("scenario/v: as expected with a, not judged: guest error: the guest "
                          "panicked with b"));
}

TEST(CompareKernelsTest, EveryReportShowsTheDifference) {
  RunReport a = RunOn("debian:6.1");
  Find(a, KERNEL_DISAGREES, KERNEL_MOUNT, 7, false);
  const ReportList reports = ListOf({a, RunOn("debian:6.12")});
  const std::string words =
      "KERNEL_DISAGREES by kernel_mount (7 of 400 states) with debian:6.1, not with debian:6.12";
  const std::string text = RenderTerminal(reports, {.width = 200});
  EXPECT_THAT(text, AllOf(HasSubstr("Kernels side by side"), HasSubstr("7 of 400"),
                          HasSubstr("* yes"), HasSubstr(words)));
  const auto list = nlohmann::json::parse(RenderJson(reports));
  EXPECT_EQ(list[0]["kernel_comparison"]["reference"], "debian:6.1");
  EXPECT_TRUE(list[0]["kernel_comparison"]["differences"].empty());
  ASSERT_EQ(list[1]["kernel_comparison"]["differences"].size(), 2u);
  EXPECT_EQ(list[1]["kernel_comparison"]["differences"][1], words);
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(RenderJUnit(reports).c_str()));
  const pugi::xml_node suite = document.child("testsuites").child("testsuite");
  EXPECT_TRUE(suite.find_child_by_attribute("testcase", "name", "v [debian:6.1]").child("failure"));
  const pugi::xml_node good = suite.find_child_by_attribute("testcase", "name", "v [debian:6.12]");
  EXPECT_FALSE(good.child("failure"));
  EXPECT_THAT(good.child("system-out").text().get(),
              AllOf(HasSubstr("differs from debian:6.1:"), HasSubstr(words)));
}

}  // namespace
}  // namespace plugpull::report
