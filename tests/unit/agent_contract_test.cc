// SPDX-License-Identifier: Apache-2.0
// Who behaves is never accused, whatever happens to the disks.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "agent_timeline.h"
#include "framework/agent/contract.h"

namespace plugpull::agent {
namespace {

constexpr uint64_t kSeeds = 200;

PropertyReport Property(const AgentReport& report, FindingClass property) {
  for (const PropertyReport& one : report.property()) {
    if (one.property() == property) return one;
  }
  return {};
}

void ExpectNotAccused(const Timeline& timeline, uint64_t seed) {
  for (const AgentReport& report : JudgeTimeline(timeline, Contract())) {
    EXPECT_EQ(report.property_size(), static_cast<int>(AllProperties().size()));
    for (const PropertyReport& property : report.property()) {
      EXPECT_NE(property.verdict(), PropertyReport::VIOLATED)
          << "seed " << seed << ", agent " << report.agent() << ": "
          << FindingClass_Name(property.property()) << ": " << property.evidence();
    }
  }
}

TEST(AgentContract, FirstFormatWithWholeDiskEvidence) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Script script(seed);
    script.AddDisk("vol", DiskChange::BLANK);
    script.Tell("vol", "/mnt/vol", {"noatime", "barrier=1"});
    script.Start();
    script.Mount("vol", EINVAL);  // "Can't find ext4 filesystem"
    script.Read("vol", 64 << 20);
    script.Run({"/sbin/mkfs.ext4", "-F", "/dev/vda"}, "vol");
    script.Mount("vol", 0);
    script.InForce("vol", {"rw", "noatime"});
    script.Wait(100);
    script.Unmount("vol");
    const Timeline timeline = script.Finish();
    ExpectNotAccused(timeline, seed);
    const AgentReport report = JudgeAgent(timeline, "a", Contract());
    EXPECT_EQ(Property(report, NO_FORMAT_WITHOUT_BLANK).verdict(), PropertyReport::HOLDS);
    EXPECT_EQ(Property(report, OPTIONS_EFFECTIVE).verdict(), PropertyReport::HOLDS);
    EXPECT_EQ(report.mounts(), 2u);
    EXPECT_EQ(report.mounts_failed(), 1u);
  }
}

TEST(AgentContract, ThreeDisksOneAfterAnother) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Script script(seed);
    for (const char* disk : {"one", "two", "three"}) {
      script.AddDisk(disk);
      script.Tell(disk, std::string("/mnt/") + disk);
    }
    script.Start();
    for (const char* disk : {"one", "two", "three"}) {
      script.Mount(disk, 0);
      script.WaitAbout(0.1);
    }
    script.Wait(5);
    for (const char* disk : {"one", "two", "three"}) script.Unmount(disk);
    ExpectNotAccused(script.Finish(), seed);
  }
}

TEST(AgentContract, TransientThatClears) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Script script(seed);
    script.AddDisk("vol");
    script.Fault("vol", true);
    script.Start();
    double gap = 0.5;
    const uint64_t failures = script.prng().Between(1, 4);
    for (uint64_t i = 0; i < failures; ++i) {
      script.Mount("vol", EIO);
      if (i + 1 == failures) script.Fault("vol", false);
      script.WaitAbout(gap);
      gap *= 2;
    }
    script.Mount("vol", 0);
    script.Wait(1000);
    const Timeline timeline = script.Finish();
    ExpectNotAccused(timeline, seed);
    const AgentReport report = JudgeAgent(timeline, "a", Contract());
    EXPECT_EQ(Property(report, RECOVERS).verdict(), PropertyReport::HOLDS);
    EXPECT_EQ(Property(report, TRANSIENT_RETRIED).verdict(), PropertyReport::HOLDS);
  }
}

TEST(AgentContract, GivesUpAndStaysSoOverRestartAndReattachment) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Script script(seed);
    script.AddDisk("vol", DiskChange::DAMAGED);
    script.AddDisk("good");
    script.Start();
    GiveUpWell(script, "vol");
    script.Mount("good", 0);
    script.Wait(100);
    script.Restart();
    script.Wait(100);
    script.Detach("vol");
    script.Wait(5);
    script.Attach("vol", seed % 2 == 0 ? "vdq" : "");
    script.Wait(3600);
    const Timeline timeline = script.Finish();
    ExpectNotAccused(timeline, seed);
    const AgentReport report = JudgeAgent(timeline, "a", Contract());
    for (const FindingClass property :
         {BOUNDED_ATTEMPTS, SILENT_AFTER_GIVING_UP, TERMINAL_SURVIVES_RESTART, ONE_ALERT}) {
      EXPECT_EQ(Property(report, property).verdict(), PropertyReport::HOLDS)
          << FindingClass_Name(property);
    }
  }
}

TEST(AgentContract, UnplugAndPlugAgainManyTimes) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Script script(seed);
    script.AddDisk("vol");
    script.Tell("vol", "/mnt/vol");
    script.Start();
    for (int i = 0; i < 12; ++i) {
      script.Mount("vol", 0);
      script.WaitAbout(10);
      script.Detach("vol");
      script.Unmount("vol");
      script.WaitAbout(2);
      script.Attach("vol", i % 2 == 0 ? "vdb" : "vda");
    }
    ExpectNotAccused(script.Finish(), seed);
  }
}

TEST(AgentContract, AskedAgainAndAgain) {
  Script script(1);
  script.AddDisk("vol");
  for (int i = 0; i < 12; ++i) {
    script.Start();
    script.Mount("vol", 0);
    script.Wait(1);
    script.Unmount("vol", EBUSY);
    script.Wait(1);
    script.Unmount("vol");
  }
  ExpectNotAccused(script.Finish(), 1);
}

TEST(AgentContract, GapsThatReachTheirCapNeedNotGrow) {
  Contract contract;
  contract.set_attempts_max(100);
  Script script(1);
  script.AddDisk("vol", DiskChange::DAMAGED);
  script.Start();
  double gap = 0.5;
  for (int i = 0; i < 40; ++i) {
    script.Mount("vol", EIO);
    script.WaitAbout(gap);
    gap = std::min(gap * 2, 122.0);
  }
  const AgentReport report = JudgeAgent(script.Finish(), "a", contract);
  EXPECT_EQ(Property(report, GROWING_GAPS).verdict(), PropertyReport::HOLDS);
}

// What a check behind a mount finds is not an errno of any mount.
TEST(AgentContract, AlertBehindAMountThatSucceeded) {
  Script script(1);
  script.AddDisk("vol", DiskChange::DAMAGED);
  script.Start();
  script.Mount("vol", EIO);
  script.Wait(2);
  script.Mount("vol", 0);
  script.Unmount("vol");
  script.Wait(4);
  script.Mount("vol", EIO);
  script.AlertOn("vol", "EUCLEAN");
  script.Wait(4000);
  const Timeline timeline = script.Finish();
  ExpectNotAccused(timeline, 1);
  EXPECT_EQ(Property(JudgeAgent(timeline, "a", Contract()), ONE_ALERT).verdict(),
            PropertyReport::HOLDS);
}

// A refusal is answered by a repair that was allowed; then the kernel may be asked again. One that
// wrote nothing is no answer.
TEST(AgentContract, RefusedAgainBehindARepair) {
  Contract contract;
  contract.set_fsck_allowed(true);
  for (const bool writes : {true, false}) {
    Script script(1);
    script.AddDisk("vol", DiskChange::DAMAGED);
    script.Start();
    double gap = 2;
    for (int i = 0; i < 4; ++i) {
      script.Mount("vol", EUCLEAN);
      script.Run({"/usr/sbin/e2fsck", "-p", "/dev/vda"}, "vol");
      if (writes) script.Written("vol", 4096);
      script.Wait(gap);
      gap *= 2;
    }
    script.Mount("vol", 0);
    script.Wait(100);
    const AgentReport report = JudgeAgent(script.Finish(), "a", contract);
    EXPECT_EQ(Property(report, PERMANENT_NOT_RETRIED).verdict(),
              writes ? PropertyReport::HOLDS : PropertyReport::VIOLATED);
  }
}

// Attempts that are no mounts, by agents that go round no loop.
TEST(AgentContract, WorkWithoutAMountThatHasAnEnd) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Script script(seed);
    Contract contract;
    contract.set_fsck_allowed(true);
    script.AddDisk("vol", DiskChange::DAMAGED);
    script.AddDisk("healthy");
    script.AddDisk("fresh", DiskChange::BLANK);
    script.Start();
    // A poller that looks, finds nothing to do and says so once.
    for (int i = 0; i < 100; ++i) {
      script.Run({"/sbin/blkid", "-p", "/dev/vda"}, "vol");
      script.Run({"/sbin/wipefs", "/dev/vda"}, "vol");
      script.WaitAbout(10);
    }
    // Upkeep of a disk that lies idle.
    for (int i = 0; i < 20; ++i) {
      script.Run({"/sbin/e2fsck", "-fn", "/dev/vdb"}, "healthy");
      script.WaitAbout(3600);
    }
    // A first format, with all that may be done to a blank disk.
    script.Read("fresh", 64 << 20);
    for (const char* program : {"blkdiscard", "wipefs", "sfdisk", "dd", "mkfs.ext4", "fsck.ext4"}) {
      script.Run({program, "-a", "/dev/vdc"}, "fresh");
    }
    script.Mount("fresh", 0);
    // What is mounted may be opened as often as one likes: to grow it, to set a label.
    for (int i = 0; i < 20; ++i) {
      script.OpenForWrite("fresh");
      script.Wait(5);
    }
    // Two checks before each of five mounts; fsck runs e2fsck.
    double gap = 2;
    for (int i = 0; i < 5; ++i) {
      script.Run({"/sbin/fsck", "-n", "/dev/vda"}, "vol", 0.5);
      script.Run({"/sbin/e2fsck", "-p", "/dev/vda"}, "vol", 0.5);
      script.Written("vol", 4096);
      script.Mount("vol", EUCLEAN);
      if (i < 4) script.WaitAbout(gap);
      gap *= 2;
    }
    script.AlertOn("vol", "EUCLEAN");
    script.Wait(4000);
    const AgentReport report = JudgeAgent(script.Finish(), "a", contract);
    EXPECT_NE(Property(report, BOUNDED_ATTEMPTS).verdict(), PropertyReport::VIOLATED)
        << seed << ": " << Property(report, BOUNDED_ATTEMPTS).evidence();
  }
}

// A new reason to try is one: the disk was changed from outside, or a fault cleared.
TEST(AgentContract, WorkWithoutAMountForANewReason) {
  Script script(1);
  script.AddDisk("vol", DiskChange::DAMAGED);
  script.Start();
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 3; ++k) {
      script.Run({"/sbin/fsck.ext4", "-n", "/dev/vda"}, "vol");
      script.Wait(10);
    }
    script.Fault("vol", i % 2 == 0);
  }
  const AgentReport report = JudgeAgent(script.Finish(), "a", Contract());
  const PropertyReport bound = Property(report, BOUNDED_ATTEMPTS);
  EXPECT_EQ(bound.verdict(), PropertyReport::HOLDS) << bound.evidence();
  EXPECT_NE(bound.evidence().find("3 runs of fsck on pvc-vol (disk vol)"), std::string::npos)
      << bound.evidence();
}

// fsck starts e2fsck, and mkfs opens the disk a few times: one piece of work each.
TEST(AgentContract, OnePieceOfWorkOfSeveralProcesses) {
  Script script(1);
  script.AddDisk("vol", DiskChange::DAMAGED);
  script.Start();
  for (int i = 0; i < 5; ++i) {
    TimelineEvent& outer = script.Add();
    outer.mutable_program()->set_path("/sbin/fsck");
    outer.mutable_program()->add_argv("fsck");
    outer.mutable_program()->add_argv("-n");
    outer.mutable_program()->add_disk("vol");
    outer.mutable_program()->set_end_ns(outer.at_ns() + 2 * kSecondNs);
    script.OpenForWrite("vol");
    script.Wait(0.1);
    script.pid = 101;
    script.Run({"/sbin/e2fsck", "-n", "/dev/vda"}, "vol", 1);
    script.pid = 100;
    script.Wait(20);
  }
  const PropertyReport bound =
      Property(JudgeAgent(script.Finish(), "a", Contract()), BOUNDED_ATTEMPTS);
  EXPECT_EQ(bound.verdict(), PropertyReport::HOLDS) << bound.evidence();
  EXPECT_NE(bound.evidence().find("5 runs of fsck"), std::string::npos) << bound.evidence();
}

TEST(AgentContract, LostEventsMakeEverythingUnknown) {
  Script script(1);
  script.AddDisk("vol");
  script.Start();
  script.Mount("vol", 0);
  Timeline timeline = script.Finish();
  timeline.set_lost_events(3);
  timeline.set_lost_reason("the buffer overflowed");
  const AgentReport report = JudgeAgent(timeline, "a", Contract());
  for (const PropertyReport& property : report.property()) {
    EXPECT_EQ(property.verdict(), PropertyReport::UNKNOWN);
    EXPECT_NE(property.evidence().find("3 events were lost: the buffer"), std::string::npos);
  }
}

TEST(AgentContract, WithoutLeavesPropertiesOut) {
  Contract contract;
  contract.add_without(ONE_ALERT);
  Script script(1);
  script.AddDisk("vol");
  script.Start();
  const AgentReport report = JudgeAgent(script.Finish(), "a", contract);
  EXPECT_EQ(report.property_size() + 1, static_cast<int>(AllProperties().size()));
}

TEST(AgentContract, NothingHappenedIsNoSuccess) {
  const AgentReport report = JudgeAgent(Timeline(), "nobody", Contract());
  for (const PropertyReport& property : report.property()) {
    EXPECT_EQ(property.verdict(), PropertyReport::UNKNOWN);
  }
  Script script(1);
  script.AddDisk("vol");
  script.Start();
  const AgentReport idle = JudgeAgent(script.Finish(), "a", Contract());
  for (const PropertyReport& property : idle.property()) {
    EXPECT_EQ(property.verdict(), PropertyReport::NOT_EXERCISED)
        << FindingClass_Name(property.property());
  }
}

}  // namespace
}  // namespace plugpull::agent
