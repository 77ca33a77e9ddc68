// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/crash_space.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "framework/base/prng.h"

namespace plugpull::crashstate {

using blocklog::Event;
using blocklog::History;

const char kBlindSpot[] =
    "a write that was submitted before a flush and completed after it is logged after it, and so "
    "never appears early";

namespace {

constexpr uint32_t kBlockBytesMax = 4096;

bool AllZero(std::span<const uint8_t> bytes) {
  return bytes.empty() ||
         (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// Numbers of all units that an event from the base on may change, ascending.
std::vector<uint64_t> TouchedUnits(const History& history, std::span<const uint8_t> base,
                                   uint64_t unit_bytes) {
  std::vector<uint64_t> units;
  for (size_t i = history.base; i < history.events.size(); ++i) {
    const Event& event = history.events[i];
    if (!event.ChangesBlocks()) continue;
    const uint64_t end = (event.offset + event.length).value / unit_bytes;
    for (uint64_t unit = event.offset.value / unit_bytes; unit < end; ++unit) {
      // A discard of what is zero already changes nothing unless somebody writes there too.
      if (event.kind == Event::Kind::kDiscard &&
          AllZero(base.subspan(unit * unit_bytes, unit_bytes))) {
        continue;
      }
      units.push_back(unit);
    }
  }
  std::sort(units.begin(), units.end());
  units.erase(std::unique(units.begin(), units.end()), units.end());
  return units;
}

}  // namespace

uint32_t CommonBlockBytes(const History& history) {
  uint64_t all = kBlockBytesMax;
  for (const Event& event : history.events) {
    if (event.ChangesBlocks()) all |= event.offset.value | event.length.value;
  }
  return static_cast<uint32_t>(all & (~all + 1));
}

void FoldBase(const History& history, std::span<uint8_t> image, bool discard_keeps) {
  PP_CHECK(image.size() == history.device_size.value);
  for (size_t i = 0; i < history.base; ++i) {
    const Event& event = history.events[i];
    uint8_t* at = image.data() + event.offset.value;
    if (event.kind == Event::Kind::kWrite) {
      std::memcpy(at, event.data.data(), event.data.size());
    } else if (event.kind == Event::Kind::kDiscard && !discard_keeps) {
      // Chunk by chunk, so that what is a hole in the image stays one.
      for (uint64_t done = 0; done < event.length.value; done += kBlockBytesMax) {
        const uint64_t n = std::min<uint64_t>(kBlockBytesMax, event.length.value - done);
        if (!AllZero({at + done, n})) std::memset(at + done, 0, n);
      }
    }
  }
}

Status ChooseBase(History& history, const DeviceModel& model, bool base_has_ext4) {
  constexpr uint64_t kSuperAt = 1024;
  constexpr uint64_t kMagicAt = 56;
  constexpr uint64_t kIncompatAt = 96;
  constexpr uint32_t kNeedsRecovery = 4;  // EXT4_FEATURE_INCOMPAT_RECOVER, fs/ext4/ext4.h
  if (model.from_mkfs) history.base = 0;
  if (model.from_mkfs || history.base != 0) return OkStatus();
  for (size_t i = 0; i < history.events.size(); ++i) {
    const Event& event = history.events[i];
    if (event.kind != Event::Kind::kWrite || event.offset.value > kSuperAt ||
        event.offset.value + event.data.size() < kSuperAt + kIncompatAt + 4) {
      continue;
    }
    const uint8_t* super = event.data.data() + (kSuperAt - event.offset.value);
    uint32_t incompat;
    std::memcpy(&incompat, super + kIncompatAt, sizeof incompat);
    if (super[kMagicAt] == 0x53 && super[kMagicAt + 1] == 0xef &&
        (incompat & kNeedsRecovery) != 0) {
      history.base = i;
      return OkStatus();
    }
  }
  if (base_has_ext4) return OkStatus();
  return UserError(
      "no ext4 file system is mounted in this log, and no base image with one was given: pass "
      "--base IMG (the disk when the log began), or --from mkfs to cut from the log's start");
}

Result<std::unique_ptr<CrashSpace>> CrashSpace::Make(const History& history,
                                                     std::span<const uint8_t> base,
                                                     const DeviceModel& model, std::string disk,
                                                     uint32_t block_bytes) {
  PP_CHECK(base.size() == history.device_size.value);
  auto space = std::unique_ptr<CrashSpace>(new CrashSpace());
  space->history_ = &history;
  space->base_ = base;
  space->model_ = model;
  space->disk_ = std::move(disk);
  uint32_t unit = CommonBlockBytes(history);
  if (model.atomic_unit > unit) {
    return UserError(
        fmt::format("atomic_unit is {} bytes, but the log has writes that only {} divides; choose "
                    "that or less",
                    model.atomic_unit, unit));
  }
  if (model.atomic_unit != 0) unit = model.atomic_unit;
  space->block_bytes_ = block_bytes == 0 ? unit : block_bytes;
  space->contents_ = std::make_unique<image::ContentStore>(std::min(unit, space->block_bytes_));
  PP_RETURN_IF_ERROR(space->Index());
  space->IndexOverlaps();
  space->IndexLosable();
  return space;
}

Status CrashSpace::Index() {
  const auto& events = history_->events;
  const uint64_t unit_bytes = contents_->block_bytes();
  units_ = TouchedUnits(*history_, base_, unit_bytes);
  std::vector<const image::Content*> contents;  // beside ranks_
  first_rank_.assign(events.size() + 1, 0);
  first_arrival_.assign(units_.size() + 1, 0);
  for (size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    first_rank_[i] = ranks_.size();
    const bool kept = event.kind == Event::Kind::kDiscard && model_.discard_keeps;
    if (i < history_->base || !event.ChangesBlocks() || kept) continue;
    const uint64_t first = event.offset.value / unit_bytes;
    const uint64_t end = first + event.length.value / unit_bytes;
    auto unit = std::lower_bound(units_.begin(), units_.end(), first);
    for (; unit != units_.end() && *unit < end; ++unit) {
      const auto rank = static_cast<uint32_t>(unit - units_.begin());
      ranks_.push_back(rank);
      contents.push_back(
          event.kind == Event::Kind::kWrite
              ? contents_->Intern(event.data.subspan((*unit - first) * unit_bytes, unit_bytes))
              : contents_->zeroes());
      ++first_arrival_[rank + 1];
    }
    constexpr size_t kPiecesMax = std::numeric_limits<uint32_t>::max() / 2;
    if (ranks_.size() > kPiecesMax) {
      return UserError(
          fmt::format("the log writes more than {} blocks of {} bytes; check a part of it",
                      kPiecesMax, unit_bytes));
    }
  }
  first_rank_[events.size()] = ranks_.size();
  for (size_t rank = 0; rank < units_.size(); ++rank) {
    first_arrival_[rank + 1] += first_arrival_[rank];
  }
  arrivals_.resize(ranks_.size());
  std::vector<size_t> next(first_arrival_.begin(), first_arrival_.end());
  for (size_t i = 0; i < events.size(); ++i) {
    for (size_t piece = first_rank_[i]; piece < first_rank_[i + 1]; ++piece) {
      arrivals_[next[ranks_[piece]]++] = {static_cast<uint32_t>(i), contents[piece]};
    }
  }
  return OkStatus();
}

void CrashSpace::IndexOverlaps() {
  const auto& events = history_->events;
  window_start_.assign(events.size() + 1, history_->base);
  std::vector<bool> forced(units_.size());
  std::vector<size_t> forced_ranks;
  size_t window_start = history_->base;
  for (size_t i = history_->base; i < events.size(); ++i) {
    if (events[i].HasFlush()) {
      if (!model_.lying) window_start = i;
      for (const size_t rank : forced_ranks) forced[rank] = false;
      forced_ranks.clear();
    }
    window_start_[i + 1] = window_start;
    if (IsDrain(events[i])) {
      for (const size_t rank : forced_ranks) forced[rank] = false;
      forced_ranks.clear();
    }
    bool overlaps = false;
    for (const uint32_t rank : RanksOf(i)) {
      overlaps |= forced[rank];
      if (!events[i].fua) continue;
      forced[rank] = true;
      forced_ranks.push_back(rank);
    }
    if (overlaps && !events[i].fua) overlap_.push_back(i);
  }
}

uint64_t CrashSpace::EntryOfCut(size_t cut) const {
  const auto& events = history_->events;
  if (cut < events.size()) return events[cut].entry;
  return events.empty() ? 0 : events.back().entry + 1;
}

Result<size_t> CrashSpace::CutOfEntry(uint64_t entry) const {
  const auto& events = history_->events;
  const auto it =
      std::lower_bound(events.begin(), events.end(), entry,
                       [](const Event& event, uint64_t value) { return event.entry < value; });
  const auto cut = static_cast<size_t>(it - events.begin());
  if (cut < first_cut() || entry > EntryOfCut(last_cut())) {
    return UserError(fmt::format("log entry {} cannot be cut at; possible are {} to {}", entry,
                                 EntryOfCut(first_cut()), EntryOfCut(last_cut())));
  }
  return cut;
}

size_t CrashSpace::WindowStart(size_t cut) const { return window_start_[cut]; }

bool CrashSpace::CanBeLost(const Event& event) const {
  if (event.kind == Event::Kind::kDiscard) return !model_.discard_keeps;
  return event.kind == Event::Kind::kWrite && (!event.fua || model_.lying);
}

void CrashSpace::IndexLosable() {
  const auto& events = history_->events;
  losable_before_.assign(events.size() + 1, 0);
  for (size_t i = history_->base; i < events.size(); ++i) {
    losable_before_[i + 1] = losable_before_[i] + (CanBeLost(events[i]) ? 1 : 0);
  }
}

bool CrashSpace::IsVolatile(size_t event, size_t cut) const {
  if (event >= cut || event < window_start_[cut] || !CanBeLost(history_->events[event])) {
    return false;
  }
  return model_.window == 0 || losable_before_[cut] - losable_before_[event] <= model_.window;
}

size_t CrashSpace::UnflushedCount(size_t cut) const {
  const auto& events = history_->events;
  return static_cast<size_t>(
      std::count_if(events.begin() + static_cast<ptrdiff_t>(window_start_[cut]),
                    events.begin() + static_cast<ptrdiff_t>(cut),
                    [this](const Event& event) { return CanBeLost(event); }));
}

void CrashSpace::VolatileEvents(size_t cut, std::vector<size_t>& out) const {
  out.clear();
  for (size_t i = window_start_[cut]; i < cut; ++i) {
    if (CanBeLost(history_->events[i])) out.push_back(i);
  }
  if (model_.window != 0 && out.size() > model_.window) {
    out.erase(out.begin(), out.end() - static_cast<ptrdiff_t>(model_.window));
  }
}

void CrashSpace::LostEventsInto(size_t cut, const Selection& selection,
                                std::vector<size_t>& volatile_events,
                                std::vector<size_t>& lost) const {
  lost.clear();
  if (selection.kind == Selection::Kind::kAllArrived) return;
  VolatileEvents(cut, volatile_events);
  const auto named = [&](size_t event) {
    return std::binary_search(selection.entries.begin(), selection.entries.end(),
                              history_->events[event].entry);
  };
  if (selection.kind == Selection::Kind::kSample) {
    Prng prng(selection.seed);
    size_t first = 0;
    if (selection.last != 0 && volatile_events.size() > selection.last) {
      first = volatile_events.size() - selection.last;
    }
    for (size_t i = first; i < volatile_events.size(); ++i) {
      if (prng.Chance(selection.lose_permille)) lost.push_back(volatile_events[i]);
    }
    return;
  }
  const bool lose = selection.kind == Selection::Kind::kLose;
  for (const size_t event : volatile_events) {
    if (named(event) == lose) lost.push_back(event);
  }
}

Result<std::vector<size_t>> CrashSpace::LostEvents(size_t cut, const Selection& selection) const {
  std::vector<size_t> volatile_events;
  std::vector<size_t> lost;
  VolatileEvents(cut, volatile_events);
  for (const uint64_t entry : selection.entries) {
    const bool known = std::any_of(volatile_events.begin(), volatile_events.end(),
                                   [&](size_t i) { return history_->events[i].entry == entry; });
    if (!known) {
      return UserError(fmt::format(
          "log entry {} is no volatile write at cut {} under the model '{}'; an id belongs to the "
          "recording that it was printed for",
          entry, EntryOfCut(cut), model_.ToWords()));
    }
  }
  LostEventsInto(cut, selection, volatile_events, lost);
  return lost;
}

uint64_t CrashSpace::UnitsOf(size_t event) const {
  const Event& write = history_->events[event];
  if (write.kind != Event::Kind::kWrite || model_.atomic_unit == 0) return 1;
  return write.length.value / model_.atomic_unit;
}

std::vector<TornWrite> CrashSpace::TornWritesOf(const Selection& selection) const {
  const auto& events = history_->events;
  std::vector<TornWrite> torn;
  for (const Tear& tear : selection.torn) {
    const auto it =
        std::lower_bound(events.begin(), events.end(), tear.entry,
                         [](const Event& event, uint64_t entry) { return event.entry < entry; });
    torn.push_back({static_cast<size_t>(it - events.begin()), tear});
  }
  return torn;
}

Result<std::vector<TornWrite>> CrashSpace::TornWrites(size_t cut,
                                                      const Selection& selection) const {
  using Kind = Selection::Kind;
  const auto& events = history_->events;
  const auto& lost = selection.entries;
  const bool all_named = selection.kind == Kind::kAllArrived || selection.kind == Kind::kLose;
  std::vector<TornWrite> torn = TornWritesOf(selection);
  for (const TornWrite& write : torn) {
    const uint64_t entry = write.tear.entry;
    const bool known = write.event < cut && events[write.event].entry == entry;
    if (!known || !(write.event + 1 == cut || IsVolatile(write.event, cut))) {
      return UserError(fmt::format(
          "log entry {} is neither volatile nor in flight at cut {} under the model '{}', so it "
          "cannot arrive in part; an id belongs to the recording that it was printed for",
          entry, EntryOfCut(cut), model_.ToWords()));
    }
    const uint64_t units = UnitsOf(write.event);
    if (units < 2) {
      return UserError(
          fmt::format("log entry {} is no write of two units of {} bytes or more, so "
                      "it arrives whole or not at all; `plugpull log show` lists what "
                      "is",
                      entry, model_.atomic_unit));
    }
    if (!write.tear.Fits(units)) {
      return UserError(fmt::format(
          "the tear of log entry {} does not fit: the write has {} units of {} bytes, 0 to {}, of "
          "which at least one arrives and one does not",
          entry, units, model_.atomic_unit, units - 1));
    }
    if (!all_named || std::binary_search(lost.begin(), lost.end(), entry)) {
      return UserError(fmt::format("log entry {} is lost and torn; name it once", entry));
    }
  }
  return torn;
}

bool CrashSpace::OrderUnknown(size_t cut, const std::vector<size_t>& lost) const {
  return std::any_of(
      overlap_.begin(), std::lower_bound(overlap_.begin(), overlap_.end(), cut),
      [&](size_t event) { return !std::binary_search(lost.begin(), lost.end(), event); });
}

}  // namespace plugpull::crashstate
