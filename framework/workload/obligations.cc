// SPDX-License-Identifier: Apache-2.0
#include "framework/workload/obligations.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <span>
#include <utility>

#include "fmt/format.h"
#include "framework/base/check.h"
#include "framework/workload/file_obligation.h"

namespace plugpull::workload {
namespace {

// A name that may stand for more things than this owes nothing: it bounds the cost of a cut.
constexpr size_t kAllowedBindingsMax = 1000;

// How many of the items, which are in order of `member`, lie before operation `end`.
template <typename Item>
size_t CountBefore(const std::vector<Item>& items, uint64_t Item::*member, uint64_t end) {
  const auto found = std::partition_point(items.begin(), items.end(),
                                          [&](const Item& item) { return item.*member < end; });
  return static_cast<size_t>(std::distance(items.begin(), found));
}

}  // namespace

bool NameObligation::Allows(Binding::Kind kind) const {
  return std::any_of(allowed.begin(), allowed.end(),
                     [kind](const AllowedBinding& one) { return one.binding.kind == kind; });
}

// Each entry keeps what it was made from, and is made again when that differs.
struct ObligationTracker::NameEntry {
  size_t covers = 0;
  size_t changes = 0;
  NameObligation obligation;  // without `allowed`: nothing is owed
};

struct ObligationTracker::FileEntry {
  uint64_t updated_round = 0;
  uint64_t reached_round = 0;
  size_t ended_events = 0;
  size_t begun_events = 0;
  bool doubtful = false;
  bool made = false;
  FileObligation content;

  size_t covers = 0;
  size_t name_events = 0;
  std::set<size_t> candidates;  // positions of names
  ReachObligation reach;
};

ObligationTracker::ObligationTracker(const ObligationIndex& index)
    : index_(index), names_(index.names().size()), files_(index.files().size()) {
  obligations_.index = &index;
}

ObligationTracker::~ObligationTracker() = default;

ObligationTracker::FileEntry& ObligationTracker::EntryOf(size_t file) {
  if (files_[file] == nullptr) files_[file] = std::make_unique<FileEntry>();
  return *files_[file];
}

Result<const Obligations*> ObligationTracker::At(const ObligationKey& key) {
  if (key.ended_count > key.begun_count || key.begun_count > index_.operations()) {
    return UserError(fmt::format(
        "a cut has {} ended and {} begun operations, but the trace has {}: do the log and the "
        "trace come from the same recording?",
        key.ended_count, key.begun_count, index_.operations()));
  }
  key_ = key;
  ++round_;
  obligations_.key = key;
  obligations_.names.clear();
  obligations_.files.clear();
  if (index_.doubt().At(key)) return &obligations_;
  for (size_t name = 0; name < names_.size(); ++name) UpdateName(name);
  for (size_t name = 0; name < names_.size(); ++name) UpdateReach(name);
  return &obligations_;
}

const FileObligation* ObligationTracker::UpdateFile(uint64_t file) {
  const size_t position = index_.FilePosition(file);
  const FileHistory& history = index_.files()[position];
  FileEntry& entry = EntryOf(position);
  if (entry.updated_round == round_) return &entry.content;
  entry.updated_round = round_;
  const size_t ended =
      CountBefore(history.events, &FileHistory::Event::operation, key_.ended_count);
  const size_t begun =
      CountBefore(history.events, &FileHistory::Event::operation, key_.begun_count);
  const bool doubtful = history.doubt.At(key_);
  if (entry.made && entry.ended_events == ended && entry.begun_events == begun &&
      entry.doubtful == doubtful) {
    return &entry.content;
  }
  entry.made = true;
  entry.ended_events = ended;
  entry.begun_events = begun;
  entry.doubtful = doubtful;
  entry.content = doubtful ? FileObligation{.file = history.file,
                                            .serial = 0,
                                            .sizes = {},
                                            .size_sync = 0,
                                            .bytes = {}}
                           : ObligationOf(history, ended, begun, index_.reuses_freed_blocks());
  entry.content.serial = ++last_serial_;
  return &entry.content;
}

void ObligationTracker::UpdateName(size_t name) {
  const NameHistory& history = index_.names()[name];
  NameEntry& entry = names_[name];
  NameObligation& obligation = entry.obligation;
  const size_t covers = CountBefore(history.covers, &Cover::sync, key_.ended_count);
  const size_t changes =
      CountBefore(history.changes, &NameHistory::Change::operation, key_.begun_count);
  if (covers == 0 || history.doubt.At(key_)) {
    entry.covers = 0;
    obligation.allowed.clear();
    return;
  }
  if (entry.covers != covers || entry.changes != changes) {
    const Cover& cover = history.covers[covers - 1];
    obligation = {&history.path, cover.sync, cover.change, {}};
    const size_t durable =
        CountBefore(history.changes, &NameHistory::Change::operation, cover.change);
    PP_CHECK(durable < changes && history.changes[durable].operation == cover.change);
    for (size_t i = durable; i < changes; ++i) {
      const Binding& binding = history.changes[i].after;
      if (obligation.allowed.size() > kAllowedBindingsMax) break;
      const bool known =
          std::any_of(obligation.allowed.begin(), obligation.allowed.end(),
                      [&](const AllowedBinding& one) { return one.binding == binding; });
      if (!known) obligation.allowed.push_back({binding, nullptr});
    }
    if (obligation.allowed.size() > kAllowedBindingsMax) obligation.allowed.clear();
    entry.covers = covers;
    entry.changes = changes;
  }
  if (obligation.allowed.empty()) return;
  for (AllowedBinding& one : obligation.allowed) {
    if (one.binding.kind == Binding::Kind::kFile) one.content = UpdateFile(one.binding.file);
  }
  obligations_.names.push_back(&obligation);
}

// Of the file that `name` stands for in the end, which therefore always has a name.
void ObligationTracker::UpdateReach(size_t name) {
  const NameHistory& history = index_.names()[name];
  const size_t changes =
      CountBefore(history.changes, &NameHistory::Change::operation, key_.begun_count);
  if (changes == 0 || history.changes[changes - 1].after.kind != Binding::Kind::kFile) return;
  const uint64_t file = history.changes[changes - 1].after.file;
  const size_t position = index_.FilePosition(file);
  const FileHistory& past = index_.files()[position];
  FileEntry& entry = EntryOf(position);
  if (entry.reached_round == round_) return;
  entry.reached_round = round_;
  const size_t covers = CountBefore(past.covers, &Cover::sync, key_.ended_count);
  if (covers == 0 || past.doubt.At(key_)) return;
  const size_t name_events =
      CountBefore(past.name_events, &FileHistory::NameEvent::operation, key_.begun_count);
  if (entry.covers != covers || entry.name_events != name_events) {
    entry.covers = covers;
    entry.name_events = name_events;
    entry.candidates.clear();
    const uint64_t durable = past.covers[covers - 1].change;
    for (const auto& event : std::span(past.name_events).first(name_events)) {
      if (event.added) {
        entry.candidates.insert(event.name);
      } else if (event.operation <= durable) {
        entry.candidates.erase(event.name);
      }
    }
    entry.reach = {nullptr, past.covers[covers - 1].sync, {}};
    for (const size_t candidate : entry.candidates) {
      entry.reach.names.push_back(&index_.names()[candidate].path);
    }
  }
  if (NeedsNoReach(entry, file)) return;
  entry.reach.content = UpdateFile(file);
  obligations_.files.push_back(&entry.reach);
}

// Whether the file is owed under one of its names anyway.
bool ObligationTracker::NeedsNoReach(const FileEntry& entry, uint64_t file) const {
  return std::any_of(entry.candidates.begin(), entry.candidates.end(), [&](size_t candidate) {
    const NameObligation& obligation = names_[candidate].obligation;
    return obligation.allowed.size() == 1 &&
           obligation.allowed[0].binding == Binding{Binding::Kind::kFile, file};
  });
}

}  // namespace plugpull::workload
