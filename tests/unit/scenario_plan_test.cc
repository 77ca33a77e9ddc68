// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "framework/base/prng.h"
#include "framework/scenario/load.h"
#include "framework/scenario/plan.h"

namespace plugpull::scenario {
namespace {

using google::protobuf::util::MessageDifferencer;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kBase[] = R"(name: "base"
disk { name: "vol" layer { log_writes {} } }
disk { name: "plain" serial: "other" }
step { mkfs { disk: "vol" option: "-b 1024" } }
step { mount { disk: "vol" at: "/data" option: "noatime" } }
step { workload { at: "/data" files {} } }
step { workload { at: "/data" files {} seed: 9 } }
step { command { argv: "/bin/true" } }
)";

Scenario Load(const std::string& text) {
  LoadOutcome outcome = LoadScenarioText(text, "f");
  if (!outcome.ok()) {
    ADD_FAILURE() << ToError(outcome.diagnostics).ToString();
    return {};
  }
  return std::move(outcome.loaded->scenario);
}

std::vector<Plan> Expand(const std::string& text, const PlanOverrides& overrides = {}) {
  Result<std::vector<Plan>> plans = ExpandPlans(Load(text), overrides);
  if (!plans.ok()) {
    ADD_FAILURE() << plans.error().ToString();
    return {};
  }
  return *std::move(plans);
}

std::vector<std::string> Names(const std::vector<Plan>& plans) {
  std::vector<std::string> names;
  for (const Plan& plan : plans) names.push_back(plan.FullName());
  return names;
}

TEST(ScenarioPlanTest, DefaultsAreWrittenOut) {
  const std::vector<Plan> plans = Expand(kBase);
  ASSERT_THAT(Names(plans), ElementsAre("base"));
  EXPECT_EQ(plans[0].variant(), "");
  const Scenario& plan = plans[0].scenario();
  EXPECT_TRUE(plan.has_seed());
  EXPECT_EQ(plan.guest().kernel(), "debian:6.1");
  EXPECT_TRUE(plan.guest().has_kernel());
  EXPECT_TRUE(plan.guest().has_memory_mib());
  EXPECT_EQ(plan.disk(0).serial(), "vol");
  EXPECT_EQ(plan.disk(1).serial(), "other");
  EXPECT_TRUE(plan.disk(1).has_size_mib());
  EXPECT_THAT(plan.step(0).mkfs().option(), ElementsAre("-b", "1024"));
  EXPECT_TRUE(plan.step(1).mount().has_type());
  EXPECT_EQ(plan.step(2).workload().seed(), DeriveSeed(1, "workload", 0));
  EXPECT_EQ(plan.step(3).workload().seed(), 9U);
  EXPECT_TRUE(plan.step(2).workload().files().has_count());
  EXPECT_EQ(plan.step(4).command().mark_disk(), "vol");
  ASSERT_EQ(plan.check_size(), 1);  // "plain" has no log
  const Check& check = plan.check(0);
  EXPECT_EQ(check.disk(), "vol");
  ASSERT_EQ(check.enumerate_size(), 3);
  EXPECT_EQ(check.enumerate(0).prefix().at(), PrefixEnumerator::EVERY_WRITE);
  EXPECT_TRUE(check.enumerate(1).has_lose_one());
  EXPECT_TRUE(check.enumerate(2).has_lose_subset());
  EXPECT_THAT(check.oracle(), ElementsAre(FSCK, CONTENT));
  EXPECT_TRUE(check.model().has_kind());
  EXPECT_TRUE(check.has_max_states());
  EXPECT_TRUE(plans[0].expect().nothing());
}

TEST(ScenarioPlanTest, VariantsApplyTheirSettings) {
  const std::vector<Plan> plans = Expand(std::string(kBase) + R"(
expect { found: METADATA_INCONSISTENT }
variant { name: "plain" }
variant {
  name: "all"
  settings { mount_option: "data=writeback" mkfs_option: "-J size=1" drop_barriers: true
             model { kind: LYING } kernel: "debian:6.12" seed: 5 }
  expect { found: DURABILITY_LOST found: JOURNAL_REFUSED }
})");
  ASSERT_THAT(Names(plans), ElementsAre("base/plain", "base/all"));
  EXPECT_THAT(plans[0].expect().found(), ElementsAre(METADATA_INCONSISTENT));
  EXPECT_EQ(plans[0].scenario().disk(0).layer_size(), 1);
  const Scenario& plan = plans[1].scenario();
  EXPECT_EQ(plan.variant_size(), 0);
  EXPECT_THAT(plan.step(1).mount().option(), ElementsAre("noatime", "data=writeback"));
  EXPECT_THAT(plan.step(0).mkfs().option(), ElementsAre("-b", "1024", "-J", "size=1"));
  ASSERT_EQ(plan.disk(0).layer_size(), 2);
  EXPECT_TRUE(plan.disk(0).layer(1).has_drop_barriers());
  EXPECT_EQ(plan.disk(1).layer_size(), 0);
  EXPECT_EQ(plan.check(0).model().kind(), Model::LYING);
  EXPECT_EQ(plan.guest().kernel(), "debian:6.12");
  EXPECT_EQ(plan.seed(), 5U);
  EXPECT_EQ(plan.step(2).workload().seed(), DeriveSeed(5, "workload", 0));
  EXPECT_THAT(plans[1].expect().found(), ElementsAre(JOURNAL_REFUSED, DURABILITY_LOST));
  EXPECT_FALSE(plans[1].expect().nothing());
}

TEST(ScenarioPlanTest, OverridesWin) {
  const std::vector<Plan> plans = Expand(
      std::string(kBase) + "variant { name: 'a' settings { kernel: 'debian:5.10' seed: 3 } }",
      {.seed = 77, .kernel = "debian:7.2"});
  ASSERT_EQ(plans.size(), 1U);
  EXPECT_EQ(plans[0].scenario().seed(), 77U);
  EXPECT_EQ(plans[0].scenario().guest().kernel(), "debian:7.2");
  EXPECT_EQ(plans[0].scenario().step(2).workload().seed(), DeriveSeed(77, "workload", 0));
  const auto wrong = ExpandPlans(Load(kBase), {.seed = {}, .kernel = "linux"});
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, ErrorCode::kUser);
  EXPECT_THAT(wrong.error().message, HasSubstr("kernel is \"linux\""));
}

TEST(ScenarioPlanTest, DropBarriersIsNotDoubled) {
  const std::vector<Plan> plans = Expand(
      "name: 'a' disk { name: 'vol' layer { log_writes {} } layer { drop_barriers {} } }"
      "step { sync {} } variant { name: 'v' settings { drop_barriers: true } }");
  ASSERT_EQ(plans.size(), 1U);
  EXPECT_EQ(plans[0].scenario().disk(0).layer_size(), 2);
}

TEST(ScenarioPlanTest, RefusedMountsLeaveOutWhatNeedsThem) {
  const std::string text = std::string(kBase) + R"(step { unmount { at: "/data" } }
check { disk: "vol" oracle: CONTENT oracle: GUARANTEES oracle: KERNEL_MOUNT kernel_mount {} }
variant { name: "plain" }
variant {
  name: "refused"
  settings { mount_option: "data=journal,delalloc" mount_errno: "EINVAL" }
  expect { nothing: true }
})";
  const std::vector<Plan> plans = Expand(text);
  ASSERT_THAT(Names(plans), ElementsAre("base/plain", "base/refused"));
  EXPECT_EQ(plans[0].scenario().step_size(), 6);
  EXPECT_FALSE(plans[0].scenario().step(1).mount().has_expect_errno());
  const Scenario& refused = plans[1].scenario();
  ASSERT_EQ(refused.step_size(), 3) << "mkfs, mount and the command";
  EXPECT_EQ(refused.step(1).mount().expect_errno(), "EINVAL");
  EXPECT_THAT(refused.step(1).mount().option(), ElementsAre("noatime", "data=journal,delalloc"));
  EXPECT_THAT(refused.check(0).oracle(), ElementsAre(FSCK));
  EXPECT_FALSE(refused.check(0).has_kernel_mount());
  const auto again = ExpandPlans(refused, {});
  ASSERT_TRUE(again.ok()) << again.error().ToString();
}

TEST(ScenarioPlanTest, CorruptStepsGetASeedAndCanBeLeftOut) {
  const std::vector<Plan> plans = Expand(
      "name: 'a' disk { name: 'vol' layer { log_writes {} } } step { mkfs { disk: 'vol' } }"
      "step { corrupt { disk: 'vol' flip_bit {} } }"
      "step { corrupt { disk: 'vol' flip_bit { seed: 4 } } }"
      "step { corrupt { disk: 'vol' superblock_field { field: 's_state' value: 2 } } }"
      "variant { name: 'damaged' } variant { name: 'healthy' settings { no_faults: true } }");
  ASSERT_EQ(plans.size(), 2U);
  const Scenario& damaged = plans[0].scenario();
  ASSERT_EQ(damaged.step_size(), 4);
  EXPECT_EQ(damaged.step(1).corrupt().flip_bit().seed(), DeriveSeed(1, "flip_bit", 0));
  EXPECT_FALSE(damaged.step(1).corrupt().flip_bit().has_offset());
  EXPECT_EQ(damaged.step(2).corrupt().flip_bit().seed(), 4U);
  EXPECT_TRUE(damaged.step(3).corrupt().superblock_field().has_fix_checksum());
  ASSERT_EQ(plans[1].scenario().step_size(), 1);
  EXPECT_TRUE(plans[1].scenario().step(0).has_mkfs());
}

TEST(ScenarioPlanTest, AMatrixIsEveryCombinationInOrder) {
  const std::vector<Plan> plans = Expand(std::string(kBase) + R"(
expect { found: METADATA_INCONSISTENT }
axis { name: "data"
       value { name: "o" settings { mount_option: "data=ordered" } }
       value { name: "w" settings { mount_option: "data=writeback" }
               expect { found: DURABILITY_LOST } } }
axis { name: "b"
       value { name: "on" }
       value { name: "off" settings { mount_option: "nobarrier" }
               expect { found: DURABILITY_LOST found: JOURNAL_REFUSED } }
       value { name: "drop" settings { drop_barriers: true } } }
cell { at: "b=drop" at: "data=w" expect { nothing: true } }
)");
  EXPECT_THAT(Names(plans),
              ElementsAre("base/data=o,b=on", "base/data=o,b=off", "base/data=o,b=drop",
                          "base/data=w,b=on", "base/data=w,b=off", "base/data=w,b=drop"));
  ASSERT_EQ(plans.size(), 6U);
  EXPECT_THAT(plans[0].expect().found(), ElementsAre(METADATA_INCONSISTENT));
  EXPECT_THAT(plans[4].expect().found(),
              ElementsAre(METADATA_INCONSISTENT, JOURNAL_REFUSED, DURABILITY_LOST));
  EXPECT_TRUE(plans[5].expect().nothing());
  EXPECT_THAT(plans[4].scenario().step(1).mount().option(),
              ElementsAre("noatime", "data=writeback", "nobarrier"));
  EXPECT_EQ(plans[4].scenario().axis_size(), 0);
  EXPECT_EQ(plans[4].scenario().cell_size(), 0);
}

TEST(ScenarioPlanTest, TheLargestMatrixExpandsAndALargerOneSaysHowLarge) {
  std::string text = "name: 'a' disk { name: 'v' } step { sync {} }\n";
  for (int axis = 0; axis < 6; ++axis) {
    text += "axis { name: 'a" + std::to_string(axis) + "'";
    for (int value = 0; value < 4; ++value)
      text += " value { name: '" + std::to_string(value) + "' }";
    text += " }\n";
  }
  EXPECT_EQ(Expand(text).size(), 4096U);
  Scenario scenario = Load(text);
  scenario.mutable_axis(0)->add_value()->set_name("4");
  const auto plans = ExpandPlans(scenario);
  ASSERT_FALSE(plans.ok());
  EXPECT_EQ(plans.error().code, ErrorCode::kUser);
  EXPECT_THAT(plans.error().message, HasSubstr("5120 combinations; at most 4096"));
}

// A plan is what a recording keeps: it must be readable, and mean the same again.
TEST(ScenarioPlanTest, APlanIsAScenarioThatExpandsToItself) {
  const std::string text =
      std::string(kBase) + "variant { name: 'a' settings { drop_barriers: true seed: 4 } }";
  const std::vector<Plan> plans = Expand(text);
  ASSERT_EQ(plans.size(), 1U);
  Scenario plan = plans[0].scenario();
  for (Step& step : *plan.mutable_step()) step.clear_line();  // no text has it
  std::string printed;
  google::protobuf::TextFormat::PrintToString(plan, &printed);
  const std::vector<Plan> again = Expand(printed);
  ASSERT_EQ(again.size(), 1U);
  MessageDifferencer differences;
  differences.IgnoreField(Step::descriptor()->FindFieldByName("line"));  // of another text
  EXPECT_TRUE(differences.Compare(plans[0].scenario(), again[0].scenario())) << printed;
}

TEST(ScenarioPlanTest, AnInvalidScenarioIsAUserErrorWithEveryMistake) {
  Scenario scenario = Load(kBase);
  scenario.mutable_disk(0)->set_size_mib(0);
  scenario.mutable_step(1)->mutable_mount()->set_disk("gone");
  const auto plans = ExpandPlans(scenario);
  ASSERT_FALSE(plans.ok());
  EXPECT_EQ(plans.error().code, ErrorCode::kUser);
  EXPECT_THAT(plans.error().message, HasSubstr("size_mib is 0 MiB"));
  EXPECT_THAT(plans.error().message, HasSubstr("\"gone\" is not declared"));
}

}  // namespace
}  // namespace plugpull::scenario
