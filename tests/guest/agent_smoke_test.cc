// SPDX-License-Identifier: Apache-2.0
// What a small agent does in a real guest is in the timeline exactly as often as it did it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "framework/recording/recording.h"
#include "tests/support/program.h"

namespace plugpull {
namespace {

constexpr Millis kRunMax{300'000};

TEST(AgentSmokeTest, TimelineHasExactlyTheAttemptsOfTheScript) {
  const TestFolder folder("agent-smoke");
  const ProgramEnd end = RunPlugpull(
      folder,
      {"run", std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/agent/shell_loop.textproto", "--out",
       "out"},
      kRunMax);
  ASSERT_EQ(end.status, 0) << end.out << end.err;
  EXPECT_THAT(end.out, ::testing::HasSubstr("7 mounts of pvc-0001 (disk vol)"));
  const auto reader = recording::Reader::Open(folder / "out/shell_loop/default/recording");
  ASSERT_TRUE(reader.ok()) << reader.error().ToString();
  const auto timeline = reader->ReadTimeline();
  ASSERT_TRUE(timeline.ok() && timeline->has_value());
  EXPECT_EQ((*timeline)->lost_events(), 0u);
  int failed = 0;
  int mounted = 0;
  int fills = 0;
  int kernel_lines = 0;
  int in_force = 0;
  for (const TimelineEvent& event : (*timeline)->event()) {
    kernel_lines += event.has_kernel_line();
    fills += event.has_superblock();
    in_force += event.has_in_force();
    if (!event.has_mount()) continue;
    EXPECT_EQ(event.agent(), "loop");
    if (event.mount().error_number() == 0) {
      ++mounted;
      EXPECT_EQ(event.mount().disk(), "good");
      EXPECT_EQ(event.mount().target(), "/mnt/good");
    } else {
      ++failed;
      EXPECT_EQ(event.mount().error_number(), EINVAL);
      EXPECT_EQ(event.mount().disk(), "vol");
      EXPECT_EQ(event.mount().source(), "/dev/vda");
    }
  }
  EXPECT_EQ(failed, 7);
  EXPECT_EQ(mounted, 1);
  EXPECT_EQ(fills, 8);
  EXPECT_EQ(in_force, 1);
  EXPECT_GE(kernel_lines, 3);
  // An hour of the guest's time, and far less of ours.
  EXPECT_GT(reader->manifest().guest_clock_ms(), 3'600'000u);
  EXPECT_LT(reader->manifest().guest_wall_ms(), 200'000u);
}

}  // namespace
}  // namespace plugpull
