// SPDX-License-Identifier: Apache-2.0
// The agent matrix says no more than the verdicts that it is made of.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "framework/report/agent_matrix.h"
#include "framework/report/text.h"

namespace plugpull::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

void Add(AgentReport& agent, FindingClass property, PropertyReport::Verdict verdict,
         bool expected = false) {
  PropertyReport& report = *agent.add_property();
  report.set_property(property);
  report.set_verdict(verdict);
  report.set_expected(expected);
  if (verdict != PropertyReport::NOT_EXERCISED) report.set_evidence("evidence | of it");
}

// One run in which an agent breaks two properties, one of them as expected, and one that failed.
ReportList Reports() {
  ReportList reports;
  RunReport& run = *reports.add_run();
  run.set_name("loop");
  run.set_variant("magic");
  run.set_command("./plugpull run a/loop.textproto --filter '^loop/magic$' --seed 1");
  run.set_kernel_release("6.1.0-1");
  AgentReport& agent = *run.add_agent();
  agent.set_agent("shell");
  agent.set_mounts(7);
  agent.set_mounts_failed(6);
  Add(agent, BOUNDED_ATTEMPTS, PropertyReport::VIOLATED, true);
  Add(agent, GROWING_GAPS, PropertyReport::VIOLATED);
  Add(agent, ONE_ALERT, PropertyReport::UNKNOWN);
  Add(agent, IDEMPOTENT, PropertyReport::HOLDS);
  Add(agent, NO_LAZY_DETACH, PropertyReport::NOT_EXERCISED);
  run.add_missed(RECOVERS);
  RunReport& broken = *reports.add_run();
  broken.set_name("loop");
  broken.set_variant("mbr");
  broken.set_error("the guest said nothing");
  broken.set_error_kind("guest");
  return reports;
}

TEST(ReportAgentMatrix, CellsSayWhatWasJudged) {
  const std::string text = RenderAgentMatrixMarkdown(Reports());
  EXPECT_THAT(text, HasSubstr("| loop/magic | shell | 7 (6) | NO |"));
  EXPECT_THAT(text, HasSubstr("**VIOLATED** |"));
  EXPECT_THAT(text, HasSubstr("**VIOLATED (!)** |"));
  EXPECT_THAT(text, HasSubstr(" unknown |"));
  EXPECT_THAT(text, HasSubstr("| loop/mbr | - | - | error |"));
  EXPECT_THAT(text, HasSubstr("In no row put to the test: NO\\_LAZY\\_DETACH."));
  EXPECT_THAT(text, HasSubstr("Expected, and not seen: RECOVERS."));
  EXPECT_THAT(text, HasSubstr("GROWING\\_GAPS (not expected): evidence \\| of it"));
  EXPECT_THAT(text, HasSubstr("./plugpull run a/loop.textproto --out OUT"));
  EXPECT_THAT(text, HasSubstr("the guest said nothing"));
}

TEST(ReportAgentMatrix, WhatWasBrokenOnceIsNotKept) {
  ReportList reports = Reports();
  RunReport& other = *reports.add_run();
  other.set_name("loop");
  other.set_variant("healthy");
  AgentReport& agent = *other.add_agent();
  agent.set_agent("shell");
  Add(agent, BOUNDED_ATTEMPTS, PropertyReport::HOLDS);
  const std::string text = RenderAgentMatrixMarkdown(reports);
  EXPECT_THAT(text, HasSubstr("| shell | 2 | IDEMPOTENT | BOUNDED\\_ATTEMPTS (magic)<br>"
                              "GROWING\\_GAPS (magic) | "));
}

TEST(ReportAgentMatrix, FitsATerminalOfAHundredColumns) {
  const std::string text = RenderAgentMatrix(Reports(), {.colour = false, .width = 100});
  EXPECT_THAT(text, HasSubstr("X!"));
  EXPECT_THAT(text, HasSubstr("expected, and not seen: RECOVERS"));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(DisplayWidth(line), 100) << line;
}

TEST(ReportAgentMatrix, WithoutAgentsItSaysSo) {
  ReportList reports;
  reports.add_run()->set_name("other");
  EXPECT_FALSE(HasAgents(reports));
  EXPECT_THAT(RenderAgentMatrix(reports, {}), HasSubstr("no run has an agent"));
  EXPECT_THAT(RenderAgentMatrixMarkdown(reports), Not(HasSubstr("other")));
}

}  // namespace
}  // namespace plugpull::report
