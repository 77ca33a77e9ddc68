// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/csi/node_plugin.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace plugpull::csi {
namespace {

using agents::Disk;
using agents::MountEntry;

constexpr size_t kIdBytesMax = 128;     // the specification's limit of strings
constexpr size_t kPathBytesMax = 4096;  // PATH_MAX
constexpr size_t kBusyMax = 1024;
constexpr int kStackedMax = 8;
// A volume that stays busy for many unmounts is asked again so seldom that it is not a loop.
constexpr Millis kBusyPause{660'000};

std::string ErrnoName(int error_number) {
  const char* name = ::strerrorname_np(error_number);
  return name != nullptr ? name : std::to_string(error_number);
}

bool IsPath(const std::string& path) {
  return path.starts_with('/') && path.size() <= kPathBytesMax &&
         path.find('\0') == std::string::npos;
}

std::optional<Reply> Refuse(const std::string& id, const std::string& path) {
  // The state file keeps a record for each: what it cannot hold is no volume.
  const bool word = !id.empty() && id.size() <= kIdBytesMax &&
                    std::ranges::all_of(id, [](char c) { return c > ' ' && c < 0x7f; });
  if (!word) return Reply{RpcCode::kInvalidArgument, "volume_id is no serial of a disk"};
  if (!IsPath(path)) return Reply{RpcCode::kInvalidArgument, "a path is missing or not absolute"};
  return std::nullopt;
}

std::optional<Reply> Refuse(const Capability& capability) {
  if (capability.block) return std::nullopt;
  for (const char* type : {"ext2", "ext3", "ext4"}) {
    if (capability.type == type) return std::nullopt;
  }
  return Reply{
      RpcCode::kInvalidArgument,
      fmt::format("fs_type is \"{}\"; ext2, ext3 and ext4 are supported", capability.type)};
}

// A node of /dev, bound to a file: its "file system" is devtmpfs, and its root the node's name.
bool IsNode(const MountEntry& entry) { return entry.type == "devtmpfs"; }
bool IsNodeOf(const MountEntry& entry, const Disk& disk) {
  return IsNode(entry) && entry.root == "/" + disk.name;
}

bool Shows(const MountEntry& entry, const Disk& disk) {
  return IsNode(entry) ? IsNodeOf(entry, disk) : entry.device == disk.device;
}

// Of another disk that is there: not to be touched.
bool IsForeign(const MountEntry& entry, const std::optional<Disk>& disk,
               const std::vector<Disk>& disks) {
  if (disk && Shows(entry, *disk)) return false;
  return std::ranges::any_of(disks, [&](const Disk& one) { return Shows(entry, one); });
}

}  // namespace

NodePlugin::NodePlugin(std::string name, const agents::Config& defaults,
                       const agents::Volume& model, const agents::Decisions& decisions,
                       agents::System& system, NodeSystem& node, uint64_t seed)
    : name_(std::move(name)),
      defaults_(defaults),
      model_(model),
      decisions_(decisions),
      system_(system),
      node_(node),
      seed_(seed) {}

agents::Config NodePlugin::ConfigFor(const std::string& id, const std::string& staging,
                                     const Capability& capability) const {
  agents::Config config = defaults_;
  agents::Volume volume = model_;
  volume.serial = id;
  volume.target = staging;
  if (!capability.type.empty()) volume.type = capability.type;
  volume.options = capability.options;
  config.volumes = {volume};
  return config;
}

std::optional<Reply> NodePlugin::Find(const std::string& id, Found& found) {
  auto disks = system_.Disks();
  auto mounts = system_.Mounts();
  if (!disks.ok()) return Reply{RpcCode::kInternal, disks.error().ToString()};
  if (!mounts.ok()) return Reply{RpcCode::kInternal, mounts.error().ToString()};
  found.disks = *std::move(disks);
  found.mounts = *std::move(mounts);
  agents::Volume volume;
  volume.serial = id;
  for (const Disk& disk : found.disks) {
    if (!decisions_.IsDiskOf(volume, agents::Record(), disk)) continue;
    if (found.disk) return Reply{RpcCode::kFailedPrecondition, "several disks have the serial"};
    found.disk = disk;
  }
  return std::nullopt;
}

Reply NodePlugin::Stage(const std::string& id, const std::string& staging,
                        const Capability& capability) {
  if (auto refused = Refuse(id, staging)) return *refused;
  if (auto refused = Refuse(capability)) return *refused;
  if (!capability.block) return StageMount(id, staging, capability);
  Found found;
  if (auto trouble = Find(id, found)) return *trouble;
  if (!found.disk) return {RpcCode::kNotFound, "no disk has the serial " + id};
  return {};
}

Reply NodePlugin::StageMount(const std::string& id, const std::string& staging,
                             const Capability& capability) {
  const agents::Config config = ConfigFor(id, staging, capability);
  const agents::Volume& volume = config.volumes.front();
  agents::Agent agent(name_, config, decisions_, system_, ++seed_);
  if (const Status started = agent.Start(); !started.ok()) {
    return {RpcCode::kInternal, started.error().ToString()};
  }
  if (const Status wanted = agent.Want(volume); !wanted.ok()) {
    return {RpcCode::kInternal, wanted.error().ToString()};
  }
  const auto outcome = agent.Pass();
  if (!outcome.ok()) return {RpcCode::kInternal, outcome.error().ToString()};
  Found found;
  if (auto trouble = Find(id, found)) return *trouble;
  if (*outcome != agents::Outcome::kAllMounted) {
    return WhyNotMounted(agent, volume, found.disk.has_value());
  }
  const MountEntry* entry = agents::MountedAt(found.mounts, staging);
  if (entry == nullptr || !found.disk || entry->device != found.disk->device) {
    return {RpcCode::kUnavailable, "the mount is gone again"};
  }
  const auto missing = agents::OptionsNotInForce(decisions_.OptionsOf(volume), *entry);
  if (!missing.empty()) {
    return {RpcCode::kAlreadyExists,
            fmt::format("it is staged already, without {}", fmt::join(missing, ","))};
  }
  return {};
}

Reply NodePlugin::WhyNotMounted(agents::Agent& agent, const agents::Volume& volume, bool there) {
  const auto record = agent.Look(volume);
  if (!record.ok()) return {RpcCode::kInternal, record.error().ToString()};
  if (record->phase == agents::Phase::kGivenUp) {
    return {RpcCode::kFailedPrecondition,
            fmt::format("given up after {} failures: {} ({}); nothing is tried until an operator "
                        "resets it",
                        record->failures, record->reason, ErrnoName(record->error_number))};
  }
  if (!there) return {RpcCode::kNotFound, "no disk has the serial " + volume.serial};
  return {
      RpcCode::kUnavailable,
      fmt::format("{} ({}); failure {} of {}, tried again in {} ms at the earliest", record->reason,
                  ErrnoName(record->error_number), record->failures, volume.limits.attempts_max,
                  std::max<int64_t>(record->next_ms - system_.NowMs(), 0))};
}

Reply NodePlugin::Clear(const std::string& target, const Found& found) {
  std::vector<MountEntry> mounts = found.mounts;
  for (int i = 0; i < kStackedMax; ++i) {
    const MountEntry* entry = agents::MountedAt(mounts, target);
    if (entry == nullptr) {
      busy_.erase(target);
      return {};
    }
    if (IsForeign(*entry, found.disk, found.disks)) {
      return {RpcCode::kFailedPrecondition,
              fmt::format("{} is mounted on {}, which is not the volume; it stays", entry->source,
                          target)};
    }
    if (busy_.size() > kBusyMax) busy_.clear();
    Busy& busy = busy_[target];
    const int64_t now = system_.NowMs();
    if (now < busy.next_ms && busy.next_ms - now <= kBusyPause.count()) {
      return {RpcCode::kFailedPrecondition,
              fmt::format("{} is in use; tried again in {} ms at the earliest", target,
                          busy.next_ms - now)};
    }
    const int error = system_.Unmount(target, false);
    if (error == EBUSY) {
      ++busy.tries;
      if (busy.tries >= model_.limits.unmount_tries) {
        busy.next_ms = now + kBusyPause.count();
        system_.Log(fmt::format("{} stays busy after {} unmounts", target, busy.tries));
      }
      return {RpcCode::kFailedPrecondition, target + " is in use (EBUSY)"};
    }
    if (error != 0) {
      return {RpcCode::kInternal, fmt::format("cannot unmount {}: {}", target, ErrnoName(error))};
    }
    auto now_mounted = system_.Mounts();
    if (!now_mounted.ok()) return {RpcCode::kInternal, now_mounted.error().ToString()};
    mounts = *std::move(now_mounted);
  }
  return {RpcCode::kInternal, "too many mounts on " + target};
}

Reply NodePlugin::Unstage(const std::string& id, const std::string& staging) {
  if (auto refused = Refuse(id, staging)) return *refused;
  Found found;
  if (auto trouble = Find(id, found)) return *trouble;
  if (Reply cleared = Clear(staging, found); !cleared.ok()) return cleared;
  const agents::Config config = ConfigFor(id, staging, {});
  agents::Agent agent(name_, config, decisions_, system_, ++seed_);
  const Status released = agent.Release(config.volumes.front());
  return released.ok() ? Reply() : Reply{RpcCode::kInternal, released.error().ToString()};
}

Reply NodePlugin::Publish(const std::string& id, const std::string& staging,
                          const std::string& target, const Capability& capability, bool read_only) {
  if (auto refused = Refuse(id, target)) return *refused;
  if (auto refused = Refuse(capability)) return *refused;
  if (!IsPath(staging)) {
    return {RpcCode::kFailedPrecondition, "staging_target_path is missing: stage the volume first"};
  }
  Found found;
  if (auto trouble = Find(id, found)) return *trouble;
  if (!found.disk) return {RpcCode::kNotFound, "no disk has the serial " + id};
  const Disk& disk = *found.disk;
  const MountEntry* staged = agents::MountedAt(found.mounts, staging);
  if (!capability.block && (staged == nullptr || staged->device != disk.device)) {
    return {RpcCode::kFailedPrecondition, "the volume is not staged at " + staging};
  }
  const MountEntry* there = agents::MountedAt(found.mounts, target);
  if (there != nullptr && Shows(*there, disk) && IsNode(*there) == capability.block) {
    if (capability.block || agents::IsReadOnly(*there) || !read_only) return {};
    return {RpcCode::kAlreadyExists, "it is published there already, and can be written to"};
  }
  // What a disk that is gone has left behind.
  if (there != nullptr) {
    if (Reply cleared = Clear(target, found); !cleared.ok()) return cleared;
  }
  const std::string source = capability.block ? "/dev/" + disk.name : staging;
  if (const int error = node_.Bind(source, target, capability.block, read_only)) {
    return {RpcCode::kInternal,
            fmt::format("cannot bind {} to {}: {}", source, target, ErrnoName(error))};
  }
  return {};
}

Reply NodePlugin::Unpublish(const std::string& id, const std::string& target) {
  if (auto refused = Refuse(id, target)) return *refused;
  Found found;
  if (auto trouble = Find(id, found)) return *trouble;
  if (Reply cleared = Clear(target, found); !cleared.ok()) return cleared;
  // Empty, or not a mount point: what is in it is not ours to remove.
  if (const int error = node_.RemoveTarget(target)) {
    return {RpcCode::kInternal, fmt::format("cannot remove {}: {}", target, ErrnoName(error))};
  }
  return {};
}

Reply NodePlugin::GetStats(const std::string& id, const std::string& path, Stats& stats) {
  if (auto refused = Refuse(id, path)) return *refused;
  Found found;
  if (auto trouble = Find(id, found)) return *trouble;
  const MountEntry* entry = agents::MountedAt(found.mounts, path);
  if (entry == nullptr) return {RpcCode::kNotFound, "nothing is mounted on " + path};
  stats.block = IsNode(*entry);
  if (!found.disk || !Shows(*entry, *found.disk)) {
    stats.condition = {true, "the disk is gone; what is mounted is not it"};
    return {};
  }
  if (stats.block) {
    stats.usage.bytes_total = found.disk->size_bytes;
    stats.condition.message = "the disk is there";
    return {};
  }
  if (const int error = node_.MeasureUsage(path, stats.usage)) {
    stats.condition = {true, "it cannot be looked at: " + ErrnoName(error)};
    return {};
  }
  // Where ext4 has stopped writing the mount table goes on saying rw; its own count does not.
  const uint64_t errors = node_.ErrorsOf(found.disk->device);
  if (errors > 0) {
    stats.condition = {true, fmt::format("ext4 has found {} errors on the disk", errors)};
  } else {
    stats.condition.message = "ext4 has found no errors on the disk";
  }
  return {};
}

Reply NodePlugin::Expand(const std::string& id, const std::string& path, uint64_t required_bytes,
                         uint64_t& size_bytes) {
  if (auto refused = Refuse(id, path)) return *refused;
  Found found;
  if (auto trouble = Find(id, found)) return *trouble;
  const MountEntry* entry = agents::MountedAt(found.mounts, path);
  if (!found.disk || entry == nullptr || !Shows(*entry, *found.disk)) {
    return {RpcCode::kNotFound, "the volume is not mounted on " + path};
  }
  if (required_bytes > found.disk->size_bytes) {
    return {RpcCode::kOutOfRange, fmt::format("the disk has {} bytes, {} are required",
                                              found.disk->size_bytes, required_bytes)};
  }
  size_bytes = found.disk->size_bytes;
  if (IsNode(*entry)) return {};
  if (const int error = node_.Grow(path, size_bytes)) {
    return {RpcCode::kInternal, "the file system does not grow: " + ErrnoName(error)};
  }
  return {};
}

Reply NodePlugin::Reset(const std::string& id) {
  if (auto refused = Refuse(id, "/")) return *refused;
  const agents::Config config = ConfigFor(id, "/", {});
  agents::Agent agent(name_, config, decisions_, system_, ++seed_);
  const Status reset = agent.Reset(config.volumes.front());
  return reset.ok() ? Reply() : Reply{RpcCode::kInternal, reset.error().ToString()};
}

}  // namespace plugpull::csi
