// SPDX-License-Identifier: Apache-2.0
// What can be done to the disks of a running machine. Disks count as in MachineOptions::disks.
// Used from the machine's thread. Errors are environment errors: the machine did not do it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/os/fd.h"

namespace plugpull::vm {

// Requests that fail, counted from when this is asked for.
struct RequestFault {
  enum class Op { kRead, kWrite, kFlush };
  Op op = Op::kRead;
  uint32_t nth = 1;                // the first that fails
  std::optional<uint64_t> sector;  // only those that touch it; then nth is 1
  bool once = true;                // else all from there on
  int error_number = 0;            // as QEMU sees it; virtio-blk tells the guest EIO
};

struct PlugOptions {
  std::string serial;
  bool read_only = false;
};

class DiskControl {
 public:
  virtual ~DiskControl() = default;

  // Each takes the place of what was asked of the disk before. Requests in flight are done first.
  virtual Status FailRequests(size_t disk, const RequestFault& fault) = 0;
  virtual Status Slow(size_t disk, uint32_t requests_per_second) = 0;
  virtual Status Heal(size_t disk) = 0;

  virtual Status Resize(size_t disk, Bytes size) = 0;
  // Returns once the guest has let go of it.
  virtual Status Unplug(size_t disk, const os::Deadline& deadline) = 0;
  virtual Status Plug(size_t disk, const PlugOptions& options) = 0;
  // A disk of no use, so that the guest gives the next one another name. Stays for good.
  virtual Status PlugFiller(const std::string& serial) = 0;

  // Requests of the disk that failed since the last call, as "write: Input/output error".
  virtual Result<std::vector<std::string>> TakeRequestErrors(size_t disk) = 0;
};

}  // namespace plugpull::vm
