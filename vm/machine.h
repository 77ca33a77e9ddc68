// SPDX-License-Identifier: Apache-2.0
// A virtual machine as the rest of plugpull sees it: something that is started, talked to in
// GuestRequest and GuestMessage, and ends. QEMU is one; tests register a fake one.
// The guest's faults (hang, panic, an early end) are guest errors and carry the last lines of the
// console; ours and the machine's are environment errors.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/os/fd.h"
#include "framework/proto/guest.pb.h"
#include "vm/disk_control.h"

namespace plugpull::vm {

// A disk of the guest: raw bytes in an open file, found in the guest by its serial.
struct VirtualDisk {
  std::string serial;  // at most 20 bytes
  int fd = -1;         // read-write; owned by the caller, open for as long as the machine
  // Empty and read-write, the same: the machine records there what it writes to `fd`, as a
  // dm-log-writes log of 512-byte sectors. -1: it does not.
  int log_fd = -1;
};

// A word of the kernel's command line by which the guest knows that its clock is warped.
inline constexpr char kWarpedArgument[] = "plugpull.clock=warped";

struct MachineOptions {
  std::string kernel_image;  // path of a bzImage
  std::string initramfs;     // path of a cpio archive
  std::string accelerator;   // "kvm" or "tcg"
  uint32_t memory_mib = 320;
  uint32_t cpus = 1;
  std::vector<std::string> kernel_arguments;
  std::vector<VirtualDisk> disks;
  // Path; made new, kept after the end. Empty: the console is kept in memory, for error messages.
  std::string console_log;
  // The guest's time jumps to the next timer while nothing runs. One processor, "tcg" alone.
  bool warped_clock = false;
  bool interactive = false;  // the console is this process's terminal instead of the file
};

// Used from one thread, which must live as long as the machine does.
class Machine {
 public:
  virtual ~Machine() = default;  // ends it at once, whatever it does

  // The guest's first message.
  virtual Result<Hello> WaitForHello(const os::Deadline& deadline) = 0;
  virtual Status Send(const GuestRequest& request) = 0;
  // The next message; a guest error when the guest ends, panics, or the deadline passes.
  virtual Result<GuestMessage> Receive(const os::Deadline& deadline) = 0;
  // Waits for the guest to switch itself off; a guest error when it does not.
  virtual Status WaitForEnd(const os::Deadline& deadline) = 0;
  // The kernel's line about its panic; nothing when there was none.
  virtual std::optional<std::string> Panic() { return std::nullopt; }
  // Lives as long as the machine; nullptr: its disks cannot be changed while it runs.
  virtual DiskControl* disk_control() { return nullptr; }
};

// Starts a machine. An environment error when it cannot be started.
using MachineFactory = std::function<Result<std::unique_ptr<Machine>>(const MachineOptions&)>;

// "run_workload", "mount" and the like, for messages.
std::string RequestName(const GuestRequest& request);

// Sends a request and waits for its answer, handing progress to `on_progress` (may be empty).
// An Answer with an error set is returned as a value. Gives the request its id. An answer that
// comes late, to a call that was given up, is dropped.
Result<Answer> Call(Machine& machine, GuestRequest request, Millis timeout,
                    const std::function<void(const Progress&)>& on_progress = {});

}  // namespace plugpull::vm
