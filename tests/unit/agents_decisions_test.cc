// SPDX-License-Identifier: Apache-2.0
// The pure parts of the mount agents: configuration, classes of faults, back-off, the state file
// and the mount table.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vm/guest/agents/agent_main.h"
#include "vm/guest/agents/config.h"
#include "vm/guest/agents/decisions.h"
#include "vm/guest/agents/mount_table.h"
#include "vm/guest/agents/state.h"

namespace plugpull::agents {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kConfig[] =
    "# an agent\n"
    "state_folder /run/agent\n"
    "attempts_max 4   # of all\n"
    "\n"
    "volume pvc-0001\n"
    "target /data\n"
    "option data=writeback\n"
    "\toption  nobarrier\r\n"
    "may_format yes\n"
    "volume pvc-0002\n"
    "target /more data\n"
    "attempts_max 9\n";

TEST(AgentConfigTest, VolumesTakeWhatStandsBeforeTheFirst) {
  const auto config = ParseConfig(kConfig);
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  ASSERT_EQ(config->volumes.size(), 2u);
  EXPECT_EQ(config->state_folder, "/run/agent");
  EXPECT_EQ(config->volumes[0].serial, "pvc-0001");
  EXPECT_EQ(config->volumes[0].target, "/data");
  EXPECT_EQ(config->volumes[0].limits.attempts_max, 4u);
  EXPECT_TRUE(config->volumes[0].may_format);
  EXPECT_THAT(config->volumes[0].options, ElementsAre("data=writeback", "nobarrier"));
  EXPECT_EQ(config->volumes[1].target, "/more data");
  EXPECT_EQ(config->volumes[1].limits.attempts_max, 9u);
  EXPECT_FALSE(config->volumes[1].may_format);
  EXPECT_THAT(config->volumes[1].options, IsEmpty());
}

TEST(AgentConfigTest, MistakesAreNamedWithTheirLine) {
  const struct {
    const char* text;
    const char* words;
  } cases[] = {
      {"", "state_folder"},
      {"state_folder /s\n", "no volume"},
      {"state_folder s\n", "line 1, state_folder: \"s\""},
      {"state_folder /s/\n", "last /"},
      {"state_folder /s/../t\n", "absolute path"},
      {"state_folder /s\nvolume a\n", "target is missing"},
      {"state_folder /s\ntarget /t\n", "before the first volume"},
      {"state_folder /s\nvolume a\ntarget /t\nvolume a\ntarget /u\n", "twice"},
      {"state_folder /s\nvolume a\ntarget /t\nvolume b\ntarget /t\n", "target of another"},
      {"state_folder /s\nvolume a=b\n", "no serial"},
      {"state_folder /s\nvolume\n", "no serial"},
      {"state_folder /s\nattempts_max 0\n", "from 1 to 100"},
      {"state_folder /s\nattempts_max 1x\n", "\"1x\""},
      {"state_folder /s\njitter_permille 401\n", "from 0 to 400"},
      {"state_folder /s\nmay_format maybe\n", "neither yes nor no"},
      {"state_folder /s\ntype xfs\n", "none of ext2"},
      {"state_folder /s\ncolour red\n", "\"colour\" is unknown"},
      {"state_folder /s\nvolume a\ntarget /t\noption a,b\n", "more than one option"},
      {"state_folder /s\nvolume a\ntarget /t\ndelay_first_ms 9\ndelay_max_ms 8\n", "less than"},
      {"state_folder /w/s\nvolume a\ntarget /t\nworkspace /w\n", "own state"},
  };
  for (const auto& c : cases) {
    const auto config = ParseConfig(c.text);
    ASSERT_FALSE(config.ok()) << c.text;
    EXPECT_THAT(config.error().ToString(), HasSubstr(c.words)) << c.text;
    EXPECT_EQ(config.error().code, ErrorCode::kUser);
  }
  EXPECT_FALSE(ParseConfig(std::string(kConfigBytesMax + 1, '\n')).ok());
}

TEST(AgentCommandLineTest, WordsAreChecked) {
  const auto good = ParseCommandLine({"--config", "/c", "unmount", "a", "b"});
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(good->verb, CommandLine::Verb::kUnmount);
  EXPECT_EQ(good->config, "/c");
  EXPECT_THAT(good->serials, ElementsAre("a", "b"));
  EXPECT_TRUE(ParseCommandLine({"run", "--config", "/c"}).ok());
  EXPECT_FALSE(ParseCommandLine({"run"}).ok());
  EXPECT_FALSE(ParseCommandLine({"--config", "/c"}).ok());
  EXPECT_FALSE(ParseCommandLine({"run", "--config"}).ok());
  EXPECT_FALSE(ParseCommandLine({"--config", "/c", "walk"}).ok());
  EXPECT_FALSE(ParseCommandLine({"--config", "/c", "once", "a"}).ok());
}

TEST(AgentClassTest, DamageIsPermanentAndTroubleOnTheWayIsNot) {
  for (const int error : {EINVAL, EBADMSG, EUCLEAN, EMEDIUMTYPE, EROFS, EACCES, ENODEV}) {
    EXPECT_EQ(ClassOf({Fault::Stage::kMount, error, ""}), FaultClass::kPermanent) << error;
  }
  for (const int error : {EIO, EBUSY, ENXIO, ENOENT, EAGAIN, ENOMEM, ETIMEDOUT, 9999}) {
    EXPECT_EQ(ClassOf({Fault::Stage::kMount, error, ""}), FaultClass::kTransient) << error;
  }
  EXPECT_EQ(ClassOf({Fault::Stage::kFormat, EIO, ""}), FaultClass::kPermanent);
}

TEST(AgentBackOffTest, GrowsIsCappedAndDiffersByChance) {
  Limits limits;
  limits.delay_first = Millis(1'000);
  limits.delay_max = Millis(30'000);
  for (const uint32_t jitter : {0u, 200u, 400u}) {
    limits.jitter_permille = jitter;
    for (uint64_t seed = 1; seed <= 200; ++seed) {
      Prng prng(seed);
      Millis before{0};
      uint64_t whole = 1'000;
      for (uint32_t failures = 1; failures <= 100; ++failures) {
        const Millis delay = BackOff(limits, failures, prng);
        EXPECT_LE(delay.count(), static_cast<int64_t>(whole));
        EXPECT_GE(delay.count(), static_cast<int64_t>(whole * (1000 - jitter) / 1000));
        if (whole < 30'000) {
          EXPECT_GT(delay, before);
        }
        before = delay;
        whole = std::min<uint64_t>(whole * 2, 30'000);
      }
    }
  }
  limits.jitter_permille = 200;
  Prng one(1);
  Prng two(2);
  EXPECT_NE(BackOff(limits, 5, one), BackOff(limits, 5, two));
  // As large as the configuration allows: no overflow.
  limits.delay_first = limits.delay_max = Millis(86'400'000);
  EXPECT_LE(BackOff(limits, UINT32_MAX, one), limits.delay_max);
}

TEST(AgentContentTest, OnlyTheTypeThatIsWantedMayBeMounted) {
  const auto found = [](const char* type, const char* table) {
    return ForeignContent({Probe::Kind::kFound, type, table, 0}, "ext4");
  };
  EXPECT_EQ(found("ext4", ""), "");
  EXPECT_EQ(found("ext4", "dos"), "");
  EXPECT_THAT(found("xfs", ""), HasSubstr("holds xfs"));
  EXPECT_THAT(found("", "gpt"), HasSubstr("gpt partition table"));
  EXPECT_NE(ForeignContent({Probe::Kind::kAmbivalent, "", "", 0}, "ext4"), "");
  EXPECT_EQ(ForeignContent({Probe::Kind::kNothing, "", "", 0}, "ext4"), "");
}

TEST(AgentBlankTest, OnlyABlankScanOfADiskOnWhichNothingWasFound) {
  const Decisions decisions;
  for (const auto kind : {Probe::Kind::kFound, Probe::Kind::kNothing, Probe::Kind::kAmbivalent,
                          Probe::Kind::kError}) {
    for (const auto scan : {Scan::Kind::kBlank, Scan::Kind::kNotBlank, Scan::Kind::kUnreadable,
                            Scan::Kind::kNotScanned}) {
      bool looked = false;
      const bool blank = decisions.IsBlank({kind, "", "", 0}, [&] {
        looked = true;
        return Scan{scan, 0, 0};
      });
      EXPECT_EQ(blank, kind == Probe::Kind::kNothing && scan == Scan::Kind::kBlank);
      EXPECT_EQ(looked, kind == Probe::Kind::kNothing);
    }
  }
}

State SomeState() {
  State state;
  Record& record = state["pvc-0001"];
  record.phase = Phase::kGivenUp;
  record.failures = 5;
  record.next_ms = 1'700'000'000'123;
  record.delay_ms = 16'000;
  record.mounted_ms = -1;
  record.error_number = EINVAL;
  record.device = {254, 16};
  record.disk = "vdb";
  record.alerted = true;
  record.reason = "nothing = found\nat all";
  state["x"].phase = Phase::kMounted;
  state["x"].formatted = true;
  state["x"].released = true;
  return state;
}

TEST(AgentStateTest, WhatIsWrittenIsRead) {
  const std::string text = FormatState(SomeState());
  const auto state = ParseState(text);
  ASSERT_TRUE(state.ok()) << state.error().ToString();
  EXPECT_EQ(FormatState(*state), text);
  const Record& record = state->at("pvc-0001");
  EXPECT_EQ(record.phase, Phase::kGivenUp);
  EXPECT_EQ(record.next_ms, 1'700'000'000'123);
  EXPECT_EQ(record.reason, "nothing = found at all");
  EXPECT_TRUE(state->at("x").released);
  EXPECT_TRUE(ParseState(FormatState({})).ok());
}

TEST(AgentStateTest, EveryCutAndEveryFlippedBitIsRefused) {
  const std::string text = FormatState(SomeState());
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(ParseState(text.substr(0, size)).ok()) << size;
  }
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string other = text;
    other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(ParseState(other).ok()) << bit;
  }
  EXPECT_FALSE(ParseState(text + "\n").ok());
  EXPECT_FALSE(ParseState(std::string(kStateBytesMax + 1, 'x')).ok());
}

constexpr char kMountInfo[] =
    "22 1 0:2 / / rw - rootfs rootfs rw,size=1k\n"
    "30 22 254:16 / /data rw,relatime shared:1 master:2 - ext4 /dev/vdb rw,data=writeback\n"
    "31 22 254:32 /sub /with\\040blank ro,noatime - ext4 /dev/vdc rw,nobarrier\n"
    "32 22 254:48 / /data rw - ext4 /dev/vdd ro\n";

TEST(AgentMountTableTest, TheLastMountIsTheOneThatIsSeen) {
  const auto mounts = ParseMountInfo(kMountInfo);
  ASSERT_TRUE(mounts.ok()) << mounts.error().ToString();
  ASSERT_EQ(mounts->size(), 4u);
  EXPECT_EQ(MountedAt(*mounts, "/data")->source, "/dev/vdd");
  EXPECT_EQ(MountedAt(*mounts, "/with blank")->root, "/sub");
  EXPECT_EQ(MountedAt(*mounts, "/dat"), nullptr);
  EXPECT_EQ((*mounts)[1].device.ToString(), "254:16");
  EXPECT_FALSE(IsReadOnly((*mounts)[1]));
  EXPECT_TRUE(IsReadOnly((*mounts)[2]));  // the mount
  EXPECT_TRUE(IsReadOnly((*mounts)[3]));  // the file system
}

TEST(AgentMountTableTest, OtherTextIsRefused) {
  for (const char* text :
       {"x", "1 2 3:4 / /data rw ext4 /dev/vdb rw", "1 2 3-4 / /data rw - ext4 /dev/vdb rw",
        "1 2 3:4x / /data rw - ext4 /dev/vdb rw", "1 2 3:4 / /data rw - ext4"}) {
    EXPECT_FALSE(ParseMountInfo(text).ok()) << text;
  }
  std::string many;
  for (int i = 0; i < 4097; ++i) many += "1 2 3:4 / /data rw - ext4 /dev/vdb rw\n";
  EXPECT_FALSE(ParseMountInfo(many).ok());
  EXPECT_TRUE(ParseMountInfo("").ok());
}

TEST(AgentMountTableTest, DefaultsAreInForceUnlessTheirOppositeIsPrinted) {
  MountEntry mount;
  mount.options = {"rw", "relatime", "rw"};
  EXPECT_THAT(OptionsNotInForce({"rw", "data=ordered", "barrier=1", "delalloc", "defaults"}, mount),
              IsEmpty());
  EXPECT_THAT(OptionsNotInForce({"data=writeback", "nobarrier", "noatime"}, mount),
              ElementsAre("data=writeback", "nobarrier", "noatime"));
  mount.options = {"ro", "noatime", "rw", "nobarrier", "data=writeback"};
  EXPECT_THAT(OptionsNotInForce({"data=writeback", "barrier=0", "noatime"}, mount), IsEmpty());
  EXPECT_THAT(OptionsNotInForce({"rw", "data=ordered", "barrier", "atime"}, mount),
              ElementsAre("rw", "data=ordered", "barrier", "atime"));
}

}  // namespace
}  // namespace plugpull::agents
