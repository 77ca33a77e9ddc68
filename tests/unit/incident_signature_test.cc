// SPDX-License-Identifier: Apache-2.0
// Signatures, their comparison, and the scenario of an incident.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "framework/incident/incident_scenario.h"
#include "framework/incident/signature.h"
#include "framework/os/file.h"
#include "framework/scenario/load.h"

namespace plugpull::incident {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

DeviceReport Field(const std::string& name) {
  const auto log = os::ReadFile(
      std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/incident/" + name + ".dmesg", Mebibytes(1));
  EXPECT_TRUE(log.ok()) << log.error().ToString();
  const auto incident = ReadIncident(log.ok() ? *log : "");
  EXPECT_TRUE(incident.ok());
  return incident.ok() ? incident->devices.at(0) : DeviceReport();
}

// A log like the field's loop, by a kernel that prints more, on another disk.
DeviceReport Reproduced(const std::string& option_line, int cycles) {
  std::string log;
  double now = 10;
  const auto say = [&](double wait, const std::string& text) {
    now += wait;
    log += fmt::format("[{:12.6f}] {}\n", now, text);
  };
  for (int i = 0; i < cycles; ++i) {
    say(5, "virtio_blk virtio2: [vda] 131072 512-byte logical blocks (67.1 MB/64.0 MiB)");
    say(1, "EXT4-fs (vda): VFS: Can't find ext4 filesystem");
    for (int k = 0; k < 2; ++k) {
      if (!option_line.empty()) say(1, "EXT4-fs (vda): " + option_line);
      say(0, "EXT4-fs (vda): mounted filesystem with writeback data mode. Quota mode: none.");
      say(2, "EXT4-fs (vda): unmounting filesystem.");
    }
  }
  const auto incident = ReadIncident(log);
  EXPECT_TRUE(incident.ok());
  return incident.ok() ? incident->devices.at(0) : DeviceReport();
}

TEST(IncidentSignature, SurvivesItsFile) {
  for (const DeviceReport& report :
       {Field("retry_loop"), Field("healthy"), Reproduced("barriers disabled", 9)}) {
    const Signature signature = SignatureOf(report);
    const std::string text = RenderSignature(signature);
    EXPECT_TRUE(LooksLikeSignature(text));
    const auto again = ParseSignature(text);
    ASSERT_TRUE(again.ok()) << again.error().ToString();
    EXPECT_EQ(*again, signature);
  }
  EXPECT_FALSE(LooksLikeSignature("{\"MESSAGE\": \"plugpull\"}"));
}

TEST(IncidentSignature, AReproducedLoopMatchesTheField) {
  const Signature field = SignatureOf(Field("retry_loop"));
  const Comparison same = Compare(field, SignatureOf(Reproduced("barriers disabled", 9)));
  EXPECT_TRUE(same.match) << RenderComparisonJson(same);
  EXPECT_GE(same.score, 0.95);
  EXPECT_EQ(Compare(field, field).score, 1);
}

TEST(IncidentSignature, WhatDiffersIsSaid) {
  const Signature field = SignatureOf(Field("retry_loop"));
  const Comparison healthy = Compare(field, SignatureOf(Field("healthy")));
  EXPECT_FALSE(healthy.match);
  EXPECT_LT(healthy.score, 0.5);
  EXPECT_THAT(healthy.parts[0].reason, HasSubstr("a loop; reproduced: no loop"));
  const Comparison barriers = Compare(field, SignatureOf(Reproduced("", 9)));
  EXPECT_FALSE(barriers.match) << RenderComparisonJson(barriers);
  EXPECT_FALSE(Compare(field, SignatureOf(Reproduced("barriers disabled", 2))).match);
  Signature other = field;
  other.file_system = "xfs";
  EXPECT_FALSE(Compare(field, other).match);
  Signature slower = field;
  slower.period_s = 30;
  Signature slow = field;
  slow.period_s = 60;
  EXPECT_DOUBLE_EQ(Compare(slow, slower).score, 0.975);
  EXPECT_EQ(Compare(field, slower).score, 1);  // the field's log has no times
}

TEST(IncidentSignature, RoundsAreEqualWhereverTheyBegin) {
  Signature a = SignatureOf(Field("retry_loop"));
  Signature b = a;
  b.cycle = {"re-attached", "not recognised", "mounted"};
  EXPECT_EQ(Compare(a, b).score, 1);
  b.cycle = {"mounted", "not recognised", "re-attached"};
  EXPECT_LT(Compare(a, b).score, 1);
  EXPECT_EQ(Compare(a, b).score, Compare(b, a).score);
}

TEST(IncidentSignature, BrokenFilesAreRefused) {
  const std::string good = RenderSignature(SignatureOf(Field("retry_loop")));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const auto& [text, says] : std::map<std::string, std::string>{
           {good.substr(0, good.size() / 2), "not JSON"},
           {"[]", "not JSON"},
           {with("\"version\": 1", "\"version\": 7"), "version"},
           {with("plugpull incident signature", "x"), "format"},
           {with("\"loop\": true", "\"loop\": 1"), "loop"},
           {with("\"period_s\": null", "\"period_s\": -1"), "period_s"},
           {with("\"period_s\": null", "\"period_s\": 1e99"), "period_s"},
           {with("\"data=writeback\"", "7"), "options"},
           {with("\"filesystem\": \"ext4\"", "\"filesystem\": null"), "filesystem"},
           {with("\"io_errors\": false,", ""), "io_errors"}}) {
    const auto signature = ParseSignature(text);
    ASSERT_FALSE(signature.ok()) << text;
    EXPECT_EQ(signature.error().code, ErrorCode::kUser);
    EXPECT_THAT(signature.error().message, HasSubstr(says));
  }
}

TEST(IncidentScenario, OfTheFieldLogsIsValidAndSaysTheSameAsItsMessage) {
  for (const std::string name : {"retry_loop", "healthy"}) {
    const DeviceReport report = Field(name);
    const auto text = ScenarioText(report);
    ASSERT_TRUE(text.ok()) << text.error().ToString();
    const auto loaded = scenario::LoadScenarioText(*text, "incident");
    ASSERT_TRUE(loaded.ok()) << loaded.diagnostics.at(0).ToString();
    const auto made = MakeScenario(report);
    ASSERT_TRUE(made.ok());
    google::protobuf::util::MessageDifferencer differences;
    differences.IgnoreField(Step::descriptor()->FindFieldByName("line"));  // only a text has lines
    EXPECT_TRUE(differences.Compare(loaded.loaded->scenario, made->scenario));
    EXPECT_THAT(*text, HasSubstr("Described in words only"));
    for (size_t begin = 0; begin < text->size();) {
      const size_t end = text->find('\n', begin);
      EXPECT_LE(end - begin, 100U) << text->substr(begin, end - begin);
      begin = end + 1;
    }
  }
  const auto loop = MakeScenario(Field("retry_loop"));
  EXPECT_THAT(loop->scenario.step(1).mount().option(), ElementsAre("data=writeback", "nobarrier"));
  EXPECT_EQ(loop->scenario.expect().found_size(), 3);
  EXPECT_TRUE(MakeScenario(Field("healthy"))->scenario.expect().nothing());
}

TEST(IncidentScenario, TheOneBesideTheFieldsLogIsWhatIsMade) {
  const auto kept = os::ReadFile(
      std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/incident/retry_loop.textproto", Mebibytes(1));
  ASSERT_TRUE(kept.ok()) << kept.error().ToString();
  const auto made = ScenarioText(Field("retry_loop"));
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(*kept, "# SPDX-License-Identifier: Apache-2.0\n" + *made);
}

TEST(IncidentScenario, WhateverTheOptionsTheScenarioIsValid) {
  DeviceReport report = Field("retry_loop");
  report.device = "DM-3.weird!name-that-is-long-000";
  report.options = {"data=journal", "delalloc", "nobarrier",   "barrier=1", "ro",
                    "commit=5",     "commit=x", "usrjquota=a", "noatime",   "relatime"};
  report.size_bytes = 3 << 20;
  const auto made = MakeScenario(report);
  ASSERT_TRUE(made.ok());
  EXPECT_THAT(made->scenario.step(1).mount().option(),
              ElementsAre("data=journal", "nobarrier", "commit=5", "noatime", "relatime"));
  EXPECT_THAT(made->left_out,
              ElementsAre("barrier=1", "ro", "commit=x", "usrjquota=a", "delalloc"));
  const auto text = ScenarioText(report);
  ASSERT_TRUE(text.ok());
  const auto loaded = scenario::LoadScenarioText(*text, "incident");
  EXPECT_TRUE(loaded.ok()) << loaded.diagnostics.at(0).ToString() << *text;
  EXPECT_THAT(*text, HasSubstr("left out: barrier=1"));
}

TEST(IncidentScenario, OtherFileSystemsHaveNone) {
  DeviceReport report = Field("retry_loop");
  report.fs = FileSystem::kXfs;
  const auto text = ScenarioText(report);
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.error().code, ErrorCode::kUser);
  EXPECT_THAT(text.error().message, HasSubstr("ext4 only"));
}

}  // namespace
}  // namespace plugpull::incident
