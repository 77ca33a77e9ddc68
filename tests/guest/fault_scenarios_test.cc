// SPDX-License-Identifier: Apache-2.0
// Scenarios under scenarios/faults give the verdicts that they state, and so do their twins.
// PLUGPULL_FAULT_SCENARIOS: names of those that are run, separated by spaces; default: all of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/support/program.h"

namespace plugpull {
namespace {

constexpr Millis kRunMax{1'700'000};

TEST(FaultScenariosTest, EachGivesTheVerdictThatItStates) {
  const TestFolder folder("fault-scenarios");
  const std::string scenarios = std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/faults";
  std::vector<std::string> words = {"run", "--out", "out", "--jobs", "2"};
  std::istringstream names(os::GetEnv("PLUGPULL_FAULT_SCENARIOS", ""));
  const size_t options = words.size();
  for (std::string name; names >> name;) words.push_back(scenarios + "/" + name + ".textproto");
  if (words.size() == options) words.push_back(scenarios);
  const ProgramEnd end = RunPlugpull(folder, words, kRunMax);
  EXPECT_EQ(end.status, 0) << end.out << end.err;
}

}  // namespace
}  // namespace plugpull
