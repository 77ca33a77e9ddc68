// SPDX-License-Identifier: Apache-2.0
// A disk of the scenario, as it stands in the guest: the virtio disk, the device-mapper devices on
// it, and its mark strip. Guest only; one thread. Errors are environment errors: what goes wrong
// here is never a finding.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dm-targets/control/control.h"
#include "framework/base/result.h"
#include "framework/blocklog/mark.h"
#include "framework/image/fingerprint.h"
#include "framework/os/fd.h"
#include "framework/proto/guest.pb.h"
#include "vm/guest/block_device.h"
#include "vm/guest/mark_writer.h"
#include "vm/guest/stack_plan.h"

namespace plugpull::guest {

class DiskStack {
 public:
  // Waits for the disks until the deadline, builds the layers, reads each table back from the
  // kernel and compares it with what was asked for. Leaves nothing behind when it fails.
  static Result<std::unique_ptr<DiskStack>> SetUp(const SetUpDisk& request,
                                                  const os::Deadline& deadline);
  ~DiskStack();  // removes the devices from the top down, and says so on stderr when it cannot

  const std::string& disk() const { return disk_; }
  const std::string& top_path() const { return top_path_; }
  // Empty without a strip.
  const std::string& mark_path() const { return mark_path_; }
  // Tables as the kernel reported them, "NAME: LINE", bottom first.
  const std::vector<std::string>& tables() const { return tables_; }

  Status WriteMark(const blocklog::Mark& mark);

  // See DrainDisk in guest.proto. Whatever fails, the file system's part is resumed.
  Status Drain();
  bool has_log() const { return plan_.log.has_value() && plan_.fs.has_value(); }
  // For PreparePowerCut in guest.proto, of a disk that has a log: suspends the file system's part,
  // which is not resumed; then closes and drains the log.
  Status Quiesce();
  Status CloseLog();

  // Gives the layer at this position of the request another table under load, or only has the
  // kernel look at it; the tables as it reports them then. A layer that drops barriers goes on
  // doing so.
  Result<std::vector<std::string>> SwapLayer(size_t layer, const Layer& to, bool read_only,
                                             bool only_try);

  // What the file system's part of the disk holds below log_writes (or at the top, without it),
  // past the page cache, while nothing above writes. XXH3-128.
  Result<image::Fingerprint> ReadBack();

  Result<DiskStatus> Query() const;
  Result<Sectors> WrittenByTop() const;

  // Removes the devices from the top down. Those that could not be removed stay owned.
  Status TearDown();

 private:
  DiskStack() = default;
  Status Build(const SetUpDisk& request, const os::Deadline& deadline);
  Status AddDevice(const PlannedDevice& planned, const os::Deadline& deadline);
  // What a device of the plan stands on.
  dm::DeviceNumber Below(const PlannedDevice& planned) const;
  // What the kernel forgets with each new table.
  Status SetQueue(const PlannedDevice& planned, const dm::Device& device) const;
  Status CheckSize(const BlockDevice& disk) const;
  // Checks that the log can be drained, and has its super block written.
  Status StartLog();
  // The part of Drain while the file system's part is suspended.
  Status DrainSuspended();
  // Has all that is in the target's queue written to the log disk, closed by a mark of the
  // kernel's own whose text begins so, and waits until it is there: also a machine that is killed
  // the next moment has it.
  Status SettleLog(const std::string& what);
  Result<dm::LogWritesStatus> ReadLogStatus() const;
  // Every layer that must drop barriers still does.
  Status CheckBarriers() const;

  std::string disk_;
  StackPlan plan_;
  Sectors size_;  // of the file system's part
  BlockDevice data_;
  BlockDevice log_disk_;
  std::vector<dm::Device> devices_;  // as in the plan
  std::optional<MarkWriter> marks_;
  uint64_t settled_ = 0;  // marks of SettleLog so far
  std::string top_path_;
  std::string top_kernel_name_;
  std::string mark_path_;
  std::vector<std::string> tables_;
};

}  // namespace plugpull::guest
