// SPDX-License-Identifier: Apache-2.0
// Values over stretches of a number line: stretches never overlap, and are kept in order.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

#include "framework/base/check.h"

namespace plugpull::workload {

// Not thread-safe while it is changed. Each call costs O(log n) and the stretches it touches.
template <typename T>
class IntervalMap {
 public:
  struct Stretch {
    uint64_t end = 0;  // one past the last position
    T value{};
  };
  // From the first position of a stretch to the rest of it.
  using Map = std::map<uint64_t, Stretch>;

  const Map& stretches() const { return map_; }
  bool empty() const { return map_.empty(); }

  // Forgets what is in [start, end).
  void Erase(uint64_t start, uint64_t end) {
    const auto [first, last] = Cut(start, end);
    map_.erase(first, last);
  }

  // [start, end) gets `value`, whatever it had.
  void Assign(uint64_t start, uint64_t end, T value) {
    if (start >= end) return;
    Erase(start, end);
    map_.emplace(start, Stretch{end, std::move(value)});
  }

  // Calls change(value) for each stretch inside [start, end), cutting those that stick out, and
  // forgets the stretches for which it returns false.
  template <typename Change>
  void Update(uint64_t start, uint64_t end, Change change) {
    auto [position, last] = Cut(start, end);
    while (position != last) {
      position = change(position->second.value) ? std::next(position) : map_.erase(position);
    }
  }

 private:
  using Iterator = typename Map::iterator;

  // The stretches inside [start, end), after cutting those that stick out of it.
  std::pair<Iterator, Iterator> Cut(uint64_t start, uint64_t end) {
    if (start >= end) return {map_.end(), map_.end()};
    const Iterator first = SplitAt(start);
    return {first, SplitAt(end)};
  }

  // No stretch has `position` in its middle afterwards; gives the first stretch at or behind it.
  Iterator SplitAt(uint64_t position) {
    const Iterator next = map_.lower_bound(position);
    if (next == map_.begin()) return next;
    const Iterator before = std::prev(next);
    if (before->second.end <= position) return next;
    Stretch rest = before->second;
    before->second.end = position;
    return map_.emplace_hint(next, position, std::move(rest));
  }

  Map map_;
};

}  // namespace plugpull::workload
