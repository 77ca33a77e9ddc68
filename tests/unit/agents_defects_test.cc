// SPDX-License-Identifier: Apache-2.0
// Every broken agent does what its defect says, and is the reference agent in all else: each goes
// through the same situations, and breaks the properties that it should break, and no other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "agents_fake_machine.h"
#include "vm/guest/agents/agent.h"
#include "vm/guest/agents/defects.h"

namespace plugpull::agents {
namespace {

using testing::ElementsAre;

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kLongMs = 20 * kMinuteMs;

Config OneVolume() {
  Config config;
  config.state_folder = "/run/agent";
  config.poll = Millis(2'000);
  Volume volume;
  volume.serial = "pvc-0001";
  volume.target = "/data";
  config.volumes.push_back(volume);
  return config;
}

// One agent program on one machine. Each situation is a machine of its own.
struct Trial {
  const Decisions& decisions;
  uint64_t seed;
  FakeMachine machine;
  Config config = OneVolume();

  Trial(const Decisions& decisions_in, uint64_t seed_in) : decisions(decisions_in), seed(seed_in) {
    machine.AddDisk("vdb", "pvc-0001", 16);
  }
  FakeDisk& disk() { return machine.disks.at("vdb"); }
  void Run(int64_t ms) {
    FakeSystem system(machine);
    Agent agent("agent", config, decisions, system, seed);
    EXPECT_TRUE(agent.Start().ok());
    machine.end_ms = machine.now_ms + ms;
    EXPECT_TRUE(agent.Run(false).ok());
    machine.end_ms = INT64_MAX;
    machine.Do("restart", "");
  }
  Outcome Unmount() {
    FakeSystem system(machine);
    Agent agent("agent", config, decisions, system, seed);
    const auto outcome = agent.Unmount(config.volumes[0]);
    EXPECT_TRUE(outcome.ok());
    return outcome.ok() ? *outcome : Outcome::kUnsettled;
  }
  size_t Count(const std::string& what) const { return machine.Of(what).size(); }
};

using Violations = std::set<std::string>;

void Healthy(Trial& trial, Violations& violations) {
  trial.Run(kLongMs);
  if (trial.Count("mount") != 1 || trial.Count("umount") != 0) violations.insert("steady");
}

// A damaged disk: recognised as such at once, told once, and let alone, now and later.
void Damaged(Trial& trial, Violations& violations) {
  trial.disk().mount_error = EUCLEAN;
  trial.Run(kLongMs);
  if (trial.Count("mount") > trial.config.volumes[0].limits.attempts_max) {
    violations.insert("bounded");
  }
  const auto mounts = trial.machine.Of("mount");
  const auto alerts = trial.machine.Of("alert");
  // Who never gives up has nothing to tell.
  const bool silent = mounts.back().at_ms < trial.machine.now_ms - kLongMs / 2;
  const bool told = alerts.size() == 1;
  if (silent && (!told || alerts[0].subject.find("/dev/vdb") == std::string::npos ||
                 alerts[0].subject.find("pvc-0001") == std::string::npos ||
                 alerts[0].subject.find("EUCLEAN") == std::string::npos)) {
    violations.insert("one_alert");
  }
  // How long it was believed that the fault may pass: without an alert, until it became silent.
  const int64_t known_ms = !alerts.empty() ? alerts[0].at_ms : mounts.back().at_ms;
  if ((silent || !alerts.empty()) && known_ms > mounts.front().at_ms + 1'000) {
    violations.insert("permanent_not_retried");
  }
  if (trial.Count("fsck") > 0) violations.insert("no_unasked_repair");
  trial.Run(kLongMs);
  if (silent && trial.Count("mount") != mounts.size()) violations.insert("terminal_is_kept");
}

void FailsForEver(Trial& trial, Violations& violations) {
  trial.disk().mount_error = EIO;
  trial.Run(kLongMs);
  const auto mounts = trial.machine.Of("mount");
  const Limits& limits = trial.config.volumes[0].limits;
  if (mounts.size() > limits.attempts_max) violations.insert("bounded");
  if (mounts.size() < 2) violations.insert("transient_retried");
  for (size_t i = 2; i < mounts.size(); ++i) {
    const int64_t gap = mounts[i].at_ms - mounts[i - 1].at_ms;
    const int64_t before = mounts[i - 1].at_ms - mounts[i - 2].at_ms;
    if (gap <= before && gap < limits.delay_max.count() * 8 / 10) violations.insert("growing_gaps");
  }
}

void Clears(Trial& trial, Violations& violations) {
  trial.disk().mount_error = EIO;
  trial.disk().mount_errors_left = 3;
  trial.Run(kLongMs);
  if (trial.machine.Of("mount").back().error_number != 0) violations.insert("transient_retried");
}

void MagicZeroed(Trial& trial, Violations& violations) {
  trial.config.volumes[0].may_format = true;
  trial.disk().probe.kind = Probe::Kind::kNothing;
  trial.disk().mount_error = EINVAL;
  trial.Run(kLongMs);
  if (trial.Count("mkfs") > 0) violations.insert("no_format_without_evidence");
  if (trial.Count("check") > trial.config.volumes[0].limits.attempts_max) {
    violations.insert("bounded");
  }
}

// libblkid says so of the first sectors, and of a read error somewhere behind them it knows
// nothing.
void Unreadable(Trial& trial, Violations& violations) {
  trial.config.volumes[0].may_format = true;
  trial.disk().probe = {Probe::Kind::kError, "", "", EIO};
  trial.disk().scan = {Scan::Kind::kUnreadable, 0, EIO};
  trial.disk().mount_error = EIO;
  trial.Run(kLongMs);
  if (trial.Count("mkfs") > 0) violations.insert("read_error_is_not_blank");
}
void UnreadableInTheMiddle(Trial& trial, Violations& violations) {
  trial.config.volumes[0].may_format = true;
  trial.disk().probe.kind = Probe::Kind::kNothing;
  trial.disk().scan = {Scan::Kind::kUnreadable, 1u << 20, EIO};
  trial.disk().mount_error = EINVAL;
  trial.Run(kLongMs);
  if (trial.Count("mkfs") > 0) violations.insert("read_error_is_not_blank");
}

void FirstFormat(Trial& trial, Violations& violations) {
  trial.config.volumes[0].may_format = true;
  trial.disk().probe.kind = Probe::Kind::kNothing;
  trial.disk().scan.kind = Scan::Kind::kBlank;
  trial.Run(30'000);
  if (trial.Count("mkfs") != 1 || trial.machine.mounts.size() > 1) violations.insert("formats");
}

// The second one runs while the first one waits between its look and its mount.
void TwoInstances(Trial& trial, Violations& violations) {
  trial.config.settle = Millis(500);
  FakeSystem first(trial.machine);
  FakeSystem second(trial.machine);
  Agent one("agent", trial.config, trial.decisions, first, trial.seed);
  Agent two("agent", trial.config, trial.decisions, second, trial.seed + 100);
  ASSERT_TRUE(one.Start().ok());
  first.on_first_sleep = [&] { (void)two.Pass(); };
  ASSERT_TRUE(one.Pass().ok());
  if (trial.Count("mount") != 1) violations.insert("single_flight");
}

void BusyUnmount(Trial& trial, Violations& violations) {
  trial.machine.end_ms = INT64_MAX;
  FakeSystem system(trial.machine);
  Agent agent("agent", trial.config, trial.decisions, system, trial.seed);
  ASSERT_TRUE(agent.Pass().ok());
  trial.machine.busy.insert("/data");
  const Outcome outcome = trial.Unmount();
  if (outcome != Outcome::kBusy || trial.Count("detach") > 0) violations.insert("busy_stays");
}

void NamesSwap(Trial& trial, Violations& violations) {
  trial.machine.AddDisk("vdc", "other", 32);
  trial.machine.At(2 * kMinuteMs, [&machine = trial.machine] {
    std::swap(machine.disks.at("vdb").disk.serial, machine.disks.at("vdc").disk.serial);
    machine.mounts.clear();
  });
  trial.Run(2 * kMinuteMs - 1'000);
  trial.machine.actions.clear();
  trial.Run(10'000);
  for (const Action& mount : trial.machine.Of("mount")) {
    if (mount.subject != "vdc" && mount.at_ms >= trial.machine.now_ms - 9'000) {
      violations.insert("identity");
    }
  }
}

void CleansUp(Trial& trial, Violations& violations) {
  trial.config.volumes[0].workspace = "/work";
  FakeSystem system(trial.machine);
  Agent agent("agent", trial.config, trial.decisions, system, trial.seed);
  ASSERT_TRUE(agent.Pass().ok());
  trial.machine.mounts.push_back({{254, 99}, "/", "/work/other", "ext4", "/dev/vdz", {"rw"}});
  EXPECT_EQ(trial.Unmount(), Outcome::kAllMounted);
  if (trial.Count("destroy") > 0) violations.insert("cleanup_stays_inside");
}

void OptionsAreAskedFor(Trial& trial, Violations& violations) {
  trial.config.volumes[0].options = {"data=writeback"};
  trial.Run(30'000);
  for (const MountEntry& mount : trial.machine.mounts) {
    if (!OptionsNotInForce({"data=writeback"}, mount).empty()) {
      violations.insert("options_in_force");
    }
  }
}

void Restarted(Trial& trial, Violations& violations) {
  trial.Run(2 * kMinuteMs);
  const size_t mounts = trial.Count("mount");
  const bool is_mounted = !trial.machine.mounts.empty();
  trial.Run(1);
  if (is_mounted && trial.Count("mount") != mounts) violations.insert("idempotent");
}

Violations Judge(const Decisions& decisions, uint64_t seed) {
  Violations violations;
  for (const auto situation : {Healthy, Damaged, FailsForEver, Clears, MagicZeroed, Unreadable,
                               UnreadableInTheMiddle, FirstFormat, TwoInstances, BusyUnmount,
                               NamesSwap, CleansUp, Restarted, OptionsAreAskedFor}) {
    Trial trial(decisions, seed);
    situation(trial, violations);
  }
  return violations;
}

// The matrix: which property each defect breaks.
const std::map<std::string_view, std::string>& BrokenProperty() {
  static const std::map<std::string_view, std::string> properties = {
      {"loops-for-ever", "bounded"},
      {"no-back-off", "growing_gaps"},
      {"flaps", "steady"},
      {"reformats-unrecognised", "no_format_without_evidence"},
      {"read-error-is-blank", "read_error_is_not_blank"},
      {"repairs-unasked", "no_unasked_repair"},
      {"checks-for-ever", "bounded"},
      {"forgets-on-restart", "terminal_is_kept"},
      {"races", "single_flight"},
      {"detaches-busy", "busy_stays"},
      {"mounts-by-name", "identity"},
      {"cleans-through-mounts", "cleanup_stays_inside"},
      {"gives-up-on-transient", "transient_retried"},
      {"retries-permanent", "permanent_not_retried"},
      {"never-alerts", "one_alert"},
      {"drops-options", "options_in_force"},
      {"mounts-again", "idempotent"},
  };
  return properties;
}

TEST(BrokenAgentsTest, TheReferenceKeepsEveryProperty) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    EXPECT_EQ(Judge(Decisions(), seed), Violations()) << seed;
  }
}

TEST(BrokenAgentsTest, EachBreaksItsPropertyAndNoOther) {
  ASSERT_EQ(Defects().size(), BrokenProperty().size());
  for (const Defect& defect : Defects()) {
    ASSERT_TRUE(BrokenProperty().contains(defect.name)) << defect.name;
    for (const uint64_t seed : {1, 2, 3}) {
      EXPECT_EQ(Judge(*defect.make(), seed), Violations({BrokenProperty().at(defect.name)}))
          << defect.name << ", seed " << seed;
    }
  }
}

TEST(BrokenAgentsTest, DefectsAreFoundByTheirNames) {
  std::set<std::string_view> names;
  for (const Defect& defect : Defects()) {
    EXPECT_TRUE(names.insert(defect.name).second);
    EXPECT_EQ(FindDefect(defect.name), &defect);
    EXPECT_FALSE(defect.summary.empty());
    EXPECT_FALSE(defect.decision.empty());
  }
  EXPECT_EQ(FindDefect("none"), nullptr);
  EXPECT_EQ(FindDefect(""), nullptr);
}

std::vector<std::string> ActionsOf(const Decisions& decisions,
                                   void (*situation)(Trial&, Violations&)) {
  Trial trial(decisions, 1);
  Violations ignored;
  situation(trial, ignored);
  std::vector<std::string> actions;
  for (const Action& action : trial.machine.actions) actions.push_back(action.what);
  return actions;
}

// What they do, word by word, where it is short.
TEST(BrokenAgentsTest, TheDifferenceIsWhatItShouldBe) {
  const auto broken = [](const char* name, void (*situation)(Trial&, Violations&)) {
    return ActionsOf(*FindDefect(name)->make(), situation);
  };
  const Decisions reference;
  EXPECT_THAT(ActionsOf(reference, Damaged), ElementsAre("mount", "alert", "restart", "restart"));
  EXPECT_THAT(broken("repairs-unasked", Damaged),
              ElementsAre("mount", "fsck", "alert", "restart", "restart"));
  EXPECT_THAT(broken("forgets-on-restart", Damaged),
              ElementsAre("mount", "alert", "restart", "mount", "alert", "restart"));
  EXPECT_THAT(broken("never-alerts", Damaged), ElementsAre("mount", "restart", "restart"));
  EXPECT_THAT(
      broken("retries-permanent", Damaged),
      ElementsAre("mount", "mount", "mount", "mount", "mount", "alert", "restart", "restart"));
  EXPECT_THAT(ActionsOf(reference, MagicZeroed), ElementsAre("mount", "alert", "restart"));
  EXPECT_THAT(broken("reformats-unrecognised", MagicZeroed),
              ElementsAre("mkfs", "mount", "restart"));
  EXPECT_THAT(ActionsOf(reference, UnreadableInTheMiddle),
              ElementsAre("mount", "alert", "restart"));
  EXPECT_THAT(broken("read-error-is-blank", UnreadableInTheMiddle),
              ElementsAre("mkfs", "mount", "restart"));
  EXPECT_THAT(broken("gives-up-on-transient", Clears), ElementsAre("mount", "alert", "restart"));
  EXPECT_THAT(ActionsOf(reference, TwoInstances), ElementsAre("mount"));
  EXPECT_THAT(broken("races", TwoInstances), ElementsAre("mount", "mount"));
  EXPECT_EQ(broken("detaches-busy", BusyUnmount).back(), "detach");
  EXPECT_THAT(broken("cleans-through-mounts", CleansUp),
              ElementsAre("mount", "umount", "remove", "destroy"));
  EXPECT_THAT(ActionsOf(reference, Restarted), ElementsAre("mount", "restart", "restart"));
  EXPECT_THAT(broken("mounts-again", Restarted),
              ElementsAre("mount", "restart", "mount", "restart"));
}

}  // namespace
}  // namespace plugpull::agents
