// SPDX-License-Identifier: Apache-2.0
// A demand that a real guest does not meet: one boot, a finding, and a recording that is checked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "framework/os/file.h"
#include "tests/support/program.h"

namespace plugpull {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr Millis kRunMax{280'000};

constexpr char kScenario[] = R"(name: "demands"
disk { name: "vol" size_mib: 16 layer { log_writes {} } }
step { mkfs { disk: "vol" option: "-b 1024" option: "-J size=1" } }
step { mount { disk: "vol" at: "/data" } }
step { kernel_log { has: "mounted filesystem" } }
step { command { argv: "/bin/sh" argv: "-c" argv: "echo kept > /data/f; sync; exit 3" expect_exit: 3 } }
step {
  mount { disk: "vol" at: "/again" expect_errno: "EUCLEAN" }
}
step { workload { at: "/data" files { count: 10 } } }
step { unmount { at: "/data" } }
check { disk: "vol" enumerate { prefix {} } max_states: 20 oracle: FSCK }
)";

TEST(DemandsSmokeTest, AnUnmetDemandIsAFindingAndWhatWasRecordedIsChecked) {
  const TestFolder folder("demands");
  ASSERT_TRUE(os::WriteFileAtomic(folder / "demands.textproto", kScenario).ok());
  const ProgramEnd end =
      RunPlugpull(folder, {"run", "demands.textproto", "--out", "out", "--json"}, kRunMax);
  ASSERT_EQ(end.status, 1) << end.out << end.err;
  const Json run = Json::parse(end.out).at(0);
  EXPECT_EQ(run.at("error"), "");
  ASSERT_EQ(run.at("verdicts").size(), 1u) << run.at("verdicts");
  const Json& verdict = run.at("verdicts")[0];
  EXPECT_EQ(verdict.at("class"), "DEMAND_UNMET");
  EXPECT_EQ(verdict.at("step"), 5);
  EXPECT_EQ(verdict.at("line"), 7);
  EXPECT_THAT(verdict.at("evidence").get<std::string>(),
              AllOf(HasSubstr("mount of vol at /again"), HasSubstr("asked for: EUCLEAN"),
                    HasSubstr("it was mounted")));
  EXPECT_EQ(run.at("steps").at("run"), 5);
  EXPECT_EQ(run.at("steps").at("planned"), 7);
  ASSERT_EQ(run.at("disks").size(), 1u);
  EXPECT_GT(run.at("states").at("holds"), 0);
  EXPECT_EQ(run.at("states").at("violated"), 0);
}

// Half an hour of the guest's time within a minute of ours; and a program that never ends does not.
TEST(DemandsSmokeTest, TimeoutsAreOfTheUsersTimeUnderAWarpedClock) {
  const TestFolder folder("demands-warped");
  const std::string begin = R"(name: "warped"
guest { clock: WARPED program: "/bin/sh" program: "sleep" }
disk { name: "vol" size_mib: 16 }
)";
  const std::string sleeps =
      "step { command { argv: \"sleep\" argv: \"1800\" } timeout_ms: 60000 }\n";
  const std::string hangs =
      "step { command { argv: \"/bin/sh\" argv: \"-c\" argv: \"while :; do :; done\" } "
      "timeout_ms: 5000 }\n";
  for (const std::string& step : {sleeps, hangs}) {
    ASSERT_TRUE(os::WriteFileAtomic(folder / "warped.textproto", begin + step).ok());
    const ProgramEnd end =
        RunPlugpull(folder, {"run", "warped.textproto", "--out", "out"}, kRunMax);
    EXPECT_EQ(end.status, step == sleeps ? 0 : 3) << end.out << end.err;
    if (step == hangs) {
      EXPECT_THAT(end.out + end.err, HasSubstr("did not end within 5000 ms"));
    }
  }
}

}  // namespace
}  // namespace plugpull
