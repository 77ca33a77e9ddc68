// SPDX-License-Identifier: Apache-2.0
#include "framework/run/coverage.h"

#include <cstring>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "framework/crashstate/crash_space.h"
#include "framework/image/fingerprint.h"

namespace plugpull::run {

using blocklog::Event;

namespace {

// Follows the journal through the writes of a history.
class JournalWatcher {
 public:
  JournalWatcher(std::span<const uint8_t> base, const ext4::JournalLayout& journal,
                 CoverageReport& report)
      : base_(base), journal_(journal), report_(report) {
    for (size_t i = 0; i < journal.blocks.size(); ++i) place_of_[journal.blocks[i]] = i;
    if (const auto super = ext4::ReadJournalSuper(base, journal); super.ok()) super_ = *super;
  }

  void Watch(const Event& event) {
    if (event.kind != Event::Kind::kWrite || journal_.blocks.empty()) return;
    const uint64_t size = journal_.block_bytes;
    for (uint64_t at = 0; at + size <= event.data.size(); at += size) {
      const uint64_t block = (event.offset.value + at) / size;
      if (!Changes(block, event.data.subspan(at, size))) continue;
      const auto place = place_of_.find(block);
      if (place != place_of_.end()) {
        WatchJournal(place->second, event.data.subspan(at, size));
      } else if (journaled_.contains(block)) {
        report_.set_checkpoints(report_.checkpoints() + 1);
      }
    }
  }

 private:
  // False for bytes that a log with larger sectors only wrote along with their neighbours.
  bool Changes(uint64_t block, std::span<const uint8_t> bytes) {
    const auto now = image::FingerprintOf(bytes);
    const auto [last, added] = content_.try_emplace(block, now);
    if (added) {
      const uint64_t at = block * bytes.size();
      return at + bytes.size() > base_.size() ||
             std::memcmp(base_.data() + at, bytes.data(), bytes.size()) != 0;
    }
    return std::exchange(last->second, now) != now;
  }

  void WatchJournal(size_t place, std::span<const uint8_t> bytes) {
    const ext4::JournalHeader header = ext4::ParseJournalHeader(bytes);
    switch (header.type) {
      case ext4::JournalBlockType::kSuper:
        if (place == 0) WatchSuper(bytes);
        return;
      case ext4::JournalBlockType::kDescriptor:
        if (super_) {
          for (const auto& tag : ext4::ParseTags(*super_, bytes)) journaled_.insert(tag.block);
        }
        break;
      case ext4::JournalBlockType::kCommit:
        report_.set_commits(report_.commits() + 1);
        break;
      case ext4::JournalBlockType::kRevoke:
        report_.set_revokes(report_.revokes() + 1);
        break;
      case ext4::JournalBlockType::kNone:
        return;
    }
    if (place < last_place_) report_.set_wraps(report_.wraps() + 1);
    last_place_ = place;
  }

  void WatchSuper(std::span<const uint8_t> bytes) {
    auto super = ext4::ParseJournalSuper(bytes);
    if (!super.ok()) return;
    const bool was_in_use = super_ && super_->start != 0;
    if (was_in_use && (super->start != super_->start || super->sequence != super_->sequence)) {
      report_.set_tail_moves(report_.tail_moves() + 1);
    }
    super_ = *std::move(super);
  }

  const std::span<const uint8_t> base_;
  const ext4::JournalLayout& journal_;
  CoverageReport& report_;
  std::unordered_map<uint64_t, image::Fingerprint> content_;  // last written, by block
  std::unordered_map<uint64_t, size_t> place_of_;
  std::unordered_set<uint64_t> journaled_;   // homes of journaled blocks
  std::optional<ext4::JournalSuper> super_;  // none before mkfs has made the journal
  size_t last_place_ = 0;
};

}  // namespace

CoverageReport MeasureCoverage(const blocklog::History& history, std::span<const uint8_t> base,
                               const ext4::JournalLayout& journal) {
  CoverageReport report;
  JournalWatcher watcher(base, journal, report);
  uint64_t writes = 0;
  uint64_t flushes = 0;
  uint64_t fua_writes = 0;
  uint64_t discards = 0;
  uint64_t marks = 0;
  for (size_t i = history.base; i < history.events.size(); ++i) {
    const Event& event = history.events[i];
    flushes += event.HasFlush() ? 1 : 0;
    writes += event.kind == Event::Kind::kWrite ? 1 : 0;
    fua_writes += event.fua ? 1 : 0;
    discards += event.kind == Event::Kind::kDiscard ? 1 : 0;
    marks += event.kind == Event::Kind::kMark ? 1 : 0;
    watcher.Watch(event);
  }
  report.set_log_entries(history.events.size() - history.base);
  report.set_writes(writes);
  report.set_flushes(flushes);
  report.set_fua_writes(fua_writes);
  report.set_discards(discards);
  report.set_marks(marks);
  report.set_commits(report.commits());
  report.set_tail_moves(report.tail_moves());
  report.set_checkpoints(report.checkpoints());
  report.set_revokes(report.revokes());
  report.set_wraps(report.wraps());
  report.set_weak(report.checkpoints() == 0);
  if (history.dropped) {
    report.set_dropped_bytes(history.dropped->bytes.value);
    report.set_dropped_reason(history.dropped->reason);
  }
  report.set_blind_spot(crashstate::kBlindSpot);
  return report;
}

}  // namespace plugpull::run
