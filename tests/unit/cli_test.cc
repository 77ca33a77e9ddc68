// SPDX-License-Identifier: Apache-2.0
// The program as a user types it: exit statuses, messages, and what it refuses to touch. No test
// here starts a guest.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli_fixture.h"
#include "framework/blocklog/log_writer.h"

namespace plugpull {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kQuickstart =
    std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/quickstart.textproto";

class CliTest : public CliFixture {
 protected:
  CliTest() : CliFixture("cli") {}

  std::string CopyOf(const std::string& recording, const std::string& name) {
    std::error_code error;
    fs::copy(recording, folder_ / name, fs::copy_options::recursive, error);
    EXPECT_FALSE(error) << error.message();
    return name;
  }
  std::string Read(const std::string& name) {
    const auto text = os::ReadFile(folder_ / name, Mebibytes(64));
    EXPECT_TRUE(text.ok()) << text.error().ToString();
    return text.ok() ? *text : "";
  }
  std::vector<std::string> Left() {
    const auto names = os::ListFolder(folder_.path());
    return names.ok() ? *names : std::vector<std::string>{names.error().ToString()};
  }
};

TEST_F(CliTest, ThreeMistakesAreThreeLinesAndNothingIsStarted) {
  WriteText(folder_ / "bad.textproto",
            "name: \"bad\"\n"
            "disk { name: \"vol\" size_mib: 64 layer { log_writes {} } }\n"
            "step { mkfs { disk: \"vol\" tpye: \"ext4\" } }\n"
            "step { mount { disk: \"other\" at: \"/data\" } }\n"
            "check { disk: \"vol\" max_states: 0 oracle: FSCK }\n");
  // Where a guest would be started, this fails instead.
  const auto end = RunPlugpull(folder_, {"run", "bad.textproto", "--out", "out"}, Millis(60'000),
                               {"PATH=/nonexistent", "PLUGPULL_CACHE=" + (folder_ / "cache")});
  EXPECT_EQ(end.status, 2);
  EXPECT_THAT(end.out, IsEmpty());
  EXPECT_THAT(end.err, ContainsRegex("bad\\.textproto:3:[0-9]+: .*tpye"));
  EXPECT_THAT(end.err, ContainsRegex("bad\\.textproto:4:[0-9]+: .*other"));
  EXPECT_THAT(end.err, ContainsRegex("bad\\.textproto:5:[0-9]+: .*max_states"));
  EXPECT_THAT(end.err, HasSubstr("3 mistakes in the scenarios; nothing was run"));
  EXPECT_THAT(Left(), ::testing::ElementsAre("bad.textproto"));
}

TEST_F(CliTest, CommandLinesThatAreWrongAreExit2AndSayWhereHelpIs) {
  ExpectFailure({}, 2, HasSubstr("plugpull --help"));
  ExpectFailure({"frobnicate"}, 2, HasSubstr("there is no command 'frobnicate'"));
  ExpectFailure({"run"}, 2, HasSubstr("see: plugpull run --help"));
  ExpectFailure(
      {"run", "--frobnicate", "x"}, 2,
      AllOf(StartsWith("plugpull: "), HasSubstr("--frobnicate"), HasSubstr("plugpull run --help")));
  ExpectFailure({"log", "show", "--frobnicate", "x"}, 2, HasSubstr("plugpull log show --help"));
  ExpectFailure(
      {"run", "nosuch.textproto"}, 2,
      AllOf(HasSubstr("nosuch.textproto: there is no such file"), HasSubstr("nothing was run")));
  ExpectFailure({"run", kQuickstart, "--seed", "-1"}, 2, HasSubstr("not -1"));
  ExpectFailure({"run", kQuickstart, "--jobs", "0"}, 2, HasSubstr("--jobs"));
  ExpectFailure({"run", kQuickstart, "--jobs", "99999"}, 2, HasSubstr("--jobs"));
  ExpectFailure({"run", kQuickstart, "--repeat", "0"}, 2, HasSubstr("--repeat"));
  ExpectFailure({"run", kQuickstart, "--kernel", "beos:5"}, 2, HasSubstr("debian:6.1"));
  ExpectFailure({"run", kQuickstart, "--accel", "hope"}, 2, HasSubstr("--accel"));
  ExpectFailure({"run", kQuickstart, "--baseline", "nosuch"}, 2, HasSubstr("nosuch"));
  ExpectFailure({"run", kQuickstart, "--baseline", kQuickstart}, 2, HasSubstr("is not JSON"));
  ExpectFailure({"check"}, 2, HasSubstr("recording folders, or --log LOG"));
  ExpectFailure({"check", kOrdered, "--log", "x"}, 2, HasSubstr("recording folders, or --log"));
  ExpectFailure({"check", kOrdered, "--lying"}, 2, HasSubstr("--log"));
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(CliTest, FilterAndShardThatAreWrongAreExit2AndThatLeaveNothingAreExit4) {
  for (const char* shard : {"0/2", "3/2", "a", "1/", "/2", "1/2x", "-1/2", "1/0"}) {
    ExpectFailure({"run", kQuickstart, "--shard", shard}, 2, HasSubstr("I/N"));
  }
  ExpectFailure({"run", kQuickstart, "--filter", "["}, 2, HasSubstr("--filter ["));
  ExpectFailure({"run", kQuickstart, "--filter", std::string(5000, '(')}, 2, HasSubstr("at most"));
  for (const char* command : {"run", "record", "shell"}) {
    ExpectFailure({command, kQuickstart, "--filter", "nothing_like_it"}, 4,
                  HasSubstr("nothing matches the filter and shard"));
  }
  ExpectFailure({"run", kQuickstart, "--shard", "4/4", "--dry-run"}, 4,
                HasSubstr("nothing matches"));
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(CliTest, ShardsShareOutAllRunsOnce) {
  std::string together;
  for (const char* shard : {"1/2", "2/2"}) {
    const ProgramEnd end = Run({"run", kQuickstart, "--dry-run", "--shard", shard});
    EXPECT_EQ(end.status, 0) << end.err;
    together += end.out;
  }
  for (const char* variant : {"ordered", "writeback_nobarrier", "dropped_barriers"}) {
    const std::string name = std::string("quickstart/") + variant + " ";
    const size_t first = together.find(name);
    ASSERT_NE(first, std::string::npos) << together;
    EXPECT_EQ(together.find(name, first + 1), std::string::npos) << together;
  }
}

TEST_F(CliTest, TwoRunsNeverWriteToOnePlace) {
  ExpectFailure({"run", kQuickstart, kQuickstart, "--dry-run"}, 2,
                AllOf(HasSubstr("would both be recorded in quickstart/ordered"),
                      HasSubstr("names of their own")));
  ExpectFailure({"record", kQuickstart, "--kernel", "debian:6.1", "--kernel", "debian:6.1"}, 2,
                HasSubstr("would both be recorded"));
}

TEST_F(CliTest, AShellWithoutATerminalIsRefused) {
  ExpectFailure({"shell", kQuickstart}, 2, HasSubstr("shell needs a terminal"));
}

TEST_F(CliTest, WhatNewWritesIsValid) {
  const ProgramEnd fresh = Run({"new", "my_scenario"});
  EXPECT_EQ(fresh.status, 0) << fresh.err;
  EXPECT_THAT(fresh.out, HasSubstr("my_scenario.textproto"));
  const ProgramEnd valid = Run({"validate", "my_scenario.textproto"});
  EXPECT_EQ(valid.status, 0) << valid.err;
  EXPECT_EQ(valid.out, "1 valid\n");
  EXPECT_EQ(Run({"run", "my_scenario.textproto", "--dry-run"}).status, 0);
  const std::string before = Read("my_scenario.textproto");
  ExpectFailure({"new", "my_scenario"}, 2, HasSubstr("is there already"));
  EXPECT_EQ(Read("my_scenario.textproto"), before);
  ExpectFailure({"new", "No Such Name"}, 2, HasSubstr("lower-case letters"));
  ExpectFailure({"new", "../up"}, 2, HasSubstr("lower-case letters"));
}

TEST_F(CliTest, ListIsJsonAndShowsBrokenOnesToo) {
  const std::string scenarios = std::string(PLUGPULL_SOURCE_DIR) + "/scenarios";
  const ProgramEnd good = Run({"list", "--json", scenarios});
  EXPECT_EQ(good.status, 0) << good.err;
  const auto list = nlohmann::json::parse(good.out, nullptr, false);
  ASSERT_TRUE(list.is_array()) << good.out;
  bool found = false;
  for (const auto& entry : list) {
    EXPECT_TRUE(entry.at("errors").empty()) << entry;
    if (entry.at("name") != "quickstart") continue;
    found = true;
    EXPECT_EQ(entry.at("variants").size(), 3u);
  }
  EXPECT_TRUE(found);

  WriteText(folder_ / "broken.textproto", "name: \"broken\"\nnonsense: 1\n");
  const ProgramEnd broken = Run({"list", "--json", "."});
  EXPECT_EQ(broken.status, 2);
  const auto broken_list = nlohmann::json::parse(broken.out, nullptr, false);
  ASSERT_EQ(broken_list.size(), 1u);
  EXPECT_FALSE(broken_list[0].at("errors").empty());
  ExpectFailure({"list", "nosuch"}, 2, HasSubstr("\"nosuch\" is not a folder"));
}

TEST_F(CliTest, ARecordingIsCheckedTheSameByAnyNumberOfThreads) {
  const ProgramEnd one = Run({"check", kUnordered, "--json", "--jobs", "1"});
  const ProgramEnd three = Run({"check", kUnordered, "--json", "--jobs", "3"});
  EXPECT_EQ(one.status, 0) << one.err;
  EXPECT_EQ(three.status, 0) << three.err;
  auto first = nlohmann::json::parse(one.out, nullptr, false);
  auto second = nlohmann::json::parse(three.out, nullptr, false);
  ASSERT_TRUE(first.is_object() || first.is_array()) << one.out;
  const auto without_times = [](nlohmann::json& json, const auto& self) -> void {
    if (json.is_object()) {
      for (const char* key : {"check_wall_ms", "guest_wall_ms"}) json.erase(key);
    }
    if (!json.is_structured()) return;
    for (auto& child : json) self(child, self);
  };
  without_times(first, without_times);
  without_times(second, without_times);
  EXPECT_EQ(first, second);
  EXPECT_THAT(one.out, HasSubstr("METADATA_INCONSISTENT"));
}

TEST_F(CliTest, DamagedRecordingsAreExit2AndTheFileIsNamed) {
  const auto expect_damage = [&](const std::string& recording, const std::string& says) {
    const ProgramEnd end = Run({"check", recording});
    EXPECT_EQ(end.status, 2) << end.out << end.err;
    EXPECT_THAT(end.out, AllOf(HasSubstr(recording), HasSubstr(says)));
    EXPECT_THAT(end.out, ContainsRegex("record[\n ]+again|plugpull[\n ]+record")) << says;
    EXPECT_EQ(Run({"check", recording, "--json"}).status, 2);
    ExpectFailure(
        {"states", recording}, 2,
        AllOf(HasSubstr(recording),
              ContainsRegex("copy the recording again .* or record again|plugpull record")));
    ExpectFailure({"log", "stat", recording}, 2, HasSubstr(recording));
    ExpectFailure({"materialize", recording, "vol:cache@100", "-o", "i.img"}, 2,
                  HasSubstr(recording));
  };
  std::error_code error;
  fs::resize_file(folder_ / CopyOf(kOrdered, "cut") + "/vol.log.zst", 100, error);
  expect_damage("cut", "is damaged");
  std::string log = Read(CopyOf(kOrdered, "flipped") + "/vol.log.zst");
  log[log.size() / 2] ^= 1;
  WriteText(folder_ / "flipped/vol.log.zst", log);
  expect_damage("flipped", "its checksum is wrong");
  fs::remove(folder_ / CopyOf(kOrdered, "gone") + "/workload-0.pb.zst", error);
  expect_damage("gone", "is missing");
  std::string manifest = Read(CopyOf(kOrdered, "edited") + "/recording.textproto");
  manifest.replace(manifest.find("size_bytes: "), 13, "size_bytes: 9");
  WriteText(folder_ / "edited/recording.textproto", manifest);
  expect_damage("edited", "its checksum is wrong");
  fs::resize_file(folder_ / CopyOf(kOrdered, "short") + "/recording.textproto", 200, error);
  expect_damage("short", "is cut short");
  expect_damage("nothing", "is no recording");
  EXPECT_FALSE(fs::exists(folder_ / "i.img"));
}

TEST_F(CliTest, IdsThatDoNotFitAreExit2AndWriteNothing) {
  const auto expect_refused = [&](const std::string& id, const std::string& says) {
    ExpectFailure({"materialize", kOrdered, id, "-o", "i.img"}, 2, HasSubstr(says));
  };
  expect_refused("x", "no crash state id");
  expect_refused("vol:cache@", "no crash state id");
  expect_refused("vol:honest@100", "no crash state id");
  expect_refused("other:cache@100", "has no log of a disk 'other'; it has: vol");
  expect_refused("vol:cache@99999", "possible are");
  expect_refused("vol:cache@3", "possible are");
  expect_refused("vol:cache@200-lose.5", "belongs to the recording that it was printed for");
  expect_refused("vol:cache@99999999999999999999999", "no crash state id");
  EXPECT_THAT(Left(), IsEmpty());
  // An id of the recording without barriers names writes that a flush made durable in the other.
  ExpectFailure({"materialize", kOrdered, "vol:cache@393-lose.100", "-o", "i.img"}, 2,
                HasSubstr("is no volatile write at cut 393"));
}

TEST_F(CliTest, IdsThatAreWrittenWronglySayWhatIsWrong) {
  const auto expect_refused = [&](const std::string& id, const std::string& says) {
    for (const char* command : {"explain", "minimize"}) {
      ExpectFailure({command, kUnordered, id}, 2, HasSubstr(says));
    }
    ExpectFailure({"materialize", kUnordered, id, "-o", "i.img"}, 2, HasSubstr(says));
  };
  expect_refused("vol:cache@393-lose.65.62", "has 62 after 65, but has to ascend");
  expect_refused("vol:cache@393-lose.62.62", "names 62 twice");
  expect_refused("vol:cache@-5", "'-5' is no cut: that is the number of a log entry, from 0 on");
  expect_refused("vol:cache@393-older-lose.62", "'older' comes last in an id");
  expect_refused(
      "vol:cache.u512@393-torn.62.first.2",
      "the tear of log entry 62 does not fit: the write has 2 units of 512 bytes, 0 to 1");
  expect_refused("vol:cache.u512@393-torn.62.without.7", "has 2 units of 512 bytes, 0 to 1");
  expect_refused("vol:cache.u512@393-torn.2.first.1", "neither volatile nor in flight at cut 393");
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(CliTest, NumbersOutOfBoundsNameTheValueTheBoundsAndWhatToDo) {
  const auto expect_refused = [&](std::vector<std::string> arguments, const std::string& option,
                                  const std::string& value, const std::string& says) {
    arguments.push_back(option);
    arguments.push_back(value);
    ExpectFailure(arguments, 2,
                  AllOf(HasSubstr(option + ": " + value + " is no number from "), HasSubstr(says),
                        HasSubstr("--help")));
  };
  const std::string id = "vol:cache@200";
  for (const char* jobs : {"0", "-1", "1025", "many", "2x", "99999999999999999999"}) {
    const std::string says = "1 to 1024; leave it out for one for each processor";
    expect_refused({"run", kQuickstart}, "--jobs", jobs, says);
    expect_refused({"check", kOrdered}, "--jobs", jobs, says);
    expect_refused({"explain", kOrdered, id}, "--jobs", jobs, says);
  }
  for (const char* states : {"0", "-1", "10000001", "4294967297"}) {
    expect_refused({"check", kOrdered}, "--max-states", states, "1 to 10000000; ");
    expect_refused({"minimize", kOrdered, id}, "--max-states", states, "leave it out for 2000");
  }
  expect_refused({"run", kQuickstart}, "--repeat", "10001", "1 to 10000; start it again");
  expect_refused({"states", kOrdered}, "--limit", "-1", "leave it out for all");
  expect_refused({"log", "show", kOrdered}, "--first", "-1", "leave it out to begin at the first");
  expect_refused({"log", "show", kOrdered}, "--count", "0", "leave it out for all");
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(CliTest, AFileInAFolderThatIsNotThereIsTheUsersMistake) {
  const auto says = AllOf(HasSubstr("nosuch/x cannot be written: there is no folder nosuch"),
                          HasSubstr("make it, or name another file"));
  ExpectFailure({"materialize", kOrdered, "vol:cache@200", "-o", "nosuch/x"}, 2, says);
  ExpectFailure({"log", "convert", kOrdered, "-o", "nosuch/x"}, 2, says);
  ExpectFailure({"new", "fresh", "-o", "nosuch/x"}, 2, says);
  ExpectFailure({"materialize", kOrdered, "vol:cache@200", "-o", "/nonexistent/x"}, 2,
                HasSubstr("there is no folder /nonexistent"));
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(CliTest, ADiscardBehindTheEndOfTheDiskIsRefused) {
  blocklog::LogWriter writer;
  writer.Discard(Bytes(1 << 20), Bytes(4096));
  const auto& bytes = writer.bytes();
  WriteText(folder_ / "x.log", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  WriteText(folder_ / "base", std::string((1 << 20) + 512, '\0'));
  const std::string says =
      "log entry 0 discards bytes 1048576 to 1052672 of a disk of 1049088 bytes; is it the log of "
      "another disk?";
  ExpectFailure({"explain", "--log", "x.log", "--base", "base", "log:cache@1"}, 2,
                AllOf(HasSubstr("x.log"), HasSubstr(says), HasSubstr("plugpull log show")));
  EXPECT_EQ(Run({"check", "--log", "x.log", "--base", "base"}).status, 2);
}

// States that e2fsck recovers are counted with those that are recovered in process.
TEST_F(CliTest, DistinctImagesAreAsManyWhoeverRecoversThem) {
  for (const std::string& recording : {kOrdered, kUnordered}) {
    const std::vector<std::string> check = {"check", recording, "--json", "--max-states", "240"};
    std::vector<std::string> by_e2fsck = check;
    by_e2fsck.emplace_back("--e2fsck-only");
    const auto ours = nlohmann::json::parse(Run(check).out, nullptr, false);
    const auto theirs = nlohmann::json::parse(Run(by_e2fsck).out, nullptr, false);
    const auto states = [](const nlohmann::json& report) {
      std::vector<nlohmann::json> counts;
      const auto& disk = report.at(0).at("disks")[0];
      counts.push_back(disk.at("states"));
      for (const auto& one : disk.at("enumerators")) counts.push_back(one.at("states"));
      return counts;
    };
    EXPECT_EQ(states(ours), states(theirs)) << recording;
    EXPECT_GT(states(ours)[0].at("distinct").get<size_t>(), 20u);
  }
}

TEST_F(CliTest, EveryStateOfAReportCanBeWritten) {
  const ProgramEnd report = Run({"check", kUnordered, "--json"});
  const auto json = nlohmann::json::parse(report.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  const std::string text = json.dump();
  const size_t at = text.find("\"example\":\"");
  ASSERT_NE(at, std::string::npos);
  const size_t start = at + 11;
  const std::string id = text.substr(start, text.find('"', start) - start);
  const ProgramEnd end = Run({"materialize", kUnordered, id, "-o", "broken.img"});
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_THAT(end.out,
              AllOf(StartsWith("broken.img: the disk after a power cut"), HasSubstr("lost: ")));
  EXPECT_EQ(fs::file_size(folder_ / "broken.img"), 16u << 20);
  const ProgramEnd states = Run({"states", kUnordered, "--limit", "3"});
  EXPECT_EQ(states.status, 0) << states.err;
  EXPECT_THAT(states.out, MatchesRegex("(vol:cache@[^ ]*  [^\n]*\n){3}"));
}

TEST_F(CliTest, WhatIsNoPlainFileIsNeverWrittenOver) {
  std::error_code error;
  fs::create_directory(folder_ / "place", error);
  fs::create_symlink("elsewhere", folder_ / "link", error);
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  for (const char* output : {"place", "link", "pipe"}) {
    ExpectFailure({"materialize", kOrdered, "vol:cache@200", "-o", output}, 2,
                  HasSubstr("name another file"));
    ExpectFailure({"log", "convert", kOrdered, "-o", output}, 2, HasSubstr("name another file"));
    ExpectFailure({"new", "fresh", "-o", output}, 2, Not(IsEmpty()));
  }
  EXPECT_THAT(Left(), ::testing::ElementsAre("link", "pipe", "place"));
  EXPECT_TRUE(fs::is_fifo(folder_ / "pipe"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
}

TEST_F(CliTest, ReportsAreShownAgainAndOldOnesAreNotTakenForNew) {
  ExpectFailure({"report", "nosuch"}, 2, HasSubstr("nosuch is no results folder"));
  ExpectFailure({"report", "."}, 2, HasSubstr("is no results folder"));
  const ProgramEnd checked = Run({"check", kOrdered, "--out", "out"});
  EXPECT_EQ(checked.status, 0) << checked.err;
  const ProgramEnd shown = Run({"report", "out"});
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_THAT(checked.out, StartsWith(shown.out));
  EXPECT_TRUE(nlohmann::json::accept(Run({"report", "out", "--json"}).out));
  EXPECT_THAT(Run({"report", "out", "--junit"}).out, HasSubstr("<testsuite"));
  const ProgramEnd matrix = Run({"report", "out", "--matrix", "--format", "markdown"});
  EXPECT_EQ(matrix.status, 0) << matrix.err;
  EXPECT_THAT(matrix.out, HasSubstr("No run asked the GUARANTEES oracle."));
  ExpectFailure({"report", "out", "--format", "markdown"}, 2, HasSubstr("--matrix"));
  ExpectFailure({"report", "out", "--matrix", "--json"}, 2, HasSubstr("--json"));
  ExpectFailure({"report", "out", "--matrix", "--format", "html"}, 2, HasSubstr("html"));
  // A run that fails before its end leaves no reports of an older one.
  ExpectFailure({"check", kOrdered, "--out", "out", "--baseline", "nosuch"}, 2,
                HasSubstr("nosuch"));
  EXPECT_TRUE(fs::exists(folder_ / "out/report.json"));
  const ProgramEnd again = Run({"check", "nothing", "--out", "out"});
  EXPECT_EQ(again.status, 2);
  EXPECT_EQ(Run({"report", "out"}).status, 2);
  WriteText(folder_ / "out/report.textproto", "run { name: \"x");
  ExpectFailure({"report", "out"}, 2,
                AllOf(StartsWith("plugpull: out/report.textproto is damaged"),
                      Not(HasSubstr("libprotobuf"))));
}

TEST_F(CliTest, ABaselineMayBeTheReportThatIsWrittenOver) {
  ASSERT_EQ(Run({"check", kUnordered, "--out", "out"}).status, 0);
  const ProgramEnd again =
      Run({"check", kUnordered, "--out", "out", "--baseline", "out/report.json"});
  EXPECT_EQ(again.status, 0) << again.err;
}

TEST_F(CliTest, OutputThatCannotBeWrittenIsNoSuccess) {
  os::SubprocessOptions options;
  options.argv = {"/bin/sh", "-c", "exec \"$0\" list \"$1\" > /dev/full", PlugpullPath(),
                  std::string(PLUGPULL_SOURCE_DIR) + "/scenarios"};
  auto output = os::RunProgram(options, Millis(30'000));
  ASSERT_TRUE(output.ok()) << output.error().ToString();
  EXPECT_EQ(output->exit.code, 3) << output->out;
  EXPECT_THAT(output->out, HasSubstr("cannot write to stdout"));
  // A reader that has seen enough is no reason to complain.
  options.argv = {"/bin/sh", "-c", "\"$0\" states \"$1\" | head -1", PlugpullPath(), kUnordered};
  output = os::RunProgram(options, Millis(30'000));
  ASSERT_TRUE(output.ok()) << output.error().ToString();
  EXPECT_THAT(output->out, MatchesRegex("vol:cache@[^\n]*\n"));
}

}  // namespace
}  // namespace plugpull
