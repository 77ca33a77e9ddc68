// SPDX-License-Identifier: Apache-2.0
// Every scenario under scenarios/faults gives the verdict that it states, and so does its twin.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/program.h"

namespace plugpull {
namespace {

constexpr Millis kRunMax{1'700'000};

TEST(FaultScenariosTest, EachGivesTheVerdictThatItStates) {
  const TestFolder folder("fault-scenarios");
  const ProgramEnd end = RunPlugpull(folder,
                                     {"run", std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/faults",
                                      "--out", "out", "--jobs", "2"},
                                     kRunMax);
  EXPECT_EQ(end.status, 0) << end.out << end.err;
}

}  // namespace
}  // namespace plugpull
