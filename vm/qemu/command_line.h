// SPDX-License-Identifier: Apache-2.0
// What QEMU is told. Pure: descriptors are numbers here, and nothing is opened.
//
// The guest's disks have a volatile write cache and obey flushes and forced writes; on the host
// nothing is flushed, because a run that the host loses is run again.
//
// A disk that is logged stands on QEMU's blklogwrites driver (sources: block/blklogwrites.c and
// block/io.c of QEMU; tried with 7.2):
//   - an entry is logged when the disk below has carried it out, before the guest is told. So
//     whatever the guest knows to be done when it submits a request is in the log before it;
//   - entries are requests of the virtio disk: the guest's block layer has merged and split what
//     the file system wrote;
//   - a flush is an entry of its own, of length 0. One with no write since the last flush began is
//     not passed on, and so not logged. FLUSH is never a flag of a write;
//   - virtio-blk has no forced writes: the guest's block layer sends the write and a flush behind
//     it (block/blk-flush.c of Linux), so FUA is never seen, and there are more flushes;
//   - nr_entries is brought up to date by flushes and every so many entries, and lags otherwise;
//   - data_len is 0 for writes as well; nr_sectors says how much data there is;
//   - the driver of a write-zeroes request lays down its zeroes apart from its header, so that one
//     beside another request would spoil the log. None comes through dm-log-writes, which has no
//     write-zeroes (drivers/md/dm-log-writes.c sets no num_write_zeroes_bios), and detect-zeroes is
//     off.
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
inline constexpr int kFirstDiskChildFd = 20;  // of all disks, and then of those disks' logs

inline constexpr size_t kDisksMax = 24;                // slots of the machine's PCI bus
inline constexpr size_t kSerialBytesMax = 20;          // VIRTIO_BLK_ID_BYTES of virtio_blk.h
inline constexpr size_t kKernelCommandLineMax = 2047;  // COMMAND_LINE_SIZE of x86 without its zero

// A disk is a device on a raw node on a file node; one that is logged has the log's node between
// device and raw node. Names and options of these, for what is changed while the machine runs;
// disks count from 0. RawNodeOptions lack `file`, the name of the node below; `node`: of the one on
// which the device stands.
std::string DiskDeviceName(size_t disk);
std::string RawNodeName(size_t disk);
std::string FileNodeName(size_t disk);
std::string HostLogNodeName(size_t disk);
nlohmann::json RawNodeOptions(size_t disk);
nlohmann::json DiskDeviceOptions(size_t disk, const std::string& node, const std::string& serial);

// The kernel's command line: ours, then the scenario's.
std::string KernelCommandLine(const MachineOptions& options);

// Arguments behind the name of the program. A user error for options that QEMU or the guest cannot
// take (too many disks, a serial that is too long, an unknown accelerator).
Result<std::vector<std::string>> QemuArguments(const MachineOptions& options);

}  // namespace plugpull::vm
