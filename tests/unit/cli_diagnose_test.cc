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
