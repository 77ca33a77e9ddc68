// SPDX-License-Identifier: Apache-2.0
// The field's logs, made to happen again: the looping agent is found out, the reference agent
// stops.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/program.h"

namespace plugpull {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

nlohmann::json Reproduce(const TestFolder& folder, const std::string& name) {
  const std::string log =
      std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/incident/" + name + ".dmesg";
  const ProgramEnd end = RunPlugpull(
      folder, {"incident", "reproduce", log, "--accel", "tcg", "--json", "--out", "out"},
      Millis(900'000));
  EXPECT_EQ(end.status, 0) << end.err << end.out;
  auto json = nlohmann::json::parse(end.out, nullptr, false);
  EXPECT_TRUE(json.is_object()) << end.out;
  return json;
}

std::vector<std::string> Violated(const nlohmann::json& run) {
  std::vector<std::string> names;
  for (const auto& one : run["violated"]) names.push_back(one["property"]);
  return names;
}

TEST(IncidentReproduce, TheLoopComesBackAndTheReferenceAgentStopsIt) {
  const TestFolder folder("reproduce-loop");
  const auto json = Reproduce(folder, "retry_loop");
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["reproduced"], true);
  EXPECT_EQ(json["comparison"]["score"], 1.0);
  ASSERT_EQ(json["runs"].size(), 2U);
  EXPECT_EQ(json["runs"][0]["variant"], "field");
  EXPECT_THAT(Violated(json["runs"][0]), ElementsAre("BOUNDED_ATTEMPTS", "GROWING_GAPS"));
  EXPECT_THAT(std::string(json["runs"][0]["violated"][0]["evidence"]),
              HasSubstr("cycle: not recognised, mounted, re-attached"));
  EXPECT_EQ(json["runs"][1]["variant"], "reference");
  EXPECT_THAT(Violated(json["runs"][1]), IsEmpty());
}

TEST(IncidentReproduce, AHealthyDiskStaysOne) {
  const TestFolder folder("reproduce-healthy");
  const auto json = Reproduce(folder, "healthy");
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["reproduced"], true);
  for (const auto& run : json["runs"]) EXPECT_THAT(Violated(run), IsEmpty());
}

}  // namespace
}  // namespace plugpull
