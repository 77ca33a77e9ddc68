// SPDX-License-Identifier: Apache-2.0
// `plugpull incident` as a user types it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli_fixture.h"

namespace plugpull {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kLogs = std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/incident/";
const std::string kLoop = kLogs + "retry_loop.dmesg";
const std::string kHealthy = kLogs + "healthy.dmesg";

class CliIncidentTest : public CliFixture {
 protected:
  CliIncidentTest() : CliFixture("cli-incident") {}
  std::vector<std::string> Left(const std::string& name = "") {
    const auto names = os::ListFolder(folder_ / name);
    return names.ok() ? *names : std::vector<std::string>{names.error().ToString()};
  }
};

TEST_F(CliIncidentTest, TheLoopIsPrintedInWordsAndAsJson) {
  const auto words = Run({"incident", "import", kLoop});
  EXPECT_EQ(words.status, 0) << words.err;
  EXPECT_THAT(words.out, AllOf(HasSubstr("vdo"), HasSubstr("data=writeback,nobarrier"),
                               HasSubstr("a retry loop"), HasSubstr("confidence")));
  EXPECT_THAT(words.err, IsEmpty());
  const auto end = Run({"incident", "import", kLoop, "--json"});
  EXPECT_EQ(end.status, 0);
  const auto json = nlohmann::json::parse(end.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << end.out;
  EXPECT_EQ(json["device"], "vdo");
  EXPECT_EQ(json["filesystem"], "ext4");
  EXPECT_EQ(json["options"], (nlohmann::json{"data=writeback", "nobarrier"}));
  EXPECT_EQ(json["loop"]["count"], 4);
  EXPECT_EQ(json["loop"]["period_s"], nullptr);
  EXPECT_EQ(json["loop"]["events"], (nlohmann::json{"not recognised", "mounted", "re-attached"}));
  EXPECT_EQ(json["loop"]["cut_off"], true);
  EXPECT_EQ(json["attempts"], 15);
  EXPECT_EQ(json["mounts"], 10);
  EXPECT_EQ(json["reattachments"], 4);
  EXPECT_EQ(json["failed_recognitions"], 5);
  EXPECT_EQ(json["gave_up"], false);
  EXPECT_TRUE(json["confidence"].is_number());
  EXPECT_TRUE(json["summary"].is_string());
  ASSERT_EQ(json["devices"].size(), 1U);
  EXPECT_EQ(json["devices"][0]["device"], "vdo");
}

TEST_F(CliIncidentTest, TheHealthyLogIsNotAccused) {
  const auto end = Run({"incident", "import", kHealthy, "--json"});
  EXPECT_EQ(end.status, 0);
  const auto json = nlohmann::json::parse(end.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << end.out;
  EXPECT_EQ(json["device"], "vdb");
  EXPECT_EQ(json["loop"], nullptr);
  EXPECT_EQ(json["first_format"], true);
  EXPECT_THAT(std::string(json["summary"]), HasSubstr("first format, unplug, re-plug; no loop"));
}

TEST_F(CliIncidentTest, WritesAScenarioThatIsValidAndASignature) {
  const auto end = Run({"incident", "import", kLoop, "--out", "field/"});
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_THAT(end.out, HasSubstr("signature.json"));
  EXPECT_THAT(Left(), ElementsAre("field"));
  EXPECT_THAT(Left("field"), ElementsAre("field_agent.sh", "scenario.textproto", "signature.json"));
  const auto valid = Run({"validate", "field/scenario.textproto"});
  EXPECT_EQ(valid.status, 0) << valid.err;
  EXPECT_EQ(Run({"incident", "compare", kLoop, "field/signature.json"}).status, 0);
  EXPECT_EQ(Run({"incident", "compare", kHealthy, "field/signature.json"}).status, 1);
  // What is there stays.
  ExpectFailure({"incident", "import", kHealthy, "--out", "field"}, 2,
                HasSubstr("field is there already and is left as it is"));
  WriteText(folder_ / "file", "mine");
  ExpectFailure({"incident", "import", kLoop, "--out", "file"}, 2, HasSubstr("is there already"));
  EXPECT_THAT(Left(), ElementsAre("field", "file"));
  ASSERT_TRUE(os::MakeFolders(folder_ / "empty").ok());
  EXPECT_EQ(Run({"incident", "import", kLoop, "--out", "empty"}).status, 0);
  EXPECT_THAT(Left("empty"), ElementsAre("field_agent.sh", "scenario.textproto", "signature.json"));
}

TEST_F(CliIncidentTest, AFileSystemWithoutScenariosHasASignature) {
  WriteText(folder_ / "xfs.log", "XFS (vdb): Invalid superblock magic number\n");
  const auto end = Run({"incident", "import", "xfs.log", "--out", "out"});
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_THAT(end.out, HasSubstr("no scenario: vdb has xfs"));
  EXPECT_THAT(Left("out"), ElementsAre("signature.json"));
}

TEST_F(CliIncidentTest, ComparisonsSayWhatDiffers) {
  const auto same = Run({"incident", "compare", kLoop, kLoop});
  EXPECT_EQ(same.status, 0);
  EXPECT_THAT(same.out, HasSubstr("match: 100.0 of 100"));
  const auto other = Run({"incident", "compare", kLoop, kHealthy, "--json"});
  EXPECT_EQ(other.status, 1);
  const auto json = nlohmann::json::parse(other.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << other.out;
  EXPECT_EQ(json["match"], false);
  EXPECT_LT(json["score"], 0.5);
  EXPECT_EQ(json["parts"][0]["name"], "loop");
}

TEST_F(CliIncidentTest, BadInputIsExit2) {
  ExpectFailure({"incident"}, 2, HasSubstr("plugpull incident --help"));
  ExpectFailure({"incident", "import"}, 2, HasSubstr("plugpull incident import --help"));
  ExpectFailure({"incident", "import", "nosuch"}, 2, HasSubstr("nosuch"));
  ExpectFailure({"incident", "reproduce", "nosuch"}, 2, HasSubstr("nosuch"));
  WriteText(folder_ / "quiet", "[    1.000000] IPv6: eth0: link becomes ready\n");
  ExpectFailure({"incident", "reproduce", "quiet"}, 2, HasSubstr("nothing to reproduce"));
  ExpectFailure({"incident", "compare", kLoop}, 2, HasSubstr("incident compare --help"));
  ExpectFailure({"incident", "compare", kLoop, "nosuch"}, 2, HasSubstr("nosuch"));
  WriteText(folder_ / "empty", "");
  ExpectFailure({"incident", "import", "empty"}, 2, HasSubstr("empty: the log holds no kernel"));
  WriteText(folder_ / "zipped", "\x1f\x8b\x08");
  ExpectFailure({"incident", "import", "zipped"}, 2, HasSubstr("unpack it first"));
  WriteText(folder_ / "network", "[    1.000000] IPv6: eth0: link becomes ready\n");
  ExpectFailure({"incident", "import", "network", "--out", "out"}, 2,
                HasSubstr("says nothing of disks"));
  ExpectFailure({"incident", "compare", "network", kLoop}, 2, HasSubstr("says nothing of disks"));
  WriteText(folder_ / "broken.json", "{ \"format\": \"plugpull incident signature\" }");
  ExpectFailure({"incident", "compare", kLoop, "broken.json"}, 2,
                AllOf(HasSubstr("broken.json"), HasSubstr("version")));
  ExpectFailure({"incident", "import", folder_.path()}, 2, HasSubstr("Is a directory"));
}

}  // namespace
}  // namespace plugpull
