// SPDX-License-Identifier: Apache-2.0
// Builds crash states by moving one image from state to state: a move costs what differs between
// the two, whatever the size of the disk and the length of the log.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/crashstate/crash_space.h"
#include "framework/image/cow_image.h"

namespace plugpull::crashstate {

// One for each thread. Begins at the base.
class StateCursor {
 public:
  explicit StateCursor(const CrashSpace& space);  // outlives the cursor
  StateCursor(const StateCursor&) = delete;

  // Makes the image the state at `cut` without the `lost` events (ascending, all below `cut`).
  // With `overlapping_older` forced writes come behind the plain ones between the same two flushes.
  // Of the `torn` ones, none of them lost, only a part arrived.
  void MoveTo(size_t cut, const std::vector<size_t>& lost, bool overlapping_older,
              const std::vector<TornWrite>& torn = {});
  // The same for a selection that fits the cut.
  void MoveToSelection(size_t cut, const Selection& selection, bool overlapping_older);

  const CrashSpace& space() const { return space_; }
  // The present state. Its changes are for the caller to clear.
  image::CowImage& image() { return image_; }
  const image::CowImage& image() const { return image_; }

 private:
  void Touch(size_t event);
  void TouchDifference(const std::vector<size_t>& lost, size_t end);
  bool Arrived(size_t event, size_t rank) const;
  size_t CountBeforeCut(size_t rank, std::span<const Arrival> arrivals);
  const image::Content* Winner(size_t rank);
  const image::Content* WinnerOfSegment(size_t rank, std::span<const Arrival> arrivals,
                                        size_t last) const;
  void Place(size_t rank, const image::Content* content);
  void ComposeBlock(uint64_t block);

  const CrashSpace& space_;
  image::ContentStore store_;  // of blocks that no log write holds whole
  image::CowImage image_;
  const uint32_t units_per_block_;
  std::vector<uint32_t> segment_;  // by event: how many flushes and drains came before it

  size_t cut_;
  bool overlapping_older_ = false;
  std::vector<size_t> lost_;
  std::vector<bool> is_lost_;  // by event
  std::vector<TornWrite> torn_;
  std::vector<size_t> scratch_;
  std::vector<size_t> selected_;

  // Of one move.
  std::vector<uint32_t> touched_;     // ranks, each once
  std::vector<bool> is_touched_;      // by rank
  std::vector<uint32_t> before_cut_;  // by rank: arrivals before the cut, at the last look
  // Where a block has more than one unit: what the units hold now, by rank; null: as in the base.
  std::vector<const image::Content*> now_;
  std::vector<uint64_t> stale_blocks_;
  std::vector<uint8_t> composed_;
};

}  // namespace plugpull::crashstate
