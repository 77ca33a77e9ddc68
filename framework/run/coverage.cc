// SPDX-License-Identifier: Apache-2.0
#include "framework/run/coverage.h"

#include <algorithm>

#include "framework/crashstate/crash_space.h"

namespace plugpull::run {

using blocklog::Event;
using crashstate::BlockRole;
using crashstate::BlockWrite;

namespace {

// Writes that changed something; a log with larger sectors writes neighbours along.
uint64_t CountChanges(const crashstate::JournalTimeline& timeline, BlockRole role) {
  return static_cast<uint64_t>(std::ranges::count_if(timeline.writes, [&](const BlockWrite& write) {
    return write.role == role && write.changes;
  }));
}

void MeasureJournal(const crashstate::JournalTimeline& timeline, CoverageReport& report) {
  report.set_commits(CountChanges(timeline, BlockRole::kCommit));
  report.set_tail_moves(static_cast<uint64_t>(
      std::ranges::count_if(timeline.supers, [](const auto& super) { return super.moves_tail; })));
  report.set_checkpoints(CountChanges(timeline, BlockRole::kCheckpoint));
  report.set_revokes(CountChanges(timeline, BlockRole::kRevoke));
  report.set_wraps(timeline.wraps);
  report.set_orphan_cuts(timeline.orphan_cuts);
  report.set_weak(report.checkpoints() == 0);
}

}  // namespace

CoverageReport MeasureCoverage(const blocklog::History& history,
                               const crashstate::JournalTimeline& timeline) {
  CoverageReport report;
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
  }
  report.set_log_entries(history.events.size() - history.base);
  report.set_writes(writes);
  report.set_flushes(flushes);
  report.set_fua_writes(fua_writes);
  report.set_discards(discards);
  report.set_marks(marks);
  MeasureJournal(timeline, report);
  if (history.dropped) {
    report.set_dropped_bytes(history.dropped->bytes.value);
    report.set_dropped_reason(history.dropped->reason);
  }
  report.set_blind_spot(crashstate::kBlindSpot);
  return report;
}

}  // namespace plugpull::run
