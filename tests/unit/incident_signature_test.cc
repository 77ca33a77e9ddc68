// SPDX-License-Identifier: Apache-2.0
// Signatures, their comparison, and the scenario of an incident.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "framework/incident/incident_scenario.h"
#include "framework/incident/signature.h"
#include "framework/os/file.h"
#include "framework/scenario/load.h"

namespace plugpull::incident {
namespace {

using ::testing::Contains;
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

std::string TextOf(const DeviceReport& report) {
  const auto made = MakeScenario(report);
  EXPECT_TRUE(made.ok());
  const auto text = made.ok() ? ScenarioText(report, *made) : Result<std::string>(made.error());
  return text.ok() ? *text : text.error().ToString();
}

// Valid, in the way in which a scenario's text is read.
void ExpectValid(const DeviceReport& report) {
  const auto made = MakeScenario(report);
  ASSERT_TRUE(made.ok());
  const std::string text = TextOf(report);
  const auto loaded = scenario::LoadScenarioText(text, "incident");
  ASSERT_TRUE(loaded.ok()) << loaded.diagnostics.at(0).ToString() << text;
  google::protobuf::util::MessageDifferencer differences;
  differences.IgnoreField(Step::descriptor()->FindFieldByName("line"));  // only a text has lines
  EXPECT_TRUE(differences.Compare(loaded.loaded->scenario, made->scenario));
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    const bool comment = text[begin] == '#';
    EXPECT_TRUE(!comment || end - begin <= 100U) << text.substr(begin, end - begin);
    begin = end + 1;
  }
}

std::vector<std::string> FoundIn(const Scenario& scenario, const std::string& variant) {
  for (const Variant& one : scenario.variant()) {
    if (one.name() != variant) continue;
    std::vector<std::string> names;
    for (const int found : one.expect().found()) {
      names.push_back(FindingClass_Name(static_cast<FindingClass>(found)));
    }
    if (one.expect().nothing()) names.emplace_back("nothing");
    return names;
  }
  return {"no such variant"};
}

int Count(const Scenario& scenario, Step::KindCase kind) {
  return static_cast<int>(
      std::count_if(scenario.step().begin(), scenario.step().end(),
                    [&](const Step& step) { return step.kind_case() == kind; }));
}

TEST(IncidentScenario, TheLoopIsDoneByAnAgentAndStoppedByTheReference) {
  ExpectValid(Field("retry_loop"));
  const auto made = MakeScenario(Field("retry_loop"));
  const Scenario& scenario = made->scenario;
  EXPECT_EQ(scenario.guest().clock(), Guest::WARPED);
  EXPECT_EQ(Count(scenario, Step::kDetach), 4);
  EXPECT_EQ(Count(scenario, Step::kAttach), 4);
  EXPECT_EQ(scenario.step(1).corrupt().damage(), MAGIC_ZEROED);
  const AgentStep& agent = scenario.step(2).agent();
  EXPECT_THAT(agent.environment(), Contains("OPTIONS=data=writeback,nobarrier"));
  EXPECT_THAT(agent.environment(), Contains("FAILURES=1"));
  EXPECT_THAT(agent.environment(), Contains("MOUNTS=2"));
  EXPECT_THAT(agent.volume(0).option(), ElementsAre("data=writeback", "nobarrier"));
  uint64_t waited_ms = 0;
  for (const Step& step : scenario.step()) waited_ms += step.agent_wait().for_ms();
  EXPECT_EQ(waited_ms, 3'600'000U);
  EXPECT_THAT(FoundIn(scenario, "field"), ElementsAre("BOUNDED_ATTEMPTS", "GROWING_GAPS"));
  EXPECT_THAT(FoundIn(scenario, "never_recognised"),
              ElementsAre("BOUNDED_ATTEMPTS", "GROWING_GAPS", "PERMANENT_NOT_RETRIED"));
  EXPECT_THAT(FoundIn(scenario, "reference"), ElementsAre("nothing"));
  EXPECT_THAT(made->file_text, HasSubstr("field_agent.sh"));
}

TEST(IncidentScenario, AFirstFormatIsOne) {
  ExpectValid(Field("healthy"));
  const auto made = MakeScenario(Field("healthy"));
  EXPECT_EQ(Count(made->scenario, Step::kDetach), 1);
  EXPECT_EQ(Count(made->scenario, Step::kMkfs), 0);
  EXPECT_THAT(FoundIn(made->scenario, "field"), ElementsAre("nothing"));
  EXPECT_THAT(FoundIn(made->scenario, "reference"), ElementsAre("nothing"));
}

// The period of the log is that of the scenario; what is refused is damaged in that way.
TEST(IncidentScenario, FollowsTheLog) {
  std::string log = "[    0.000000] Linux version 6.12.9-amd64 (x@y) #1 SMP\n";
  for (int i = 1; i <= 9; ++i) {
    log += fmt::format(
        "[{:5}.000000] EXT4-fs (vdb): VFS: Found ext4 filesystem with invalid superblock checksum. "
        " Run e2fsck?\n",
        i * 30);
  }
  const auto incident = ReadIncident(log);
  ASSERT_TRUE(incident.ok());
  const DeviceReport& report = incident->devices.at(0);
  ASSERT_TRUE(report.verdict.loop.has_value());
  ExpectValid(report);
  const auto made = MakeScenario(report);
  const Scenario& scenario = made->scenario;
  EXPECT_EQ(scenario.guest().kernel(), "debian:6.12");
  EXPECT_EQ(scenario.step(1).corrupt().damage(), SUPERBLOCK_CHECKSUM);
  EXPECT_EQ(Count(scenario, Step::kDetach), 0);
  EXPECT_EQ(scenario.step(3).agent_wait().for_ms(), 12U * 30'000);
  EXPECT_THAT(FoundIn(scenario, "field"),
              ElementsAre("BOUNDED_ATTEMPTS", "GROWING_GAPS", "PERMANENT_NOT_RETRIED"));
  EXPECT_THAT(FoundIn(scenario, "never_recognised"), ElementsAre("no such variant"));
}

TEST(IncidentScenario, AnAgentThatGaveUpDoesSo) {
  std::string log;
  for (int i = 0; i < 2; ++i) {
    log += fmt::format("[{:5}.000000] EXT4-fs (vdb): unable to read superblock\n", 10 + i);
  }
  log += "[ 9999.000000] IPv6: eth0: link becomes ready\n";
  const auto incident = ReadIncident(log);
  ASSERT_TRUE(incident.ok());
  ExpectValid(incident->devices.at(0));
  const auto made = MakeScenario(incident->devices.at(0));
  EXPECT_TRUE(made->scenario.step(1).device_fault().has_io_error());
  EXPECT_THAT(FoundIn(made->scenario, "field"), ElementsAre("ONE_ALERT"));
}

TEST(IncidentScenario, MountsThatSucceedAreCut) {
  DeviceReport report = Field("healthy");
  report.first_format = false;
  report.failures = {};
  report.attempts = report.mounts;
  report.options = {"data=writeback", "nobarrier"};
  ExpectValid(report);
  const auto made = MakeScenario(report);
  EXPECT_EQ(made->scenario.expect().found_size(), 3);
  EXPECT_EQ(made->scenario.step(2).workload().at(), "/data");
  EXPECT_TRUE(made->file_name.empty());
}

TEST(IncidentScenario, TheOnesBesideTheFieldsLogsAreWhatIsMade) {
  for (const std::string name : {"retry_loop", "healthy"}) {
    const auto kept = os::ReadFile(
        std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/incident/" + name + ".textproto",
        Mebibytes(1));
    ASSERT_TRUE(kept.ok()) << kept.error().ToString();
    EXPECT_EQ(*kept, "# SPDX-License-Identifier: Apache-2.0\n" + TextOf(Field(name)));
  }
}

TEST(IncidentScenario, WhateverTheOptionsTheScenarioIsValid) {
  DeviceReport report = Field("retry_loop");
  report.device = "DM-3.weird!name-that-is-long-000";
  report.options = {"data=journal", "delalloc", "nobarrier",   "barrier=1", "ro",
                    "commit=5",     "commit=x", "usrjquota=a", "noatime",   "relatime"};
  report.size_bytes = 3 << 20;
  ExpectValid(report);
  const auto made = MakeScenario(report);
  EXPECT_THAT(made->scenario.step(2).agent().volume(0).option(),
              ElementsAre("data=journal", "nobarrier", "commit=5", "noatime", "relatime"));
  EXPECT_THAT(made->left_out,
              ElementsAre("barrier=1", "ro", "commit=x", "usrjquota=a", "delalloc"));
  EXPECT_THAT(TextOf(report), HasSubstr("left out: barrier=1"));
}

TEST(IncidentScenario, OtherFileSystemsHaveNone) {
  DeviceReport report = Field("retry_loop");
  report.fs = FileSystem::kXfs;
  const auto made = MakeScenario(report);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::kUser);
  EXPECT_THAT(made.error().message, HasSubstr("ext4 only"));
}

}  // namespace
}  // namespace plugpull::incident
