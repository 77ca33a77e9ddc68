// SPDX-License-Identifier: Apache-2.0
// Scenarios under scenarios/csi give the verdicts that they state.
// PLUGPULL_CSI_SCENARIOS: names of those that are run, separated by spaces; default: all of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/support/program.h"

namespace plugpull {
namespace {

constexpr Millis kRunMax{1'700'000};
const std::string kScenarios = std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/";

TEST(CsiScenariosTest, EachGivesTheVerdictThatItStates) {
  const TestFolder folder("csi-scenarios");
  std::vector<std::string> words = {"run", "--out", "out", "--jobs", "2"};
  std::istringstream names(os::GetEnv("PLUGPULL_CSI_SCENARIOS", ""));
  const size_t options = words.size();
  for (std::string name; names >> name;) words.push_back(kScenarios + "csi/" + name + ".textproto");
  if (words.size() == options) words.push_back(kScenarios + "csi");
  const ProgramEnd end = RunPlugpull(folder, words, kRunMax);
  EXPECT_EQ(end.status, 0) << end.out << end.err;
}

}  // namespace
}  // namespace plugpull
