// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/state_cursor.h"

#include <algorithm>
#include <cstring>

#include "framework/base/check.h"

namespace plugpull::crashstate {

StateCursor::StateCursor(const CrashSpace& space)
    : space_(space),
      store_(space.block_bytes(),
             space.unit_bytes() == space.block_bytes() ? &space.contents() : nullptr),
      image_(space.base(), store_),
      units_per_block_(space.block_bytes() / space.unit_bytes()),
      cut_(space.first_cut()),
      is_lost_(space.history().events.size()),
      is_touched_(space.units().size()),
      before_cut_(space.units().size()) {
  const auto& events = space.history().events;
  segment_.reserve(events.size());
  uint32_t segment = 0;
  for (const auto& event : events) {
    segment_.push_back(segment += event.HasFlush() || IsDrain(event) ? 1 : 0);
  }
  if (units_per_block_ > 1) now_.resize(space.units().size());
}

void StateCursor::Touch(size_t event) {
  for (const uint32_t rank : space_.RanksOf(event)) {
    if (is_touched_[rank]) continue;
    is_touched_[rank] = true;
    touched_.push_back(rank);
  }
}

// Events below `end` that are lost in just one of the two states.
void StateCursor::TouchDifference(const std::vector<size_t>& lost, size_t end) {
  auto a = lost_.begin();
  auto b = lost.begin();
  while (a != lost_.end() || b != lost.end()) {
    if (a != lost_.end() && b != lost.end() && *a == *b) {
      ++a;
      ++b;
      continue;
    }
    const size_t event = b == lost.end() || (a != lost_.end() && *a < *b) ? *a++ : *b++;
    if (event < end) Touch(event);
  }
}

// Whether what an event wrote to a unit is on the medium.
bool StateCursor::Arrived(size_t event, size_t rank) const {
  if (is_lost_[event]) return false;
  for (const TornWrite& torn : torn_) {
    if (torn.event != event) continue;
    const uint64_t at =
        space_.units()[rank] * space_.unit_bytes() - space_.history().events[event].offset.value;
    return torn.tear.Arrived(at / space_.model().atomic_unit, space_.UnitsOf(event));
  }
  return true;
}

// Of the segment of the arrival at `last`, the forced write that arrived last, else what
// arrived last.
const image::Content* StateCursor::WinnerOfSegment(size_t rank, std::span<const Arrival> arrivals,
                                                   size_t last) const {
  const auto& events = space_.history().events;
  const uint32_t segment = segment_[arrivals[last].event];
  for (size_t i = last + 1; i-- > 0 && segment_[arrivals[i].event] == segment;) {
    const size_t event = arrivals[i].event;
    if (events[event].fua && Arrived(event, rank)) return arrivals[i].content;
  }
  return arrivals[last].content;
}

// How many of what may arrive at a unit come before the cut: mostly as many as at the last look, or
// one more or less.
size_t StateCursor::CountBeforeCut(size_t rank, std::span<const Arrival> arrivals) {
  const auto is_before = [&](size_t i) { return arrivals[i].event < cut_; };
  size_t count = before_cut_[rank];
  if (count < arrivals.size() && is_before(count)) {
    ++count;
  } else if (count > 0 && !is_before(count - 1)) {
    --count;
  }
  const bool found =
      (count == arrivals.size() || !is_before(count)) && (count == 0 || is_before(count - 1));
  if (!found) {
    const auto end =
        std::lower_bound(arrivals.begin(), arrivals.end(), cut_,
                         [](const Arrival& arrival, size_t cut) { return arrival.event < cut; });
    count = static_cast<size_t>(end - arrivals.begin());
  }
  before_cut_[rank] = static_cast<uint32_t>(count);
  return count;
}

// What a unit holds in the state; null: what the base has.
const image::Content* StateCursor::Winner(size_t rank) {
  const auto arrivals = space_.ArrivalsAt(rank);
  for (size_t i = CountBeforeCut(rank, arrivals); i-- > 0;) {
    if (!Arrived(arrivals[i].event, rank)) continue;
    return overlapping_older_ ? WinnerOfSegment(rank, arrivals, i) : arrivals[i].content;
  }
  return nullptr;
}

void StateCursor::Place(size_t rank, const image::Content* content) {
  const uint64_t unit = space_.units()[rank];
  if (units_per_block_ == 1) return image_.Set(unit, content);
  if (now_[rank] == content) return;
  now_[rank] = content;
  const uint64_t block = unit / units_per_block_;
  if (stale_blocks_.empty() || stale_blocks_.back() != block) stale_blocks_.push_back(block);
}

void StateCursor::ComposeBlock(uint64_t block) {
  const auto base = image_.BaseBlock(block);
  composed_.assign(base.begin(), base.end());
  const auto& units = space_.units();
  const uint64_t first = block * units_per_block_;
  for (auto unit = std::lower_bound(units.begin(), units.end(), first);
       unit != units.end() && *unit < first + units_per_block_; ++unit) {
    const image::Content* content = now_[static_cast<size_t>(unit - units.begin())];
    if (content == nullptr) continue;
    std::memcpy(composed_.data() + (*unit - first) * space_.unit_bytes(), content->bytes,
                space_.unit_bytes());
  }
  image_.SetCopy(block, composed_);
}

void StateCursor::MoveToSelection(size_t cut, const Selection& selection, bool overlapping_older) {
  space_.LostEventsInto(cut, selection, scratch_, selected_);
  MoveTo(cut, selected_, overlapping_older, space_.TornWritesOf(selection));
}

void StateCursor::MoveTo(size_t cut, const std::vector<size_t>& lost, bool overlapping_older,
                         const std::vector<TornWrite>& torn) {
  PP_CHECK(cut >= space_.first_cut() && cut <= space_.last_cut());
  PP_CHECK(lost.empty() || lost.back() < cut);
  const size_t end = std::max(cut_, cut);
  for (size_t event = std::min(cut_, cut); event < end; ++event) Touch(event);
  TouchDifference(lost, end);
  for (const TornWrite& write : torn_) Touch(write.event);
  for (const TornWrite& write : torn) Touch(write.event);
  if (overlapping_older_ != overlapping_older) {
    for (const size_t event : space_.overlaps()) {
      if (event < end) Touch(event);
    }
  }
  for (const size_t event : lost_) is_lost_[event] = false;
  for (const size_t event : lost) is_lost_[event] = true;
  lost_ = lost;
  torn_ = torn;
  cut_ = cut;
  overlapping_older_ = overlapping_older;
  // Ascending, so that the units of a block come one after the other.
  if (units_per_block_ > 1) std::sort(touched_.begin(), touched_.end());
  for (const uint32_t rank : touched_) {
    Place(rank, Winner(rank));
    is_touched_[rank] = false;
  }
  touched_.clear();
  for (const uint64_t block : stale_blocks_) ComposeBlock(block);
  stale_blocks_.clear();
}

}  // namespace plugpull::crashstate
