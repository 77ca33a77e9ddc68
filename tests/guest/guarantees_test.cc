// SPDX-License-Identifier: Apache-2.0
// Three rows of the guarantee matrix, in real guests: data=writeback breaks contents that nobody
// synced, a mount without barriers breaks metadata and what was synced, and the kernel refuses
// data=journal with delalloc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/support/program.h"

namespace plugpull {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

constexpr char kScenario[] = PLUGPULL_SOURCE_DIR "/scenarios/ext4/guarantees.textproto";
constexpr Millis kRunMax{400'000};

// By run and guarantee.
using Matrix = std::map<std::string, std::map<std::string, Json>>;

Matrix MatrixOf(const Json& runs) {
  Matrix matrix;
  for (const Json& run : runs) {
    auto& row = matrix[run.at("variant")];
    for (const Json& one : run.at("disks").at(0).value("guarantees", Json::array())) {
      row[one.at("guarantee")] = one;
    }
  }
  return matrix;
}

TEST(GuaranteesGuestTest, WritebackAndNobarrierBreakDifferentThings) {
  const TestFolder folder("guarantees");
  const ProgramEnd end = RunPlugpull(
      folder,
      {"run", kScenario, "--filter", "/(writeback-nodelalloc|ordered-nobarrier|journal-delalloc)$",
       "--out", "out", "--json"},
      kRunMax);
  ASSERT_EQ(end.status, 0) << end.err << end.out;
  Matrix matrix = MatrixOf(Json::parse(end.out));
  const auto count = [&](const std::string& row, const std::string& guarantee,
                         const char* what) -> uint64_t {
    const auto& cells = matrix[row];
    const auto found = cells.find(guarantee);
    EXPECT_NE(found, cells.end()) << row << " " << guarantee;
    return found == cells.end() ? 0 : found->second.at(what).get<uint64_t>();
  };
  for (const char* kept :
       {"METADATA_CONSISTENT", "FSYNC_NAME", "FSYNC_SIZE", "FSYNC_DATA", "RENAME_SYNCED"}) {
    EXPECT_EQ(count("writeback-nodelalloc", kept, "broken"), 0U) << kept;
    EXPECT_GT(count("writeback-nodelalloc", kept, "shown"), 0U) << kept;
  }
  for (const char* broken : {"RENAME_UNSYNCED", "APPEND_SOUND", "NO_STALE_DATA"}) {
    EXPECT_GT(count("writeback-nodelalloc", broken, "broken"), 0U) << broken;
  }
  for (const char* broken : {"METADATA_CONSISTENT", "FSYNC_NAME", "FSYNC_DATA"}) {
    EXPECT_GT(count("ordered-nobarrier", broken, "broken"), 0U) << broken;
  }
  EXPECT_TRUE(matrix["journal-delalloc"].empty());
  const ProgramEnd shown = RunPlugpull(folder, {"report", "--matrix", "out"});
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("the kernel refuses this mount: EINVAL"));
  // The evidence is a state that can be asked about.
  const std::string id =
      matrix["writeback-nodelalloc"]["APPEND_SOUND"].value("example", std::string());
  const ProgramEnd said =
      RunPlugpull(folder, {"explain", "out/ext4_guarantees/writeback-nodelalloc/recording", id});
  EXPECT_EQ(said.status, 0) << said.err;
  EXPECT_THAT(said.out, HasSubstr("APPEND_SOUND"));
}

}  // namespace
}  // namespace plugpull
