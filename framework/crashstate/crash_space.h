// SPDX-License-Identifier: Apache-2.0
// The device model. A power cut at position c of a disk's history leaves:
//   durable   everything before the last flush before c, and every forced (FUA) write before c
//   volatile  the other writes and discards between that flush and c; any subset of them arrived,
//             in the order of the log
// Where there is no flush the volatile part reaches back to the base. A lying disk ignores
// flushes and forced writes. A forced write at c itself is in flight: absent is the cut before it,
// present the cut behind it.
// Whole writes are lost or not, unless the model has an atomic unit: then a volatile write, and any
// write in flight (the last before the cut), may also arrive in part, whole units of it.
//
// Order of the log: a plain write is logged with the next flush, a forced write at once, so a plain
// write that is logged after an overlapping forced one, with no flush between, may be older. Such
// states are built in both orders. A mark "drain" between the two tells their order: nothing was in
// flight then.
//
// Blind spot: a write that was submitted before a flush and completed after it is logged after it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/blocklog/history.h"
#include "framework/crashstate/crash_state_id.h"
#include "framework/image/content_store.h"

namespace plugpull::crashstate {

// What the model cannot see, in words, for reports.
extern const char kBlindSpot[];

// Nothing is in flight while a log is drained, and all before is logged before its mark: what is
// logged behind it was submitted behind it.
inline bool IsDrain(const blocklog::Event& event) {
  return event.kind == blocklog::Event::Kind::kMark && event.in_band && event.mark.kind == "drain";
}

// One thing that may have reached a unit of the disk.
struct Arrival {
  uint32_t event;
  const image::Content* content;
};

// A write that arrived in part.
struct TornWrite {
  size_t event = 0;
  Tear tear;
};

// All crash states of one disk's history under one model. Const methods are thread-safe.
class CrashSpace {
 public:
  // `history` and `base` (its bytes at history.base, exactly history.device_size long) outlive it.
  // `block_bytes`: of the blocks of images, a power of two, those of the file system; 0: the unit.
  static Result<std::unique_ptr<CrashSpace>> Make(const blocklog::History& history,
                                                  std::span<const uint8_t> base,
                                                  const DeviceModel& model, std::string disk,
                                                  uint32_t block_bytes = 0);

  const blocklog::History& history() const { return *history_; }
  const DeviceModel& model() const { return model_; }
  const std::string& disk() const { return disk_; }
  std::span<const uint8_t> base() const { return base_; }

  // What changes is counted in units: the largest that divide every write, and a block of images.
  // Only units that some event may change have a rank: their place in this list, ascending.
  const std::vector<uint64_t>& units() const { return units_; }
  uint32_t unit_bytes() const { return contents_->block_bytes(); }
  uint32_t block_bytes() const { return block_bytes_; }
  const image::ContentStore& contents() const { return *contents_; }  // of units, in the log
  // Ranks that an event changes, ascending, and all that may arrive at one, in the log's order.
  std::span<const uint32_t> RanksOf(size_t event) const {
    return std::span(ranks_).subspan(first_rank_[event],
                                     first_rank_[event + 1] - first_rank_[event]);
  }
  std::span<const Arrival> ArrivalsAt(size_t rank) const {
    return std::span(arrivals_).subspan(first_arrival_[rank],
                                        first_arrival_[rank + 1] - first_arrival_[rank]);
  }

  // Positions are numbers of events; first_cut() <= c <= last_cut().
  size_t first_cut() const { return history_->base; }
  size_t last_cut() const { return history_->events.size(); }
  // The log entry that stands for a cut in an id, and back (a user error when out of range).
  uint64_t EntryOfCut(size_t cut) const;
  Result<size_t> CutOfEntry(uint64_t entry) const;

  // Where the volatile part of a cut begins: events before it are durable, all of them.
  size_t WindowStart(size_t cut) const;
  // Events in it that may be lost, ascending. Appends to `out`, which is cleared first.
  void VolatileEvents(size_t cut, std::vector<size_t>& out) const;
  // Whether an event is one of them.
  bool IsVolatile(size_t event, size_t cut) const;
  // How many those would be without the model's bound (window).
  size_t UnflushedCount(size_t cut) const;

  // The lost events of a selection at a cut, ascending. A user error when an entry that it names
  // is not volatile there.
  Result<std::vector<size_t>> LostEvents(size_t cut, const Selection& selection) const;
  // The same for a selection that an enumerator made, without the check.
  void LostEventsInto(size_t cut, const Selection& selection, std::vector<size_t>& volatile_events,
                      std::vector<size_t>& lost) const;

  // The torn writes of a selection at a cut, ascending. A user error when one can neither be lost
  // there nor is in flight, is lost, or has not so many units.
  Result<std::vector<TornWrite>> TornWrites(size_t cut, const Selection& selection) const;
  // The same for a selection that an enumerator made, without the check.
  std::vector<TornWrite> TornWritesOf(const Selection& selection) const;
  // Atomic units of an event; 1 when it cannot be torn.
  uint64_t UnitsOf(size_t event) const;

  // True when an arrived write overlaps a forced write that was logged before it with no flush
  // between: the order of the two is not known. A later flush makes both durable and tells no more
  // of their order, so all that is before the cut counts.
  bool OrderUnknown(size_t cut, const std::vector<size_t>& lost) const;
  // Events that overlap an earlier forced write with no flush or drain between, ascending.
  const std::vector<size_t>& overlaps() const { return overlap_; }

 private:
  CrashSpace() = default;
  Status Index();
  void IndexOverlaps();
  void IndexLosable();
  bool CanBeLost(const blocklog::Event& event) const;

  const blocklog::History* history_ = nullptr;
  std::span<const uint8_t> base_;
  DeviceModel model_;
  std::string disk_;
  uint32_t block_bytes_ = 0;
  std::vector<uint64_t> units_;
  std::unique_ptr<image::ContentStore> contents_;
  std::vector<uint32_t> ranks_;         // of all events, one event's after the other's
  std::vector<size_t> first_rank_;      // by event; one more at the end
  std::vector<Arrival> arrivals_;       // of all ranks
  std::vector<size_t> first_arrival_;   // by rank; one more at the end
  std::vector<size_t> window_start_;    // one for each cut
  std::vector<size_t> losable_before_;  // by position: events that can be lost, from the base on
  std::vector<size_t> overlap_;         // see overlaps()
};

// The greatest power of two, at most 4096, that divides every offset and length of the history.
uint32_t CommonBlockBytes(const blocklog::History& history);

// Writes the events before history.base onto `image`, which is device_size long.
void FoldBase(const blocklog::History& history, std::span<uint8_t> image, bool discard_keeps);

// Sets history.base: behind the mark "base" as recorded, at 0 when `model.from_mkfs`.
// For logs without marks: before the first write of an ext4 superblock that says that the file
// system is mounted (needs_recovery); a user error when there is none and `base_has_ext4` is false.
Status ChooseBase(blocklog::History& history, const DeviceModel& model, bool base_has_ext4);

}  // namespace plugpull::crashstate
