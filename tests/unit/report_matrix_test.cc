// SPDX-License-Identifier: Apache-2.0
// The guarantee matrix as text and as Markdown, against tests/golden/report/guarantees.*
// (PLUGPULL_UPDATE_GOLDEN=1 writes them anew), and that no cell says more than its counts.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <sstream>

#include "framework/os/file.h"
#include "framework/report/matrix.h"
#include "framework/report/text.h"

namespace plugpull::report {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr Bytes kGoldenSizeMax = Mebibytes(1);

std::string Folder() { return std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/report/"; }

ReportList Reports() {
  const auto text = os::ReadFile(Folder() + "guarantees.textproto", kGoldenSizeMax);
  EXPECT_TRUE(text.ok());
  ReportList reports;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(*text, &reports));
  return reports;
}

void ExpectGolden(const std::string& name, const std::string& now) {
  const std::string path = Folder() + name;
  if (os::GetEnv("PLUGPULL_UPDATE_GOLDEN", "0") == "1") {
    ASSERT_TRUE(os::WriteFileAtomic(path, now).ok());
    return;
  }
  const auto golden = os::ReadFile(path, kGoldenSizeMax);
  ASSERT_TRUE(golden.ok()) << golden.error().ToString();
  EXPECT_EQ(*golden, now) << path << "; PLUGPULL_UPDATE_GOLDEN=1 writes it anew";
}

TEST(ReportMatrix, IsAsKept) {
  ExpectGolden("guarantees.matrix.txt", RenderMatrix(Reports(), {.colour = false, .width = 100}));
  ExpectGolden("guarantees.matrix.md", RenderMatrixMarkdown(Reports()));
}

TEST(ReportMatrix, FitsATerminalOfAHundredColumns) {
  std::istringstream lines(RenderMatrix(Reports(), {.colour = false, .width = 100}));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(DisplayWidth(line), 100) << line;
}

RunReport OneRun(const GuaranteeReport& guarantee) {
  RunReport run;
  run.set_name("g");
  run.set_variant("row");
  run.set_as_expected(true);
  *run.add_disk()->add_guarantee() = guarantee;
  return run;
}

std::string MarkdownOf(const GuaranteeReport& guarantee) {
  ReportList reports;
  *reports.add_run() = OneRun(guarantee);
  return RenderMatrixMarkdown(reports);
}

TEST(ReportMatrix, ACellSaysNoMoreThanItsEvidence) {
  GuaranteeReport report;
  report.set_guarantee(GuaranteeReport::APPEND_SOUND);
  EXPECT_THAT(MarkdownOf(report), HasSubstr("not asked"));
  EXPECT_THAT(MarkdownOf(report), Not(HasSubstr("| held")));
  report.set_unknown(4);
  EXPECT_THAT(MarkdownOf(report), HasSubstr("| unknown in 4 |"));
  report.set_asked(90);
  EXPECT_THAT(MarkdownOf(report), HasSubstr("| weak: not seen in 90, unknown in 4 |"));
  report.set_shown(1);
  EXPECT_THAT(MarkdownOf(report), HasSubstr("| held in 90, unknown in 4 |"));
  report.set_broken(2);
  report.set_example("vol:cache@7");
  EXPECT_THAT(MarkdownOf(report), HasSubstr("| **broken** in 2 of 90, unknown in 4 |"));
  EXPECT_THAT(MarkdownOf(report), HasSubstr("such as `vol:cache@7`"));
}

TEST(ReportMatrix, ATerminalCellSaysThatSomeStatesAreUnknown) {
  GuaranteeReport report;
  report.set_guarantee(GuaranteeReport::APPEND_SOUND);
  report.set_asked(90);
  report.set_unknown(4);
  const auto row = [&] {
    ReportList reports;
    *reports.add_run() = OneRun(report);
    return RenderMatrix(reports, {.colour = false, .width = 100});
  };
  EXPECT_THAT(row(), HasSubstr(" weak?"));
  report.set_shown(1);
  EXPECT_THAT(row(), HasSubstr(" held?"));
  report.set_broken(2);
  report.set_example("vol:cache@7");
  EXPECT_THAT(row(), AllOf(HasSubstr(" 2?"), HasSubstr("2 of 90 states, 4 unknown, e.g. vol")));
}

TEST(ReportMatrix, TimesAreATableOfTheirOwn) {
  GuaranteeReport report;
  report.set_guarantee(GuaranteeReport::TIMES_WITHOUT_TRIGGER);
  report.set_asked(9);
  report.set_shown(9);
  ReportList reports;
  *reports.add_run() = OneRun(report);
  RunReport& run = *reports.mutable_run(0);
  run.set_variant("lazy");
  run.set_command("./plugpull run b.textproto --filter x");
  report.set_guarantee(GuaranteeReport::FSYNC_DATA);
  *run.mutable_disk(0)->add_guarantee() = report;  // such a run is in one table only
  const std::string alone = RenderMatrixMarkdown(reports);
  EXPECT_THAT(alone, HasSubstr("| kept in 9 |"));
  EXPECT_THAT(alone, Not(HasSubstr("held in")));
  *reports.add_run() = OneRun(report);
  reports.mutable_run(1)->set_name("other");
  reports.mutable_run(1)->set_command("./plugpull run a.textproto --filter y");
  reports.mutable_run(0)->mutable_disk(0)->mutable_guarantee(0)->set_broken(2);
  const std::string text = RenderMatrixMarkdown(reports);
  EXPECT_THAT(text, HasSubstr("./plugpull run a.textproto b.textproto --out OUT"));
  EXPECT_THAT(text, HasSubstr("## Times"));
  EXPECT_THAT(text, HasSubstr("| **lost** in 2 of 9 |"));
  EXPECT_THAT(text, HasSubstr("| held in 9 |"));
  EXPECT_THAT(text, HasSubstr("explain OUT/other/ROW"));
}

TEST(ReportMatrix, RunsThatEndedInAnErrorHaveNoCells) {
  GuaranteeReport report;
  report.set_guarantee(GuaranteeReport::FSYNC_DATA);
  report.set_asked(9);
  report.set_shown(9);
  ReportList reports;
  *reports.add_run() = OneRun(report);
  *reports.add_run() = OneRun(report);
  reports.mutable_run(1)->set_incomplete_reason("the log ended early");
  const std::string text = RenderMatrixMarkdown(reports);
  EXPECT_EQ(text.find("held in 9"), text.rfind("held in 9"));
  EXPECT_THAT(text, HasSubstr("the log ended early"));
}

TEST(ReportMatrix, AllDisksAndBootsOfARunCount) {
  GuaranteeReport report;
  report.set_guarantee(GuaranteeReport::FSYNC_DATA);
  report.set_asked(9);
  report.set_shown(9);
  ReportList reports;
  *reports.add_run() = OneRun(report);
  report.set_broken(3);
  report.set_example("vol:cache@7");
  *reports.mutable_run(0)->add_disk()->add_guarantee() = report;
  const std::string text = RenderMatrixMarkdown(reports);
  EXPECT_THAT(text, HasSubstr("**broken** in 3 of 18"));
  EXPECT_THAT(text, HasSubstr("such as `vol:cache@7`"));
}

TEST(ReportMatrix, TextFromOutsideStaysText) {
  GuaranteeReport report;
  report.set_guarantee(GuaranteeReport::FSYNC_DATA);
  report.set_asked(9);
  report.set_broken(9);
  report.set_example("`x` | y");
  report.set_evidence("/a|b: <script> *x*\n\x1b[31m");
  const std::string text = MarkdownOf(report);
  EXPECT_THAT(text, HasSubstr("`'x' | y`"));
  EXPECT_THAT(text, HasSubstr("/a\\|b: &lt;script> \\*x\\*\n"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(ReportMatrix, WithoutGuaranteesItSaysSo) {
  ReportList reports;
  reports.add_run()->set_name("other");
  EXPECT_THAT(RenderMatrix(reports, {}), HasSubstr("no run asked"));
  EXPECT_THAT(RenderMatrixMarkdown(reports), HasSubstr("No run asked"));
}

}  // namespace
}  // namespace plugpull::report
