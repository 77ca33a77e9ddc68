// SPDX-License-Identifier: Apache-2.0
// The reference agent on a machine in memory: every row of framework/ext4/DAMAGE.md, and what
// happens to a volume in its life.
#include "vm/guest/agents/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "agents_fake_machine.h"
#include "framework/os/file.h"

namespace plugpull::agents {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kHourMs = 60 * kMinuteMs;
const Decisions kReference;

Config OneVolume() {
  Config config;
  config.state_folder = "/run/agent";
  config.poll = Millis(5'000);
  Volume volume;
  volume.serial = "pvc-0001";
  volume.target = "/data";
  config.volumes.push_back(volume);
  return config;
}

// A new process of the agent, that runs for so long.
Outcome RunFor(FakeMachine& machine, const Config& config, int64_t ms, uint64_t seed = 1) {
  FakeSystem system(machine);
  Agent agent("agent", config, kReference, system, seed);
  EXPECT_TRUE(agent.Start().ok());
  machine.end_ms = machine.now_ms + ms;
  const auto outcome = agent.Run(false);
  machine.end_ms = INT64_MAX;
  EXPECT_TRUE(outcome.ok()) << outcome.error().ToString();
  return outcome.ok() ? *outcome : Outcome::kBusy;
}

std::vector<std::string> Names(const FakeMachine& machine) {
  std::vector<std::string> names;
  for (const Action& action : machine.actions) names.push_back(action.what);
  return names;
}

// ---- The table of damages ----

struct Row {
  std::string damage;
  Probe probe;
  bool blank = false;
  std::string mount[2];  // of 6.1 and 6.12: "ok", "ok, ro", or the name of an errno
};

std::vector<std::string> Cells(const std::string& line) {
  std::vector<std::string> cells;
  for (size_t at = 1; at < line.size();) {
    const size_t end = std::min(line.find('|', at), line.size());
    std::string cell = line.substr(at, end - at);
    cell.erase(0, cell.find_first_not_of(' '));
    cell.erase(cell.find_last_not_of(' ') + 1);
    cells.push_back(cell);
    at = end + 1;
  }
  return cells;
}

std::string Word(const std::string& text, const std::string& key) {
  const size_t at = text.find(key + "=");
  if (at == std::string::npos) return {};
  const size_t start = at + key.size() + 1;
  return text.substr(start, text.find(' ', start) - start);
}

// "PTTYPE=" has "TYPE=" in it.
Probe ProbeOf(const std::string& blkid) {
  if (blkid.starts_with("2")) return {Probe::Kind::kNothing, "", "", 0};
  if (blkid.starts_with("8")) return {Probe::Kind::kAmbivalent, "", "", 0};
  return {Probe::Kind::kFound, Word(blkid, " TYPE"), Word(blkid, " PTTYPE"), 0};
}

std::vector<Row> DamageTable() {
  const auto text =
      os::ReadFile(std::string(PLUGPULL_SOURCE_DIR) + "/framework/ext4/DAMAGE.md", Mebibytes(1));
  EXPECT_TRUE(text.ok());
  std::vector<Row> rows;
  for (size_t at = 0; text.ok() && at < text->size();) {
    const size_t end = std::min(text->find('\n', at), text->size());
    const std::string line = text->substr(at, end - at);
    at = end + 1;
    if (!line.starts_with("| ") || line.starts_with("| Damage")) continue;
    const auto cells = Cells(line);
    if (cells.size() < 4) continue;
    const bool none = cells[0].starts_with("none");
    rows.push_back({cells[0],
                    ProbeOf(cells[1]),
                    none && cells[0].ends_with("blank disk"),
                    {cells[2], cells[3]}});
  }
  return rows;
}

int ErrnoOf(const std::string& cell) {
  static const std::map<std::string, int> errors = {
      {"EINVAL", EINVAL}, {"EBADMSG", EBADMSG}, {"EUCLEAN", EUCLEAN}, {"EIO", EIO}};
  if (cell.starts_with("ok")) return 0;
  EXPECT_TRUE(errors.contains(cell)) << cell;
  return errors.contains(cell) ? errors.at(cell) : EIO;
}

// What a careful person would do with the disk.
std::vector<std::string> Expected(const Row& row, const std::string& mount, bool may_format) {
  if (row.blank && may_format) return {"mkfs", "mount"};
  const bool foreign = row.probe.kind == Probe::Kind::kAmbivalent ||
                       (row.probe.kind == Probe::Kind::kFound && row.probe.type != "ext4");
  if (foreign) return {"alert"};
  if (mount == "ok") return {"mount"};
  // Only this may pass by itself.
  if (mount == "EIO") return {"mount", "mount", "mount", "mount", "mount", "alert"};
  if (mount == "ok, ro") return {"mount", "umount", "alert"};
  return {"mount", "alert"};
}

TEST(ReferenceAgentTest, EveryRowOfTheDamageTable) {
  const auto rows = DamageTable();
  ASSERT_GE(rows.size(), 30u);
  std::map<std::string, int> ends;
  for (const Row& row : rows) {
    for (const std::string& mount : row.mount) {
      for (const bool may_format : {false, true}) {
        for (const uint64_t seed : {1, 2, 3}) {
          SCOPED_TRACE(row.damage + ", mount " + mount);
          FakeMachine machine;
          FakeDisk& disk = machine.AddDisk("vdb", "pvc-0001", 16);
          disk.probe = row.probe;
          disk.scan.kind = row.blank ? Scan::Kind::kBlank : Scan::Kind::kNotBlank;
          disk.mount_error = ErrnoOf(mount);
          disk.forced_read_only = mount == "ok, ro";
          Config config = OneVolume();
          config.volumes[0].may_format = may_format;
          RunFor(machine, config, kHourMs, seed);
          const auto expected = Expected(row, mount, may_format);
          EXPECT_EQ(Names(machine), expected);
          ++ends[expected.back()];
          if (expected.back() != "alert") continue;
          const Action alert = machine.Of("alert").front();
          EXPECT_THAT(alert.subject, AllOf(HasSubstr("/dev/vdb"), HasSubstr("pvc-0001")));
          const std::string error = mount == "ok, ro"      ? "EROFS"
                                    : expected.size() == 1 ? "EMEDIUMTYPE"
                                                           : mount;
          EXPECT_THAT(alert.subject, HasSubstr("errno " + error));
        }
      }
    }
  }
  EXPECT_GT(ends["alert"], 100);
  EXPECT_GT(ends["mount"], 50);
}

// ---- Transient and permanent ----

TEST(ReferenceAgentTest, ATransientFaultIsRetriedAndRecoversWhenItClears) {
  for (const uint64_t seed : {1, 2, 3}) {
    FakeMachine machine;
    FakeDisk& disk = machine.AddDisk("vdb", "pvc-0001", 16);
    disk.mount_error = EIO;
    disk.mount_errors_left = 4;
    EXPECT_EQ(RunFor(machine, OneVolume(), kHourMs, seed), Outcome::kAllMounted);
    EXPECT_THAT(Names(machine), ElementsAre("mount", "mount", "mount", "mount", "mount"));
    EXPECT_EQ(machine.Of("mount").back().error_number, 0);
  }
}

TEST(ReferenceAgentTest, AFaultThatDoesNotPassIsGivenUpWithGrowingGapsAndOneAlert) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    FakeMachine machine;
    machine.AddDisk("vdb", "pvc-0001", 16).mount_error = EIO;
    const int64_t begun = machine.now_ms;
    EXPECT_EQ(RunFor(machine, OneVolume(), kHourMs, seed), Outcome::kGivenUp);
    const auto mounts = machine.Of("mount");
    ASSERT_THAT(mounts, SizeIs(5));
    for (size_t i = 2; i < mounts.size(); ++i) {
      EXPECT_GT(mounts[i].at_ms - mounts[i - 1].at_ms, mounts[i - 1].at_ms - mounts[i - 2].at_ms);
    }
    EXPECT_LT(mounts.back().at_ms - begun, kMinuteMs);
    ASSERT_THAT(machine.Of("alert"), SizeIs(1));
    EXPECT_EQ(machine.actions.back().what, "alert");
    EXPECT_THAT(machine.actions.back().subject, HasSubstr("EIO"));
  }
}

TEST(ReferenceAgentTest, WhatWasGivenUpStaysSoOverRestartsNamesAndPlugs) {
  FakeMachine machine;
  machine.AddDisk("vdb", "pvc-0001", 16).mount_error = EINVAL;
  const Config config = OneVolume();
  EXPECT_EQ(RunFor(machine, config, kMinuteMs), Outcome::kGivenUp);
  EXPECT_THAT(Names(machine), ElementsAre("mount", "alert"));
  EXPECT_EQ(RunFor(machine, config, kHourMs, 2), Outcome::kGivenUp);
  machine.Rename("vdb", "vdc", 32);
  machine.At(kMinuteMs, [&] { machine.Rename("vdc", "vdd", 48); });
  EXPECT_EQ(RunFor(machine, config, kHourMs, 3), Outcome::kGivenUp);
  EXPECT_THAT(Names(machine), ElementsAre("mount", "alert"));

  // Until somebody says so.
  FakeSystem system(machine);
  Agent agent("agent", config, kReference, system, 1);
  machine.disks.at("vdd").mount_error = 0;
  ASSERT_TRUE(agent.Reset(config.volumes[0]).ok());
  EXPECT_EQ(RunFor(machine, config, kMinuteMs), Outcome::kAllMounted);
}

TEST(ReferenceAgentTest, AnAttemptThatTakesTheMachineDownCounts) {
  FakeMachine machine;
  machine.AddDisk("vdb", "pvc-0001", 16);
  class Dies : public FakeSystem {
   public:
    using FakeSystem::FakeSystem;
    Probe ProbeDisk(const Disk&) override { throw 1; }
  };
  const Config config = OneVolume();
  int deaths = 0;
  for (int i = 0; i < 50; ++i) {
    Dies system(machine);
    Agent agent("agent", config, kReference, system, 1);
    try {
      (void)agent.Start();
      (void)agent.Pass();
    } catch (int) {
      ++deaths;
      machine.locked.clear();
    }
    machine.now_ms += kMinuteMs;
  }
  // Every death is one attempt that was written down; the limit is looked at when one fails.
  const auto state = ParseState(*machine.state);
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(state->at("pvc-0001").failures, 5u);
  EXPECT_EQ(deaths, 5);
}

TEST(ReferenceAgentTest, WithoutAStateNothingIsAttempted) {
  FakeMachine machine;
  machine.AddDisk("vdb", "pvc-0001", 16);
  machine.state_fails = true;
  const Config config = OneVolume();
  FakeSystem system(machine);
  Agent agent("agent", config, kReference, system, 1);
  EXPECT_FALSE(agent.Pass().ok());
  EXPECT_THAT(machine.actions, IsEmpty());
  machine.state_fails = false;
  machine.state = "damaged";
  EXPECT_FALSE(agent.Start().ok());
  EXPECT_FALSE(agent.Pass().ok());
  EXPECT_THAT(machine.actions, IsEmpty());
}

// ---- Mounts that hold, and mounts that do not ----

TEST(ReferenceAgentTest, UnplugAndReplugIsNoLoop) {
  FakeMachine machine;
  machine.AddDisk("vdb", "pvc-0001", 16);
  machine.At(2 * kMinuteMs, [&] { machine.Rename("vdb", "vdc", 32); });
  machine.At(4 * kMinuteMs, [&] { machine.Rename("vdc", "vdd", 48); });
  EXPECT_EQ(RunFor(machine, OneVolume(), kHourMs), Outcome::kAllMounted);
  EXPECT_THAT(Names(machine), ElementsAre("mount", "umount", "mount", "umount", "mount"));
  EXPECT_EQ(machine.Of("mount").back().subject, "vdd");
}

TEST(ReferenceAgentTest, SuccessAndLossInTurnAreALoopToo) {
  FakeMachine machine;
  machine.AddDisk("vdb", "pvc-0001", 16);
  std::function<void()> flap = [&] {
    FakeDisk disk = machine.disks.begin()->second;
    machine.Rename(disk.disk.name, "vd" + std::to_string(disk.disk.device.minor),
                   disk.disk.device.minor + 16);
    machine.At(20'000, flap);
  };
  machine.At(20'000, flap);
  EXPECT_EQ(RunFor(machine, OneVolume(), kHourMs), Outcome::kGivenUp);
  EXPECT_LE(machine.Of("mount").size(), 6u);
  EXPECT_THAT(machine.Of("alert"), SizeIs(1));
}

TEST(ReferenceAgentTest, WhatIsMountedAlreadyIsLeftAlone) {
  FakeMachine machine;
  machine.AddDisk("vdb", "pvc-0001", 16);
  EXPECT_EQ(RunFor(machine, OneVolume(), kMinuteMs), Outcome::kAllMounted);
  EXPECT_EQ(RunFor(machine, OneVolume(), kHourMs), Outcome::kAllMounted);
  machine.state.reset();  // an agent that knows nothing of the one before
  EXPECT_EQ(RunFor(machine, OneVolume(), kHourMs), Outcome::kAllMounted);
  EXPECT_THAT(Names(machine), ElementsAre("mount"));
}

TEST(ReferenceAgentTest, SomethingElseAtTheTargetIsNotTouched) {
  FakeMachine machine;
  machine.AddDisk("vdb", "pvc-0001", 16);
  machine.mounts.push_back({{254, 99}, "/", "/data", "xfs", "/dev/vdz", {"rw"}});
  EXPECT_EQ(RunFor(machine, OneVolume(), kHourMs), Outcome::kGivenUp);
  EXPECT_THAT(Names(machine), ElementsAre("alert"));
  EXPECT_THAT(machine.actions[0].subject, AllOf(HasSubstr("EBUSY"), HasSubstr("/dev/vdz")));
}

TEST(ReferenceAgentTest, ADeadMountThatIsBusyIsWaitedForWithinBounds) {
  FakeMachine machine;
  machine.AddDisk("vdb", "pvc-0001", 16);
  machine.At(2 * kMinuteMs, [&] {
    machine.busy.insert("/data");
    machine.Rename("vdb", "vdc", 32);
  });
  FakeMachine clears = machine;
  EXPECT_EQ(RunFor(machine, OneVolume(), kHourMs), Outcome::kGivenUp);
  EXPECT_THAT(machine.Of("umount"), SizeIs(5));
  EXPECT_THAT(machine.Of("mount"), SizeIs(1));
  EXPECT_THAT(machine.Of("detach"), IsEmpty());
  EXPECT_THAT(machine.Of("alert"), SizeIs(1));
}

TEST(ReferenceAgentTest, AMountIsCheckedBeforeItCounts) {
  const struct {
    std::function<void(FakeDisk&)> fault;
    const char* words;
    size_t mounts;
  } cases[] = {
      {[](FakeDisk& disk) { disk.drops_options = true; }, "not in force: nobarrier", 1},
      {[](FakeDisk& disk) { disk.forced_read_only = true; }, "EROFS", 1},
      {[](FakeDisk& disk) { disk.write_error = EROFS; }, "EROFS", 1},
      {[](FakeDisk& disk) { disk.write_error = EIO; }, "EIO", 5},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.words);
    FakeMachine machine;
    c.fault(machine.AddDisk("vdb", "pvc-0001", 16));
    Config config = OneVolume();
    config.volumes[0].options = {"nobarrier"};
    EXPECT_EQ(RunFor(machine, config, kHourMs), Outcome::kGivenUp);
    EXPECT_THAT(machine.Of("mount"), SizeIs(c.mounts));
    EXPECT_THAT(machine.Of("umount"), SizeIs(c.mounts));
    EXPECT_THAT(machine.mounts, IsEmpty());
    ASSERT_THAT(machine.Of("alert"), SizeIs(1));
    EXPECT_THAT(machine.Of("alert")[0].subject, HasSubstr(c.words));
  }
  FakeMachine full;
  full.AddDisk("vdb", "pvc-0001", 16).write_error = ENOSPC;
  EXPECT_EQ(RunFor(full, OneVolume(), kHourMs), Outcome::kAllMounted);
}

// ---- Which disk ----

TEST(ReferenceAgentTest, TwoDisksWithOneSerialAreNoDisk) {
  FakeMachine machine;
  machine.AddDisk("vdb", "pvc-0001", 16);
  machine.AddDisk("vdc", "pvc-0001", 32);
  EXPECT_EQ(RunFor(machine, OneVolume(), kHourMs), Outcome::kGivenUp);
  EXPECT_THAT(Names(machine), ElementsAre("alert"));
  EXPECT_THAT(machine.actions[0].subject, HasSubstr("ENOTUNIQ"));
}

TEST(ReferenceAgentTest, ADiskThatIsNotThereIsWaitedForWithoutACount) {
  FakeMachine machine;
  machine.At(kHourMs, [&] { machine.AddDisk("vdb", "pvc-0001", 16); });
  EXPECT_EQ(RunFor(machine, OneVolume(), 2 * kHourMs), Outcome::kAllMounted);
  EXPECT_THAT(Names(machine), ElementsAre("mount"));
}

TEST(ReferenceAgentTest, ADiskThatSwapsItsNameDuringTheMountIsNoticed) {
  FakeMachine machine;
  machine.AddDisk("vdb", "pvc-0001", 16);
  class Swaps : public FakeSystem {
   public:
    explicit Swaps(FakeMachine& machine) : FakeSystem(machine), machine_(machine) {}
    int PrepareTarget(const std::string&) override {
      if (machine_.disks.contains("vdz")) return 0;
      machine_.Rename("vdb", "vdz", 400);
      machine_.AddDisk("vdb", "other", 16);
      return 0;
    }

   private:
    FakeMachine& machine_;
  };
  const Config config = OneVolume();
  Swaps system(machine);
  Agent agent("agent", config, kReference, system, 1);
  machine.end_ms = machine.now_ms + kHourMs;
  const auto outcome = agent.Run(false);
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(*outcome, Outcome::kAllMounted);
  EXPECT_THAT(Names(machine), ElementsAre("mount", "umount", "mount"));
  EXPECT_EQ(machine.mounts[0].source, "/dev/vdz");
}

// ---- Formatting ----

TEST(ReferenceAgentTest, ADiskIsFormattedOnce) {
  FakeMachine machine;
  FakeDisk& disk = machine.AddDisk("vdb", "pvc-0001", 16);
  disk.probe.kind = Probe::Kind::kNothing;
  disk.scan.kind = Scan::Kind::kBlank;
  Config config = OneVolume();
  config.volumes[0].may_format = true;
  EXPECT_EQ(RunFor(machine, config, kMinuteMs * 2), Outcome::kAllMounted);
  EXPECT_THAT(Names(machine), ElementsAre("mkfs", "mount"));
  // The disk comes back empty, which it cannot be.
  machine.mounts.clear();
  machine.disks.at("vdb").probe.kind = Probe::Kind::kNothing;
  machine.disks.at("vdb").scan.kind = Scan::Kind::kBlank;
  machine.disks.at("vdb").mount_error = EINVAL;
  EXPECT_EQ(RunFor(machine, config, kHourMs), Outcome::kGivenUp);
  EXPECT_THAT(machine.Of("mkfs"), SizeIs(1));
}

TEST(ReferenceAgentTest, ADiskThatIsTooLargeToLookAtIsNotFormatted) {
  FakeMachine machine;
  FakeDisk& disk = machine.AddDisk("vdb", "pvc-0001", 16);
  disk.probe.kind = Probe::Kind::kNothing;
  disk.scan.kind = Scan::Kind::kBlank;
  disk.disk.size_bytes = 2ull << 20;
  disk.mount_error = EINVAL;
  Config config = OneVolume();
  config.volumes[0].may_format = true;
  config.volumes[0].scan_mib_max = 1;
  EXPECT_EQ(RunFor(machine, config, kHourMs), Outcome::kGivenUp);
  EXPECT_THAT(Names(machine), ElementsAre("mount", "alert"));
}

// ---- What an operator asks for ----

class OperatorTest : public testing::Test {
 protected:
  OperatorTest() : config_(OneVolume()), system_(machine_) {
    machine_.AddDisk("vdb", "pvc-0001", 16);
    config_.volumes[0].workspace = "/work";
    EXPECT_EQ(RunFor(machine_, config_, kMinuteMs), Outcome::kAllMounted);
    machine_.actions.clear();
  }
  Result<Outcome> Unmount() {
    Agent agent("agent", config_, kReference, system_, 1);
    return agent.Unmount(config_.volumes[0]);
  }

  FakeMachine machine_;
  Config config_;
  FakeSystem system_;
};

TEST_F(OperatorTest, ABusyVolumeStaysMountedAndThatIsSaid) {
  machine_.busy.insert("/data");
  const int64_t begun = machine_.now_ms;
  const auto outcome = Unmount();
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(*outcome, Outcome::kBusy);
  EXPECT_THAT(machine_.Of("umount"), SizeIs(6));
  EXPECT_THAT(machine_.actions, SizeIs(6));
  EXPECT_LT(machine_.now_ms - begun, 10'000);
  EXPECT_THAT(machine_.mounts, SizeIs(1));
  // It is still looked after.
  EXPECT_EQ(RunFor(machine_, config_, kMinuteMs), Outcome::kAllMounted);
}

TEST_F(OperatorTest, WhatWasUnmountedStaysSoUntilReset) {
  const auto outcome = Unmount();
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(*outcome, Outcome::kAllMounted);
  EXPECT_THAT(Names(machine_), ElementsAre("umount", "remove"));
  EXPECT_TRUE(Unmount().ok());  // once more does no harm
  RunFor(machine_, config_, kHourMs);
  EXPECT_THAT(machine_.mounts, IsEmpty());
  Agent agent("agent", config_, kReference, system_, 1);
  ASSERT_TRUE(agent.Reset(config_.volumes[0]).ok());
  EXPECT_EQ(RunFor(machine_, config_, kMinuteMs), Outcome::kAllMounted);
  const auto lines = agent.Describe();
  ASSERT_TRUE(lines.ok());
  EXPECT_THAT((*lines)[0], AllOf(HasSubstr("pvc-0001 mounted"), HasSubstr("source=/dev/vdb")));
}

TEST_F(OperatorTest, WhatIsNotTheVolumeIsNotUnmounted) {
  machine_.mounts[0].device.minor = 99;
  const auto outcome = Unmount();
  EXPECT_FALSE(outcome.ok());
  EXPECT_THAT(machine_.actions, IsEmpty());
}

TEST_F(OperatorTest, AnotherInstanceAtWorkIsWaitedForAndNotForEver) {
  machine_.locked.insert("state");
  const int64_t begun = machine_.now_ms;
  const auto outcome = Unmount();
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("another instance"));
  EXPECT_LE(machine_.now_ms - begun, 20'000);
  machine_.At(1'000, [&] { machine_.locked.clear(); });
  EXPECT_TRUE(Unmount().ok());
}

TEST(ReferenceAgentTest, AClockThatIsSetBackDelaysNothingForLong) {
  FakeMachine machine;
  FakeDisk& disk = machine.AddDisk("vdb", "pvc-0001", 16);
  disk.mount_error = EIO;
  disk.mount_errors_left = 2;
  const Config config = OneVolume();
  FakeSystem system(machine);
  Agent agent("agent", config, kReference, system, 1);
  ASSERT_TRUE(agent.Pass().ok());
  machine.now_ms -= 30 * 24 * kHourMs;
  EXPECT_EQ(RunFor(machine, config, kMinuteMs), Outcome::kAllMounted);
}

}  // namespace
}  // namespace plugpull::agents
