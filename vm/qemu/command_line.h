// SPDX-License-Identifier: Apache-2.0
// What QEMU is told. Pure: descriptors are numbers here, and nothing is opened.
//
// The guest's disks have a volatile write cache and obey flushes and forced writes; on the host
// nothing is flushed, because a run that the host loses is run again.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "vm/machine.h"

namespace plugpull::vm {

// Numbers of the descriptors in QEMU's process.
inline constexpr int kQmpChildFd = 10;
inline constexpr int kPortChildFd = 11;
inline constexpr int kConsoleChildFd = 12;
inline constexpr int kFirstDiskChildFd = 20;

inline constexpr size_t kDisksMax = 24;                // slots of the machine's PCI bus
inline constexpr size_t kSerialBytesMax = 20;          // VIRTIO_BLK_ID_BYTES of virtio_blk.h
inline constexpr size_t kKernelCommandLineMax = 2047;  // COMMAND_LINE_SIZE of x86 without its zero

// A disk is a device on a raw node on a file node. Names and options of these, for what is changed
// while the machine runs; disks count from 0. RawNodeOptions lack `file`, the name of the node
// below.
std::string DiskDeviceName(size_t disk);
std::string RawNodeName(size_t disk);
std::string FileNodeName(size_t disk);
nlohmann::json RawNodeOptions(size_t disk);
nlohmann::json DiskDeviceOptions(size_t disk, const std::string& serial);

// The kernel's command line: ours, then the scenario's.
std::string KernelCommandLine(const MachineOptions& options);

// Arguments behind the name of the program. A user error for options that QEMU or the guest cannot
// take (too many disks, a serial that is too long, an unknown accelerator).
Result<std::vector<std::string>> QemuArguments(const MachineOptions& options);

}  // namespace plugpull::vm
