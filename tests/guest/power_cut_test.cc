// SPDX-License-Identifier: Apache-2.0
// A power cut in a real guest: it happens between the two operations that were asked for, the next
// boot recovers the state, and what was acknowledged before is there at every cut of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "framework/recording/recording.h"
#include "tests/support/program.h"

namespace plugpull {
namespace {

using ::testing::HasSubstr;

constexpr char kScenario[] = R"(
name: "two_boots"
guest { kernel: "KERNEL" }
disk { name: "vol" size_mib: 16 layer { log_writes {} } }
disk { name: "plain" size_mib: 8 }
step { mkfs { disk: "vol" option: "-b 1024" option: "-J size=1" } }
step { mkfs { disk: "plain" } }
step { mount { disk: "vol" at: "/data" } }
step { power_cut { sample { lose_permille: 700 } } when { after_operations: 25 } }
step { workload { at: "/data" seed: 3 files { count: 60 size_kib_max: 6 } } }
step { mount { disk: "vol" at: "/data" } }
step { mount { disk: "plain" at: "/plain" } }
step { workload { at: "/data" seed: 4 files { count: 15 size_kib_max: 6 } } }
step { unmount { at: "/data" } }
check { disk: "vol" max_states: 250 }
)";

TEST(PowerCutGuestTest, TheNextBootGoesOnWithTheStateThatWasLeft) {
  const TestFolder folder("power-cut-guest");
  std::string text = kScenario;
  text.replace(text.find("KERNEL"), 6, os::GetEnv("PLUGPULL_TEST_KERNEL", "debian:6.1"));
  std::ofstream(folder / "two_boots.textproto") << text;
  const ProgramEnd end = RunPlugpull(
      folder, {"run", "two_boots.textproto", "--out", "out", "--accel", "tcg"}, Millis(300'000));
  ASSERT_EQ(end.status, 0) << end.out << end.err;
  EXPECT_THAT(end.out, HasSubstr("vol, boot 1"));
  EXPECT_THAT(end.out, HasSubstr("vol, boot 2"));

  const std::string place = folder / "out/two_boots/default/";
  const auto first = recording::Reader::Open(place + "recording");
  const auto second = recording::Reader::Open(place + "boots/2/recording");
  ASSERT_TRUE(first.ok() && second.ok());
  const auto traces = first->ReadTraces("vol");
  ASSERT_TRUE(traces.ok());
  ASSERT_EQ(traces->size(), 1U);
  EXPECT_EQ(traces->at(0).result_size(), 25);
  const RecordedPowerCut& cut = first->manifest().power_cut();
  ASSERT_EQ(cut.chosen_size(), 1);
  EXPECT_TRUE(cut.chosen(0).holds());
  ASSERT_EQ(cut.kept_disk_size(), 1);
  EXPECT_EQ(second->FindDisk("vol")->state(), cut.chosen(0).state());
  EXPECT_EQ(second->manifest().boot().promise_size(), 1);
  EXPECT_FALSE(second->manifest().has_incomplete_reason())
      << second->manifest().incomplete_reason();

  const ProgramEnd again = RunPlugpull(folder, {"check", place + "boots/2/recording"});
  EXPECT_EQ(again.status, 0) << again.out << again.err;
  const ProgramEnd rebuilt = RunPlugpull(
      folder, {"materialize", place + "recording", cut.chosen(0).state(), "-o", "state.img"});
  EXPECT_EQ(rebuilt.status, 0) << rebuilt.out << rebuilt.err;
  EXPECT_EQ(std::filesystem::file_size(folder / "state.img"), Mebibytes(16).value);
}

}  // namespace
}  // namespace plugpull
