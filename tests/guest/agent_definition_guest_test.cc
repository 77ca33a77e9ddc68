// SPDX-License-Identifier: Apache-2.0
// A definition file in place of a scenario's agents, in a guest.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/os/file.h"
#include "tests/support/program.h"

namespace plugpull {
namespace {

using testing::HasSubstr;

TEST(AgentDefinitionGuestTest, ALoopIsCondemnedAndTheReferenceAgentIsNot) {
  const TestFolder folder("agent-definition");
  const std::string scenarios = std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/";
  const auto run = [&](const std::string& driver) {
    return RunPlugpull(folder,
                       {"run", scenarios + "agent/magic_zeroed.textproto", "--agent",
                        scenarios + "drivers/" + driver + ".txtpb", "--out", driver},
                       Millis(600'000));
  };
  const ProgramEnd loop = run("shell_loop");
  EXPECT_EQ(loop.status, 1) << loop.out << loop.err;
  EXPECT_THAT(loop.out, HasSubstr("BOUNDED_ATTEMPTS"));
  EXPECT_THAT(loop.out, HasSubstr("--agent "));
  const auto junit = os::ReadFile(folder / "shell_loop/junit.xml", Mebibytes(4));
  ASSERT_TRUE(junit.ok()) << junit.error().message;
  EXPECT_THAT(*junit, HasSubstr("[Driver: shell-loop] [Testpattern: magic_zeroed]"));
  const ProgramEnd good = run("reference_agent");
  EXPECT_EQ(good.status, 0) << good.out << good.err;
}

}  // namespace
}  // namespace plugpull
