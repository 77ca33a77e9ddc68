// SPDX-License-Identifier: Apache-2.0
// The benchmark as it is started: it runs to its end, and both ways say the same of every state.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "framework/os/subprocess.h"

namespace plugpull::bench {
namespace {

TEST(BenchSmoke, BothWaysAgreeOnEverySampledState) {
  os::SubprocessOptions options;
  options.argv = {PLUGPULL_BINARY_DIR "/bin/plugpull-bench",
                  "--json",
                  "--workload",
                  "600:32:1024",
                  "--workload",
                  "600:128:4096",
                  "--sample",
                  "20",
                  "--scratch",
                  ::testing::TempDir()};
  const auto output = os::RunProgram(options, Millis(600'000), Mebibytes(16));
  ASSERT_TRUE(output.ok()) << output.error().ToString();
  ASSERT_FALSE(output->exit.signaled);
  ASSERT_EQ(output->exit.code, 0) << output->out;
  // Progress is on stderr, which comes first here.
  const auto results =
      nlohmann::json::parse(output->out.substr(output->out.find("\n{") + 1))["speed"];
  ASSERT_EQ(results.size(), 2U);
  for (const auto& result : results) {
    const auto& engine = result["engine"];
    EXPECT_EQ(result["classic"]["states"], 20);
    EXPECT_EQ(result["classic"]["e2fsck_processes"], 40);
    EXPECT_EQ(engine["compared"], 20);
    EXPECT_EQ(engine["agreeing"], 20);
    EXPECT_GE(engine["states"], 600);
    EXPECT_GT(engine["distinct"], 10);
    EXPECT_GT(engine["peak_memory_kib"], 0);
    EXPECT_EQ(engine["verdicts"].get<std::string>().find_first_not_of('h'), std::string::npos)
        << "an honest disk breaks nothing";
  }
}

}  // namespace
}  // namespace plugpull::bench
