// SPDX-License-Identifier: Apache-2.0
// What is mounted where, and whether a mount is what was asked for. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::agents {

// A block device's number, the way /proc and /sys write it.
struct DeviceNumber {
  uint32_t major = 0;
  uint32_t minor = 0;
  bool operator==(const DeviceNumber&) const = default;
  std::string ToString() const;  // "254:16"
};

// A line of /proc/self/mountinfo. Source: proc_pid_mountinfo(5).
struct MountEntry {
  DeviceNumber device;
  std::string root;  // the folder of the file system that is mounted; "/": all of it
  std::string target;
  std::string type;
  std::string source;
  std::vector<std::string> options;  // of the mount, then of the file system
};

// In the order of the file: the last one at a target is the one that is seen there. An environment
// error for what is no mount table, or has more than 4096 lines.
Result<std::vector<MountEntry>> ParseMountInfo(std::string_view text);

// What is seen at `target`; nullptr: nothing is mounted there.
const MountEntry* MountedAt(const std::vector<MountEntry>& mounts, std::string_view target);

// Those of the requested options that are not in force. An option that the kernel does not print
// because it is the default is in force when its opposite is not printed. Source: show_mnt_opts in
// fs/proc_namespace.c, _ext4_show_options in fs/ext4/super.c.
std::vector<std::string> OptionsNotInForce(const std::vector<std::string>& requested,
                                           const MountEntry& mount);

// The mount, or the file system under it, cannot be written to.
bool IsReadOnly(const MountEntry& mount);

}  // namespace plugpull::agents
