// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "framework/os/file.h"
#include "framework/scenario/catalog.h"
#include "framework/scenario/load.h"
#include "framework/scenario/plan.h"

namespace plugpull::scenario {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string ScenarioFolder() { return std::string(PLUGPULL_SOURCE_DIR) + "/scenarios"; }

TEST(ScenarioCatalogTest, TheScenariosOfTheTreeAreValid) {
  const auto entries = ListScenarios(ScenarioFolder());
  ASSERT_TRUE(entries.ok()) << entries.error().ToString();
  EXPECT_GE(entries->size(), 3U);
  for (const CatalogEntry& entry : *entries) {
    EXPECT_TRUE(entry.diagnostics.empty()) << ToError(entry.diagnostics).ToString();
    EXPECT_FALSE(entry.summary.empty()) << entry.path;
    EXPECT_FALSE(entry.labels.empty()) << entry.path;
  }
  EXPECT_TRUE(std::is_sorted(entries->begin(), entries->end(),
                             [](const auto& a, const auto& b) { return a.path < b.path; }));
}

TEST(ScenarioCatalogTest, AnEntrySaysWhatAScenarioIs) {
  const auto entries = ListScenarios(ScenarioFolder());
  ASSERT_TRUE(entries.ok());
  const auto quickstart = std::ranges::find(*entries, "quickstart", &CatalogEntry::name);
  ASSERT_NE(quickstart, entries->end());
  EXPECT_EQ(quickstart->path, ScenarioFolder() + "/quickstart.textproto");
  EXPECT_THAT(quickstart->labels, ElementsAre("smoke"));
  EXPECT_THAT(quickstart->variants,
              ElementsAre("ordered", "writeback_nobarrier", "dropped_barriers"));
  const auto matrix = std::ranges::find(*entries, "ext4_mount_options", &CatalogEntry::name);
  ASSERT_NE(matrix, entries->end());
  EXPECT_THAT(matrix->variants,
              ElementsAre("data=ordered,barrier=on", "data=ordered,barrier=off",
                          "data=writeback,barrier=on", "data=writeback,barrier=off"));
}

class ScenarioCatalogFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = testing::TempDir() + "plugpull-catalog-" + info->name();
    ASSERT_TRUE(os::RemoveAll(folder_).ok());
    ASSERT_TRUE(os::MakeFolders(folder_ + "/sub").ok());
  }
  void TearDown() override { ASSERT_TRUE(os::RemoveAll(folder_).ok()); }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(os::WriteFileAtomic(folder_ + "/" + name, text).ok());
  }
  std::string folder_;
};

TEST_F(ScenarioCatalogFolderTest, BrokenOnesAreListedWithTheirMistakes) {
  const auto good = NewScenarioText("good");
  ASSERT_TRUE(good.ok());
  Write("b.textproto", *good);
  Write("c.textproto", "name: \"broken\" sede: 1\n");
  Write("sub/d.textproto", *good);
  Write("notes.txt", "no scenario");
  Write(".hidden.textproto", "no scenario");
  const auto entries = ListScenarios(folder_ + "/");
  ASSERT_TRUE(entries.ok()) << entries.error().ToString();
  ASSERT_EQ(entries->size(), 3U);
  EXPECT_TRUE((*entries)[0].diagnostics.empty());
  EXPECT_EQ((*entries)[0].path, folder_ + "/b.textproto");
  ASSERT_FALSE((*entries)[1].diagnostics.empty());
  EXPECT_THAT(ToError((*entries)[1].diagnostics).message, HasSubstr("c.textproto:1:16: "));
  ASSERT_EQ((*entries)[2].diagnostics.size(), 1U);
  EXPECT_THAT((*entries)[2].diagnostics[0].message, HasSubstr("name \"good\" is taken by"));
}

TEST_F(ScenarioCatalogFolderTest, FoldersThatAreTooDeepOrMissingAreErrors) {
  std::string deep = folder_;
  for (int i = 0; i <= kFolderDepthMax; ++i) deep += "/d";
  ASSERT_TRUE(os::MakeFolders(deep).ok());
  const auto entries = ListScenarios(folder_);
  ASSERT_FALSE(entries.ok());
  EXPECT_THAT(entries.error().message, HasSubstr("more than 8 folders deep"));
  const auto missing = ListScenarios(folder_ + "/missing");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kUser);
}

TEST(ScenarioNewTest, TheTextLoadsAndExpands) {
  const auto text = NewScenarioText("my_first");
  ASSERT_TRUE(text.ok()) << text.error().ToString();
  EXPECT_TRUE(
      text->starts_with("# proto-file: framework/proto/scenario.proto\n"
                        "# proto-message: plugpull.Scenario\n"));
  const LoadOutcome outcome = LoadScenarioText(*text, "my_first.textproto");
  ASSERT_TRUE(outcome.ok()) << ToError(outcome.diagnostics).ToString();
  EXPECT_EQ(outcome.loaded->scenario.name(), "my_first");
  const auto plans = ExpandPlans(outcome.loaded->scenario);
  ASSERT_TRUE(plans.ok());
  EXPECT_EQ(plans->size(), 1U);
}

TEST(ScenarioNewTest, ANameThatNoScenarioCanHaveIsRefused) {
  for (const std::string& name :
       {std::string(), std::string("Bad Name"), std::string("a\" b: \""), std::string("a\nb"),
        std::string(65, 'a'), std::string("@NAME@")}) {
    const auto text = NewScenarioText(name);
    ASSERT_FALSE(text.ok()) << name;
    EXPECT_EQ(text.error().code, ErrorCode::kUser);
    EXPECT_THAT(text.error().message, HasSubstr("name"));
  }
}

}  // namespace
}  // namespace plugpull::scenario
