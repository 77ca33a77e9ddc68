// SPDX-License-Identifier: Apache-2.0
// The fast_commit scenario under two kernels: one refuses to mount a crashed file system read-only,
// the other does not, and the report says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/program.h"

namespace plugpull {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr Millis kRunMax{600'000};

std::string FastCommit() {
  return std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/ext4/fast_commit.textproto";
}

TEST(KernelColumnsTest, EachVariantGivesTheVerdictThatItStates) {
  const TestFolder folder("fast-commit");
  const ProgramEnd end = RunPlugpull(folder, {"run", FastCommit(), "--out", "out"}, kRunMax);
  EXPECT_EQ(end.status, 0) << end.out << end.err;
}

TEST(KernelColumnsTest, ABadKernelIsToldFromAGoodOne) {
  const TestFolder folder("kernel-columns");
  const ProgramEnd end =
      RunPlugpull(folder,
                  {"run", FastCommit(), "--filter", "/must_mount$", "--kernel", "debian:6.12",
                   "--kernel", "debian:6.1", "--jobs", "1", "--out", "out", "--json"},
                  kRunMax);
  ASSERT_EQ(end.status, 1) << end.out << end.err;
  const Json runs = Json::parse(end.out);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].at("kernel"), "debian:6.12");
  EXPECT_EQ(runs[0].at("outcome"), "as_expected");
  EXPECT_EQ(runs[1].at("outcome"), "differs");
  ASSERT_EQ(runs[1].at("verdicts").size(), 1u);
  EXPECT_EQ(runs[1].at("verdicts")[0].at("class"), "KERNEL_DISAGREES");
  EXPECT_THAT(runs[1].at("verdicts")[0].at("evidence").get<std::string>(),
              AllOf(HasSubstr("read-only"), HasSubstr("EIO")));
  const auto differences =
      runs[1].at("kernel_comparison").at("differences").get<std::vector<std::string>>();
  EXPECT_THAT(differences, Contains(AllOf(HasSubstr("KERNEL_DISAGREES"),
                                          HasSubstr("with debian:6.1, not with debian:6.12"))));
  const ProgramEnd table = RunPlugpull(folder, {"report", "out"});
  EXPECT_THAT(table.out, AllOf(HasSubstr("Kernels side by side"), HasSubstr("* NO")));
}

}  // namespace
}  // namespace plugpull
