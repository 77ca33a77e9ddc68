// SPDX-License-Identifier: Apache-2.0
// What happened to each volume (a disk, or a partition that was mounted), in order.
//
// A volume is followed from one name to another only where the log supports it: the new name came
// at the place on the bus where the old one was (a place holds one disk at a time) with the same
// size, or it was mounted with the same file system UUID. A name that comes back is the same
// volume, unless its size has changed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "framework/incident/klog.h"
#include "framework/incident/storage_line.h"

namespace plugpull::incident {

inline constexpr size_t kVolumesMax = 4096;
inline constexpr size_t kEventsMax = 500'000;  // of all volumes together
inline constexpr size_t kUuidsMax = 64;        // that are kept of a volume
inline constexpr size_t kNamesMax = 64;
inline constexpr size_t kPartitionsMax = 256;  // of a disk that are looked at

struct Event {
  enum class Kind { kAttached, kDetached, kMounted, kMountFailed, kUnmounted };
  Kind kind = Kind::kAttached;
  Failure failure = Failure::kNone;
  uint32_t boot = 0;
  uint64_t record = 0;  // how many records of the kernel came before
  uint64_t line = 0;    // of the log
  Stamp at;
  uint32_t options = 0;  // of kMounted: index into VolumeHistory::option_sets
  uint32_t name = 0;     // index into VolumeHistory::names
  uint32_t uuid = 0;     // of kMounted: index into VolumeHistory::uuids, from 1; 0: not known
};

struct VolumeHistory {
  std::vector<std::string> names;  // in the order in which it had them
  FileSystem fs = FileSystem::kUnknown;
  std::optional<uint64_t> size_bytes;
  std::vector<Event> events;
  std::vector<std::vector<std::string>> option_sets;
  std::vector<std::string> uuids;
  uint64_t file_system_errors = 0;
  uint64_t journal_errors = 0;
  uint64_t io_errors = 0;
  uint64_t recoveries = 0;
  uint64_t orphan_cleanups = 0;
  bool read_only = false;  // the file system stopped writing at some time
  uint64_t first_line = 0;
};

struct HistoryResult {
  std::vector<VolumeHistory> volumes;         // in the order in which the log names them
  std::map<FileSystem, uint64_t> suppressed;  // messages that were not printed
  uint64_t dropped_events = 0;                // beyond kEventsMax
  uint64_t dropped_volumes = 0;               // events of volumes beyond kVolumesMax
};

class HistoryBuilder {
 public:
  void Take(const KlogRecord& record);
  HistoryResult Finish();

 private:
  // A volume while the log is read.
  struct Volume {
    VolumeHistory history;
    std::vector<std::string> next_options;  // of the mount that follows
    std::string next_uuid;
    std::string slot;  // where it was attached last
  };

  Volume* Find(const std::string& device, uint64_t line);
  void Attach(const StorageLine& line, const KlogRecord& record);
  void Detach(const StorageLine& line, const KlogRecord& record);
  void Mounted(Volume& volume, const StorageLine& line, const KlogRecord& record);
  void Failed(Volume& volume, const StorageLine& line, const KlogRecord& record);
  void Count(Volume& volume, const StorageLine& line);
  Event* Add(Volume& volume, Event::Kind kind, const std::string& name, const KlogRecord& record);
  // Volumes on a disk: itself and its partitions.
  std::vector<size_t> VolumesOn(const std::string& disk) const;
  void JoinByUuid();

  std::vector<Volume> volumes_;
  std::map<std::string, size_t> by_name_;
  std::map<std::string, std::string> disk_at_slot_;  // "virtio4" to the name of the disk
  std::map<std::string, std::string> disk_at_bus_;   // "0000:00:07.0" to the name of the disk
  std::map<std::string, uint64_t> sizes_;            // of SCSI disks, said before they are attached
  std::string bus_address_;                          // of the virtio device that is being set up
  HistoryResult result_;
  uint64_t records_ = 0;
  size_t events_ = 0;
};

}  // namespace plugpull::incident
