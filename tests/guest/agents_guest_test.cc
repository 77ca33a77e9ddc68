// SPDX-License-Identifier: Apache-2.0
// The mount agents on a real kernel, in one guest: what they must do is in the scenario.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/program.h"

namespace plugpull {
namespace {

constexpr Millis kRunMax{500'000};

TEST(AgentsGuestTest, TheReferenceKeepsItsPromisesAndBrokenOnesDoNot) {
  const TestFolder folder("agents-guest");
  const std::string scenario =
      std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/agent/reference_agent.textproto";
  const ProgramEnd end = RunPlugpull(folder, {"run", scenario, "--out", "out"}, kRunMax);
  EXPECT_EQ(end.status, 0) << end.out << end.err;
}

}  // namespace
}  // namespace plugpull
