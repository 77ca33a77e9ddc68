// SPDX-License-Identifier: Apache-2.0
// One run, recorded twice: a small model of a guest's block layer with dm-log-writes above it and
// QEMU's blklogwrites below it. Threads write, flush and mark at once; requests are merged and
// split on their way, flushes wait for each other as in block/blk-flush.c, and the guest sees
// completions late, in the order in which the host logged them. Whatever the model makes, two real
// recorders could have made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/base/units.h"
#include "framework/blocklog/history.h"

namespace plugpull::crashstate {

inline constexpr uint64_t kTwoLogsSectors = 64;  // of the file system's part; behind it, the strip

// An entry of a log: 'W' a write, 'A' a forced one, 'F' a flush, 'M' a mark, 'D' a discard.
struct LoggedEntry {
  char kind = 'W';  // also 'f': a flush that is marked forced
  uint64_t sector = 0;
  std::vector<uint8_t> fills;  // one for each sector
  std::string mark;            // "kind text"
};

struct TwoLogs {
  std::vector<LoggedEntry> guest;
  std::vector<LoggedEntry> host;
};

struct TwoLogsOptions {
  int threads = 3;  // the first writes the marks
  int steps = 60;   // of each
  bool flushes = true;
  bool forced_flushes = false;  // in front of forced writes, as device-mapper sends them
  unsigned merge_permille = 500;
  unsigned split_permille = 200;
};

TwoLogs SimulateTwoLogs(uint64_t seed, const TwoLogsOptions& options);

// Entries, written as a log and read back.
class ReadBackLog {
 public:
  explicit ReadBackLog(const std::vector<LoggedEntry>& entries);
  const blocklog::History& history() const { return history_; }

 private:
  std::vector<uint8_t> bytes_;
  blocklog::BlockLog log_;
  blocklog::History history_;
};

}  // namespace plugpull::crashstate
