// SPDX-License-Identifier: Apache-2.0
// Kernel logs in all their forms, and what is none.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "framework/incident/incident.h"
#include "framework/incident/incident_json.h"
#include "framework/incident/klog.h"
#include "framework/os/file.h"
#include "klog_forms.h"

namespace plugpull::incident {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Read {
  std::vector<std::string> texts;
  std::vector<KlogRecord> records;  // their texts are gone
  KlogSummary summary;
};

Read ReadAll(const std::string& log) {
  Read read;
  read.summary = ReadKlog(log, [&](const KlogRecord& record) {
    read.texts.emplace_back(record.text);
    read.records.push_back(record);
    read.records.back().text = {};
  });
  return read;
}

std::string FieldLog(const std::string& name) {
  const auto log = os::ReadFile(
      std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/incident/" + name + ".dmesg", Mebibytes(1));
  EXPECT_TRUE(log.ok()) << log.error().ToString();
  return log.ok() ? *log : "";
}

// What an incident says, without what its form decides.
nlohmann::json Said(const std::string& log) {
  const auto incident = ReadIncident(log);
  if (!incident.ok()) return incident.error().ToString();
  auto json = nlohmann::json::parse(RenderIncidentJson(*incident));
  json.erase("log");
  return json;
}

TEST(IncidentKlog, EveryFormOfALogSaysTheSame) {
  for (const std::string name : {"retry_loop", "healthy"}) {
    const auto messages = WithTimes(FieldLog(name), 20'000'000);
    const auto forms = AllForms(messages);
    ASSERT_GE(forms.size(), 30U);
    nlohmann::json expected = Said(forms.at("dmesg"));
    ASSERT_TRUE(expected.is_object()) << expected;
    const std::string plain = FieldLog(name);
    const nlohmann::json untimed = Said(plain);
    EXPECT_EQ(untimed["attempts"], expected["attempts"]);
    EXPECT_EQ(untimed["options"], expected["options"]);
    for (const auto& [form, log] : forms) {
      SCOPED_TRACE(form);
      nlohmann::json said = Said(log);
      if (form == "kmsg" || form == "dmesg -J" || form == "journal json-sse") {
        for (auto* json : {&said, &expected}) {  // more lines, or fewer
          json->erase("first_line");
          for (auto& device : (*json)["devices"]) device.erase("first_line");
        }
      } else if (!expected.contains("first_line")) {
        said.erase("first_line");
        for (auto& device : said["devices"]) device.erase("first_line");
      }
      EXPECT_EQ(said, expected);
    }
  }
}

TEST(IncidentKlog, EveryFormGivesTextsTimesAndPriorities) {
  const auto messages = WithTimes("one: a\ntwo: [x] b\nthree (c): d\n", 45'000'000);
  for (const auto& [form, log] : AllForms(messages)) {
    SCOPED_TRACE(form);
    const Read read = ReadAll(log);
    std::vector<std::string> texts = read.texts;
    if (form == "kmsg") {  // with the lines that say which device it is about
      std::erase_if(texts, [](const std::string& text) { return text.find('=') != text.npos; });
    }
    EXPECT_THAT(texts, ElementsAre("one: a", "two: [x] b", "three (c): d"));
    ASSERT_GE(read.records.size(), 3U);
    const auto& first = read.records.front();
    const auto& last = read.records.back();
    const auto elapsed = Elapsed(first.at, first.boot, last.at, last.boot);
    ASSERT_TRUE(elapsed.has_value());
    // dmesg -H drops the seconds of a new minute.
    EXPECT_EQ(*elapsed, form == "dmesg -H" ? 60'000'000 : 90'000'000);
    EXPECT_EQ(read.summary.boots, 1U);
    EXPECT_EQ(read.summary.time_went_back, 0U);
    EXPECT_THAT(first.priority, ::testing::AnyOf(-1, 3));
  }
}

TEST(IncidentKlog, YearsWithoutANameGoOn) {
  const Read read = ReadAll("Dec 31 23:59:59 node kernel: a\nJan  1 00:00:01 node kernel: b\n");
  ASSERT_EQ(read.records.size(), 2U);
  EXPECT_EQ(Elapsed(read.records[0].at, 0, read.records[1].at, 0), 2'000'000);
}

TEST(IncidentKlog, OtherProgramsAreNotTheKernel) {
  const Read read = ReadAll(
      "Nov 23 15:26:26 node kubelet[812]: EXT4-fs (vdb): VFS: Can't find ext4 filesystem\n"
      "Nov 23 15:26:27 node kernel: EXT4-fs (vdb): barriers disabled\n"
      "2026-11-23T15:26:28+0000 node mount[1]: kernel\n"
      "<30>Nov 23 15:26:29 node systemd[1]: Started.\n"
      "kern  :info  : [    1.000000] kept\n"
      "daemon:info  : [    1.000000] systemd[1]: dropped\n"
      "Nov 23 15:26:30 node systemd-journald[99]: Missed 12 kernel messages\n");
  EXPECT_THAT(read.texts, ElementsAre("EXT4-fs (vdb): barriers disabled", "kept"));
  EXPECT_EQ(read.summary.foreign, 5U);
  EXPECT_EQ(read.summary.missed, 12U);
}

TEST(IncidentKlog, ContinuationsBootsAndTimesThatGoBack) {
  const Read read = ReadAll(
      "[    1.000000] Linux version 6.1.0\n"
      "[    2.000000] first\n"
      "               and more of it\n"
      "[    1.900000] a little late\n"
      "[    0.100000] far too late\n"
      "-- Boot 0123456789abcdef --\n"
      "[    0.000000] Linux version 6.1.0\n"
      "no stamp\n");
  EXPECT_THAT(read.texts,
              ElementsAre("Linux version 6.1.0", "first", "and more of it", "a little late",
                          "far too late", "Linux version 6.1.0", "no stamp"));
  EXPECT_EQ(read.records[2].at.us, 2'000'000);
  EXPECT_EQ(read.records[4].boot, 0U);
  EXPECT_EQ(read.records[5].boot, 1U);
  EXPECT_EQ(read.summary.boots, 2U);
  EXPECT_EQ(read.summary.time_went_back, 1U);
  const auto elapsed = [&](size_t from, size_t to) {
    const auto& a = read.records[from];
    const auto& b = read.records[to];
    return Elapsed(a.at, a.boot, b.at, b.boot);
  };
  EXPECT_EQ(elapsed(1, 3), 0);
  EXPECT_EQ(elapsed(1, 4), std::nullopt);
  EXPECT_EQ(elapsed(1, 5), std::nullopt);
  EXPECT_EQ(elapsed(1, 6), std::nullopt);
}

TEST(IncidentKlog, NulsAndControlCharactersAreLeftOut) {
  using namespace std::string_literals;
  const Read read = ReadAll("\0\0\0[    1.000000] EXT4-fs\0 (vdb): \x01x\ty\r\n\0\0"s);
  EXPECT_THAT(read.texts, ElementsAre("EXT4-fs (vdb): x y"));
  EXPECT_THAT(ReadAll("\xef\xbb\xbf[    1.000000] a\n").texts, ElementsAre("a"));
}

TEST(IncidentKlog, ALineOfAHundredMegabytesIsCut) {
  std::string log(100 << 20, 'x');
  log +=
      "\n[    1.000000] EXT4-fs (vdb): mounted filesystem with ordered data mode. Opts: (null)\n";
  const Read read = ReadAll(log);
  ASSERT_EQ(read.texts.size(), 2U);
  EXPECT_EQ(read.texts[0].size(), kLineBytesMax);
  EXPECT_EQ(read.summary.cut_lines, 1U);
  const auto incident = ReadIncident(log);
  ASSERT_TRUE(incident.ok());
  EXPECT_EQ(incident->devices.size(), 1U);
  EXPECT_THAT(incident->notes, ElementsAre(HasSubstr("longer than 8192 bytes")));
}

TEST(IncidentKlog, WhatIsNoLogIsRefused) {
  std::string garbage;
  for (int i = 0; i < 100'000; ++i) garbage += static_cast<char>(i * 7919 >> 3);
  const std::map<std::string, std::string> bad = {
      {"", "no kernel messages"},
      {"\n\n\r\n", "no kernel messages"},
      {std::string(4096, '\0'), "no kernel messages"},
      {garbage, "no kernel messages"},
      {"\x1f\x8b\x08 and so on", "unpack it first"},
      {"LPKSHHRH and so on", "journalctl --file"},
      {"Nov 23 15:26:26 node kubelet[812]: hello\n", "none of the kernel"},
      {"{\"a\": 1}\n{\"b\": \n", "no kernel messages"},
      {"__CURSOR=x\n__REALTIME_TIMESTAMP=1\n\n", "no kernel messages"},
  };
  for (const auto& [log, says] : bad) {
    const auto incident = ReadIncident(log);
    ASSERT_FALSE(incident.ok()) << log.substr(0, 40);
    EXPECT_EQ(incident.error().code, ErrorCode::kUser);
    EXPECT_THAT(incident.error().message, HasSubstr(says));
  }
}

TEST(IncidentKlog, ALogWithoutDisksIsOneWithoutDevices) {
  const auto incident = ReadIncident("[    1.000000] IPv6: eth0: link becomes ready\n");
  ASSERT_TRUE(incident.ok());
  EXPECT_TRUE(incident->devices.empty());
  const auto json = nlohmann::json::parse(RenderIncidentJson(*incident));
  EXPECT_EQ(json["device"], nullptr);
  EXPECT_EQ(json["loop"], nullptr);
  EXPECT_TRUE(json["devices"].empty());
}

TEST(IncidentKlog, PiecesOfAnySizeReadAsTheWhole) {
  const auto forms = AllForms(WithTimes(FieldLog("retry_loop"), 20'000'000));
  for (const auto& [form, log] : forms) {
    SCOPED_TRACE(form);
    const Read whole = ReadAll(log);
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{4096}}) {
      std::string_view rest = log;
      LogInput input([&](char* to, size_t size) {
        const size_t n = std::min({size, piece, rest.size()});
        std::memcpy(to, rest.data(), n);
        rest.remove_prefix(n);
        return n;
      });
      std::vector<std::string> texts;
      const KlogSummary summary =
          ReadKlog(input, [&](const KlogRecord& record) { texts.emplace_back(record.text); });
      EXPECT_EQ(texts, whole.texts);
      EXPECT_EQ(summary.lines, whole.summary.lines);
      EXPECT_EQ(summary.form, whole.summary.form);
    }
  }
}

// A field that no journal keeps in memory is left out, and what follows it is read.
TEST(IncidentKlog, LongFieldsOfAJournalAreLeftOut) {
  const auto messages = WithTimes("EXT4-fs (vdb): barriers disabled\nsecond\n", 1'000'000);
  std::string log = AllForms(messages)["journal export"];
  const std::string dump(3 << 20, 'x');
  std::string field = "COREDUMP\n";
  for (int i = 0; i < 8; ++i) field += static_cast<char>(dump.size() >> (8 * i) & 0xff);
  log.insert(log.find("MESSAGE="), field + dump + "\n");
  EXPECT_THAT(ReadAll(log).texts, ElementsAre("EXT4-fs (vdb): barriers disabled", "second"));
}

TEST(IncidentKlog, TheKernelIsKnownByItsRelease) {
  EXPECT_EQ(ReadAll("[    0.000000] Linux version 6.1.0-18-amd64 (x@y) #1\n").summary.kernel,
            "6.1.0-18-amd64");
  EXPECT_EQ(ReadAll("[    0.000000] other\n").summary.kernel, "");
}

TEST(IncidentKlog, DamagedJournalsGiveWhatIsLeft) {
  const auto messages = WithTimes("EXT4-fs (vdb): barriers disabled\nsecond\nthird\n", 1'000'000);
  auto forms = AllForms(messages);
  std::string json = forms["journal json"];
  json.insert(json.find('\n') + 1, "{\"MESSAGE\": [1, 2, 999]}\nnot json\n{}\n[1]\n");
  const Read read = ReadAll(json);
  EXPECT_EQ(read.texts.size(), 3U);
  EXPECT_EQ(read.summary.broken_entries, 3U);
  // A length that reaches beyond the end.
  std::string binary = forms["journal export, binary"];
  binary.replace(binary.find("MESSAGE\n") + 8, 8, 8, '\xff');
  EXPECT_GE(ReadAll(binary).texts.size(), 1U);
  for (size_t length = 0; length < binary.size(); length += 3) {
    (void)ReadAll(binary.substr(0, length));  // must come back
  }
}

}  // namespace
}  // namespace plugpull::incident
