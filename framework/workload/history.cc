// SPDX-License-Identifier: Apache-2.0
#include "framework/workload/history.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "fmt/format.h"
#include "framework/base/check.h"

namespace plugpull::workload {
namespace {

constexpr size_t kSnapshotEventsMin = 32;

void AddCover(std::vector<Cover>& covers, Cover cover) {
  if (!covers.empty() && covers.back().change >= cover.change) return;
  if (!covers.empty() && covers.back().sync == cover.sync) {
    covers.back().change = cover.change;
  } else {
    covers.push_back(cover);
  }
}

void ApplyEvent(ContentMap& content, const FileHistory::Event& event) {
  switch (event.kind) {
    case FileHistory::EventKind::kWrite:
    case FileHistory::EventKind::kSyncedWrite:
      return content.Write(event.offset, event.length, VersionOf(event.operation));
    case FileHistory::EventKind::kTruncate:
      return content.Truncate(event.length);
    case FileHistory::EventKind::kSync:
    case FileHistory::EventKind::kRemoved:
      return;
  }
}

}  // namespace

bool IsAcknowledged(const Operation& operation) {
  switch (operation.kind()) {
    case Operation::FSYNC:
    case Operation::FDATASYNC:
    case Operation::SYNC:
    case Operation::SYNCFS:
    case Operation::WAIT:
      return true;
    default:
      return operation.o_sync();
  }
}

ContentMap FileHistory::ContentAfter(size_t event_count) const {
  const auto later = std::partition_point(
      snapshots.begin(), snapshots.end(),
      [&](const Snapshot& snapshot) { return snapshot.event_count <= event_count; });
  ContentMap content;
  size_t start = 0;
  if (later != snapshots.begin()) {
    content = std::prev(later)->content;
    start = std::prev(later)->event_count;
  }
  for (size_t i = start; i < event_count; ++i) ApplyEvent(content, events[i]);
  return content;
}

class IndexBuilder {
 public:
  explicit IndexBuilder(const WorkloadTrace& trace) : trace_(trace) {}
  Result<ObligationIndex> Build();

 private:
  enum class Outcome : uint8_t { kUnknown, kDone, kFailed };
  // A change of a name that a sync can still make durable.
  struct Pending {
    size_t name = 0;
    uint64_t operation = 0;
    uint64_t file_before = 0;  // 0: none
    uint64_t file_after = 0;
  };
  // What only building needs to know of a file.
  struct FileState {
    std::vector<Pending> pending;
    bool dirty = true;
  };

  Status ReadOutcomes();
  Status Add(uint64_t index);
  void AddSync(const Operation& operation, uint64_t index);
  void AddNameChange(const NameChange& change, uint64_t index);
  void AddDataEvent(const Operation& operation, uint64_t index);
  void AddDoubt(const Operation& operation, uint64_t index);
  void SetDoubt(Doubt& doubt, uint64_t index);

  size_t NamePosition(const std::string& path);
  size_t FilePosition(uint64_t file);
  void NoteFile(uint64_t file, const NameChange& change, uint64_t index, const Pending& pending);
  void MakeDurable(std::vector<Pending>& pending, uint64_t sync);
  void MakeDurable(const Pending& pending, uint64_t sync);
  void SyncBytes(size_t file, uint64_t sync);
  void SyncCreation(size_t file, uint64_t sync);

  const WorkloadTrace& trace_;
  ObligationIndex index_;
  FileTree tree_;
  std::vector<Outcome> outcomes_;
  bool doubtful_ = false;  // some operation failed or has no result
  std::unordered_map<std::string, size_t> name_positions_;
  std::vector<FileState> states_;  // as index_.files_
  std::unordered_map<std::string, std::vector<Pending>> pending_by_folder_;
  std::vector<Pending> pending_;  // of all names, since the last sync(2)
  std::vector<size_t> dirty_;     // files that may be, since the last sync(2)
};

Result<ObligationIndex> ObligationIndex::Make(const WorkloadTrace& trace) {
  return IndexBuilder(trace).Build();
}

std::string ObligationIndex::Describe(uint64_t operation) const {
  PP_CHECK(operation < kinds_.size());
  const KindOf& kind = kinds_[operation];
  const char* name = "operation";
  switch (kind.kind) {
    case Operation::MKDIR:
      name = "mkdir";
      break;
    case Operation::CREATE:
      name = "creation";
      break;
    case Operation::WRITE:
      name = kind.o_sync ? "O_SYNC write" : "write";
      break;
    case Operation::TRUNCATE:
      name = "truncate";
      break;
    case Operation::RENAME:
      name = "rename";
      break;
    case Operation::LINK:
      name = "link";
      break;
    case Operation::UNLINK:
      name = "unlink";
      break;
    case Operation::FSYNC:
      name = kind.folder ? "fsync of a folder" : "fsync";
      break;
    case Operation::FDATASYNC:
      name = "fdatasync";
      break;
    case Operation::SYNC:
      name = "sync";
      break;
    case Operation::SYNCFS:
      name = "syncfs";
      break;
    case Operation::RMDIR:
      name = "rmdir";
      break;
    default:
      break;
  }
  return fmt::format("{} (operation {})", name, operation);
}

Status IndexBuilder::ReadOutcomes() {
  const uint64_t count = static_cast<uint64_t>(trace_.operation_size());
  if (count > kOperationsMax) {
    return UserError(
        fmt::format("the trace has {} operations, the most is {}", count, kOperationsMax));
  }
  outcomes_.assign(count, Outcome::kUnknown);
  uint64_t next = 0;
  for (const OperationResult& result : trace_.result()) {
    if (result.index() < next || result.index() >= count) {
      return UserError(fmt::format(
          "a result is for operation {}, it must be from {} to below {}: the trace is damaged",
          result.index(), next, count));
    }
    outcomes_[result.index()] = result.error() == 0 ? Outcome::kDone : Outcome::kFailed;
    next = result.index() + 1;
  }
  return OkStatus();
}

Result<ObligationIndex> IndexBuilder::Build() {
  PP_RETURN_IF_ERROR(ReadOutcomes());
  index_.workload_ = trace_.workload();
  index_.reuses_freed_blocks_ = trace_.reuses_freed_blocks_early();
  index_.kinds_.resize(outcomes_.size());
  for (uint64_t i = 0; i < outcomes_.size(); ++i) {
    if (Status status = Add(i); !status.ok()) {
      return WithContext(std::move(status).error(), fmt::format("trace, operation {}", i));
    }
  }
  return std::move(index_);
}

Status IndexBuilder::Add(uint64_t index) {
  const Operation& operation = trace_.operation(static_cast<int>(index));
  PP_RETURN_IF_ERROR(CheckOperation(operation));
  index_.kinds_[index] = {operation.kind(),
                          tree_.Lookup(operation.path()).kind == Binding::Kind::kFolder,
                          operation.o_sync()};
  if (outcomes_[index] != Outcome::kDone) {
    doubtful_ = true;
    AddDoubt(operation, index);
  }
  if (outcomes_[index] == Outcome::kFailed) return OkStatus();
  auto changes = tree_.Apply(operation, index);
  if (!changes.ok()) {
    // After an operation with an unknown effect the tree may differ from the guest's.
    if (!doubtful_) return std::move(changes).error();
    AddDoubt(operation, index);
    return OkStatus();
  }
  for (const NameChange& change : *changes) AddNameChange(change, index);
  AddDataEvent(operation, index);
  if (outcomes_[index] == Outcome::kDone) {
    AddSync(operation, index);
  } else {
    AddDoubt(operation, index);  // also of what it has just made
  }
  return OkStatus();
}

size_t IndexBuilder::NamePosition(const std::string& path) {
  const auto [found, added] = name_positions_.emplace(path, index_.names_.size());
  if (added) index_.names_.emplace_back().path = path;
  return found->second;
}

size_t IndexBuilder::FilePosition(uint64_t file) {
  const auto [found, added] = index_.file_positions_.emplace(file, index_.files_.size());
  if (added) {
    index_.files_.emplace_back().file = file;
    states_.emplace_back();
    dirty_.push_back(found->second);
  }
  return found->second;
}

void IndexBuilder::NoteFile(uint64_t file, const NameChange& change, uint64_t index,
                            const Pending& pending) {
  const size_t position = FilePosition(file);
  FileHistory& history = index_.files_[position];
  const bool added = change.after == Binding{Binding::Kind::kFile, file};
  history.name_events.push_back({index, pending.name, added});
  states_[position].pending.push_back(pending);
  if (!added && tree_.FindFile(file) == nullptr) {
    history.events.push_back({index, FileHistory::EventKind::kRemoved, 0, 0});
  }
}

void IndexBuilder::AddNameChange(const NameChange& change, uint64_t index) {
  const Pending pending{NamePosition(change.path), index, change.before.file, change.after.file};
  index_.names_[pending.name].changes.push_back({index, change.after});
  if (pending.file_before != 0) NoteFile(pending.file_before, change, index, pending);
  if (pending.file_after != 0) NoteFile(pending.file_after, change, index, pending);
  pending_by_folder_[std::string(ParentFolder(change.path))].push_back(pending);
  pending_.push_back(pending);
}

void IndexBuilder::AddDataEvent(const Operation& operation, uint64_t index) {
  const bool write = operation.kind() == Operation::WRITE;
  if (!write && operation.kind() != Operation::TRUNCATE) return;
  const size_t file = FilePosition(operation.file());
  FileHistory::Event event{index, FileHistory::EventKind::kTruncate, 0, operation.length()};
  if (write) {
    const bool synced = operation.o_sync() && outcomes_[index] == Outcome::kDone;
    event.kind = synced ? FileHistory::EventKind::kSyncedWrite : FileHistory::EventKind::kWrite;
    event.offset = operation.offset();
  }
  index_.files_[file].events.push_back(event);
  states_[file].dirty = true;
  dirty_.push_back(file);
}

void IndexBuilder::MakeDurable(const Pending& pending, uint64_t sync) {
  const Cover cover{sync, pending.operation};
  AddCover(index_.names_[pending.name].covers, cover);
  for (const uint64_t file : {pending.file_before, pending.file_after}) {
    if (file != 0) AddCover(index_.files_[FilePosition(file)].covers, cover);
  }
}

void IndexBuilder::MakeDurable(std::vector<Pending>& pending, uint64_t sync) {
  for (const Pending& one : pending) MakeDurable(one, sync);
  pending.clear();
}

void IndexBuilder::SyncBytes(size_t file, uint64_t sync) {
  FileHistory& history = index_.files_[file];
  const FileTree::File* live = tree_.FindFile(history.file);
  if (!states_[file].dirty || live == nullptr) return;
  states_[file].dirty = false;
  history.events.push_back({sync, FileHistory::EventKind::kSync, 0, 0});
  // The more stretches a snapshot has, the rarer it is: all of them together stay in proportion
  // to the trace.
  const size_t last = history.snapshots.empty() ? 0 : history.snapshots.back().event_count;
  const size_t stretches = live->content.versions().stretches().size();
  if (history.events.size() - last >= std::max(kSnapshotEventsMin, stretches)) {
    history.snapshots.push_back({history.events.size(), live->content});
  }
}

void IndexBuilder::SyncCreation(size_t file, uint64_t sync) {
  const FileHistory& history = index_.files_[file];
  const FileHistory::NameEvent& creation = history.name_events.front();
  MakeDurable({creation.name, creation.operation, 0, history.file}, sync);
}

void IndexBuilder::AddSync(const Operation& operation, uint64_t index) {
  const Binding binding = tree_.Lookup(operation.path());
  if (operation.kind() == Operation::SYNC || operation.kind() == Operation::SYNCFS) {
    for (const size_t file : dirty_) SyncBytes(file, index);
    dirty_.clear();
    MakeDurable(pending_, index);
    return;
  }
  if (operation.kind() == Operation::FSYNC && binding.kind == Binding::Kind::kFolder) {
    if (const auto found = pending_by_folder_.find(operation.path());
        found != pending_by_folder_.end()) {
      MakeDurable(found->second, index);
    }
    if (operation.path().empty()) return;
    const size_t name = NamePosition(operation.path());
    MakeDurable({name, index_.names_[name].changes.back().operation, 0, 0}, index);
    return;
  }
  const bool synced_write = operation.kind() == Operation::WRITE && operation.o_sync();
  const bool fsync = operation.kind() == Operation::FSYNC;
  if (!synced_write && !fsync && operation.kind() != Operation::FDATASYNC) return;
  const size_t file = FilePosition(binding.file);
  if (!synced_write) SyncBytes(file, index);
  if (synced_write || fsync) {
    MakeDurable(states_[file].pending, index);
  } else {
    SyncCreation(file, index);
  }
}

void IndexBuilder::SetDoubt(Doubt& doubt, uint64_t index) {
  uint64_t& since = outcomes_[index] == Outcome::kUnknown ? doubt.unknown_at : doubt.failed_at;
  since = std::min(since, index);
}

void IndexBuilder::AddDoubt(const Operation& operation, uint64_t index) {
  const auto doubt_file = [&](uint64_t file) {
    const auto found = index_.file_positions_.find(file);
    if (found != index_.file_positions_.end()) SetDoubt(index_.files_[found->second].doubt, index);
  };
  switch (operation.kind()) {
    case Operation::SYNC:
    case Operation::SYNCFS:
      // Nothing is known to be wrong while it merely has no result.
      if (outcomes_[index] == Outcome::kFailed) SetDoubt(index_.doubt_, index);
      return;
    case Operation::MKDIR:
    case Operation::CREATE:
    case Operation::RENAME:
    case Operation::LINK:
    case Operation::UNLINK:
    case Operation::RMDIR:
      for (const std::string& path : {operation.path(), operation.path2()}) {
        if (path.empty()) continue;
        SetDoubt(index_.names_[NamePosition(path)].doubt, index);
        doubt_file(tree_.Lookup(path).file);
      }
      break;
    default:
      doubt_file(tree_.Lookup(operation.path()).file);
      break;
  }
  doubt_file(operation.file());
}

}  // namespace plugpull::workload
