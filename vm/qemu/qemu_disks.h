// SPDX-License-Identifier: Apache-2.0
// DiskControl over QMP. A disk is a raw node on a file node (command_line.h). A fault is a filter
// that is put between the two: blkdebug, which counts what the raw node asks of it, or throttle.
// (Sources: block/blkdebug.c, block/raw-format.c, block/io.c and qapi/block-core.json of QEMU;
// tried with 7.2.)
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "vm/disk_control.h"
#include "vm/machine.h"
#include "vm/qmp/qmp.h"

namespace plugpull::vm {

// The options of a blkdebug node on `image` that does this. Pure.
nlohmann::json BlkdebugNode(const RequestFault& fault, const std::string& name,
                            const std::string& image);

class QemuDisks : public DiskControl {
 public:
  // `qmp` must outlive it; `disks` are those that the machine was started with.
  QemuDisks(QmpClient& qmp, const std::vector<VirtualDisk>& disks);

  Status FailRequests(size_t disk, const RequestFault& fault) override;
  Status Slow(size_t disk, uint32_t requests_per_second) override;
  Status Heal(size_t disk) override;
  Status Resize(size_t disk, Bytes size) override;
  Status Unplug(size_t disk, const os::Deadline& deadline) override;
  Status Plug(size_t disk, const PlugOptions& options) override;
  Status PlugFiller(const std::string& serial) override;
  Result<std::vector<std::string>> TakeRequestErrors(size_t disk) override;

 private:
  Status Execute(const std::string& command, const nlohmann::json& arguments);
  // Has the raw node stand on the node `below`.
  Status Reopen(size_t disk, const std::string& below);
  // Puts a filter, which must stand on the file node, in the place of the one before.
  Status PutFilter(size_t disk, const nlohmann::json& filter);

  QmpClient& qmp_;
  size_t disks_;
  std::map<size_t, std::string> filters_;  // of each disk that has one
  std::set<size_t> read_only_;
  uint64_t nodes_ = 0;                                      // made so far: names are used once
  std::map<std::string, std::vector<std::string>> errors_;  // by node, not yet taken
};

}  // namespace plugpull::vm
