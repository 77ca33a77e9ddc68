// SPDX-License-Identifier: Apache-2.0
// Every broken agent is caught by the property that it breaks and by no other one, and the
// reference agent keeps all of them, for several seeds. PLUGPULL_AGENT_SCENARIOS: names of
// scenarios of scenarios/agent, separated by spaces; default: all that have a variant for the
// reference agent. PLUGPULL_AGENT_SEEDS: how many; default: 3.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/support/program.h"

namespace plugpull {
namespace {

constexpr Millis kRunMax{1'700'000};
constexpr char kFolder[] = PLUGPULL_SOURCE_DIR "/scenarios/agent";

std::vector<std::string> Scenarios() {
  std::vector<std::string> paths;
  std::istringstream names(os::GetEnv("PLUGPULL_AGENT_SCENARIOS", ""));
  for (std::string name; names >> name;) {
    paths.push_back(std::string(kFolder) + "/" + name + ".textproto");
  }
  if (!paths.empty()) return paths;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".textproto") continue;
    const auto text = os::ReadFile(entry.path().string(), Mebibytes(1));
    if (text.ok() && text->find("file: \"agent.sh\"") != std::string::npos) {
      paths.push_back(entry.path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::set<std::string> Defects() {
  os::SubprocessOptions options;
  options.argv = {PLUGPULL_BINARY_DIR "/bin/plugpull-broken-agent", "--list"};
  const auto output = os::RunProgram(std::move(options), Millis(10'000), Mebibytes(1));
  std::set<std::string> names;
  if (!output.ok()) return names;
  std::istringstream lines(output->out);
  for (std::string line; std::getline(lines, line);) names.insert(line.substr(0, line.find(' ')));
  return names;
}

TEST(AgentMatrixTest, EachIsCaughtByItsPropertyAlone) {
  const std::vector<std::string> scenarios = Scenarios();
  ASSERT_FALSE(scenarios.empty());
  const bool all = os::GetEnv("PLUGPULL_AGENT_SCENARIOS", "").empty();
  const int seeds = std::stoi(os::GetEnv("PLUGPULL_AGENT_SEEDS", "3"));
  for (int seed = 1; seed <= seeds; ++seed) {
    const TestFolder folder("agent-matrix-" + std::to_string(seed));
    std::vector<std::string> words = {
        "run", "--out", "out", "--jobs", "2", "--seed", std::to_string(seed)};
    words.insert(words.end(), scenarios.begin(), scenarios.end());
    const ProgramEnd end = RunPlugpull(folder, words, kRunMax);
    ASSERT_EQ(end.status, 0) << "seed " << seed << "\n" << end.out << end.err;
    std::ifstream file(folder / "out/report.json");
    const auto report = nlohmann::json::parse(file, nullptr, false);
    ASSERT_TRUE(report.is_array());
    std::set<std::string> caught;
    for (const auto& run : report) {
      int violated = 0;
      for (const auto& agent : run["agents"]) {
        for (const auto& property : agent["properties"]) {
          violated += property["verdict"] == "VIOLATED";
          EXPECT_NE(property["verdict"], "UNKNOWN") << run["name"] << " " << run["variant"];
        }
      }
      const std::string variant = run["variant"];
      EXPECT_EQ(violated, variant == "reference" ? 0 : 1) << run["name"] << " " << variant;
      if (variant != "reference") caught.insert(variant);
    }
    if (all) {
      EXPECT_EQ(caught, Defects()) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace plugpull
