// SPDX-License-Identifier: Apache-2.0
// The tour, as a user takes it: the real scenario through the real program, and what it claims held
// against e2fsck and debugfs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <re2/re2.h>

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "tests/support/program.h"

namespace plugpull {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Millis kRunMax{400'000};
constexpr Millis kToolMax{60'000};

// Runs a command line in the folder; its output and exit status.
os::RunOutput Shell(const TestFolder& folder, const std::string& command) {
  os::SubprocessOptions options;
  options.argv = {"/bin/sh", "-c", command};
  options.folder = folder.path();
  options.environment = {"LC_ALL=C"};
  const auto output = os::RunProgram(options, kToolMax, Mebibytes(8));
  EXPECT_TRUE(output.ok()) << output.error().ToString();
  return output.ok() ? *output : os::RunOutput{};
}

const Json& Variant(const Json& runs, const std::string& name) {
  static const Json none;
  for (const Json& run : runs) {
    if (run.at("variant") == name) return run;
  }
  ADD_FAILURE() << "no variant " << name;
  return none;
}

const Json* Verdict(const Json& run, const std::string& finding) {
  for (const Json& verdict : run.at("verdicts")) {
    if (verdict.at("class") == finding) return &verdict;
  }
  return nullptr;
}

std::string WithoutTimes(Json run) {
  run.erase("guest_wall_ms");
  run.erase("check_wall_ms");
  return run.dump(1);
}

class QuickstartTest : public ::testing::Test {
 protected:
  QuickstartTest() : folder_("quickstart"), mark_("PLUGPULL_TEST_RUN=" + folder_.path()) {}

  void SetUp() override {
    ASSERT_TRUE(os::MakeFolders(folder_ / "tmp").ok());
    std::error_code error;
    fs::create_symlink(PlugpullPath(), folder_ / "plugpull", error);
    ASSERT_FALSE(error);
  }

  ProgramEnd Run(const std::vector<std::string>& arguments) {
    return RunPlugpull(folder_, arguments, kRunMax, {mark_, "TMPDIR=" + (folder_ / "tmp")});
  }
  Json Check(const std::string& variant, const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"check", "out/quickstart/" + variant + "/recording",
                                          "--json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const ProgramEnd end = Run(arguments);
    EXPECT_LE(end.status, 1) << end.err;
    const Json json = Json::parse(end.out, nullptr, false);
    EXPECT_TRUE(json.is_array() && json.size() == 1) << end.out;
    return json.is_array() && !json.empty() ? json[0] : Json();
  }

  // The enumerators of a broken disk: those that only cut found nothing, the others everything.
  void ExpectLossesFound(const Json& run) {
    EXPECT_TRUE(run.at("as_expected").get<bool>()) << run.dump(1);
    for (const char* finding : {"METADATA_INCONSISTENT", "DURABILITY_LOST"}) {
      EXPECT_NE(Verdict(run, finding), nullptr) << finding << " " << run.at("variant");
    }
    bool prefix = false;
    for (const Json& enumerator : run.at("disks").at(0).at("enumerators")) {
      if (enumerator.at("name").get<std::string>().find("prefix") == std::string::npos) continue;
      prefix = true;
      EXPECT_THAT(enumerator.at("found"), IsEmpty()) << enumerator;
      EXPECT_GT(enumerator.at("states").at("enumerated"), 100);
    }
    EXPECT_TRUE(prefix);
  }

  // The printed command makes an image that e2fsck condemns after replaying its journal.
  void ExpectCondemned(const Json& verdict) {
    const auto written = Shell(folder_, verdict.at("command").get<std::string>());
    ASSERT_EQ(written.exit.code, 0) << written.out;
    const auto replay = Shell(folder_, "/sbin/e2fsck -y -E journal_only broken.img");
    EXPECT_LE(replay.exit.code, 1) << replay.out;
    const auto check = Shell(folder_, "/sbin/e2fsck -fn broken.img");
    EXPECT_NE(check.exit.code & 4, 0) << check.out;
    (void)os::RemoveAll(folder_ / "broken.img");
  }

  // True when debugfs sees on the recovered image what the evidence says; a failure when it sees
  // something else; false when there is no way to ask it.
  bool Confirmed(const Json& verdict) {
    const auto written = Shell(folder_, verdict.at("command").get<std::string>() + " --recovered");
    EXPECT_EQ(written.exit.code, 0) << written.out;
    const std::string evidence = verdict.at("evidence");
    std::string path, what, size, zero_at;
    static const RE2 lost(
        "^(/[^ ]+): (is missing|is ([0-9]+) bytes long|byte ([0-9]+) holds zeroes)");
    if (!RE2::PartialMatch(evidence, lost, &path, &what, &size, &zero_at)) return false;
    const auto stat = Shell(folder_, "/sbin/debugfs -R 'stat \"" + path + "\"' broken.img");
    if (what == "is missing") {
      EXPECT_THAT(stat.out, HasSubstr("File not found")) << evidence;
      return true;
    }
    EXPECT_THAT(stat.out, HasSubstr("Type: regular")) << evidence;
    if (!size.empty()) {
      EXPECT_THAT(stat.out, HasSubstr("Size: " + size)) << evidence;
      return true;
    }
    const auto dump = Shell(folder_, "/sbin/debugfs -R 'dump \"" + path + "\" content' broken.img");
    const auto content = os::ReadFile(folder_ / "content", Mebibytes(64));
    EXPECT_TRUE(content.ok()) << dump.out;
    const size_t at = std::stoul(zero_at);
    EXPECT_TRUE(content.ok() && at < content->size() && (*content)[at] == '\0') << evidence;
    return true;
  }

  TestFolder folder_;
  std::string mark_;
};

TEST_F(QuickstartTest, ShowsWhatItPromisesAndLeavesNothingBehind) {
  const std::string scenario = std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/quickstart.textproto";
  const ProgramEnd end = Run({"run", scenario, "--out", "out", "--json"});
  ASSERT_EQ(end.status, 0) << end.out << end.err;
  EXPECT_THAT(ProcessesWith(mark_), IsEmpty());
  EXPECT_THAT(*os::ListFolder(folder_ / "tmp"), IsEmpty());
  EXPECT_THAT(*os::ListFolder(folder_ / "out"),
              ::testing::ElementsAre("junit.xml", "quickstart", "report.json", "report.textproto"));
  const Json runs = Json::parse(end.out, nullptr, false);
  ASSERT_TRUE(runs.is_array()) << end.out;
  EXPECT_EQ(runs.size(), 3u);

  const Json& ordered = Variant(runs, "ordered");
  EXPECT_TRUE(ordered.at("as_expected").get<bool>());
  EXPECT_THAT(ordered.at("verdicts"), IsEmpty());
  EXPECT_EQ(ordered.at("states").at("violated"), 0);
  EXPECT_EQ(ordered.at("states").at("unknown"), 0);
  EXPECT_GE(ordered.at("states").at("distinct"), 2000);
  const Json& coverage = ordered.at("disks").at(0).at("coverage");
  EXPECT_GE(coverage.at("tail_moves"), 10) << coverage;
  EXPECT_GT(coverage.at("checkpoints"), 0) << coverage;
  EXPECT_FALSE(coverage.at("weak").get<bool>());

  bool confirmed = false;
  for (const char* variant : {"writeback_nobarrier", "dropped_barriers"}) {
    const Json& run = Variant(runs, variant);
    ASSERT_NO_FATAL_FAILURE(ExpectLossesFound(run));
    if (const Json* broken = Verdict(run, "METADATA_INCONSISTENT")) ExpectCondemned(*broken);
    if (const Json* lost = Verdict(run, "DURABILITY_LOST")) confirmed |= Confirmed(*lost);
  }
  EXPECT_TRUE(confirmed) << "no evidence was of a kind that debugfs can confirm";

  // The recordings give the same verdicts again, whatever the number of threads.
  EXPECT_EQ(WithoutTimes(Check("writeback_nobarrier", {"--jobs", "3"})),
            WithoutTimes(Variant(runs, "writeback_nobarrier")));
  for (const char* variant : {"ordered", "dropped_barriers"}) {
    const Json one = Check(variant, {"--jobs", "1", "--max-states", "900"});
    const Json three = Check(variant, {"--jobs", "3", "--max-states", "900"});
    EXPECT_EQ(WithoutTimes(one), WithoutTimes(three));
    EXPECT_GE(one.at("states").at("enumerated"), 900);
  }
}

}  // namespace
}  // namespace plugpull
