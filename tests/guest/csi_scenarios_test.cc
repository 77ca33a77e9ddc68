// SPDX-License-Identifier: Apache-2.0
// Scenarios under scenarios/csi give the verdicts that they state, and so do those of mount agents
// with the reference agent as a node plugin in their agents' place.
// PLUGPULL_CSI_SCENARIOS: names of those that are run, separated by spaces; default: all of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/support/program.h"

namespace plugpull {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

constexpr Millis kRunMax{1'700'000};
const std::string kScenarios = std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/";

nlohmann::json Report(const TestFolder& folder) {
  std::ifstream file(folder / "out/report.json");
  return nlohmann::json::parse(file, nullptr, false);
}

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

TEST(CsiScenariosTest, OneDefinitionPutsADriverIntoEveryCase) {
  const TestFolder folder("csi-definition");
  const ProgramEnd end = RunPlugpull(
      folder,
      {"run", "--out", "out", kScenarios + "csi/unplugged.textproto",
       kScenarios + "agent/transient_clears.textproto", kScenarios + "agent/busy_unmount.textproto",
       "--agent", kScenarios + "csi/csi_node.agent"},
      kRunMax);
  EXPECT_EQ(end.status, 0) << end.out << end.err;
  EXPECT_THAT(end.err, HasSubstr("busy_unmount: left out: the agent is to unmount"));
  EXPECT_THAT(end.err, HasSubstr("agents of its own: gives-up-on-transient"));
  const auto report = Report(folder);
  ASSERT_TRUE(report.is_array());
  ASSERT_EQ(report.size(), 2u);
  for (const auto& run : report) {
    ASSERT_EQ(run["agents"].size(), 1u);
    EXPECT_EQ(run["agents"][0]["name"], "plugpull-csi-node");
    EXPECT_THAT(run["command"].get<std::string>(), HasSubstr("csi_node.agent"));
  }
  EXPECT_THAT(end.out, HasSubstr("[Driver: plugpull-csi-node] [Testpattern: ext4, surprise"));
}

}  // namespace
}  // namespace plugpull
