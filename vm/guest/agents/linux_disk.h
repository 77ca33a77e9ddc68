// SPDX-License-Identifier: Apache-2.0
// Looks at disks, and programs that change them. Regular files will do as disks.
#pragma once

#include <string>
#include <vector>

#include "vm/guest/agents/system.h"

namespace plugpull::agents {

// The disks that the kernel has, from `sys_block` (/sys/block); those without a serial are left
// out. The serial of a device-mapper device is "dm:" and its name. What other devices are built on
// is given as what is on top of the stack; it is left out when the stack forks.
Result<std::vector<Disk>> ListDisks(const std::string& sys_block = "/sys/block");

// libblkid's safe probe, with superblocks and partition tables.
Probe ProbePath(const std::string& path);

// Reads from the medium, not from the page cache, where that is possible, until something is found.
// A block device that is in use is not scanned.
Scan ScanPath(const std::string& path, uint64_t size_bytes, uint64_t bytes_max);

// Runs a program to its end, at most so long. Its exit status; 126 when it could not be started,
// 128 and the signal's number when one ended it.
int RunToEnd(const std::vector<std::string>& argv, Millis time_max);

// As System::RemoveTree.
int RemoveTreeAt(const std::string& path, bool enter_mounts, std::vector<std::string>& left);

// The whole of a small file, without a last line end. Empty when it cannot be read.
std::string ReadSmallFile(const std::string& path);

}  // namespace plugpull::agents
