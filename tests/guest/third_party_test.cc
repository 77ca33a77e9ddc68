// SPDX-License-Identifier: Apache-2.0
// Agents of others do in a guest what their scenarios say of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/os/file.h"
#include "tests/support/program.h"

namespace plugpull {
namespace {

constexpr Millis kRunMax{1'500'000};

void ExpectAsExpected(const std::string& name) {
  const TestFolder folder("third-party");
  const std::string scenario =
      std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/agent/" + name + ".textproto";
  const ProgramEnd end = RunPlugpull(folder, {"run", scenario, "--out", "out"}, kRunMax);
  EXPECT_EQ(end.status, 0) << end.out << end.err;
}

TEST(ThirdPartyTest, MountCodeOfKubernetes) {
  if (!os::Exists(std::string(PLUGPULL_BINARY_DIR) + "/bin/plugpull-mount-utils-agent")) {
    GTEST_SKIP() << "not built: its packages are missing (packages/debian.txt)";
  }
  ExpectAsExpected("third_party_mount_utils");
}

TEST(ThirdPartyTest, UnitsOfSystemd) {
  if (!os::Exists("/lib/systemd/systemd")) GTEST_SKIP() << "systemd is not installed";
  ExpectAsExpected("third_party_systemd");
}

}  // namespace
}  // namespace plugpull
