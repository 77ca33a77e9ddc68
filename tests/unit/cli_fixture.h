// SPDX-License-Identifier: Apache-2.0
// The program, as tests of its command line start it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/program.h"

namespace plugpull {

inline const std::string kRecordings =
    std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/recordings";
inline const std::string kOrdered = kRecordings + "/ordered";
inline const std::string kUnordered = kRecordings + "/writeback_nobarrier";

class CliFixture : public ::testing::Test {
 protected:
  explicit CliFixture(const std::string& name) : folder_(name) {}

  ProgramEnd Run(const std::vector<std::string>& arguments) {
    return RunPlugpull(folder_, arguments, Millis(100'000));
  }
  // Ends with `status`, prints nothing on stdout and `says` on stderr.
  void ExpectFailure(const std::vector<std::string>& arguments, int status,
                     const ::testing::Matcher<std::string>& says) {
    const ProgramEnd end = Run(arguments);
    EXPECT_EQ(end.status, status) << ::testing::PrintToString(arguments) << end.err;
    EXPECT_THAT(end.err, says) << ::testing::PrintToString(arguments);
    EXPECT_THAT(end.out, ::testing::IsEmpty()) << ::testing::PrintToString(arguments);
  }

  TestFolder folder_;
};

}  // namespace plugpull
