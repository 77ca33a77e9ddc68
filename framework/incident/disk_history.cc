// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/disk_history.h"

#include <algorithm>

namespace plugpull::incident {
namespace {

constexpr size_t kOptionSetsMax = 256;
constexpr size_t kPlacesMax = 8192;          // on the bus
constexpr size_t kJoinedEventsMax = 50'000;  // of two volumes that may be one
constexpr int kJoinsMax = 256;               // pairs of volumes that are looked at
// A failure that only sums up comes right behind the one that says why.
constexpr int64_t kOneAttemptUs = 1'000'000;

template <typename T>
uint32_t Intern(std::vector<T>& list, const T& value, size_t limit) {
  const auto at = std::find(list.begin(), list.end(), value);
  if (at != list.end()) return static_cast<uint32_t>(at - list.begin());
  if (list.size() >= limit) return static_cast<uint32_t>(list.size() - 1);
  list.push_back(value);
  return static_cast<uint32_t>(list.size() - 1);
}

template <typename Map, typename Value>
void Put(Map& map, const std::string& key, const Value& value) {
  if (map.size() < kPlacesMax || map.contains(key)) map[key] = value;
}

// The index of a UUID from 1; 0 when there are too many to keep it.
uint32_t UuidIndex(std::vector<std::string>& uuids, const std::string& uuid) {
  const bool known = std::count(uuids.begin(), uuids.end(), uuid) > 0;
  return known || uuids.size() < kUuidsMax ? Intern(uuids, uuid, kUuidsMax) + 1 : 0;
}

// Whether both can be one volume: where both have UUIDs, they share one.
bool SameContents(const VolumeHistory& a, const VolumeHistory& b) {
  if (a.uuids.empty() || b.uuids.empty()) return true;
  return std::any_of(a.uuids.begin(), a.uuids.end(), [&](const std::string& uuid) {
    return std::count(b.uuids.begin(), b.uuids.end(), uuid) > 0;
  });
}

// Whether one of the two was mounted while the other was.
bool MountedTogether(const VolumeHistory& a, const VolumeHistory& b) {
  std::vector<std::pair<const Event*, bool>> all;
  for (const Event& event : a.events) all.emplace_back(&event, true);
  for (const Event& event : b.events) all.emplace_back(&event, false);
  std::sort(all.begin(), all.end(),
            [](const auto& x, const auto& y) { return x.first->record < y.first->record; });
  bool mounted[2] = {false, false};
  for (const auto& [event, of_a] : all) {
    mounted[of_a ? 0 : 1] = event->kind == Event::Kind::kMounted;
    if (mounted[0] && mounted[1]) return true;
  }
  return false;
}

// Moves what `from` has into `to`.
void Merge(VolumeHistory& to, VolumeHistory& from) {
  for (Event event : from.events) {
    event.name = Intern(to.names, from.names[event.name], kNamesMax);
    if (event.kind == Event::Kind::kMounted) {
      event.options = Intern(to.option_sets, from.option_sets[event.options], kOptionSetsMax);
      if (event.uuid != 0) {
        event.uuid = UuidIndex(to.uuids, from.uuids[event.uuid - 1]);
      }
    }
    to.events.push_back(event);
  }
  std::stable_sort(to.events.begin(), to.events.end(),
                   [](const Event& a, const Event& b) { return a.record < b.record; });
  to.file_system_errors += from.file_system_errors;
  to.journal_errors += from.journal_errors;
  to.io_errors += from.io_errors;
  to.recoveries += from.recoveries;
  to.orphan_cleanups += from.orphan_cleanups;
  to.read_only |= from.read_only;
  to.first_line = std::min(to.first_line, from.first_line);
  if (!to.size_bytes) to.size_bytes = from.size_bytes;
  if (to.fs == FileSystem::kUnknown) to.fs = from.fs;
  from = {};
}

}  // namespace

HistoryBuilder::Volume* HistoryBuilder::Find(const std::string& device, uint64_t line) {
  const auto known = by_name_.find(device);
  if (known != by_name_.end()) return &volumes_[known->second];
  if (volumes_.size() >= kVolumesMax) {
    ++result_.dropped_volumes;
    return nullptr;
  }
  by_name_[device] = volumes_.size();
  Volume& volume = volumes_.emplace_back();
  volume.history.names.push_back(device);
  volume.history.first_line = line;
  const std::string disk = DiskOf(device);
  if (disk == device) return &volume;
  // What the disk went through, its partitions did.
  const auto whole = by_name_.find(disk);
  if (whole != by_name_.end()) {
    for (const Event& event : volumes_[whole->second].history.events) {
      if (event.kind != Event::Kind::kAttached && event.kind != Event::Kind::kDetached) continue;
      if (events_ >= kEventsMax) break;
      ++events_;
      Event copy = event;
      copy.name = 0;
      volume.history.events.push_back(copy);
    }
  }
  return &volume;
}

std::vector<size_t> HistoryBuilder::VolumesOn(const std::string& disk) const {
  std::vector<size_t> found;
  // Names of partitions begin with the disk's, and stand together.
  size_t seen = 0;
  for (auto at = by_name_.lower_bound(disk); at != by_name_.end(); ++at) {
    if (!at->first.starts_with(disk) || seen++ > kPartitionsMax) break;
    if (at->first == disk || DiskOf(at->first) == disk) found.push_back(at->second);
  }
  return found;
}

Event* HistoryBuilder::Add(Volume& volume, Event::Kind kind, const std::string& name,
                           const KlogRecord& record) {
  if (events_ >= kEventsMax) {
    ++result_.dropped_events;
    return nullptr;
  }
  ++events_;
  Event event;
  event.kind = kind;
  event.boot = record.boot;
  event.record = records_;
  event.line = record.line;
  event.at = record.at;
  event.name = Intern(volume.history.names, name, kNamesMax);
  return &volume.history.events.emplace_back(event);
}

void HistoryBuilder::Attach(const StorageLine& line, const KlogRecord& record) {
  std::optional<uint64_t> size = line.size_bytes;
  if (!size && sizes_.contains(line.device)) size = sizes_[line.device];
  if (!bus_address_.empty()) {
    Put(disk_at_bus_, bus_address_, line.device);
    bus_address_.clear();
  }
  const auto size_differs = [&](const Volume& volume) {
    return size && volume.history.size_bytes && *size != *volume.history.size_bytes;
  };
  // A disk that was at this place under another name has moved, when it is as large.
  const auto before = disk_at_slot_.find(line.slot);
  if (!line.slot.empty() && before != disk_at_slot_.end() && before->second != line.device) {
    const auto old = by_name_.find(before->second);
    if (old != by_name_.end() && volumes_[old->second].slot == line.slot &&
        size == volumes_[old->second].history.size_bytes) {
      by_name_[line.device] = old->second;
      by_name_.erase(old);
    }
  }
  const auto same_name = by_name_.find(line.device);
  if (same_name != by_name_.end() && size_differs(volumes_[same_name->second])) {
    by_name_.erase(same_name);  // another disk took the name
  }
  if (!line.slot.empty()) Put(disk_at_slot_, line.slot, line.device);
  Volume* disk = Find(line.device, record.line);
  if (disk != nullptr) {
    disk->slot = line.slot;
    if (size) disk->history.size_bytes = size;
  }
  for (const size_t index : VolumesOn(line.device)) {
    Volume& volume = volumes_[index];
    volume.next_options.clear();
    volume.next_uuid.clear();
    // The name of a partition that moves with its disk is seen when it is mounted.
    const std::string name = &volume == disk ? line.device : volume.history.names.back();
    Add(volume, Event::Kind::kAttached, name, record);
  }
}

void HistoryBuilder::Detach(const StorageLine& line, const KlogRecord& record) {
  std::string device = line.device;
  if (device.empty()) {
    const auto at = disk_at_bus_.find(line.slot);
    if (at == disk_at_bus_.end()) return;
    device = at->second;
  }
  for (const size_t index : VolumesOn(device)) {
    auto& events = volumes_[index].history.events;
    // Asked for and done are one.
    if (!events.empty() && events.back().kind == Event::Kind::kDetached) continue;
    Add(volumes_[index], Event::Kind::kDetached, volumes_[index].history.names.back(), record);
  }
}

void HistoryBuilder::Mounted(Volume& volume, const StorageLine& line, const KlogRecord& record) {
  VolumeHistory& history = volume.history;
  std::vector<std::string> options = line.options;
  for (const std::string& option : volume.next_options) {
    if (std::count(options.begin(), options.end(), option) == 0) options.push_back(option);
  }
  volume.next_options.clear();
  const std::string uuid = line.uuid.empty() ? volume.next_uuid : line.uuid;
  volume.next_uuid.clear();
  if (line.fs != FileSystem::kUnknown) history.fs = line.fs;
  Event* event = Add(volume, Event::Kind::kMounted, line.device, record);
  if (event == nullptr) return;
  event->options = Intern(history.option_sets, options, kOptionSetsMax);
  if (!uuid.empty()) event->uuid = UuidIndex(history.uuids, uuid);
}

void HistoryBuilder::Failed(Volume& volume, const StorageLine& line, const KlogRecord& record) {
  auto& events = volume.history.events;
  if (volume.history.fs == FileSystem::kUnknown) volume.history.fs = line.fs;
  volume.next_uuid.clear();
  if (line.follows && !events.empty()) {
    Event& last = events.back();
    const auto since = Elapsed(last.at, last.boot, record.at, record.boot);
    const bool near = since.value_or(0) <= kOneAttemptUs && record.boot == last.boot;
    if (last.kind == Event::Kind::kMountFailed && near) return;
    // btrfs says that it mounts before it knows that it can.
    if (last.kind == Event::Kind::kMounted && near && line.fs == FileSystem::kBtrfs) {
      last.kind = Event::Kind::kMountFailed;
      last.failure = line.failure;
      last.options = last.uuid = 0;
      return;
    }
  }
  volume.next_options.clear();
  Event* event = Add(volume, Event::Kind::kMountFailed, line.device, record);
  if (event != nullptr) event->failure = line.failure;
}

void HistoryBuilder::Count(Volume& volume, const StorageLine& line) {
  VolumeHistory& history = volume.history;
  if (history.fs == FileSystem::kUnknown) history.fs = line.fs;
  switch (line.kind) {
    case LineKind::kFileSystemError:
      ++history.file_system_errors;
      break;
    case LineKind::kJournalError:
      ++history.journal_errors;
      break;
    case LineKind::kIoError:
      ++history.io_errors;
      break;
    case LineKind::kRecovered:
      ++history.recoveries;
      break;
    case LineKind::kOrphans:
      ++history.orphan_cleanups;
      break;
    case LineKind::kReadOnly:
      history.read_only = true;
      break;
    default:
      break;
  }
}

void HistoryBuilder::Take(const KlogRecord& record) {
  ++records_;
  const auto line = ParseStorageLine(record.text);
  if (!line) return;
  switch (line->kind) {
    case LineKind::kSuppressed:
      result_.suppressed[line->fs] += line->count;
      return;
    case LineKind::kBusAddress:
      bus_address_ = line->slot;
      return;
    case LineKind::kSize:
      if (line->size_bytes) Put(sizes_, line->device, *line->size_bytes);
      return;
    case LineKind::kAttached:
      return Attach(*line, record);
    case LineKind::kDetached:
      return Detach(*line, record);
    default:
      break;
  }
  Volume* volume = Find(line->device, record.line);
  if (volume == nullptr) return;
  switch (line->kind) {
    case LineKind::kMounted:
      return Mounted(*volume, *line, record);
    case LineKind::kMountFailed:
      return Failed(*volume, *line, record);
    case LineKind::kMountBegins:
      volume->next_uuid = line->uuid;
      return;
    case LineKind::kOption:
      volume->next_options = line->options;
      if (volume->history.fs == FileSystem::kUnknown) volume->history.fs = line->fs;
      return;
    case LineKind::kUnmounted:
      Add(*volume, Event::Kind::kUnmounted, line->device, record);
      return;
    default:
      return Count(*volume, *line);
  }
}

// The newest of the volumes with one UUID takes the others in, when they were never mounted at the
// same time (a clone, a second path).
void HistoryBuilder::JoinByUuid() {
  std::map<std::string, size_t> by_uuid;
  int looked_at = 0;
  for (size_t i = 0; i < volumes_.size(); ++i) {
    VolumeHistory& history = volumes_[i].history;
    for (const std::string& uuid : std::vector<std::string>(history.uuids)) {
      const auto [at, first] = by_uuid.emplace(uuid, i);
      if (first || at->second == i) continue;
      VolumeHistory& older = volumes_[at->second].history;
      if (older.names.empty() || !SameContents(older, history)) continue;
      const bool other_size =
          older.size_bytes && history.size_bytes && *older.size_bytes != *history.size_bytes;
      const size_t events = older.events.size() + history.events.size();
      if (other_size || events > kJoinedEventsMax || ++looked_at > kJoinsMax) break;
      if (MountedTogether(older, history)) break;
      Merge(older, history);
      break;
    }
  }
}

HistoryResult HistoryBuilder::Finish() {
  JoinByUuid();
  for (Volume& volume : volumes_) {
    if (!volume.history.names.empty()) result_.volumes.push_back(std::move(volume.history));
  }
  volumes_.clear();
  return std::move(result_);
}

}  // namespace plugpull::incident
