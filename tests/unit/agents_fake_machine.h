// SPDX-License-Identifier: Apache-2.0
// A machine in memory for mount agents: disks, mounts, a clock, and a list of all that was done.
// Several agents may run on one machine, each with a FakeSystem of its own.
#pragma once

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "vm/guest/agents/system.h"

namespace plugpull::agents {

struct FakeDisk {
  Disk disk;
  Probe probe{Probe::Kind::kFound, "ext4", "", 0};
  Scan scan{Scan::Kind::kNotBlank, 0, 0};
  int mount_error = 0;
  int mount_errors_left = -1;  // mounts after that many failures; -1: never
  bool forced_read_only = false;
  bool drops_options = false;  // mounts, and does not put the options in force
  int write_error = 0;
};

struct Action {
  int64_t at_ms = 0;
  std::string what;     // "mount", "umount", "detach", "mkfs", "fsck", "remove", "alert", "restart"
  std::string subject;  // disk, target, folder or line
  int error_number = 0;
  bool operator==(const Action&) const = default;
};

class FakeMachine {
 public:
  int64_t now_ms = 1'700'000'000'000;
  std::map<std::string, FakeDisk> disks;  // by name
  std::vector<MountEntry> mounts;
  std::set<std::string> busy;    // targets that cannot be unmounted
  std::set<std::string> locked;  // "state", names of disks
  std::optional<std::string> state;
  std::vector<Action> actions;
  std::multimap<int64_t, std::function<void()>> events;  // by time
  int64_t end_ms = INT64_MAX;                            // agents are told to end
  bool state_fails = false;                              // it cannot be written

  FakeDisk& AddDisk(const std::string& name, const std::string& serial, uint32_t minor) {
    FakeDisk& disk = disks[name];
    disk.disk = {name, serial, "/dev/" + name, {254, minor}, 64u << 20};
    return disk;
  }
  // It has another name from now on, and so another number.
  void Rename(const std::string& from, const std::string& to, uint32_t minor) {
    FakeDisk disk = disks.at(from);
    disks.erase(from);
    disk.disk.name = to;
    disk.disk.path = "/dev/" + to;
    disk.disk.device = {254, minor};
    disks[to] = disk;
  }
  void At(int64_t after_ms, std::function<void()> event) {
    events.emplace(now_ms + after_ms, std::move(event));
  }
  void Do(const std::string& what, const std::string& subject, int error_number = 0) {
    actions.push_back({now_ms, what, subject, error_number});
  }
  std::vector<Action> Of(const std::string& what) const {
    std::vector<Action> found;
    for (const Action& action : actions) {
      if (action.what == what) found.push_back(action);
    }
    return found;
  }
  // False at the end of time.
  bool Pass(int64_t ms) {
    const int64_t until = std::min(now_ms + ms, end_ms);
    while (!events.empty() && events.begin()->first <= until) {
      const auto event = *events.begin();
      events.erase(events.begin());
      now_ms = std::max(now_ms, event.first);
      event.second();
    }
    now_ms = std::max(now_ms, until);
    return now_ms < end_ms;
  }
};

class FakeSystem : public System {
 public:
  explicit FakeSystem(FakeMachine& machine) : machine_(machine) {}

  std::function<void()> on_first_sleep;  // runs in the middle of whatever the agent does

  int64_t NowMs() override { return machine_.now_ms; }
  bool Sleep(Millis time) override {
    if (on_first_sleep) {
      const auto hook = std::move(on_first_sleep);
      on_first_sleep = nullptr;
      hook();
    }
    return machine_.Pass(time.count());
  }
  Result<std::vector<Disk>> Disks() override {
    std::vector<Disk> disks;
    for (const auto& [name, disk] : machine_.disks) disks.push_back(disk.disk);
    return disks;
  }
  Result<std::vector<MountEntry>> Mounts() override { return machine_.mounts; }
  Probe ProbeDisk(const Disk& disk) override { return machine_.disks.at(disk.name).probe; }
  Scan ScanDisk(const Disk& disk, uint64_t bytes_max) override {
    if (disk.size_bytes > bytes_max) return {Scan::Kind::kNotScanned, 0, EFBIG};
    return machine_.disks.at(disk.name).scan;
  }
  int PrepareTarget(const std::string&) override { return 0; }
  int Mount(const Disk& disk, const std::string& target, const std::string& type,
            const std::vector<std::string>& options) override {
    FakeDisk& fake = machine_.disks.at(disk.name);
    int error = fake.mount_error;
    if (error != 0 && fake.mount_errors_left == 0) error = 0;
    if (error != 0 && fake.mount_errors_left > 0) --fake.mount_errors_left;
    const MountEntry* there = MountedAt(machine_.mounts, target);
    if (there != nullptr && there->device == disk.device) error = EBUSY;
    machine_.Do("mount", disk.name, error);
    if (error != 0) return error;
    MountEntry entry{disk.device, "/", target, type, disk.path, {"relatime"}};
    entry.options.push_back(fake.forced_read_only ? "ro" : "rw");
    if (!fake.drops_options) {
      entry.options.insert(entry.options.end(), options.begin(), options.end());
    }
    machine_.mounts.push_back(entry);
    return 0;
  }
  int Unmount(const std::string& target, bool detach) override {
    const auto is_there = [&](const MountEntry& entry) { return entry.target == target; };
    const auto found = std::find_if(machine_.mounts.rbegin(), machine_.mounts.rend(), is_there);
    int error = found == machine_.mounts.rend() ? EINVAL : 0;
    if (error == 0 && !detach && machine_.busy.contains(target)) error = EBUSY;
    machine_.Do(detach ? "detach" : "umount", target, error);
    if (error == 0) machine_.mounts.erase(std::next(found).base());
    return error;
  }
  int WriteProbe(const std::string& target, DeviceNumber device) override {
    const MountEntry* there = MountedAt(machine_.mounts, target);
    if (there == nullptr || there->device != device) return ESTALE;
    for (const auto& [name, disk] : machine_.disks) {
      if (disk.disk.device == device) return disk.write_error;
    }
    return EIO;
  }
  int Format(const Disk& disk, const std::string& type) override {
    FakeDisk& fake = machine_.disks.at(disk.name);
    machine_.Do("mkfs", disk.name);
    if (fake.probe.kind == Probe::Kind::kError) return EIO;
    fake.probe = {Probe::Kind::kFound, type, "", 0};
    fake.scan.kind = Scan::Kind::kNotBlank;
    fake.mount_error = 0;
    return 0;
  }
  int Repair(const Disk& disk) override {
    machine_.Do("fsck", disk.name);
    return 0;
  }
  int Check(const Disk& disk) override {
    machine_.Do("check", disk.name);
    return EIO;
  }
  int RemoveTree(const std::string& path, bool enter_mounts,
                 std::vector<std::string>& left) override {
    machine_.Do("remove", path);
    for (const MountEntry& entry : machine_.mounts) {
      if (!entry.target.starts_with(path + "/")) continue;
      if (enter_mounts) {
        machine_.Do("destroy", entry.target);
      } else {
        left.push_back(entry.target);
      }
    }
    return 0;
  }
  Result<std::unique_ptr<Lock>> TryLockState() override { return TryLock("state"); }
  Result<std::unique_ptr<Lock>> TryLockDisk(const Disk& disk) override {
    return TryLock(disk.name);
  }
  Result<std::optional<std::string>> ReadState() override { return machine_.state; }
  Status WriteState(const std::string& text) override {
    if (machine_.state_fails) return EnvironmentError("the state cannot be written");
    machine_.state = text;
    return OkStatus();
  }
  void Log(const std::string&) override {}
  void Alert(const std::string& line) override { machine_.Do("alert", line); }

 private:
  class FakeLock : public Lock {
   public:
    FakeLock(FakeMachine& machine, std::string name) : machine_(machine), name_(std::move(name)) {}
    ~FakeLock() override { machine_.locked.erase(name_); }

   private:
    FakeMachine& machine_;
    std::string name_;
  };
  Result<std::unique_ptr<Lock>> TryLock(const std::string& name) {
    if (!machine_.locked.insert(name).second) return std::unique_ptr<Lock>();
    return std::unique_ptr<Lock>(new FakeLock(machine_, name));
  }

  FakeMachine& machine_;
};

}  // namespace plugpull::agents
