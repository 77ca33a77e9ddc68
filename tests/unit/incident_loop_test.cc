// SPDX-License-Identifier: Apache-2.0
// What is a retry loop, and what only looks like one.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/prng.h"
#include "framework/incident/incident.h"
#include "framework/os/file.h"

namespace plugpull::incident {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A log that is written line by line.
class Log {
 public:
  // Seconds since the machine started; negative: lines without times.
  Log& At(double seconds) {
    now_ = seconds;
    return *this;
  }
  Log& After(double seconds) { return At(now_ + seconds); }
  Log& Say(const std::string& text) {
    if (now_ >= 0) text_ += fmt::format("[{:12.6f}] ", now_);
    text_ += text + "\n";
    return *this;
  }
  Log& Attach(const std::string& disk, const std::string& slot = "virtio4") {
    return Say(fmt::format("virtio_blk {}: [{}] 2097152 512-byte logical blocks (1.07 GB/1.00 GiB)",
                           slot, disk));
  }
  Log& Fail(const std::string& disk, const std::string& why = "VFS: Can't find ext4 filesystem") {
    return Say(fmt::format("EXT4-fs ({}): {}", disk, why));
  }
  Log& Mount(const std::string& disk, const std::string& uuid = "") {
    return Say(
        fmt::format("EXT4-fs ({}): mounted filesystem {}with ordered data mode. Quota mode: "
                    "none.",
                    disk, uuid.empty() ? "" : uuid + " r/w "));
  }
  Log& Unmount(const std::string& disk) {
    return Say(fmt::format("EXT4-fs ({}): unmounting filesystem.", disk));
  }
  Log& Eject() { return Say("virtio-pci 0000:00:07.0: EDR: ACPI event 0x3 received"); }
  Log& Bus() { return Say("virtio-pci 0000:00:07.0: virtio_pci: leaving for legacy driver"); }
  const std::string& text() const { return text_; }

 private:
  double now_ = -1;
  std::string text_;
};

std::string Uuid(int n) { return fmt::format("{:08x}-0000-4000-8000-000000000000", n); }

Incident Of(const std::string& log) {
  auto incident = ReadIncident(log);
  EXPECT_TRUE(incident.ok()) << incident.error().ToString();
  return incident.ok() ? *std::move(incident) : Incident();
}
Incident Of(const Log& log) { return Of(log.text()); }

const DeviceReport& Device(const Incident& incident, const std::string& name) {
  static const DeviceReport kNone;
  for (const DeviceReport& report : incident.devices) {
    if (report.device == name) return report;
  }
  ADD_FAILURE() << "no device " << name;
  return kNone;
}

std::string FieldLog(const std::string& name) {
  const auto log = os::ReadFile(
      std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/incident/" + name + ".dmesg", Mebibytes(1));
  EXPECT_TRUE(log.ok()) << log.error().ToString();
  return log.ok() ? *log : "";
}

void ExpectNoLoop(const Incident& incident) {
  for (const DeviceReport& report : incident.devices) {
    EXPECT_FALSE(report.verdict.loop.has_value()) << report.summary;
  }
}

TEST(IncidentField, TheRetryLoop) {
  const Incident incident = Of(FieldLog("retry_loop"));
  ASSERT_EQ(incident.devices.size(), 1U);
  const DeviceReport& report = incident.devices[0];
  EXPECT_EQ(report.device, "vdo");
  EXPECT_EQ(report.fs, FileSystem::kExt4);
  EXPECT_THAT(report.options, ElementsAre("data=writeback", "nobarrier"));
  EXPECT_EQ(report.size_bytes, std::nullopt);
  EXPECT_EQ(report.re_attachments, 4U);
  EXPECT_EQ(report.failures[static_cast<size_t>(Failure::kNotRecognised)], 5U);
  EXPECT_EQ(report.mounts, 10U);
  EXPECT_EQ(report.attempts, 15U);
  EXPECT_FALSE(report.gave_up());
  EXPECT_FALSE(report.first_format);
  ASSERT_TRUE(report.verdict.loop.has_value());
  const Loop& loop = *report.verdict.loop;
  EXPECT_THAT(EventWords(loop), ElementsAre("not recognised", "mounted", "re-attached"));
  EXPECT_EQ(loop.whole, 4U);
  EXPECT_TRUE(loop.cut_off);
  EXPECT_EQ(loop.alike, 4U);
  EXPECT_EQ(loop.steps[1].repeats_min, 2U);
  EXPECT_EQ(loop.steps[1].repeats_max, 3U);
  EXPECT_FALSE(loop.period.has_value());
  EXPECT_GE(report.confidence, 0.7);
  EXPECT_THAT(report.summary, HasSubstr("retry loop"));
  EXPECT_THAT(report.summary, HasSubstr("4 whole cycles and one cut off"));
}

TEST(IncidentField, TheHealthyLog) {
  const Incident incident = Of(FieldLog("healthy"));
  ASSERT_EQ(incident.devices.size(), 1U);
  const DeviceReport& report = incident.devices[0];
  EXPECT_EQ(report.device, "vdb");
  EXPECT_EQ(report.fs, FileSystem::kExt4);
  EXPECT_EQ(report.size_bytes, 53687091200U);
  EXPECT_FALSE(report.verdict.loop.has_value());
  EXPECT_TRUE(report.first_format);
  EXPECT_EQ(report.attempts, 3U);
  EXPECT_EQ(report.mounts, 2U);
  EXPECT_EQ(report.detachments, 1U);
  EXPECT_EQ(report.re_attachments, 1U);
  EXPECT_FALSE(report.gave_up());
  EXPECT_THAT(report.summary, HasSubstr("first format, unplug, re-plug; no loop"));
}

// Every beginning and every end of the field's log: never a wrong count, and no loop before there
// are three cycles.
TEST(IncidentField, TheRetryLoopCutAnywhere) {
  std::vector<std::string> lines;
  const std::string log = FieldLog("retry_loop");
  for (size_t begin = 0; begin < log.size();) {
    const size_t end = std::min(log.find('\n', begin), log.size());
    lines.push_back(log.substr(begin, end - begin) + "\n");
    begin = end + 1;
  }
  for (size_t from = 0; from < lines.size(); ++from) {
    for (size_t to = from + 1; to <= lines.size(); ++to) {
      std::string part;
      uint64_t failures = 0;
      for (size_t i = from; i < to; ++i) {
        part += lines[i];
        failures += lines[i].find("Can't find") != std::string::npos;
      }
      const Incident incident = Of(part);
      ASSERT_EQ(incident.devices.size(), 1U);
      const auto& loop = incident.devices[0].verdict.loop;
      ASSERT_EQ(loop.has_value(), failures >= 4) << from << " " << to << "\n" << part;
      EXPECT_EQ(loop ? loop->closed + 1 : failures, failures);
    }
  }
}

TEST(IncidentLoop, SlowAttemptsHaveAPeriodAndItsSpread) {
  Log log;
  log.At(1000);
  for (int i = 0; i < 6; ++i) {
    log.Attach("vdb").After(2).Fail("vdb").After(1).Mount("vdb").After(4).Mount("vdb");
    log.After(1793 + 10 * i);
  }
  const Incident incident = Of(log);
  const DeviceReport& report = Device(incident, "vdb");
  ASSERT_TRUE(report.verdict.loop.has_value()) << report.summary;
  const Loop& loop = *report.verdict.loop;
  EXPECT_EQ(loop.closed, 5U);
  ASSERT_TRUE(loop.period.has_value());
  EXPECT_DOUBLE_EQ(loop.period->min_s, 1800);
  EXPECT_DOUBLE_EQ(loop.period->median_s, 1820);
  EXPECT_DOUBLE_EQ(loop.period->max_s, 1840);
  EXPECT_THAT(report.summary, HasSubstr("about 30 min"));
  EXPECT_GE(report.confidence, 0.9);
}

TEST(IncidentLoop, OtherDisksAndNoiseInBetweenChangeNothing) {
  Prng prng(7);
  Log log;
  log.At(50).Attach("vdc", "virtio5").Fail("vdc").After(1).Mount("vdc");
  for (int i = 0; i < 8; ++i) {
    log.After(1).Attach("vdb").After(1).Fail("vdb");
    if (prng.Chance(500)) log.Say("IPv6: ADDRCONF(NETDEV_UP): eth0: link is not ready");
    log.After(1).Mount("vdd").After(5).Fail("vdb").After(20);
    if (prng.Chance(500)) log.Unmount("vdd");
  }
  const Incident incident = Of(log);
  ASSERT_EQ(incident.devices.size(), 3U);
  EXPECT_EQ(incident.devices[0].device, "vdb");  // the worst first
  ASSERT_TRUE(incident.devices[0].verdict.loop.has_value());
  EXPECT_EQ(incident.devices[0].verdict.loop->closed, 7U);
  EXPECT_THAT(EventWords(*incident.devices[0].verdict.loop),
              ElementsAre("not recognised", "re-attached"));
  EXPECT_FALSE(Device(incident, "vdc").verdict.loop.has_value());
  EXPECT_TRUE(Device(incident, "vdc").first_format);
  EXPECT_FALSE(Device(incident, "vdd").verdict.loop.has_value());
}

TEST(IncidentLoop, FailuresAndSuccessesByTurns) {
  for (const double gap : {-1.0, 30.0, 3000.0}) {
    Log log;
    if (gap > 0) log.At(100);
    const auto wait = [&] {
      if (gap > 0) log.After(gap);
    };
    for (int i = 0; i < 5; ++i) {
      log.Fail("vdb");
      wait();
      log.Mount("vdb");
      wait();
    }
    const Incident incident = Of(log);
    ASSERT_TRUE(Device(incident, "vdb").verdict.loop.has_value()) << gap;
    EXPECT_THAT(EventWords(*Device(incident, "vdb").verdict.loop),
                ElementsAre("not recognised", "mounted"));
    EXPECT_EQ(Device(incident, "vdb").verdict.loop->whole, 5U);
    EXPECT_FALSE(Device(incident, "vdb").verdict.loop->cut_off);
  }
}

TEST(IncidentLoop, NothingButFailures) {
  Log log;
  log.At(100);
  for (int i = 0; i < 12; ++i) {
    log.Say("EXT4-fs (sdc1): Found no journal").Fail("sdc1", "no journal found").After(30);
    log.Fail("sdc1", "error loading journal").After(30);
  }
  Incident incident = Of(log);
  ASSERT_TRUE(incident.devices[0].verdict.loop.has_value());
  EXPECT_EQ(incident.devices[0].attempts, 24U);  // 30 s later it is another attempt
  Log summed;
  summed.At(100);
  for (int i = 0; i < 12; ++i) {
    summed.Fail("sdc1", "get root inode failed").Fail("sdc1", "mount failed").After(60);
  }
  incident = Of(summed);
  ASSERT_TRUE(incident.devices[0].verdict.loop.has_value());
  EXPECT_EQ(incident.devices[0].attempts, 12U);
  EXPECT_EQ(incident.devices[0].verdict.loop->whole, 12U);
  EXPECT_DOUBLE_EQ(incident.devices[0].verdict.loop->period->median_s, 60);
  EXPECT_THAT(EventWords(*incident.devices[0].verdict.loop),
              ElementsAre("mount failed: root inode"));
}

TEST(IncidentLoop, GrowingGapsAreALoopToo) {
  Log log;
  log.At(10);
  double gap = 0.5;
  for (int i = 0; i < 14; ++i, gap = std::min(gap * 2, 122.0)) log.Fail("vdb").After(gap);
  const Incident incident = Of(log);
  ASSERT_TRUE(incident.devices[0].verdict.loop.has_value());
  EXPECT_FALSE(incident.devices[0].verdict.loop->period->Regular());
  EXPECT_DOUBLE_EQ(incident.devices[0].verdict.loop->period->max_s, 122);
}

TEST(IncidentLoop, RateLimitedLinesLowerTheConfidenceOnly) {
  Log whole;
  Log thinned;
  Prng prng(3);
  for (Log* log : {&whole, &thinned}) {
    log->At(100);
    for (int i = 0; i < 20; ++i) {
      log->Attach("vdb").After(1).Fail("vdb").After(1);
      if (log == &whole || prng.Chance(600)) log->Mount("vdb");
      if (log == &whole || prng.Chance(600)) log->After(1).Mount("vdb");
      log->After(10);
      if (log == &thinned && i % 5 == 4) log->Say("EXT4-fs mount: 7 callbacks suppressed");
    }
  }
  const Incident clear = Of(whole);
  const Incident blurred = Of(thinned);
  ASSERT_TRUE(clear.devices[0].verdict.loop.has_value());
  ASSERT_TRUE(blurred.devices[0].verdict.loop.has_value());
  EXPECT_EQ(blurred.devices[0].verdict.loop->closed, 19U);
  EXPECT_EQ(blurred.devices[0].suppressed, 28U);
  EXPECT_LT(blurred.devices[0].confidence, clear.devices[0].confidence);
  EXPECT_THAT(blurred.notes, Contains(HasSubstr("lower bounds")));
}

TEST(IncidentLoop, ALogThatWasRotatedInTheMiddle) {
  Log log;
  log.At(5000).Mount("vdb").After(1).Mount("vdb");  // the end of a cycle
  for (int i = 0; i < 4; ++i) {
    log.After(10).Attach("vdb").After(1).Fail("vdb").After(1).Mount("vdb").Mount("vdb");
  }
  std::string text = log.text();
  text = text.substr(text.find("EXT4-fs"));  // and the line is cut
  const Incident incident = Of(text);
  ASSERT_TRUE(incident.devices[0].verdict.loop.has_value());
  EXPECT_EQ(incident.devices[0].verdict.loop->closed, 3U);
  EXPECT_EQ(incident.devices[0].re_attachments, 4U);
}

TEST(IncidentLoop, ADiskThatComesBackUnderOtherNames) {
  Log log;
  log.At(100);
  const char* kNames[] = {"vdc", "vdd"};
  for (int i = 0; i < 6; ++i) {
    const std::string name = kNames[i % 2];
    log.Attach(name, "virtio9").After(1).Fail(name).After(1).Fail(name).After(10);
  }
  const Incident incident = Of(log);
  ASSERT_EQ(incident.devices.size(), 1U);
  EXPECT_THAT(incident.devices[0].names, ElementsAre("vdc", "vdd"));
  ASSERT_TRUE(incident.devices[0].verdict.loop.has_value());
  EXPECT_EQ(incident.devices[0].attempts, 12U);
  // Another place, or another size, is another disk.
  Log apart;
  apart.At(100)
      .Attach("vdc", "virtio9")
      .Mount("vdc")
      .After(9)
      .Attach("vdd", "virtio10")
      .Mount("vdd");
  EXPECT_EQ(Of(apart).devices.size(), 2U);
  std::string resized = log.text();
  resized.replace(resized.rfind("2097152"), 7, "4194304");
  EXPECT_EQ(Of(resized).devices.size(), 2U);
}

TEST(IncidentLoop, TheSameFileSystemUnderAnotherName) {
  Log log;
  log.At(100).Mount("sdb", Uuid(1)).After(50).Unmount("sdb").After(50).Mount("sdc", Uuid(1));
  EXPECT_THAT(Of(log).devices[0].names, ElementsAre("sdb", "sdc"));
  Log clones;
  clones.At(100).Mount("sdb", Uuid(1)).After(50).Mount("sdc", Uuid(1));
  EXPECT_EQ(Of(clones).devices.size(), 2U);
}

TEST(IncidentLoop, BlankDisksAreToldByTheirUuid) {
  const auto disks = [](bool same, bool in_order) {
    Log log;
    log.At(100);
    for (int i = 0; i < 8; ++i) {
      log.Bus().Attach("vdb").After(1).Fail("vdb").After(1);
      log.Mount("vdb", same ? Uuid(1) : Uuid(i + 1)).After(30);
      if (in_order) log.Unmount("vdb").After(1).Eject();
      log.After(20);
    }
    return Of(log);
  };
  EXPECT_FALSE(Device(disks(false, true), "vdb").verdict.loop.has_value());
  EXPECT_FALSE(Device(disks(false, false), "vdb").verdict.loop.has_value());
  EXPECT_TRUE(Device(disks(true, true), "vdb").verdict.loop.has_value());
  EXPECT_TRUE(Device(disks(true, false), "vdb").verdict.loop.has_value());
}

TEST(IncidentLoop, BlankDisksWithoutAUuidAreALoopWhenNobodyUsesThem) {
  const auto disks = [](bool eject, int mounts, double held) {
    Log log;
    log.At(100);
    for (int i = 0; i < 8; ++i) {
      log.Bus().Attach("vdb").After(1).Fail("vdb").After(1);
      for (int k = 0; k < mounts; ++k) log.Mount("vdb").After(held).Unmount("vdb").After(1);
      if (eject) log.Eject();
      log.After(25);
    }
    return Of(log);
  };
  const Incident used = disks(true, 1, 60);
  EXPECT_FALSE(used.devices[0].verdict.loop.has_value());
  EXPECT_EQ(used.devices[0].verdict.blank_each_time, 7U);
  EXPECT_THAT(used.devices[0].summary, HasSubstr("this log cannot tell"));
  EXPECT_LE(used.devices[0].confidence, 0.6);
  EXPECT_TRUE(disks(true, 1, 2).devices[0].verdict.loop.has_value());
  // The field's loop on a kernel that logs unmounts, and one that logs ejections.
  EXPECT_TRUE(disks(false, 2, 1).devices[0].verdict.loop.has_value());
  EXPECT_TRUE(disks(true, 2, 60).devices[0].verdict.loop.has_value());
}

TEST(IncidentHealthy, TheHealthyLogManyTimesOver) {
  std::string log;
  for (int i = 0; i < 6; ++i) log += FieldLog("healthy") + "\n";
  const Incident incident = Of(log);
  ExpectNoLoop(incident);
  EXPECT_EQ(incident.devices[0].attempts, 18U);
}

TEST(IncidentHealthy, ThreeDisksOneAfterAnother) {
  for (const bool ejected : {false, true}) {
    for (const bool one_name : {false, true}) {
      Log log;
      log.At(100);
      for (const std::string name : {"vdb", "vdc", "vdd"}) {
        const std::string disk = one_name ? "vdb" : name;
        log.Bus().Attach(disk).After(1).Fail(disk).After(2).Mount(disk).After(60);
        if (ejected) log.Eject().After(1);
      }
      ExpectNoLoop(Of(log));
    }
  }
  Log apart;
  for (const std::string name : {"vdb", "vdc", "vdd"}) {
    apart.Attach(name, "virtio-" + name).Fail(name).Mount(name);
  }
  const Incident incident = Of(apart);
  EXPECT_EQ(incident.devices.size(), 3U);
  ExpectNoLoop(incident);
}

TEST(IncidentHealthy, ATransientThatClears) {
  Log log;
  log.At(100);
  for (int i = 0; i < 6; ++i) {
    log.Say("I/O error, dev vdb, sector 0 op 0x0:(READ)").Fail("vdb", "unable to read superblock");
    log.After(5);
  }
  log.Mount("vdb");
  const Incident at_once = Of(log);
  ExpectNoLoop(at_once);
  EXPECT_EQ(at_once.devices[0].verdict.end, AttemptsEnd::kMounted);
  EXPECT_FALSE(at_once.devices[0].gave_up());
  EXPECT_EQ(at_once.devices[0].io_errors, 6U);
  EXPECT_THAT(at_once.devices[0].summary, HasSubstr("then succeeded"));
  // Again and again, at no regular times, each time cleared at once and for long.
  Prng prng(11);
  Log days;
  days.At(100);
  for (int i = 0; i < 9; ++i) {
    days.Fail("vdb", "unable to read superblock").After(2).Mount("vdb");
    days.After(3600.0 * static_cast<double>(prng.Between(1, 30)));
  }
  ExpectNoLoop(Of(days));
}

TEST(IncidentHealthy, AttemptsThatAreGivenUp) {
  Log log;
  log.At(100);
  for (int i = 0; i < 5; ++i) log.Fail("vdb").After(10);
  const Incident open = Of(log);
  EXPECT_TRUE(open.devices[0].verdict.loop.has_value());
  EXPECT_FALSE(open.devices[0].gave_up());
  log.After(600).Say("cni0: port 11 entered blocking state");
  const Incident over = Of(log);
  EXPECT_FALSE(over.devices[0].verdict.loop.has_value());
  EXPECT_TRUE(over.devices[0].gave_up());
  EXPECT_THAT(over.devices[0].summary, HasSubstr("given up"));
  // Without times, many messages are the proof.
  Log untimed;
  for (int i = 0; i < 5; ++i) untimed.Fail("vdb");
  for (int i = 0; i < 100; ++i) untimed.Say("cni0: port 11 entered blocking state");
  EXPECT_TRUE(Of(untimed).devices[0].gave_up());
  // So many attempts are a loop, even if they end.
  Log many;
  many.At(100);
  for (int i = 0; i < 60; ++i) many.Fail("vdb").After(10);
  many.After(9000).Say("cni0: port 11 entered blocking state");
  EXPECT_TRUE(Of(many).devices[0].verdict.loop.has_value());
  EXPECT_TRUE(Of(many).devices[0].gave_up());
}

TEST(IncidentHealthy, OneMountThatTriesManyTypesIsNoLoop) {
  Log log;
  log.At(1.5);
  for (int i = 0; i < 9; ++i) log.Fail("vda").After(0.001);
  log.After(3).Say("XFS (vda): Mounting V5 Filesystem").After(0.1);
  log.Say("XFS (vda): Ending clean mount");
  ExpectNoLoop(Of(log));
}

TEST(IncidentHealthy, MountsWithoutFailuresAreNoLoop) {
  Log log;
  log.At(100);
  for (int i = 0; i < 50; ++i) {
    log.Attach("vdb").After(1).Mount("vdb").After(20).Unmount("vdb").After(9);
  }
  const Incident incident = Of(log);
  ExpectNoLoop(incident);
  EXPECT_EQ(incident.devices[0].mounts, 50U);
}

TEST(IncidentHealthy, NoLoopIsFollowedAcrossRestarts) {
  Log log;
  for (int boot = 0; boot < 6; ++boot) {
    log.At(0).Say("Linux version 6.1.0-56-cloud-amd64").At(2).Attach("vda").Fail("vda");
    log.At(3).Mount("vda");
  }
  const Incident incident = Of(log);
  ExpectNoLoop(incident);
  EXPECT_THAT(incident.notes, Contains(HasSubstr("restarts of the machine")));
}

TEST(IncidentDevice, PartitionsShareWhatHappensToTheirDisk) {
  Log log;
  log.At(100);
  for (int i = 0; i < 5; ++i) {
    log.Attach("vdb").Say(" vdb: vdb1").After(1).Fail("vdb1").After(1).Mount("vdb1").Mount("vdb1");
    log.After(20);
  }
  const Incident incident = Of(log);
  ASSERT_EQ(incident.devices.size(), 1U);
  EXPECT_EQ(incident.devices[0].device, "vdb1");
  EXPECT_EQ(incident.devices[0].attachments, 5U);
  EXPECT_TRUE(incident.devices[0].verdict.loop.has_value());
}

TEST(IncidentDevice, OptionsAreThoseOfMostMounts) {
  Log log;
  log.Mount("vdb").Say("EXT4-fs (vdb): barriers disabled");
  log.Say("EXT4-fs (vdb): mounted filesystem with writeback data mode.");
  log.Say("EXT4-fs (vdb): barriers disabled");
  log.Say("EXT4-fs (vdb): mounted filesystem with writeback data mode.");
  EXPECT_THAT(Of(log).devices[0].options, ElementsAre("data=writeback", "nobarrier"));
}

TEST(IncidentDevice, LimitsAreKeptAndSaid) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += fmt::format("EXT4-fs (d{}): no journal found\n", i);
  const Incident incident = Of(text);
  EXPECT_EQ(incident.devices.size(), kVolumesMax);
  EXPECT_EQ(incident.dropped_events, 5000 - kVolumesMax);
  EXPECT_THAT(incident.notes, Contains(HasSubstr("disks were left out")));
}

// Logs of this program's own guests: mounts and unmounts, and nothing to accuse.
TEST(IncidentHealthy, LogsOfOwnGuests) {
  for (const std::string name : {"ordered", "writeback_nobarrier"}) {
    const auto log = os::ReadFile(
        std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/recordings/" + name + "/console.log",
        Mebibytes(4));
    ASSERT_TRUE(log.ok()) << log.error().ToString();
    const Incident incident = Of(*log);
    EXPECT_FALSE(incident.devices.empty());
    ExpectNoLoop(incident);
  }
}

}  // namespace
}  // namespace plugpull::incident
