// SPDX-License-Identifier: Apache-2.0
// What the reports promise to programs that read them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <pugixml.hpp>

#include "framework/report/baseline.h"
#include "framework/report/json.h"
#include "framework/report/junit.h"
#include "framework/report/summary.h"
#include "framework/report/terminal.h"

namespace plugpull::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

RunReport GoodRun(const std::string& variant = "") {
  RunReport run;
  run.set_name("scenario");
  run.set_variant(variant);
  run.set_seed(18446744073709551615ULL);
  run.set_kernel("debian:6.1");
  run.set_as_expected(true);
  DiskReport* disk = run.add_disk();
  disk->set_disk("vol");
  disk->mutable_states()->set_enumerated(10);
  disk->mutable_states()->set_holds(10);
  return run;
}

Finding MakeFinding(FindingClass found, bool expected) {
  Finding finding;
  finding.set_kind(Finding::VIOLATED);
  finding.set_oracle(CONTENT);
  finding.set_class_(found);
  finding.set_count(3);
  finding.set_example("c5.s1");
  finding.set_expected(expected);
  finding.set_command("./plugpull materialize out c5.s1 -o x.img");
  return finding;
}

Finding MakeUnknown() {
  Finding finding;
  finding.set_kind(Finding::UNKNOWN);
  finding.set_oracle(FSCK);
  finding.set_count(1);
  return finding;
}

RunReport FailingRun(const std::string& variant = "") {
  RunReport run = GoodRun(variant);
  run.set_as_expected(false);
  *run.mutable_disk(0)->add_finding() = MakeFinding(DURABILITY_LOST, false);
  return run;
}

RunReport ErrorRun(const std::string& kind) {
  RunReport run;
  run.set_name("scenario");
  run.set_error("went wrong");
  run.set_error_kind(kind);
  return run;
}

RunReport SkippedRun() {
  RunReport run;
  run.set_name("scenario");
  run.set_skipped(true);
  run.set_skip_reason("not in this shard");
  return run;
}

RunReport IncompleteRun() {
  RunReport run = GoodRun();
  run.set_incomplete_reason("the log is full");
  return run;
}

ReportList ListOf(const std::vector<RunReport>& runs) {
  ReportList reports;
  for (const RunReport& run : runs) *reports.add_run() = run;
  return reports;
}

// ---- exit status

TEST(ExitStatusTest, Table) {
  const struct {
    const char* name;
    std::vector<RunReport> runs;
    int status;
  } kCases[] = {
      {"no runs", {}, 4},
      {"all skipped", {SkippedRun(), SkippedRun()}, 4},
      {"good", {GoodRun()}, 0},
      {"good and skipped", {SkippedRun(), GoodRun()}, 0},
      {"differs", {GoodRun(), FailingRun()}, 1},
      {"differs and skipped", {FailingRun(), SkippedRun()}, 1},
      {"guest", {GoodRun(), ErrorRun("guest")}, 3},
      {"environment", {ErrorRun("environment")}, 3},
      {"internal", {ErrorRun("internal")}, 3},
      {"no kind", {ErrorRun("")}, 3},
      {"a kind that is not known", {ErrorRun("cosmic")}, 3},
      {"incomplete", {IncompleteRun()}, 3},
      {"user", {GoodRun(), ErrorRun("user")}, 2},
      {"guest over differs", {FailingRun(), ErrorRun("guest")}, 3},
      {"user over guest", {ErrorRun("guest"), ErrorRun("user"), FailingRun()}, 2},
      {"not marked", {RunReport()}, 1},
  };
  for (const auto& test : kCases)
    EXPECT_EQ(ExitStatus(ListOf(test.runs)), test.status) << test.name;
}

TEST(DifferencesTest, NamesEachReason) {
  RunReport run = FailingRun();
  *run.mutable_disk(0)->add_finding() = MakeFinding(METADATA_INCONSISTENT, true);
  *run.mutable_disk(0)->add_finding() = MakeUnknown();
  run.add_missed(JOURNAL_REFUSED);
  EXPECT_THAT(Differences(run), ElementsAre("not expected: DURABILITY_LOST in 3 states (content)",
                                            "expected and not found: JOURNAL_REFUSED",
                                            "1 state could not be judged (fsck)"));
}

// ---- JSON

TEST(RenderJsonTest, NothingIsAnEmptyList) { EXPECT_EQ(RenderJson({}), "[]\n"); }

std::vector<std::string> Keys(const nlohmann::ordered_json& object) {
  std::vector<std::string> keys;
  for (const auto& item : object.items()) keys.push_back(item.key());
  return keys;
}

TEST(RenderJsonTest, PromisedKeysComeFirst) {
  RunReport run = FailingRun("v");
  *run.mutable_disk(0)->add_finding() = MakeUnknown();
  DiskReport* other = run.add_disk();
  other->mutable_states()->set_enumerated(5);
  other->mutable_states()->set_distinct(2);
  const auto list = nlohmann::ordered_json::parse(RenderJson(ListOf({run, GoodRun("w")})));
  ASSERT_EQ(list.size(), 2u);
  auto keys = Keys(list[0]);
  keys.resize(6);
  EXPECT_THAT(keys, ElementsAre("name", "variant", "seed", "kernel", "states", "verdicts"));
  EXPECT_THAT(Keys(list[0]["states"]),
              ElementsAre("enumerated", "distinct", "holds", "violated", "unknown"));
  EXPECT_EQ(list[0]["states"]["enumerated"], 15);
  EXPECT_EQ(list[0]["states"]["distinct"], 2);
  EXPECT_TRUE(list[0]["seed"].is_number_unsigned());
  EXPECT_EQ(list[0]["seed"].get<uint64_t>(), 18446744073709551615ULL);
  ASSERT_EQ(list[0]["verdicts"].size(), 2u);
  const auto& verdict = list[0]["verdicts"][0];
  keys = Keys(verdict);
  keys.resize(6);
  EXPECT_THAT(keys, ElementsAre("oracle", "class", "count", "example", "expected", "command"));
  EXPECT_EQ(verdict["oracle"], "content");
  EXPECT_EQ(verdict["class"], "DURABILITY_LOST");
  EXPECT_EQ(verdict["count"], 3);
  EXPECT_EQ(verdict["example"], "c5.s1");
  EXPECT_EQ(verdict["expected"], false);
  EXPECT_EQ(list[0]["verdicts"][1]["class"], "UNKNOWN");
  EXPECT_EQ(list[0]["verdicts"][1]["oracle"], "fsck");
  EXPECT_TRUE(list[1]["verdicts"].is_array());
  EXPECT_TRUE(list[1]["verdicts"].empty());
}

TEST(RenderJsonTest, SumsDoNotWrap) {
  RunReport run = GoodRun();
  run.mutable_disk(0)->mutable_states()->set_enumerated(18446744073709551615ULL);
  run.add_disk()->mutable_states()->set_enumerated(1);
  const auto list = nlohmann::json::parse(RenderJson(ListOf({run})));
  EXPECT_EQ(list[0]["states"]["enumerated"].get<uint64_t>(), 18446744073709551615ULL);
}

TEST(RenderJsonTest, BytesThatAreNotUtf8DoNotStopIt) {
  RunReport run = ErrorRun("guest");
  run.set_error("console said \xff\x1b");
  const auto list = nlohmann::json::parse(RenderJson(ListOf({run})));
  EXPECT_EQ(list[0]["error"], "console said \ufffd\x1b");
  EXPECT_EQ(list[0]["outcome"], "error");
}

// ---- JUnit

TEST(RenderJUnitTest, CountsAndPlaces) {
  RunReport other = GoodRun();
  other.set_name("other");
  RunReport failing = FailingRun("bad");
  failing.set_guest_wall_ms(5300);
  failing.set_check_wall_ms(21);
  failing.mutable_disk(0)->mutable_finding(0)->set_evidence("<gone> & \x1b[1m ]]> caf\u00e9");
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(
      RenderJUnit(ListOf({GoodRun("good"), other, failing, SkippedRun(), ErrorRun("guest")}))
          .c_str()));
  const pugi::xml_node root = document.child("testsuites");
  EXPECT_EQ(root.attribute("tests").as_int(), 5);
  EXPECT_EQ(root.attribute("failures").as_int(), 1);
  EXPECT_EQ(root.attribute("errors").as_int(), 1);
  const pugi::xml_node suite = root.find_child_by_attribute("testsuite", "name", "scenario");
  EXPECT_EQ(suite.attribute("tests").as_int(), 4);
  EXPECT_EQ(suite.attribute("skipped").as_int(), 1);
  EXPECT_STREQ(suite.attribute("time").value(), "5.321");
  const pugi::xml_node bad = suite.find_child_by_attribute("testcase", "name", "bad");
  EXPECT_STREQ(bad.attribute("classname").value(), "scenario");
  EXPECT_STREQ(bad.attribute("time").value(), "5.321");
  EXPECT_THAT(bad.child("failure").attribute("message").value(),
              HasSubstr("not expected: DURABILITY_LOST in 3 states (content)"));
  EXPECT_THAT(bad.child("failure").text().get(), HasSubstr("<gone> & [1m ]]> caf\u00e9"));
  EXPECT_THAT(bad.child("failure").text().get(), HasSubstr("$ ./plugpull materialize out c5.s1"));
  const pugi::xml_node good = suite.find_child_by_attribute("testcase", "name", "good");
  EXPECT_FALSE(good.child("failure"));
  EXPECT_THAT(good.child("system-out").text().get(), HasSubstr("seed 18446744073709551615"));
}

TEST(RenderJUnitTest, SkippedAndErrorSayWhy) {
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(
      RenderJUnit(ListOf({SkippedRun(), ErrorRun("environment"), IncompleteRun()})).c_str()));
  pugi::xml_node testcase = document.child("testsuites").child("testsuite").child("testcase");
  EXPECT_STREQ(testcase.child("skipped").attribute("message").value(), "not in this shard");
  testcase = testcase.next_sibling("testcase");
  EXPECT_STREQ(testcase.child("error").attribute("type").value(), "environment");
  EXPECT_THAT(testcase.child("error").attribute("message").value(), HasSubstr("went wrong"));
  testcase = testcase.next_sibling("testcase");
  EXPECT_STREQ(testcase.child("error").attribute("type").value(), "incomplete");
  EXPECT_THAT(testcase.child("error").attribute("message").value(), HasSubstr("the log is full"));
}

TEST(RenderJUnitTest, PropertiesOfTheSuite) {
  RunReport second = GoodRun("b");
  second.set_seed(2);
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(RenderJUnit(ListOf({GoodRun("a"), second})).c_str()));
  const pugi::xml_node properties =
      document.child("testsuites").child("testsuite").child("properties");
  const auto value = [&](const char* name) -> std::string {
    return properties.find_child_by_attribute("property", "name", name).attribute("value").value();
  };
  EXPECT_EQ(value("seed.a"), "18446744073709551615");
  EXPECT_EQ(value("seed.b"), "2");
  EXPECT_EQ(value("kernel"), "debian:6.1");
}

// ---- baseline

TEST(BaselineTest, KnownFindingsDoNotFail) {
  ReportList now = ListOf({FailingRun("a")});
  *now.mutable_run(0)->mutable_disk(0)->add_finding() = MakeUnknown();
  const auto marked = FilterAgainstBaseline(now, RenderJson(now));
  ASSERT_TRUE(marked.ok()) << marked.error().ToString();
  EXPECT_EQ(*marked, 2u);
  EXPECT_EQ(ExitStatus(now), 0);
  EXPECT_TRUE(now.run(0).disk(0).finding(0).in_baseline());
  EXPECT_FALSE(now.run(0).disk(0).finding(0).expected());
  EXPECT_THAT(RenderTerminal(now, {}), HasSubstr("baseline"));
  // The report that is made now serves as the next baseline.
  ReportList again = ListOf({FailingRun("a")});
  ASSERT_TRUE(FilterAgainstBaseline(again, RenderJson(now)).ok());
  EXPECT_EQ(ExitStatus(again), 0);
}

TEST(BaselineTest, NewFindingsFail) {
  const std::string baseline = RenderJson(ListOf({FailingRun("a")}));
  RunReport other_variant = FailingRun("b");
  RunReport other_class = FailingRun("a");
  other_class.mutable_disk(0)->mutable_finding(0)->set_class_(METADATA_INCONSISTENT);
  RunReport other_oracle = FailingRun("a");
  other_oracle.mutable_disk(0)->mutable_finding(0)->set_oracle(FSCK);
  RunReport other_disk = FailingRun("a");
  other_disk.mutable_disk(0)->set_disk("log");
  RunReport one_more = FailingRun("a");
  *one_more.mutable_disk(0)->add_finding() = MakeUnknown();
  for (const RunReport& run : {other_variant, other_class, other_oracle, other_disk, one_more}) {
    ReportList now = ListOf({run});
    ASSERT_TRUE(FilterAgainstBaseline(now, baseline).ok());
    EXPECT_EQ(ExitStatus(now), 1) << run.DebugString();
  }
}

RunReport InBoot(uint32_t boot) {
  RunReport run = FailingRun("a");
  run.mutable_disk(0)->set_boot(boot);
  return run;
}

TEST(BaselineTest, AFindingOfOneBootDoesNotExcuseThatOfAnother) {
  const auto status = [](const RunReport& now, const RunReport& before) {
    ReportList reports = ListOf({now});
    EXPECT_TRUE(FilterAgainstBaseline(reports, RenderJson(ListOf({before}))).ok());
    return ExitStatus(reports);
  };
  EXPECT_EQ(status(InBoot(1), InBoot(1)), 0);
  EXPECT_EQ(status(InBoot(2), InBoot(1)), 1);
  EXPECT_EQ(status(InBoot(2), FailingRun("a")), 1);
  EXPECT_EQ(status(FailingRun("a"), InBoot(2)), 1);
  ReportList any = ListOf({InBoot(2)});
  ASSERT_TRUE(FilterAgainstBaseline(any, R"([{"name": "scenario", "variant": "a", "verdicts":
      [{"oracle": "content", "class": "DURABILITY_LOST"}]}])")
                  .ok());
  EXPECT_EQ(ExitStatus(any), 0);
  const auto json = nlohmann::json::parse(RenderJson(any));
  EXPECT_EQ(json[0]["verdicts"][0].value("boot", 0), 2);
}

TEST(BaselineTest, DoesNotExcuseWhatIsMissing) {
  ReportList now = ListOf({FailingRun("a")});
  now.mutable_run(0)->add_missed(JOURNAL_REFUSED);
  ASSERT_TRUE(FilterAgainstBaseline(now, RenderJson(now)).ok());
  EXPECT_EQ(ExitStatus(now), 1);
  now = ListOf({ErrorRun("guest"), IncompleteRun()});
  ASSERT_TRUE(FilterAgainstBaseline(now, RenderJson(now)).ok());
  EXPECT_EQ(ExitStatus(now), 3);
}

TEST(BaselineTest, WithoutADiskAnyDiskMatches) {
  ReportList now = ListOf({FailingRun("a")});
  ASSERT_TRUE(FilterAgainstBaseline(now, R"([{"name": "scenario", "variant": "a", "verdicts":
      [{"oracle": "content", "class": "DURABILITY_LOST"}]}])")
                  .ok());
  EXPECT_EQ(ExitStatus(now), 0);
}

TEST(BaselineTest, RefusesWhatIsNoReport) {
  const char* kBad[] = {"",
                        "{",
                        "[",
                        "nonsense",
                        "{}",
                        "7",
                        "[7]",
                        "[{}]",
                        R"([{"name": 7}])",
                        R"([{"name": "s", "variant": "v"}])",
                        R"([{"name": "s", "variant": "v", "verdicts": {}}])",
                        R"([{"name": "s", "variant": "v", "verdicts": [1]}])",
                        R"([{"name": "s", "variant": "v", "verdicts": [{"oracle": "fsck"}]}])",
                        R"([{"name": "s", "variant": "v", "verdicts": [{"oracle": 1}]}])"};
  for (const char* text : kBad) {
    ReportList now = ListOf({FailingRun("a")});
    const auto result = FilterAgainstBaseline(now, text);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_EQ(result.error().code, ErrorCode::kUser) << text;
    EXPECT_THAT(result.error().message, HasSubstr("baseline")) << text;
    EXPECT_EQ(ExitStatus(now), 1) << text;
  }
}

// ---- terminal

TEST(RenderTerminalTest, NoEscapeWithoutColourAndNoCarelessWidth) {
  RunReport run = FailingRun("v");
  run.mutable_disk(0)->mutable_finding(0)->set_evidence("\x1b[2J" + std::string(5000, 'x'));
  for (const int width : {-5, 0, 60, 100, 500}) {
    const std::string text =
        RenderTerminal(ListOf({run, GoodRun()}), {.colour = false, .width = width});
    EXPECT_THAT(text, Not(HasSubstr("\x1b"))) << width;
    EXPECT_THAT(text, HasSubstr("./plugpull materialize out c5.s1 -o x.img\n")) << width;
  }
}

TEST(RenderTerminalTest, ZeroesOfTheCoverageAreShown) {
  RunReport run = GoodRun();
  run.mutable_disk(0)->mutable_coverage()->set_weak(true);
  const std::string text = RenderTerminal(ListOf({run}), {});
  EXPECT_THAT(text, HasSubstr("tail moves 0, checkpoints 0, revokes 0, wraps 0"));
  EXPECT_THAT(text, HasSubstr("holds (weak: nothing was checkpointed)"));
}

// Who judges in a guest, or a recovery that was recorded in one, does not see the host's log.
TEST(Summary, ClassesOfBothLogsAreThoseOfTheOraclesOfBoth) {
  DiskReport disk;
  for (const Oracle oracle : {FSCK, CONTENT, KERNEL_MOUNT, COMMAND, SAME_RECOVERY}) {
    Finding& finding = *disk.add_finding();
    finding.set_kind(Finding::VIOLATED);
    finding.set_oracle(oracle);
    finding.set_class_(oracle == FSCK ? METADATA_INCONSISTENT : RECOVERY_DIFFERS);
    finding.set_count(2);
  }
  disk.add_finding()->set_kind(Finding::UNKNOWN);
  EXPECT_EQ(ClassesOfBothLogs(disk),
            (std::map<int, uint64_t>{{METADATA_INCONSISTENT, 2}, {RECOVERY_DIFFERS, 2}}));
}

}  // namespace
}  // namespace plugpull::report
