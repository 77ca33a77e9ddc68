// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/scenario/agent_definition.h"
#include "framework/scenario/load.h"
#include "framework/scenario/plan.h"

namespace plugpull::scenario {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kAgent[] = R"(
name: "mine"
program: "my-agent" program: "mount"
file: "my.conf" file: "/etc/hosts"
argv: "my-agent" argv: "--forever"
volume_argument: "--volume={serial}:{target}" volume_argument: "-o{options}"
unmount_argv: "my-agent" unmount_argv: "--unmount"
environment: "A=1"
)";

constexpr char kPlugin[] = R"(
name: "driver-x"
argv: "driver"
csi { endpoint: "unix:///x.sock" fs_type: "ext3" volume_context: "a=b" }
lacks: EXPAND
)";

constexpr char kScenario[] = R"(
name: "case" summary: "[Driver: old] [Testpattern: x] should y"
guest { program: "mount" file: "look.sh" }
disk { name: "one" serial: "s-1" }
disk { name: "two" }
step { mkfs { disk: "one" } }
step { agent {
  name: "old" argv: "old" environment: "B=2"
  volume { disk: "one" at: "/a" option: "noatime" option: "sync" }
  volume { disk: "two" at: "/b" }
} }
step { agent { name: "other" argv: "old" volume { disk: "one" at: "/a" } } }
step { agent_wait { name: "other" quiet_ms: 100 } }
step { agent_stop { name: "old" } }
variant { name: "reference" summary: "[Driver: old] plain" expect { nothing: true } }
variant { name: "broken" settings { agent_argument: "x" } expect { found: ONE_ALERT } }
variant { name: "odd" settings { agent_environment: "X=1" } expect { found: ONE_ALERT } }
)";

LoadedDefinition Definition(const std::string& text, const std::string& file = "defs/mine.agent") {
  auto outcome = LoadAgentDefinitionText(text, file);
  EXPECT_TRUE(outcome.loaded.has_value())
      << (outcome.diagnostics.empty() ? "" : outcome.diagnostics[0].ToString());
  return outcome.loaded.value_or(LoadedDefinition());
}

Scenario Load(const std::string& text) {
  auto outcome = LoadScenarioText(text, "s/case.textproto");
  EXPECT_TRUE(outcome.ok()) << (outcome.diagnostics.empty() ? ""
                                                            : outcome.diagnostics[0].ToString());
  return outcome.ok() ? outcome.loaded->scenario : Scenario();
}

std::string Mistake(const std::string& text) {
  const auto outcome = LoadAgentDefinitionText(text, "x.agent");
  return outcome.diagnostics.empty() ? "" : outcome.diagnostics[0].ToString();
}

TEST(AgentDefinitionTest, TakesThePlaceOfTheScenariosAgents) {
  Scenario scenario = Load(kScenario);
  const auto replaced = ReplaceAgents(Definition(kAgent), "s/case.textproto", scenario);
  ASSERT_TRUE(replaced.ok()) << replaced.error().ToString();
  EXPECT_EQ(replaced->left_out, "");
  EXPECT_THAT(replaced->variants_left_out, ElementsAre("broken", "odd"));
  const AgentStep& agent = scenario.step(1).agent();
  EXPECT_EQ(agent.name(), "mine");
  EXPECT_THAT(agent.argv(), ElementsAre("my-agent", "--forever", "--volume=s-1:/a",
                                        "-onoatime,sync", "--volume=two:/b", "-o"));
  EXPECT_THAT(agent.environment(), ElementsAre("B=2", "A=1"));
  EXPECT_EQ(agent.volume_size(), 2);
  EXPECT_EQ(scenario.step(2).agent().name(), "mine-2");
  EXPECT_EQ(scenario.step(3).agent_wait().name(), "mine-2");
  EXPECT_EQ(scenario.step(4).agent_stop().name(), "mine");
  EXPECT_THAT(scenario.guest().program(), ElementsAre("mount", "my-agent"));
  EXPECT_THAT(scenario.guest().file(), ElementsAre("look.sh", "../defs/my.conf", "/etc/hosts"));
  EXPECT_EQ(scenario.summary(), "[Driver: mine] [Testpattern: x] should y");
  ASSERT_EQ(scenario.variant_size(), 1);
  EXPECT_EQ(scenario.variant(0).summary(), "[Driver: mine] plain");
  EXPECT_EQ(scenario.agent_definition(), "defs/mine.agent");
  const auto plans = ExpandPlans(scenario);
  ASSERT_TRUE(plans.ok()) << plans.error().ToString();
  EXPECT_EQ((*plans)[0].scenario().agent_definition(), "defs/mine.agent");
}

TEST(AgentDefinitionTest, UnmountsByItsOwnArguments) {
  std::string text = kScenario;
  text.replace(text.find("name: \"other\""), 13, "name: \"other\" task: UNMOUNT");
  Scenario scenario = Load(text);
  ASSERT_TRUE(ReplaceAgents(Definition(kAgent), "s/case.textproto", scenario).ok());
  EXPECT_THAT(scenario.step(2).agent().argv(),
              ElementsAre("my-agent", "--unmount", "--volume=s-1:/a", "-o"));
  Scenario again = Load(text);
  std::string without = kAgent;
  without.erase(without.find("unmount_argv"),
                without.find("environment") - without.find("unmount_argv"));
  const auto replaced = ReplaceAgents(Definition(without), "s/case.textproto", again);
  ASSERT_TRUE(replaced.ok());
  EXPECT_THAT(replaced->left_out, HasSubstr("no unmount_argv"));
}

TEST(AgentDefinitionTest, PluginKeepsWhatTheScenarioSaysOfCalls) {
  Scenario scenario = Load(R"(
name: "case"
disk { name: "one" }
step { agent { name: "old" argv: "old"
  csi { endpoint: "unix:///old.sock" wait_for_step: true volume_context: "old=1" call_timeout_ms: 5 }
  volume { disk: "one" at: "/a" } } }
step { csi { agent: "old" publish: true } }
)");
  const auto replaced = ReplaceAgents(Definition(kPlugin), "s/case.textproto", scenario);
  ASSERT_TRUE(replaced.ok()) << replaced.error().ToString();
  EXPECT_EQ(replaced->left_out, "");
  const CsiNode& csi = scenario.step(0).agent().csi();
  EXPECT_EQ(csi.endpoint(), "unix:///x.sock");
  EXPECT_EQ(csi.fs_type(), "ext3");
  EXPECT_THAT(csi.volume_context(), ElementsAre("a=b"));
  EXPECT_TRUE(csi.wait_for_step());
  EXPECT_EQ(csi.call_timeout_ms(), 5u);
  EXPECT_EQ(scenario.step(1).csi().agent(), "driver-x");
  // What it lacks, what it is not, and two at one endpoint.
  Scenario expands = Load(R"(
name: "case"
disk { name: "one" }
step { agent { name: "old" argv: "old" csi { endpoint: "unix:///old.sock" }
  volume { disk: "one" at: "/a" } } }
step { csi { agent: "old" expand: true } }
)");
  EXPECT_EQ(ReplaceAgents(Definition(kPlugin), "s/x", expands)->left_out,
            "the plugin lacks EXPAND");
  EXPECT_EQ(ReplaceAgents(Definition(kAgent), "s/x", expands)->left_out,
            "it is for CSI node plugins");
  Scenario two = Load(kScenario);
  EXPECT_THAT(ReplaceAgents(Definition(kPlugin), "s/x", two)->left_out, HasSubstr("one endpoint"));
}

TEST(AgentDefinitionTest, LeavesOutWhatHasNoPlaceForIt) {
  Scenario scenario = Load("name: \"case\" disk { name: \"one\" } step { mkfs { disk: \"one\" } }");
  EXPECT_EQ(ReplaceAgents(Definition(kAgent), "s/x", scenario)->left_out, "it has no agent");
  std::string text = kScenario;
  text.erase(text.find("variant { name: \"reference\""),
             text.find("variant { name: \"broken\"") - text.find("variant { name: \"reference\""));
  Scenario only_broken = Load(text);
  EXPECT_THAT(ReplaceAgents(Definition(kAgent), "s/x", only_broken)->left_out,
              HasSubstr("all its variants"));
}

TEST(AgentDefinitionTest, FilesOfOneNameAreTheUsersToRename) {
  Scenario scenario = Load(kScenario);
  std::string text = kAgent;
  text.replace(text.find("my.conf"), 7, "look.sh");
  const auto replaced = ReplaceAgents(Definition(text), "s/case.textproto", scenario);
  ASSERT_FALSE(replaced.ok());
  EXPECT_EQ(replaced.error().code, ErrorCode::kUser);
  EXPECT_THAT(replaced.error().message, HasSubstr("look.sh"));
}

TEST(AgentDefinitionTest, MistakesHaveLineAndColumn) {
  EXPECT_EQ(Mistake(kAgent), "");
  EXPECT_EQ(Mistake(kPlugin), "");
  EXPECT_THAT(Mistake("name: \"x\"\nargv: \"a\" argv: \"{serial}\""),
              HasSubstr("x.agent:2:17: {serial} belongs to one volume"));
  EXPECT_THAT(Mistake("name: \"x\"\nargv: \"\""), HasSubstr("x.agent:2:7: the first argument"));
  EXPECT_THAT(Mistake("name: \"x\""), HasSubstr("argv"));
  EXPECT_THAT(Mistake("argv: \"x\" nam: 1"), HasSubstr("x.agent:1:11"));
  EXPECT_THAT(Mistake("name: \"x\" argv: \"a\" lacks: EXPAND"), HasSubstr("there is no csi"));
  EXPECT_THAT(
      Mistake("name: \"x\" argv: \"a\" unmount_argv: \"a\" csi { endpoint: \"unix:///a\" }"),
      HasSubstr("leave unmount_argv out"));
  EXPECT_THAT(Mistake("name: \"x\" argv: \"a\" csi { endpoint: \"tcp://a\" }"),
              HasSubstr("unix://"));
  EXPECT_THAT(Mistake(""), HasSubstr("the definition is empty"));
  EXPECT_THAT(LoadAgentDefinitionFile("/nowhere/x.agent").diagnostics[0].ToString(),
              HasSubstr("/nowhere/x.agent"));
}

}  // namespace
}  // namespace plugpull::scenario
