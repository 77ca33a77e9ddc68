// SPDX-License-Identifier: Apache-2.0
// A log, read as what happened to one disk: writes, flushes, forced writes, discards and marks,
// in order. In-band marks are taken out of the strip behind the file system (mark.h), and the
// flushes that draining the log made are taken out too.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/mark.h"

namespace plugpull::blocklog {

// One log entry as the disk saw it. A flush in an entry that also writes came before the write.
struct Event {
  enum class Kind : uint8_t { kFlush, kWrite, kDiscard, kMark };
  Kind kind = Kind::kWrite;
  bool flush_first = false;  // of a write: everything before it became durable first
  bool fua = false;          // of a write: durable itself, under an honest disk
  // Of a flush: its request was marked forced too. Where the disk has no forced writes, the block
  // layer flushes before and behind it, although there is nothing to write.
  bool flush_twice = false;
  uint64_t entry = 0;  // index of the log entry
  Bytes offset;
  Bytes length;
  std::span<const uint8_t> data;
  Mark mark;
  bool in_band = false;  // of a mark: written to the strip; else it is the log-writes target's own

  bool HasFlush() const { return kind == Kind::kFlush || flush_first; }
  bool ChangesBlocks() const { return kind == Kind::kWrite || kind == Kind::kDiscard; }
};

struct History {
  Bytes device_size;  // of the file system's part
  std::vector<Event> events;
  size_t base = 0;     // events before it are folded into the base: durable, never cut
  bool ended = false;  // the recorder's or the kernel's last mark is there
  std::optional<Dropped> dropped;
};

struct HistoryOptions {
  Bytes device_size;  // what the file system sees; 0: up to the last byte that was written
  Bytes strip_bytes;  // behind it; 0: no strip, only the kernel's own marks
  // The log was made below a block layer that merges requests (QEMU's is): one may reach from the
  // file system's last sectors into the strip, and is a write and a mark, in this order.
  bool merged = false;
};

// The events of a log. A write or a discard that reaches over the end of the file system's part
// into or past the strip is a user error; where the size is not given, discards are cut off there.
// `log` points into bytes that must outlive the result.
Result<History> MakeHistory(const BlockLog& log, const HistoryOptions& options);

}  // namespace plugpull::blocklog
