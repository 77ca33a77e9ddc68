// SPDX-License-Identifier: Apache-2.0
// Wrong scenarios as files: for each tests/golden/scenario/NAME.textproto there is NAME.expected
// with all its diagnostics. PLUGPULL_UPDATE_GOLDEN=1 writes them anew; read the difference before
// you keep it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "framework/os/file.h"
#include "framework/scenario/load.h"
#include "framework/scenario/validate.h"

namespace plugpull::scenario {
namespace {

using testing::HasSubstr;

constexpr char kGood[] = R"(name: "good"
disk { name: "vol" layer { log_writes {} } }
step { mkfs { disk: "vol" } }
step { mount { disk: "vol" at: "/data" } }
)";

std::string Lines(const std::vector<Diagnostic>& diagnostics) {
  std::string text;
  for (const Diagnostic& diagnostic : diagnostics) text += diagnostic.ToString() + "\n";
  return text;
}

std::string GoldenFolder() { return std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/scenario/"; }

std::vector<std::string> GoldenNames() {
  std::vector<std::string> names;
  const Result<std::vector<std::string>> files = os::ListFolder(GoldenFolder());
  if (!files.ok()) return names;
  for (const std::string& file : *files) {
    if (file.ends_with(".textproto")) names.push_back(file.substr(0, file.rfind('.')));
  }
  return names;
}

class ScenarioGoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(ScenarioGoldenTest, EveryMistakeIsReportedAtItsPlace) {
  const std::string file = GetParam() + ".textproto";
  const Result<std::string> text = os::ReadFile(GoldenFolder() + file, kScenarioBytesMax);
  ASSERT_TRUE(text.ok()) << text.error().ToString();
  const LoadOutcome outcome = LoadScenarioText(*text, file);
  ASSERT_FALSE(outcome.ok()) << "a scenario in this folder must be wrong";
  const std::string now = Lines(outcome.diagnostics);
  const std::string path = GoldenFolder() + GetParam() + ".expected";
  if (os::GetEnv("PLUGPULL_UPDATE_GOLDEN", "0") == "1") {
    ASSERT_TRUE(os::WriteFileAtomic(path, now).ok());
    return;
  }
  const Result<std::string> golden = os::ReadFile(path, kScenarioBytesMax);
  ASSERT_TRUE(golden.ok()) << golden.error().ToString();
  EXPECT_EQ(*golden, now) << path << "; PLUGPULL_UPDATE_GOLDEN=1 writes it anew";
}

INSTANTIATE_TEST_SUITE_P(Wrong, ScenarioGoldenTest, testing::ValuesIn(GoldenNames()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return "N" + name;
                         });

TEST(ScenarioGoldenFolder, HasManyMistakes) { EXPECT_GE(GoldenNames().size(), 25U); }

TEST(ScenarioLoadTest, AGoodScenarioLoadsWithItsPlaces) {
  const LoadOutcome outcome = LoadScenarioText(kGood, "good.textproto");
  ASSERT_TRUE(outcome.ok()) << Lines(outcome.diagnostics);
  EXPECT_EQ(outcome.loaded->scenario.name(), "good");
  EXPECT_EQ(outcome.loaded->file, "good.textproto");
  const SourceNode* step = outcome.loaded->source.Find(Scenario::kStepFieldNumber, 1);
  ASSERT_NE(step, nullptr);
  EXPECT_EQ(step->name, (SourceLocation{4, 1, ""}));
  const SourceNode* mount = step->Find(Step::kMountFieldNumber);
  ASSERT_NE(mount, nullptr);
  EXPECT_EQ(mount->Locate(MountStep::kAtFieldNumber), (SourceLocation{4, 32, ""}));
}

// Both ways of writing a repeated field count its elements alike.
TEST(ScenarioLoadTest, ElementsOfListsHavePlacesOfTheirOwn) {
  const std::string text = std::string(kGood) + "label: [\"a\",\n  \"b\"]\nlabel: \"c\"\n";
  const LoadOutcome outcome = LoadScenarioText(text, "f");
  ASSERT_TRUE(outcome.ok()) << Lines(outcome.diagnostics);
  EXPECT_EQ(outcome.loaded->scenario.label_size(), 3);
  const SourceNode& source = outcome.loaded->source;
  EXPECT_EQ(source.Locate(Scenario::kLabelFieldNumber, 1), (SourceLocation{6, 3, ""}));
  EXPECT_EQ(source.Locate(Scenario::kLabelFieldNumber, 2), (SourceLocation{7, 8, ""}));
}

TEST(ScenarioLoadTest, EveryWayOfWritingTheFormatIsRead) {
  const LoadOutcome outcome = LoadScenarioText(
      "name: 'go' \"od\";\n"
      "disk: < name: 'vol', layer [{log_writes {}}, {linear <>}] >\n"
      "step { mkfs: { disk: \"\\x76ol\" } } , step { sync {} }\n"
      "seed: 0x10 expect { nothing: t }\n"
      "check { disk: 'vol' oracle: [1, CONTENT] enumerate [] }",
      "f");
  ASSERT_TRUE(outcome.ok()) << Lines(outcome.diagnostics);
  const Scenario& scenario = outcome.loaded->scenario;
  EXPECT_EQ(scenario.name(), "good");
  EXPECT_EQ(scenario.seed(), 16U);
  EXPECT_EQ(scenario.disk(0).layer_size(), 2);
  EXPECT_EQ(scenario.check(0).oracle_size(), 2);
}

TEST(ScenarioLoadTest, FilesThatCannotBeReadSaySo) {
  const std::string missing = GoldenFolder() + "no-such-file";
  EXPECT_THAT(Lines(LoadScenarioFile(missing).diagnostics), HasSubstr("there is no such file"));
  EXPECT_THAT(Lines(LoadScenarioFile(GoldenFolder()).diagnostics), HasSubstr("this is a folder"));
  const Result<LoadedScenario> loaded = LoadScenario(missing);
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code, ErrorCode::kUser);
}

TEST(ScenarioLoadTest, TextsBeyondTheLimitAreRefused) {
  std::string text = kGood;
  text.resize(kScenarioBytesMax.value, '\n');
  EXPECT_TRUE(LoadScenarioText(text, "f").ok());
  text += '\n';
  EXPECT_THAT(Lines(LoadScenarioText(text, "f").diagnostics),
              HasSubstr("1048577 bytes; at most 1048576"));
}

TEST(ScenarioLoadTest, ALongListOfMistakesEnds) {
  std::string text = kGood;
  for (int i = 0; i < 1000; ++i) text += "wrong: 1\n";
  const LoadOutcome outcome = LoadScenarioText(text, "f");
  EXPECT_EQ(outcome.diagnostics.size(), kDiagnosticsMax + 1);
  EXPECT_THAT(outcome.diagnostics.back().message, HasSubstr("800 more"));
}

// A megabyte of brackets or of tokens takes neither the stack nor the afternoon.
TEST(ScenarioLoadTest, HugeTextsAreReadInTime) {
  std::string brackets = "wrong: ";
  brackets.resize(kScenarioBytesMax.value, '[');
  EXPECT_FALSE(LoadScenarioText(brackets, "f").ok());
  std::string nested;
  while (nested.size() < kScenarioBytesMax.value / 2) nested += "guest{";
  EXPECT_FALSE(LoadScenarioText(nested, "f").ok());
  std::string one_line = "name:'a'";
  while (one_line.size() + 12 < kScenarioBytesMax.value) one_line += " label:'a' x:1";
  EXPECT_FALSE(LoadScenarioText(one_line.substr(0, kScenarioBytesMax.value - 20), "f").ok());
}

TEST(ScenarioValidateTest, PlacesWithoutTextAreFieldPaths) {
  LoadOutcome outcome = LoadScenarioText(kGood, "f");
  ASSERT_TRUE(outcome.ok());
  Scenario& scenario = outcome.loaded->scenario;
  EXPECT_TRUE(ValidateScenario(scenario, "made").empty());
  scenario.mutable_step(1)->mutable_mount()->set_disk("nowhere");
  scenario.mutable_disk(0)->set_size_mib(0);
  const std::string lines = Lines(ValidateScenario(scenario, "made"));
  EXPECT_THAT(lines, HasSubstr("made: step[1].mount.disk: disk \"nowhere\" is not declared"));
  EXPECT_THAT(lines, HasSubstr("made: disk[0].size_mib: size_mib is 0 MiB"));
}

TEST(ScenarioValidateTest, AMountThatMustFailMayBeWrong) {
  const std::string text =
      "name: 'good' disk { name: 'vol' }\n"
      "step { mount { disk: 'vol' at: '/data' expect_errno: 'EINVAL' option: 'data=journal'"
      " option: 'delalloc' } }\n"
      "step { mkfs { disk: 'vol' } }\n"
      "step { mount { disk: 'vol' at: '/data' } }\n";
  const LoadOutcome outcome = LoadScenarioText(text, "f");
  EXPECT_TRUE(outcome.ok()) << Lines(outcome.diagnostics);
}

TEST(ScenarioValidateTest, KernelsAreReleasesOrPaths) {
  EXPECT_EQ(KernelMistake("debian:6.12"), "");
  EXPECT_EQ(KernelMistake("/boot/vmlinuz:/lib/modules/x"), "");
  EXPECT_EQ(KernelMistake("./vmlinuz:./modules"), "");
  EXPECT_THAT(KernelMistake("debian:6.2"), HasSubstr("did you mean debian:6.1?"));
  EXPECT_NE(KernelMistake("/boot/vmlinuz"), "");
  EXPECT_NE(KernelMistake("/boot/vmlinuz:"), "");
  EXPECT_NE(KernelMistake(""), "");
}

}  // namespace
}  // namespace plugpull::scenario
