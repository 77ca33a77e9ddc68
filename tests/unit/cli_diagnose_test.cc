// SPDX-License-Identifier: Apache-2.0
// minimize and explain as a user types them, on recordings of a real guest.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "cli_fixture.h"

namespace plugpull {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class CliDiagnoseTest : public CliFixture {
 protected:
  CliDiagnoseTest() : CliFixture("cli-diagnose") {}

  nlohmann::json RunJson(std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    const ProgramEnd end = Run(arguments);
    EXPECT_EQ(end.status, 0) << ::testing::PrintToString(arguments) << end.err;
    return nlohmann::json::parse(end.out, nullptr, false);
  }
  // The last states that a check looks at, all of which have lost many writes.
  std::vector<std::string> Samples(const std::string& recording, size_t count) {
    std::istringstream lines(Run({"states", recording}).out);
    std::vector<std::string> ids;
    for (std::string id, rest; lines >> id && std::getline(lines, rest);) {
      if (id.find("-sample.") != std::string::npos) ids.push_back(id);
    }
    EXPECT_GE(ids.size(), count);
    return {ids.end() - static_cast<ptrdiff_t>(std::min(count, ids.size())), ids.end()};
  }
};

TEST_F(CliDiagnoseTest, LargeLossesBecomeSmallOnesAndTheBrokenRuleIsNamed) {
  size_t violated = 0;
  for (const std::string& id : Samples(kUnordered, 6)) {
    const ProgramEnd end = Run({"minimize", kUnordered, id, "--json"});
    if (end.status == 2) {
      EXPECT_THAT(end.err, HasSubstr("the state holds")) << id;
      continue;
    }
    ++violated;
    ASSERT_EQ(end.status, 0) << id << end.err;
    const auto small = nlohmann::json::parse(end.out, nullptr, false);
    EXPECT_EQ(small.at("from"), id);
    EXPECT_TRUE(small.at("one_minimal").get<bool>()) << small;
    EXPECT_LE(small.at("lost").size(), 3u) << small;
    EXPECT_GT(small.at("lost_before").get<size_t>(), 3u) << small;
    EXPECT_LE(small.at("states_judged").get<size_t>(), 2000u);

    const auto said = RunJson({"explain", kUnordered, small.at("id").get<std::string>()});
    bool same_finding = false;
    for (const auto& verdict : said.at("verdicts")) {
      same_finding |= verdict.at("class") == small.at("class");
    }
    EXPECT_TRUE(same_finding) << said;
    EXPECT_FALSE(said.at("broken_rules").empty()) << said;
    EXPECT_EQ(said.at("lost_writes"), small.at("lost").size());
    EXPECT_THAT(said.at("verdict").get<std::string>(),
                HasSubstr("the file system was mounted with nobarrier"));
  }
  EXPECT_GE(violated, 3u);
}

TEST_F(CliDiagnoseTest, TheNumberOfThreadsChangesNothing) {
  const std::string id = Samples(kUnordered, 1)[0];
  EXPECT_EQ(RunJson({"minimize", kUnordered, id, "--jobs", "1"}),
            RunJson({"minimize", kUnordered, id, "--jobs", "3"}));
  EXPECT_EQ(RunJson({"explain", kUnordered, id, "--minimize", "--jobs", "1"}),
            RunJson({"explain", kUnordered, id, "--minimize", "--jobs", "3"}));
}

TEST_F(CliDiagnoseTest, TheStateThatIsFoundCanBeWritten) {
  const auto small = RunJson({"minimize", kUnordered, Samples(kUnordered, 1)[0]});
  const std::string id = small.at("id");
  EXPECT_THAT(small.at("command").get<std::string>(), HasSubstr(id));
  EXPECT_EQ(Run({"materialize", kUnordered, id, "-o", "broken.img"}).status, 0);
}

TEST_F(CliDiagnoseTest, ABudgetThatEndsIsSaid) {
  const std::string id = Samples(kUnordered, 1)[0];
  const ProgramEnd end = Run({"minimize", kUnordered, id, "--max-states", "2"});
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_THAT(end.out, HasSubstr("perhaps not minimal: the budget of 2 states ended"));
  const auto json = RunJson({"minimize", kUnordered, id, "--max-states", "2"});
  EXPECT_FALSE(json.at("one_minimal").get<bool>());
  EXPECT_LE(json.at("states_judged").get<size_t>(), 2u);
}

TEST_F(CliDiagnoseTest, AStateThatHoldsHasNothingToMinimise) {
  ExpectFailure({"minimize", kOrdered, "vol:cache@200"}, 2,
                HasSubstr("nothing to minimise: the state holds (vol:cache@200)"));
  ExpectFailure({"explain", kOrdered, "vol:cache@200", "--minimize"}, 2,
                HasSubstr("nothing to minimise: the state holds"));
  const auto said = RunJson({"explain", kOrdered, "vol:cache@200"});
  EXPECT_EQ(said.at("verdict"), "Nothing was lost.");
  EXPECT_TRUE(said.at("broken_rules").empty());
}

TEST_F(CliDiagnoseTest, OnALyingDiskTheDiskIsAtFault) {
  const auto said = RunJson({"explain", kOrdered, "vol:lying@393-sample.7.500", "--minimize"});
  EXPECT_THAT(said.at("verdict").get<std::string>(),
              StartsWith("The disk is at fault, not the file system"));
  ASSERT_FALSE(said.at("broken_rules").empty());
  EXPECT_TRUE(said.at("broken_rules")[0].contains("promised_entry"));
}

TEST_F(CliDiagnoseTest, TheTextFitsATerminalAndSaysWhatToDoAboutManyLosses) {
  const std::string id = Samples(kUnordered, 1)[0];
  const ProgramEnd whole = Run({"explain", kUnordered, id});
  EXPECT_EQ(whole.status, 0) << whole.err;
  EXPECT_THAT(whole.out, AllOf(StartsWith(id + "\n"), HasSubstr("explain it again with --minimize"),
                               HasSubstr("materialize " + kUnordered + " " + id)));
  const ProgramEnd small = Run({"explain", kUnordered, id, "--minimize"});
  EXPECT_EQ(small.status, 0) << small.err;
  for (const char* part : {"Verdict\n", "Cut\n", "Lost (", "Why\n", "minimised from "}) {
    EXPECT_THAT(small.out, HasSubstr(part));
  }
  for (const std::string& out : {whole.out, small.out}) {
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
      const bool command = line.starts_with("  $ ") || line.find(':') == 3;
      EXPECT_TRUE(command || line.size() <= 100) << line;
    }
  }
}

TEST_F(CliDiagnoseTest, ATornWriteIsExplainedAndMadeSmall) {
  std::istringstream log(Run({"log", "show", kOrdered}).out);
  std::vector<std::string> forced;  // entries of forced writes
  for (std::string line; std::getline(log, line);) {
    if (line.find("FUA") == std::string::npos || line.find("length         0") < line.size()) {
      continue;
    }
    std::istringstream words(line);
    std::string entry;
    words >> entry;
    forced.push_back(entry);
  }
  ASSERT_GT(forced.size(), 10u);
  size_t violated = 0;
  // The last is the superblock, which has but one checksum.
  std::reverse(forced.begin(), forced.end());
  for (const std::string& entry : forced) {
    for (const char* tear : {"first.1", "last.1"}) {
      const std::string id =
          "vol:cache.u512@" + std::to_string(std::stoul(entry) + 1) + "-torn." + entry + "." + tear;
      const auto said = RunJson({"explain", kOrdered, id});
      ASSERT_EQ(said.at("torn").size(), 1u) << said;
      EXPECT_TRUE(said.at("torn_write").get<bool>());
      EXPECT_THAT(said.at("torn")[0].at("what").get<std::string>(),
                  AllOf(StartsWith("entry " + entry + ": "), HasSubstr("of 512 bytes unit")));
      ASSERT_EQ(said.at("broken_rules").size(), 1u) << said;
      EXPECT_EQ(said.at("broken_rules")[0].at("rule"), "block-is-atomic");
      EXPECT_THAT(said.at("broken_rules")[0].at("sentence").get<std::string>(),
                  HasSubstr("a block of 1024 bytes is not atomic on a disk that tears at 512"));
      EXPECT_THAT(said.at("verdict").get<std::string>(),
                  StartsWith("The disk tears writes at 512"));
      if (said.at("verdicts")[0].at("outcome") != "violated") continue;
      ++violated;
      const auto small = RunJson({"minimize", kOrdered, id, "--finding", "TORN_WRITE"});
      EXPECT_EQ(small.at("id"), id) << "one unit of two is the least that can tear";
      EXPECT_EQ(small.at("torn_units"), 1u);
      EXPECT_TRUE(small.at("one_minimal").get<bool>());
    }
    if (violated > 0) break;
  }
  EXPECT_GT(violated, 0u);
}

TEST_F(CliDiagnoseTest, UnitsAndTearsThatDoNotMatterAreGivenBack) {
  // Entry 85 is file data of eight units, which a sync has made durable.
  const auto small =
      RunJson({"minimize", kOrdered, "vol:lying.u512@393-torn.85.without.1.2.5.6-torn.97.first.3"});
  EXPECT_EQ(small.at("class"), "DURABILITY_LOST");
  EXPECT_EQ(small.at("torn_units_before"), 13u);
  EXPECT_EQ(small.at("torn_units"), 1u) << small;
  EXPECT_TRUE(small.at("one_minimal").get<bool>());
  const auto said = RunJson({"explain", kOrdered, small.at("id").get<std::string>()});
  EXPECT_THAT(said.at("broken_rules")[0].at("sentence").get<std::string>(),
              HasSubstr("nothing promises the data before a sync has returned"));
  EXPECT_TRUE(said.at("broken_rules")[0].contains("promised_entry")) << "and one had";
  // What is lost whole breaks it, and the tear does not matter.
  const std::string lost = "vol:cache.u512@395-lose.377-torn.62.first.1";
  const auto torn = RunJson({"minimize", kUnordered, lost});
  EXPECT_EQ(torn.at("torn_units_before"), 1u);
  EXPECT_EQ(torn.at("torn_units"), 0u);
  EXPECT_THAT(Run({"minimize", kUnordered, lost}).out, HasSubstr("no write has to tear for it"));
}

// ordered and writeback_nobarrier are one workload under two mounts.
TEST_F(CliDiagnoseTest, FileDataBelongsBeforeTheCommitThatMakesItReachableUnderOrderedOnly) {
  const auto first_data = [&](const std::string& recording, const std::string& model) {
    std::istringstream log(Run({"log", "show", recording}).out);
    std::vector<std::string> entries;
    for (std::string line; std::getline(log, line);) {
      std::istringstream words(line);
      std::string entry;
      words >> entry;
      if (line.find(" WRITE") == std::string::npos || std::stoul(entry) < 80) continue;
      entries.push_back(entry);
    }
    for (const std::string& entry : entries) {
      const std::string id = "vol:" + model + "@393-lose." + entry;
      const ProgramEnd end = Run({"explain", recording, id, "--json"});
      if (end.status != 0) continue;
      const auto said = nlohmann::json::parse(end.out, nullptr, false);
      const std::string what = said.at("lost")[0].at("what");
      if (what.find("data of /") != std::string::npos) return said;
    }
    ADD_FAILURE() << "no file data in " << recording;
    return nlohmann::json();
  };
  const auto ordered = first_data(kOrdered, "lying");
  ASSERT_FALSE(ordered.at("broken_rules").empty()) << ordered;
  const auto& last = ordered.at("broken_rules").back();
  EXPECT_EQ(last.at("rule"), "data-before-commit") << ordered;
  EXPECT_THAT(last.at("sentence").get<std::string>(),
              AllOf(HasSubstr("which makes it reachable, reached the disk before the write of"),
                    HasSubstr("under data=ordered")));
  EXPECT_THAT(ordered.at("verdict").get<std::string>(), StartsWith("The disk is at fault"));
  EXPECT_TRUE(ordered.at("remarks").empty());

  const auto writeback = first_data(kUnordered, "cache");
  for (const auto& rule : writeback.at("broken_rules")) {
    EXPECT_NE(rule.at("rule"), "data-before-commit") << writeback;
  }
  ASSERT_EQ(writeback.at("remarks").size(), 1u) << writeback;
  EXPECT_THAT(writeback.at("remarks")[0].get<std::string>(),
              HasSubstr("under data=writeback no rule orders the two"));

  // The log alone does not say how it was mounted.
  ASSERT_EQ(Run({"log", "convert", kOrdered, "-o", "x.log"}).status, 0);
  std::string id = ordered.at("id");
  id.replace(0, 3, "log");
  const auto unknown = RunJson({"explain", "--log", "x.log", id});
  for (const auto& rule : unknown.at("broken_rules")) {
    EXPECT_NE(rule.at("rule"), "data-before-commit") << unknown;
  }
  ASSERT_EQ(unknown.at("remarks").size(), 1u) << unknown;
  EXPECT_THAT(unknown.at("remarks")[0].get<std::string>(), HasSubstr("is not known"));
}

TEST_F(CliDiagnoseTest, LogsOfOthersAreTakenToo) {
  ASSERT_EQ(Run({"log", "convert", kUnordered, "-o", "x.log"}).status, 0);
  const auto small = RunJson({"minimize", "--log", "x.log", "log:cache@393-sample.7.500"});
  EXPECT_LE(small.at("lost").size(), 3u) << small;
  EXPECT_THAT(small.at("command").get<std::string>(), HasSubstr("--log x.log"));
  const auto said = RunJson({"explain", "--log", "x.log", small.at("id").get<std::string>()});
  EXPECT_FALSE(said.at("broken_rules").empty()) << said;
  EXPECT_EQ(said.at("verdicts")[1].at("outcome"), "not judged");
}

TEST_F(CliDiagnoseTest, WhatIsWrongIsExit2) {
  for (const char* command : {"minimize", "explain"}) {
    ExpectFailure({command}, 2, HasSubstr(std::string("plugpull ") + command + " --help"));
    ExpectFailure({command, kOrdered}, 2, HasSubstr("RECORDING ID"));
    ExpectFailure({command, kOrdered, "x"}, 2, HasSubstr("no crash state id"));
    ExpectFailure({command, kOrdered, "vol:cache@99999"}, 2, HasSubstr("possible are"));
    ExpectFailure({command, kOrdered, "vol:cache@200-lose.5"}, 2,
                  HasSubstr("belongs to the recording that it was printed for"));
    ExpectFailure({command, kOrdered, "other:cache@100"}, 2,
                  HasSubstr("has no log of a disk 'other'"));
    ExpectFailure({command, "nothing", "vol:cache@100"}, 2, HasSubstr("is no recording"));
    ExpectFailure({command, "--log", "nosuch", "log:cache@100"}, 2, HasSubstr("nosuch"));
    ExpectFailure({command, kOrdered, "vol:cache@200", "--log", "x"}, 2, HasSubstr("not both"));
    ExpectFailure({command, kOrdered, "vol:cache@200", "--finding", "BAD_LUCK"}, 2,
                  HasSubstr("--finding"));
    ExpectFailure({command, kOrdered, "vol:cache@200", "--max-states", "0"}, 2,
                  HasSubstr("--max-states"));
  }
}

TEST_F(CliDiagnoseTest, AFindingThatTheStateDoesNotShowIsRefused) {
  const auto small = RunJson({"minimize", kUnordered, Samples(kUnordered, 1)[0]});
  const std::string id = small.at("id");
  const std::string has = small.at("class");
  const std::string other = has == "JOURNAL_REFUSED" ? "METADATA_INCONSISTENT" : "JOURNAL_REFUSED";
  ExpectFailure({"minimize", kUnordered, id, "--finding", other}, 2,
                AllOf(HasSubstr("does not show " + other), HasSubstr(has)));
}

}  // namespace
}  // namespace plugpull
