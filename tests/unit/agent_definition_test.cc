// SPDX-License-Identifier: Apache-2.0
// Definition files: what is wrong with them, what they make of scenarios, and what the command line
// says. PLUGPULL_UPDATE_GOLDEN=1 writes tests/golden/definition/*.expected anew.
#include "framework/scenario/agent_definition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/os/file.h"
#include "framework/scenario/load.h"
#include "framework/scenario/plan.h"
#include "tests/support/program.h"

namespace plugpull::scenario {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kSource = PLUGPULL_SOURCE_DIR;

constexpr char kScenario[] = R"(name: "two"
summary: "two volumes"
guest { file: "agent.sh" }
disk { name: "one" serial: "pvc-1" layer { log_writes {} } }
disk { name: "two" }
step { agent { name: "mine" argv: "own" environment: "A=1" environment: "B=2"
  volume { disk: "one" at: "/one" option: "noatime" option: "data=ordered" }
  volume { disk: "two" at: "/two" } } }
step { agent_wait { for_ms: 1000 } }
variant { name: "good" }
variant { name: "broken" settings { agent_argument: "loops" } expect { found: GROWING_GAPS } }
expect { found: ONE_ALERT }
)";

Scenario ScenarioOf(const std::string& text) {
  LoadOutcome outcome = LoadScenarioText(text, "s.textproto");
  EXPECT_TRUE(outcome.ok()) << (outcome.ok() ? "" : outcome.diagnostics[0].ToString());
  return outcome.ok() ? outcome.loaded->scenario : Scenario();
}

LoadedDefinition DefinitionOf(const std::string& text) {
  DefinitionOutcome outcome = LoadDefinitionText("name: \"x\"\n" + text, "d/x.txtpb");
  EXPECT_TRUE(outcome.loaded) << (outcome.loaded ? "" : outcome.diagnostics[0].ToString());
  return outcome.loaded ? *outcome.loaded : LoadedDefinition();
}

AgentScenario Apply(const std::string& scenario, const std::string& definition) {
  auto applied = ApplyAgent(ScenarioOf(scenario), "s/s.textproto", DefinitionOf(definition));
  EXPECT_TRUE(applied.ok()) << (applied.ok() ? "" : applied.error().message);
  return applied.ok() ? *applied : AgentScenario();
}

std::string ReasonOf(const std::string& scenario, const std::string& definition) {
  const AgentScenario applied = Apply(scenario, definition);
  EXPECT_TRUE(applied.nothing_left);
  EXPECT_EQ(applied.left_out.size(), 1u);
  return applied.left_out.empty() ? "" : applied.left_out[0].reason;
}

TEST(DefinitionGoldenTest, EveryMistakeIsReportedAtItsPlace) {
  const std::string folder = kSource + "/tests/golden/definition/";
  const auto files = os::ListFolder(folder);
  ASSERT_TRUE(files.ok());
  int seen = 0;
  for (const std::string& file : *files) {
    if (!file.ends_with(".txtpb")) continue;
    ++seen;
    const auto text = os::ReadFile(folder + file, kScenarioBytesMax);
    ASSERT_TRUE(text.ok());
    const DefinitionOutcome outcome = LoadDefinitionText(*text, file);
    EXPECT_FALSE(outcome.loaded) << file;
    std::string now;
    for (const Diagnostic& diagnostic : outcome.diagnostics) now += diagnostic.ToString() + "\n";
    const std::string path = folder + file.substr(0, file.rfind('.')) + ".expected";
    if (os::GetEnv("PLUGPULL_UPDATE_GOLDEN", "0") == "1") {
      ASSERT_TRUE(os::WriteFileAtomic(path, now).ok());
      continue;
    }
    const auto golden = os::ReadFile(path, kScenarioBytesMax);
    ASSERT_TRUE(golden.ok()) << path;
    EXPECT_EQ(*golden, now) << path;
  }
  EXPECT_GE(seen, 3);
}

TEST(ApplyAgentTest, PlaceholdersStandForEachVolume) {
  const AgentScenario applied = Apply(kScenario, R"(
    argv: "/bin/a" argv: "--first={serial}" argv: "{volumes}" argv: "end"
    volume_argv: "{serial}:{disk}:{target}:{device}" volume_argv: "{options}"
    volume_argv: "-o{option}")");
  EXPECT_THAT(applied.scenario.step(0).agent().argv(),
              ElementsAre("/bin/a", "--first=pvc-1", "pvc-1:one:/one:/dev/mapper/pp-one-fs",
                          "noatime,data=ordered", "-onoatime", "-odata=ordered",
                          "two:two:/two:/dev/vdc", "defaults", "end"));
}

TEST(ApplyAgentTest, IsAFragmentOfEveryAgentStep) {
  const AgentScenario applied = Apply(kScenario, R"(
    program: "p" file: "../s/agent.sh" file: "conf" argv: "a" environment: "B={target}"
    alert_pattern: "PANIC" contract { attempts_max: 9 })");
  const AgentStep& step = applied.scenario.step(0).agent();
  EXPECT_EQ(step.name(), "mine");
  EXPECT_THAT(step.environment(), ElementsAre("A=1", "B=/one"));
  EXPECT_EQ(step.alert_pattern(), "PANIC");
  EXPECT_EQ(applied.scenario.contract().attempts_max(), 9u);
  EXPECT_THAT(applied.scenario.guest().program(), ElementsAre("p"));
  // The same file is listed once; the other is found from the scenario's folder.
  EXPECT_THAT(applied.scenario.guest().file(), ElementsAre("agent.sh", "../d/conf"));
  EXPECT_EQ(applied.scenario.summary(), "[Driver: x] [Testpattern: two] two volumes");
}

TEST(ApplyAgentTest, LeavesOutAgentsOfTheScenarioAndWhatTheyBreak) {
  const AgentScenario applied = Apply(kScenario, "argv: \"a\"");
  ASSERT_EQ(applied.left_out.size(), 1u);
  EXPECT_EQ(applied.left_out[0].variant, "broken");
  EXPECT_FALSE(applied.left_out[0].capability);
  const auto plans = ExpandPlans(applied.scenario);
  ASSERT_TRUE(plans.ok()) << plans.error().message;
  ASSERT_EQ(plans->size(), 1u);
  EXPECT_EQ((*plans)[0].FullName(), "two/good");
  EXPECT_TRUE((*plans)[0].expect().nothing());
}

TEST(ApplyAgentTest, LeavesOutWhatTheAgentIsNotCapableOf) {
  EXPECT_THAT(ReasonOf(kScenario, "argv: \"a\" volumes_max: 1"), HasSubstr("2 volumes at a time"));
  std::string scenario = kScenario;
  scenario.replace(scenario.find("A=1"), 3, "PLUGPULL_ACTION=unmount");
  EXPECT_THAT(ReasonOf(scenario, "argv: \"a\""), HasSubstr("no action \"unmount\""));
  const AgentScenario applied =
      Apply(scenario, "argv: \"a\" action { name: \"unmount\" argv: \"u\" argv: \"{target}\" }");
  EXPECT_THAT(applied.scenario.step(0).agent().argv(), ElementsAre("u", "/one"));
}

TEST(ApplyAgentTest, WaitsForTheEndOnlyOfWhatEnds) {
  std::string scenario = kScenario;
  scenario += "step { agent_wait { name: \"mine\" until_exit: true } }\n";
  EXPECT_EQ(Apply(scenario, "argv: \"a\"").scenario.step_size(), 2);
  scenario.replace(scenario.find("A=1"), 3, "PLUGPULL_ACTION=unmount");
  EXPECT_EQ(
      Apply(scenario, "argv: \"a\" action { name: \"unmount\" argv: \"u\" }").scenario.step_size(),
      3);
}

constexpr char kCsi[] = R"(name: "csi" summary: "[Driver: ours] [Testpattern: ext4] should grow"
disk { name: "vol" }
step { agent { name: "driver" argv: "own" volume { disk: "vol" at: "/v" }
  csi { endpoint: "unix:///own" wait_for_step: true } } }
step { csi { agent: "driver" expand: true expect_code: "OK" } }
)";

TEST(ApplyAgentTest, DriversAreHeldToTheirCapabilities) {
  constexpr char kDriver[] =
      R"(argv: "d" csi { endpoint: "unix:///its" fs_type: "ext3" } capability: STATS)";
  EXPECT_THAT(ReasonOf(kCsi, "argv: \"d\""), HasSubstr("no CSI node plugin"));
  EXPECT_THAT(ReasonOf(kCsi, kDriver), HasSubstr("capability EXPAND"));
  const AgentScenario applied = Apply(kCsi, std::string(kDriver) + " capability: EXPAND");
  const CsiNode& csi = applied.scenario.step(0).agent().csi();
  EXPECT_EQ(csi.endpoint(), "unix:///its");
  EXPECT_EQ(csi.fs_type(), "ext3");
  EXPECT_TRUE(csi.wait_for_step());
  EXPECT_EQ(applied.scenario.summary(), "[Driver: x] [Testpattern: ext4] should grow");
  // Cases for mount agents are run by a kubelet.
  EXPECT_TRUE(Apply(kScenario, kDriver).scenario.step(0).agent().has_csi());
}

TEST(ApplyAgentTest, ScenariosWithoutAgentsAndOtherFilesOfOneNameAreRefused) {
  const auto none = ApplyAgent(ScenarioOf("name: \"n\" disk { name: \"v\" } step { mkfs { disk: "
                                          "\"v\" } }"),
                               "n.textproto", DefinitionOf("argv: \"a\""));
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, HasSubstr("n.textproto starts no agent"));
  const auto clash = ApplyAgent(ScenarioOf(kScenario), "s/s.textproto",
                                DefinitionOf("argv: \"a\" file: \"agent.sh\""));
  ASSERT_FALSE(clash.ok());
  EXPECT_THAT(clash.error().message, HasSubstr("give it another name"));
}

class AgentOptionTest : public testing::Test {
 protected:
  ProgramEnd Run(std::vector<std::string> arguments) { return RunPlugpull(folder_, arguments); }
  const std::string agents_ = kSource + "/scenarios/agent";
  const std::string drivers_ = kSource + "/scenarios/drivers/";
  TestFolder folder_{"agent-option"};
};

TEST_F(AgentOptionTest, EveryDefinitionFitsEveryScenario) {
  for (const char* name : {"reference_agent", "mount_utils", "csi_node", "shell_loop"}) {
    const ProgramEnd end = Run(
        {"validate", agents_, kSource + "/scenarios/csi", "--agent", drivers_ + name + ".txtpb"});
    EXPECT_EQ(end.status, 0) << name << "\n" << end.err;
  }
}

TEST_F(AgentOptionTest, DryRunSaysWhatIsLeftOut) {
  const ProgramEnd end = Run({"run", agents_ + "/magic_zeroed.textproto", "--dry-run", "--agent",
                              drivers_ + "mount_utils.txtpb"});
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_THAT(end.out, HasSubstr("magic_zeroed/reference"));
  EXPECT_THAT(end.out, Not(HasSubstr("reformats-unrecognised")));
  EXPECT_THAT(end.err, HasSubstr("left out: magic_zeroed/reformats-unrecognised: "));
}

TEST_F(AgentOptionTest, WhatTheAgentLacksIsSkippedWithItsReason) {
  const ProgramEnd end = Run({"run", kSource + "/scenarios/csi/expand.textproto", "--agent",
                              drivers_ + "mount_utils.txtpb", "--out", "out"});
  EXPECT_EQ(end.status, 4) << end.out << end.err;
  const auto junit = os::ReadFile(folder_ / "out/junit.xml", Mebibytes(1));
  ASSERT_TRUE(junit.ok()) << junit.error().message;
  EXPECT_THAT(*junit, HasSubstr("mount-utils is no CSI node plugin"));
  EXPECT_THAT(*junit, HasSubstr("[Driver: mount-utils] [Testpattern: ext4, expand]"));
}

TEST_F(AgentOptionTest, MistakesAreTheUsersWithTheNextStep) {
  const std::string good = agents_ + "/damaged.textproto";
  ProgramEnd end = Run({"run", good, "--agent", "nowhere.txtpb"});
  EXPECT_EQ(end.status, 2);
  EXPECT_THAT(end.err, HasSubstr("--agent nowhere.txtpb: there is no such file"));
  end = Run({"run", kSource + "/scenarios/quickstart.textproto", "--agent",
             drivers_ + "mount_utils.txtpb"});
  EXPECT_EQ(end.status, 2);
  EXPECT_THAT(end.err, HasSubstr("starts no agent"));
  ASSERT_TRUE(os::WriteFileAtomic(folder_ / "bad.txtpb", "name: \"x\"\nargv: \"{srial}\"\n").ok());
  end = Run({"run", good, "--agent", "bad.txtpb"});
  EXPECT_EQ(end.status, 2);
  EXPECT_THAT(end.err, HasSubstr("bad.txtpb:2:7: {srial} stands for nothing here"));
}

}  // namespace
}  // namespace plugpull::scenario
