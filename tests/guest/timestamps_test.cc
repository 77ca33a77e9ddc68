// SPDX-License-Identifier: Apache-2.0
// Three rows of the table of times, in real guests: what lazytime keeps and loses beside the
// default, and what noatime is for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/support/program.h"

namespace plugpull {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

constexpr char kScenario[] = PLUGPULL_SOURCE_DIR "/scenarios/ext4/timestamps.textproto";
constexpr Millis kRunMax{300'000};

struct Cell {
  uint64_t asked = 0;
  uint64_t broken = 0;
  std::string example;
};
using Matrix = std::map<std::string, std::map<std::string, Cell>>;  // by row and guarantee

Matrix MatrixOf(const Json& runs) {
  Matrix matrix;
  for (const Json& run : runs) {
    for (const Json& one : run.at("disks").at(0).value("guarantees", Json::array())) {
      matrix[run.at("variant")][one.at("guarantee")] = {one.at("asked"), one.at("broken"),
                                                        one.value("example", std::string())};
    }
  }
  return matrix;
}

TEST(TimestampsGuestTest, LazytimeKeepsWhatItPromisesAndNoMore) {
  const TestFolder folder("timestamps");
  const ProgramEnd end = RunPlugpull(
      folder,
      {"run", kScenario, "--filter", "/(relatime|lazytime|noatime)$", "--out", "out", "--json"},
      kRunMax);
  ASSERT_EQ(end.status, 0) << end.err << end.out;
  Matrix matrix = MatrixOf(Json::parse(end.out));
  for (const char* row : {"relatime", "lazytime", "noatime"}) {
    for (const char* kept :
         {"TIMES_AFTER_SYNC", "TIMES_AFTER_OTHER_CHANGE", "TIMES_AFTER_EVICTION"}) {
      EXPECT_GT(matrix[row][kept].asked, 0U) << row << " " << kept;
      EXPECT_EQ(matrix[row][kept].broken, 0U) << row << " " << kept;
    }
    EXPECT_GT(matrix[row]["TIMES_AFTER_FDATASYNC"].broken, 0U) << row;
    EXPECT_GT(matrix[row]["ATIME_OF_FILE_AGAIN"].broken, 0U) << row;
  }
  EXPECT_EQ(matrix["relatime"]["TIMES_WITHOUT_TRIGGER"].broken, 0U);
  const Cell lazy = matrix["lazytime"]["TIMES_WITHOUT_TRIGGER"];
  EXPECT_GT(lazy.asked, 100U);
  EXPECT_EQ(lazy.broken, lazy.asked);
  EXPECT_EQ(matrix["lazytime"]["ATIME_OF_FILE"].broken, 0U);
  EXPECT_EQ(matrix["noatime"]["ATIME_OF_FILE"].broken, matrix["noatime"]["ATIME_OF_FILE"].asked);
  EXPECT_GT(matrix["noatime"]["ATIME_OF_FOLDER"].broken, 0U);
  // The evidence is a state that can be asked about.
  const ProgramEnd said =
      RunPlugpull(folder, {"explain", "out/ext4_timestamps/lazytime/recording", lazy.example});
  EXPECT_EQ(said.status, 0) << said.err;
  EXPECT_THAT(said.out, HasSubstr("TIMES_WITHOUT_TRIGGER"));
  EXPECT_THAT(said.out, HasSubstr("mtime is "));
}

}  // namespace
}  // namespace plugpull
