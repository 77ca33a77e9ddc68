// SPDX-License-Identifier: Apache-2.0
// What sysfs says of block devices (source: Documentation/ABI/stable/sysfs-block of the kernel).
// `block_folder` is /sys/block but for tests. Thread-safe. Errors are environment errors.
#pragma once

#include <string>

#include "dm-targets/table/table.h"
#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/os/fd.h"

namespace plugpull::guest {

inline constexpr char kBlockFolder[] = "/sys/block";

struct BlockDevice {
  std::string name;  // "vda", as in /sys/block
  dm::DeviceNumber number;
  Sectors size;

  std::string path() const { return "/dev/" + name; }
};

// The virtio disk with this serial, waited for until the deadline: a disk that was just plugged in
// takes a moment. An error when it does not appear, or when two disks have the serial.
Result<BlockDevice> FindDiskBySerial(const std::string& serial, const os::Deadline& deadline,
                                     const std::string& block_folder = kBlockFolder);

// "write back" (volatile: file systems send flushes) or "write through" (they send none).
Result<std::string> WriteCacheMode(const std::string& name,
                                   const std::string& block_folder = kBlockFolder);

// Makes the device say that it has no volatile cache, so that the block layer drops every flush
// and forced-write flag that is sent to it, and reads that back.
Status SetWriteThrough(const std::string& name, const std::string& block_folder = kBlockFolder);
// Makes file systems that are mounted on it from now on leave a page alone while it is written
// (Documentation/ABI/stable/sysfs-block, queue/stable_writes), and checks that it took.
Status SetStableWrites(const std::string& name, const std::string& block_folder = kBlockFolder);

// An error when the device no longer says so: a table load resets it.
Status CheckWriteThrough(const std::string& name, const std::string& block_folder = kBlockFolder);

// Sectors written to the device since it was made.
Result<Sectors> WrittenSectors(const std::string& name,
                               const std::string& block_folder = kBlockFolder);

// Writes that the device was asked for and has not completed.
Result<uint64_t> WritesInFlight(const std::string& name,
                                const std::string& block_folder = kBlockFolder);

}  // namespace plugpull::guest
