// SPDX-License-Identifier: Apache-2.0
// Records how a guest's kernel recovers crash states: each is a disk of its own under the layers of
// the scenario's disk, log_writes among them, and is mounted and unmounted.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/crashstate/enumerate.h"
#include "framework/run/disk_source.h"
#include "framework/run/guest_image.h"
#include "vm/machine.h"

namespace plugpull::run {

// Each state needs two of the machine's disks.
inline constexpr size_t kRecoveriesPerGuest = 12;

struct KernelRecoveryOptions {
  std::function<Result<GuestImage>()> image;  // called once, when the first guest is started
  vm::MachineFactory start_machine;           // empty: QEMU
  uint32_t memory_mib = 320;
  std::string scratch_folder;  // for files without names; empty: the cache folder
  std::vector<Layer> layers;   // of the scenario's disk
  MountStep mount;             // type and options
  Millis boot_max{90'000};
  Millis step_max{60'000};
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// Of a state, its log (recovery_log.h): behind the base what the mount wrote, the mark "note
// mounted", and what unmounting wrote. Or why there is none.
using TakeKernelLog = std::function<void(size_t state, const std::string& kernel_release,
                                         Result<std::vector<uint8_t>> log)>;

// Calls `take` once for each state, in their order. Must be called from a thread that lives until
// it returns. A guest that is lost is charged to the state that it was busy with; the others get
// another one, up to three times. Returns how many guests were booted.
uint64_t RecordKernelRecoveries(const DiskSource& source,
                                const std::vector<crashstate::StateSpec>& states,
                                const KernelRecoveryOptions& options, const TakeKernelLog& take);

}  // namespace plugpull::run
