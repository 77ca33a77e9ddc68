// SPDX-License-Identifier: Apache-2.0
#include "vm/qemu/qemu_disks.h"

#include <fmt/format.h>

#include <cerrno>

#include "vm/qemu/command_line.h"

namespace plugpull::vm {
namespace {

using nlohmann::json;

constexpr Millis kCommandMax{30'000};
constexpr uint64_t kFillerBytes = 1 << 20;
// Flushes that fail where all are to, from the first on. To take the fault away QEMU flushes the
// disk, and does not if that fails: so each fails by a rule of its own, and taking the fault away
// uses up those that are left.
constexpr uint32_t kFlushesMax = 2000;

struct OpWords {
  const char* event;  // what the raw node says before it asks its child for one
  const char* iotype;
};

OpWords WordsOf(RequestFault::Op op) {
  switch (op) {
    case RequestFault::Op::kRead:
      return {"read_aio", "read"};
    case RequestFault::Op::kWrite:
      return {"write_aio", "write"};
    case RequestFault::Op::kFlush:
      break;
  }
  return {"flush_to_os", "flush"};
}

}  // namespace

json BlkdebugNode(const RequestFault& fault, const std::string& name, const std::string& image) {
  const OpWords words = WordsOf(fault.op);
  const bool all_flushes = fault.op == RequestFault::Op::kFlush && !fault.once;
  json inject = {
      {"iotype", words.iotype}, {"errno", fault.error_number}, {"once", fault.once || all_flushes}};
  json rules = json::array();
  json states = json::array();
  if (fault.sector) {
    inject["event"] = "none";  // in force from the start
    inject["sector"] = *fault.sector;
    rules.push_back(inject);
  } else {
    // blkdebug begins in state 1, and every event takes it one further.
    const uint32_t last = fault.nth + (all_flushes ? kFlushesMax - 1 : 0);
    for (uint32_t state = 1; state < last + (all_flushes ? 1 : 0); ++state) {
      states.push_back({{"event", words.event}, {"state", state}, {"new_state", state + 1}});
    }
    inject["event"] = words.event;
    for (uint32_t state = fault.nth; state <= last; ++state) {
      inject["state"] = state;
      rules.push_back(inject);
    }
  }
  // Flushes must get as far as this node.
  json node = {{"driver", "blkdebug"},
               {"node-name", name},
               {"image", image},
               {"discard", "unmap"},
               {"cache", {{"direct", false}, {"no-flush", false}}},
               {"inject-error", rules}};
  if (!states.empty()) node["set-state"] = states;  // QEMU takes an empty list for a mistake
  return node;
}

QemuDisks::QemuDisks(QmpClient& qmp, const std::vector<VirtualDisk>& disks)
    : qmp_(qmp), disks_(disks.size()) {}

Status QemuDisks::Execute(const std::string& command, const json& arguments) {
  const auto done = qmp_.Execute(command, arguments, os::Deadline::After(kCommandMax));
  return done.ok() ? OkStatus() : Status(done.error());
}

Status QemuDisks::Reopen(size_t disk, const std::string& below) {
  PP_CHECK(disk < disks_);
  json options = RawNodeOptions(disk);
  options["file"] = below;
  options["read-only"] = read_only_.contains(disk);
  Status done;
  for (uint32_t i = 0; i <= kFlushesMax; ++i) {
    done = Execute("blockdev-reopen", {{"options", json::array({options})}});
    if (done.ok() || done.error().message.find("Error flushing drive") == std::string::npos) break;
  }
  return done;
}

Status QemuDisks::PutFilter(size_t disk, const json& filter) {
  PP_RETURN_IF_ERROR(Execute("blockdev-add", filter));
  const auto name = filter.at("node-name").get<std::string>();
  PP_RETURN_IF_ERROR(Reopen(disk, name));
  const auto before = filters_.find(disk);
  if (before != filters_.end()) {
    PP_RETURN_IF_ERROR(Execute("blockdev-del", {{"node-name", before->second}}));
  }
  filters_[disk] = name;
  return OkStatus();
}

Status QemuDisks::FailRequests(size_t disk, const RequestFault& fault) {
  return PutFilter(disk, BlkdebugNode(fault, fmt::format("fault{}", ++nodes_), FileNodeName(disk)));
}

Status QemuDisks::Slow(size_t disk, uint32_t requests_per_second) {
  const std::string group = fmt::format("limits{}", ++nodes_);
  PP_RETURN_IF_ERROR(Execute("object-add", {{"qom-type", "throttle-group"},
                                            {"id", group},
                                            {"limits", {{"iops-total", requests_per_second}}}}));
  return PutFilter(disk, {{"driver", "throttle"},
                          {"node-name", fmt::format("fault{}", nodes_)},
                          {"throttle-group", group},
                          {"file", FileNodeName(disk)}});
}

Status QemuDisks::Heal(size_t disk) {
  const auto filter = filters_.find(disk);
  if (filter == filters_.end()) return OkStatus();
  PP_RETURN_IF_ERROR(Reopen(disk, FileNodeName(disk)));
  PP_RETURN_IF_ERROR(Execute("blockdev-del", {{"node-name", filter->second}}));
  filters_.erase(filter);
  return OkStatus();
}

Status QemuDisks::Resize(size_t disk, Bytes size) {
  return Execute("block_resize", {{"node-name", RawNodeName(disk)}, {"size", size.value}});
}

Status QemuDisks::Unplug(size_t disk, const os::Deadline& deadline) {
  const std::string device = DiskDeviceName(disk);
  PP_RETURN_IF_ERROR(Execute("device_del", {{"id", device}}));
  for (;;) {
    // One of its parts may be reported first; only the device itself has an id.
    PP_ASSIGN_OR_RETURN(const auto event, qmp_.WaitEvent("DEVICE_DELETED", deadline));
    if (!event) {
      return EnvironmentError(fmt::format(
          "the guest did not let go of disk {} in time (its kernel must handle hot-unplug)", disk));
    }
    if (event->data.is_object() && event->data.value("device", "") == device) return OkStatus();
  }
}

Status QemuDisks::Plug(size_t disk, const PlugOptions& options) {
  const auto filter = filters_.find(disk);
  if (options.read_only != read_only_.contains(disk)) {
    if (options.read_only) {
      read_only_.insert(disk);
    } else {
      read_only_.erase(disk);
    }
    PP_RETURN_IF_ERROR(
        Reopen(disk, filter == filters_.end() ? FileNodeName(disk) : filter->second));
  }
  return Execute("device_add", DiskDeviceOptions(disk, RawNodeName(disk), options.serial));
}

Status QemuDisks::PlugFiller(const std::string& serial) {
  const std::string node = fmt::format("filler{}", ++nodes_);
  PP_RETURN_IF_ERROR(Execute(
      "blockdev-add",
      {{"driver", "null-co"}, {"node-name", node}, {"size", kFillerBytes}, {"read-zeroes", true}}));
  return Execute("device_add", {{"driver", "virtio-blk-pci"},
                                {"drive", node},
                                {"id", node + "-device"},
                                {"serial", serial}});
}

Result<std::vector<std::string>> QemuDisks::TakeRequestErrors(size_t disk) {
  // Its answer comes behind all events so far.
  PP_RETURN_IF_ERROR(Execute("query-status", {}));
  for (;;) {
    PP_ASSIGN_OR_RETURN(const auto event,
                        qmp_.WaitEvent("BLOCK_IO_ERROR", os::Deadline::After(Millis(0))));
    if (!event) break;
    if (!event->data.is_object()) continue;
    errors_[event->data.value("node-name", "")].push_back(event->data.value("operation", "") +
                                                          ": " + event->data.value("reason", ""));
  }
  return std::exchange(errors_[RawNodeName(disk)], {});
}

}  // namespace plugpull::vm
