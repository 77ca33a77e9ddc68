// SPDX-License-Identifier: Apache-2.0
// Puts crash states before a guest's kernel. Their images, as the power cut left them or as the
// host recovered them, lie one after the other on a virtual disk; the guest mounts each through a
// snapshot, so a state stays as it is however often it is mounted. A guest gets a bounded number of
// states and bytes; where there are more, another one is booted. A guest that panics or hangs is
// charged to the state that it was busy with, and the states behind it get a new one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "framework/oracle/state_mounter.h"
#include "framework/oracle/work_image.h"
#include "framework/run/disk_source.h"
#include "framework/run/guest_image.h"
#include "vm/machine.h"

namespace plugpull::run {

struct BatchLimits {
  size_t states_per_guest = 256;
  Bytes data_per_guest{4ULL << 30};  // that the images hold, holes not counted
  size_t lost_guests_max = 8;        // so many may die before the rest is given up
  Millis boot_max{90'000};
  Millis mount_max{60'000};  // on top of what the command of a MountState may take
};

struct StateBatchOptions {
  // Called once, when the first guest is started.
  std::function<Result<GuestImage>()> image;
  // Recovers a state; what it points at is valid until the next call. For states to be mounted as
  // the host recovered them.
  std::function<Result<const oracle::WorkImage*>(const crashstate::StateSpec&)> recover;
  vm::MachineFactory start_machine;  // empty: QEMU
  uint32_t memory_mib = 320;
  std::string scratch_folder;  // for files without names; empty: the cache folder
  BatchLimits limits;
  // States done and states in all.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// How many of the states whose images hold so many bytes, from the first on, go to one guest: at
// least one.
size_t StatesForOneGuest(const std::vector<Bytes>& data, size_t first, const BatchLimits& limits);

class StateBatch : public oracle::StateMounter {
 public:
  // `source` outlives the batch.
  StateBatch(const DiskSource& source, StateBatchOptions options);
  ~StateBatch() override;

  std::vector<std::vector<oracle::MountSeen>> Mount(
      const std::vector<oracle::StateToMount>& states) override;

  uint64_t guests() const;  // that were booted
  // Of the last guest; "no kernel" before there was one.
  const std::string& kernel_release() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace plugpull::run
