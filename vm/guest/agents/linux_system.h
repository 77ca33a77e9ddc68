// SPDX-License-Identifier: Apache-2.0
// The machine as it is: /sys/block, /proc/self/mountinfo, libblkid, libmount, mkfs and e2fsck.
#pragma once

#include <string>

#include "vm/guest/agents/system.h"

namespace plugpull::agents {

class LinuxSystem : public System {
 public:
  // `name` stands before every line on stderr. SIGTERM and SIGINT are blocked from now on, and end
  // the next Sleep. `state_folder` is made when missing.
  LinuxSystem(std::string name, std::string state_folder, std::string alert_file);

  int64_t NowMs() override;
  bool Sleep(Millis time) override;
  Result<std::vector<Disk>> Disks() override;
  Result<std::vector<MountEntry>> Mounts() override;
  Probe ProbeDisk(const Disk& disk) override;
  Scan ScanDisk(const Disk& disk, uint64_t bytes_max) override;
  int PrepareTarget(const std::string& target) override;
  int Mount(const Disk& disk, const std::string& target, const std::string& type,
            const std::vector<std::string>& options) override;
  int Unmount(const std::string& target, bool detach) override;
  int WriteProbe(const std::string& target, DeviceNumber device) override;
  int Format(const Disk& disk, const std::string& type) override;
  int Repair(const Disk& disk) override;
  int Check(const Disk& disk) override;
  int RemoveTree(const std::string& path, bool enter_mounts,
                 std::vector<std::string>& left) override;
  Result<std::unique_ptr<Lock>> TryLockState() override;
  Result<std::unique_ptr<Lock>> TryLockDisk(const Disk& disk) override;
  Result<std::optional<std::string>> ReadState() override;
  Status WriteState(const std::string& text) override;
  void Log(const std::string& line) override;
  void Alert(const std::string& line) override;

 private:
  std::string name_;
  std::string state_folder_;
  std::string alert_file_;
  bool told_to_end_ = false;
};

}  // namespace plugpull::agents
