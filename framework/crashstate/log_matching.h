// SPDX-License-Identifier: Apache-2.0
// Finds the writes and marks of one log of a run again in another log of the same run, however
// requests were merged and split between the two: rule 1 of log_agreement.h, which is made of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/blocklog/history.h"

namespace plugpull::crashstate {

inline constexpr size_t kNowhere = SIZE_MAX;  // of a position

// One version of one block.
struct LogPiece {
  uint64_t block;
  uint64_t content;  // a fingerprint of its bytes
  uint32_t event;
};

// A log, indexed. Positions are numbers of events.
struct IndexedLog {
  const blocklog::History* history = nullptr;
  size_t end = 0;                 // of the mark "end"
  std::vector<LogPiece> pieces;   // by block, those of one block in the order of the log
  std::vector<size_t> flushes;    // positions of all; one in a write's entry comes before the write
  std::vector<uint32_t> matched;  // by event: its pieces that the other log has
  std::vector<uint64_t> matched_before;  // by position: sum of `matched`

  const blocklog::Event& at(size_t position) const { return history->events[position]; }
  uint64_t entry(size_t position) const { return at(position).entry; }
  size_t FlushesBefore(size_t position) const;
};

struct LogMatching {
  uint32_t block_bytes = 0;
  IndexedLog guest;
  IndexedLog host;
  // By event of the guest's log: the last event of the host's that has a part of it, or its mark.
  std::vector<size_t> host_last;
};

// What cannot be of one run.
enum class Mismatch { kLost, kInvented, kReordered, kNoMark };

struct MatchCallbacks {
  // Positions may be kNowhere.
  std::function<void(Mismatch kind, std::string words, size_t guest, size_t host)> mismatch;
  // A piece of the guest's log, and the one of the host's that is the same. May be empty.
  std::function<void(const LogPiece& guest, const LogPiece& host)> found;
};

// A user error as CompareLogs.
Result<LogMatching> MatchLogs(const blocklog::History& guest, const blocklog::History& host,
                              const MatchCallbacks& callbacks);

}  // namespace plugpull::crashstate
