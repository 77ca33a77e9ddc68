// SPDX-License-Identifier: Apache-2.0
// Every broken agent is caught by its own property, and by no other.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>

#include "agent_timeline.h"
#include "framework/agent/contract.h"

namespace plugpull::agent {
namespace {

constexpr uint64_t kSeeds = 60;

struct Broken {
  const char* name;
  FindingClass property;
  std::function<void(Script&)> act;
  const char* evidence;  // that must be in its words
};

void StartOn(Script& script, DiskChange::Content content) {
  script.AddDisk("vol", content);
  script.AddDisk("other");
  script.Tell("vol", "/mnt/vol", {"noatime"});
  script.Start();
  script.Mount("other", 0);
}

// Attempts on "vol" with gaps that double up to a cap.
void LoopOn(Script& script, int attempts, double first_gap, double cap, int error = EIO) {
  double gap = first_gap;
  for (int i = 0; i < attempts; ++i) {
    if (i > 0) script.WaitAbout(gap);
    gap = std::min(gap * 2, cap);
    script.Mount("vol", error);
  }
}

void Flap(Script& script, bool fail_between) {
  StartOn(script, DiskChange::FILE_SYSTEM);
  double gap = 0.5;
  for (int i = 0; i < 12; ++i) {
    if (fail_between) {
      script.Mount("vol", EINVAL);
      script.WaitAbout(gap);
    }
    script.Mount("vol", 0);
    script.Wait(3);
    script.Unmount("vol");
    script.WaitAbout(gap);
    gap = std::min(gap * 2, 70.0);
  }
}

std::vector<Broken> Attempting() {
  return {
      {"loops for ever", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         LoopOn(s, 60, 0.5, 100);
       },
       "60 mounts of pvc-vol (disk vol) in"},
      {"loops for ever, an hour apart from the third on", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         LoopOn(s, 30, 70, 400);
       },
       "cycle: mount failed: read error"},
      {"loops on one disk while others are mounted", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         double gap = 0.5;
         for (int i = 0; i < 20; ++i) {
           s.Mount("vol", EIO);
           s.WaitAbout(gap);
           gap = std::min(gap * 2, 70.0);
           const std::string name = fmt::format("disk{}", i);
           s.AddDisk(name);
           s.Mount(name, 0);
         }
       },
       "20 whole cycles"},
      {"flaps between success and failure", BOUNDED_ATTEMPTS, [](Script& s) { Flap(s, true); },
       "not recognised, mounted"},
      {"flaps, always with success", BOUNDED_ATTEMPTS, [](Script& s) { Flap(s, false); },
       "mounted, unmounted; 12 times"},
      {"dies of each failure and is restarted", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         double gap = 1;
         for (int i = 0; i < 15; ++i) {
           s.Mount("vol", EIO);
           s.WaitAbout(gap);
           gap = std::min(gap * 2, 70.0);
           s.Restart();
         }
       },
       "15 mounts"},
      {"no back-off", GROWING_GAPS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         LoopOn(s, 5, 0.5, 0.5);
         s.AlertOn("vol", "EIO");
         s.Wait(4000);
       },
       "not growing"},
      {"tries again after an hour", SILENT_AFTER_GIVING_UP,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         GiveUpWell(s, "vol");
         s.Wait(3600);
         GiveUpWell(s, "vol");
         s.Wait(3600);
       },
       "gave up on pvc-vol"},
      {"forgets after a restart", TERMINAL_SURVIVES_RESTART,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         GiveUpWell(s, "vol");
         s.Wait(30);
         s.Restart();
         GiveUpWell(s, "vol");
         s.Wait(3600);
       },
       "after a restart"},
      {"forgets after a re-attachment", TERMINAL_SURVIVES_RESTART,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         GiveUpWell(s, "vol");
         s.Wait(30);
         s.Detach("vol");
         s.Attach("vol", "vdx");
         GiveUpWell(s, "vol");
         s.Wait(3600);
       },
       "after a re-attachment"},
      {"tries again what cannot succeed", PERMANENT_NOT_RETRIED,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         LoopOn(s, 4, 2, 60, EUCLEAN);
         s.AlertOn("vol", "EUCLEAN");
         s.Wait(4000);
       },
       "tried again 3 times; limit 1"},
      {"gives up on a transient", TRANSIENT_RETRIED,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         s.Fault("vol", true);
         s.Mount("vol", EIO);
         s.AlertOn("vol", "EIO");
         s.Wait(10);
         s.Fault("vol", false);
         s.Wait(4000);
       },
       "1 mount before its end, 0 after"},
      {"does not see that a fault is over", RECOVERS,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         s.Fault("vol", true);
         LoopOn(s, 3, 0.5, 10, EIO);
         s.Fault("vol", false);
         s.Wait(4000);
       },
       "not mounted within 600 s"},
  };
}

// Loops that never come to a mount.
std::vector<Broken> NeverMounting() {
  return {
      {"checks for ever, looking in between", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         for (int i = 0; i < 12; ++i) {
           if (i > 0) s.Wait(49.7);
           s.Run({"/sbin/fsck.ext4", "-n", "/dev/vda"}, "vol");
           s.Wait(0.1);
           s.Run({"/sbin/blkid", "/dev/vda"}, "vol");
         }
       },
       "12 runs of fsck on pvc-vol (disk vol) in 550.2 s, with no mount between them; limit 5; "
       "gaps 50 50 50 50 50 50 50 50 ... s, not growing; cycle: fsck, blkid; 11 of 11 whole cycles "
       "alike, every 50 s"},
      {"checks for ever, ten minutes apart, others in between", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         for (int i = 0; i < 9; ++i) {
           s.Run({"/sbin/fsck.ext4", "-n", "/dev/vda"}, "vol");
           s.Wait(300);
           s.Run({"/sbin/fsck.ext4", "-n", "/dev/vdb"}, "other");
           s.Wait(299.8);
         }
       },
       "cycle: fsck; 8 of 8 whole cycles alike, every 10 min"},
      {"opens the disk for writing again and again", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         for (int i = 0; i < 10; ++i) {
           s.OpenForWrite("vol");
           s.Wait(0.01);
           s.OpenForWrite("vol");
           s.WaitAbout(20);
         }
       },
       "10 openings of pvc-vol (disk vol) for writing in"},
      {"checks, dies and is restarted, over re-attachments", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         for (int i = 0; i < 8; ++i) {
           s.Run({"/sbin/e2fsck", "-n", "/dev/vda"}, "vol");
           s.WaitAbout(20);
           s.Detach("vol");
           s.Attach("vol", i % 2 == 0 ? "vdx" : "vda");
           s.Restart();
         }
       },
       "cycle: fsck, re-attached, restarted; 7 of 7 whole cycles alike"},
      {"checks many times between mounts that are few", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         for (int i = 0; i < 3; ++i) {
           for (int k = 0; k < 8; ++k) {
             s.Run({"/sbin/e2fsck", "-n", "/dev/vda"}, "vol");
             s.WaitAbout(10);
           }
           if (i < 2) s.Mount("vol", EIO);
         }
         s.AlertOn("vol", "EIO");
         s.Wait(4000);
       },
       "8 runs of fsck"},
  };
}

// The cycle and its period are named, whatever the loop looks like.
std::vector<Broken> Cycling() {
  return {
      {"one attempt in ten minutes", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         for (int i = 0; i < 12; ++i) {
           if (i > 0) s.Wait(599.5);
           s.Mount("vol", EIO);
         }
       },
       "cycle: mount failed: read error; 12 whole cycles, every 10 min"},
      {"one attempt in twenty minutes: each is a giving up", SILENT_AFTER_GIVING_UP,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         for (int i = 0; i < 12; ++i) {
           if (i > 0) s.Wait(1200);
           s.Mount("vol", EIO);
         }
         s.Wait(100);
       },
       "12 whole cycles, every 20 min"},
      {"slow, other disks in between", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         s.AddDisk("third");
         for (int i = 0; i < 10; ++i) {
           s.Mount("vol", EIO);
           s.Wait(150);
           s.Mount("third", 0);
           s.Wait(70);
           s.Unmount("third");
           s.Wait(150);
         }
       },
       "10 whole cycles, every 6 min"},
      {"failure and success in turn", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         double gap = 10;
         for (int i = 0; i < 8; ++i) {
           s.Mount("vol", EINVAL);
           s.Wait(gap);
           s.Mount("vol", 0);
           s.Wait(3);
           s.Unmount("vol");
           s.Wait(gap);
           gap = std::min(gap * 2, 70.0);
         }
       },
       "cycle: not recognised, mounted; 8 whole cycles, every 2 min"},
      {"success alone", BOUNDED_ATTEMPTS, [](Script& s) { Flap(s, false); }, "12 times, every "},
      {"back-off that a restart resets", BOUNDED_ATTEMPTS,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         for (int i = 0; i < 5; ++i) {
           for (const double gap : {1.0, 2.0, 4.0, 8.0, 16.0, 32.0}) {
             s.Mount("vol", EIO);
             s.Wait(gap);
           }
           s.Mount("vol", EIO);
           s.Restart();
         }
       },
       "back-off begun anew 4 times, every 64 s, 4 of them by a restart; cycle: mount failed: read "
       "error"},
  };
}

std::vector<Broken> Destroying() {
  return {
      {"reformats on magic zeroed", NO_FORMAT_WITHOUT_BLANK,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         s.Run({"blkid", "/dev/vda"}, "vol");
         s.Run({"mkfs.ext4", "-F", "-m0", "/dev/vda"}, "vol");
         s.Mount("vol", 0);
         s.Wait(100);
       },
       "is damaged, not blank"},
      {"formats a blank disk on blkid's word", NO_FORMAT_WITHOUT_BLANK,
       [](Script& s) {
         StartOn(s, DiskChange::BLANK);
         s.Read("vol", 1 << 20);
         s.Run({"/usr/sbin/mke2fs", "-t", "ext4", "/dev/vda"}, "vol");
         s.Mount("vol", 0);
         s.Wait(100);
       },
       "only 1048576 of its 67108864 bytes"},
      {"writes a file system by itself", NO_FORMAT_WITHOUT_BLANK,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         s.Written("vol", 0);
         s.OpenForWrite("vol");
         s.Written("vol", 1 << 20);
       },
       "written to the device itself"},
      {"takes a read error for blank", READ_ERROR_NOT_BLANK,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         s.Fault("vol", true);
         s.Run({"blkid", "/dev/vda"}, "vol");
         s.Run({"mkfs.ext4", "/dev/vda"}, "vol");
       },
       "could not be read"},
      {"fsck -y without leave", NO_FSCK_WITHOUT_LEAVE,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         s.Run({"fsck.ext4", "-n", "/dev/vda"}, "vol");
         s.Run({"fsck.ext4", "-y", "/dev/vda"}, "vol");
         s.Mount("vol", 0);
         s.Wait(100);
       },
       "fsck.ext4 -y /dev/vda"},
      {"cleans up through a live mount", CLEANUP_STAYS_IN_MOUNT,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         s.Mount("vol", 0);
         s.Wait(1);
         for (int i = 0; i < 3; ++i) s.Removed("vol");
         s.Unmount("vol");
       },
       "3 files of pvc-vol"},
  };
}

std::vector<Broken> Mounting() {
  return {
      {"mounts twice", IDEMPOTENT,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         s.Mount("vol", 0);
         s.Restart();
         s.Mount("vol", EBUSY);
         s.Wait(100);
         s.AlertOn("vol", "EBUSY");
       },
       "mounted already"},
      {"two of its processes race", SINGLE_FLIGHT,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         s.Mount("vol", 0, "/mnt/vol");
         TimelineEvent& second = s.Add();
         second.set_at_ns(second.at_ns() - 15'000'000);
         second.set_pid(101);
         second.mutable_mount()->set_disk("vol");
         second.mutable_mount()->set_target("/mnt/vol/elsewhere");
         second.mutable_mount()->set_end_ns(second.at_ns() + 1'000'000);
         s.Wait(100);
       },
       "by process 101"},
      {"says nothing", ONE_ALERT,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         s.Mount("vol", EINVAL);
         s.Wait(4000);
       },
       "with 0 alerts"},
      {"says it again and again", ONE_ALERT,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         s.Mount("vol", EINVAL);
         for (int i = 0; i < 5; ++i) s.AlertOn("vol", "EINVAL");
         s.Wait(4000);
       },
       "with 5 alerts"},
      {"does not say which disk", ONE_ALERT,
       [](Script& s) {
         StartOn(s, DiskChange::DAMAGED);
         s.Mount("vol", EINVAL);
         s.Alert("ALERT: cannot mount /dev/vda: EINVAL");
         s.Wait(4000);
       },
       "does not name the serial"},
      {"unmounts what is busy for ever", BUSY_UNMOUNT_BOUNDED,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         s.Mount("vol", 0);
         for (int i = 0; i < 50; ++i) {
           s.Unmount("vol", EBUSY);
           s.Wait(0.05);
         }
       },
       "limit 20"},
      {"detaches what is busy", NO_LAZY_DETACH,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         s.Mount("vol", 0);
         s.Unmount("vol", EBUSY);
         s.Unmount("vol", 0, 2);
       },
       "MNT_DETACH"},
      {"mounts by name after a swap", IDENTITY_BY_SERIAL,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         s.AddDisk("third");
         s.Mount("third", 0, "/mnt/vol");
         s.Wait(100);
       },
       "where pvc-vol (disk vol) belongs"},
      {"loses an option", OPTIONS_EFFECTIVE,
       [](Script& s) {
         StartOn(s, DiskChange::FILE_SYSTEM);
         s.Mount("vol", 0);
         s.InForce("vol", {"rw", "relatime"});
         s.Wait(100);
       },
       "not in force: noatime"},
  };
}

class BrokenAgents : public ::testing::TestWithParam<std::vector<Broken> (*)()> {};

TEST_P(BrokenAgents, EachIsCaughtByItsPropertyAlone) {
  for (const Broken& broken : GetParam()()) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      Script script(seed);
      broken.act(script);
      bool caught = false;
      const AgentReport report = JudgeAgent(script.Finish(), "a", Contract());
      for (const PropertyReport& property : report.property()) {
        if (property.verdict() != PropertyReport::VIOLATED) continue;
        EXPECT_EQ(property.property(), broken.property)
            << broken.name << ", seed " << seed << ": " << property.evidence();
        if (property.property() != broken.property) continue;
        caught = true;
        EXPECT_NE(property.evidence().find(broken.evidence), std::string::npos)
            << broken.name << ": " << property.evidence();
      }
      EXPECT_TRUE(caught) << broken.name << ", seed " << seed;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, BrokenAgents,
                         ::testing::Values(Attempting, NeverMounting, Cycling, Destroying,
                                           Mounting));

TEST(BrokenPair, TheOneThatComesSecondIsAccused) {
  Script script(1);
  script.AddDisk("vol");
  script.Start("a");
  script.Mount("vol", 0);
  script.Start("b");
  script.pid = 200;
  script.Mount("vol", EBUSY);
  const Timeline timeline = script.Finish();
  for (const AgentReport& report : JudgeTimeline(timeline, Contract())) {
    for (const PropertyReport& property : report.property()) {
      if (property.property() != SINGLE_FLIGHT) continue;
      EXPECT_EQ(property.verdict() == PropertyReport::VIOLATED, report.agent() == "b");
    }
  }
}

}  // namespace
}  // namespace plugpull::agent
