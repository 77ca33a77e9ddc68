// SPDX-License-Identifier: Apache-2.0
// Reads a dm-log-writes log, ours or anybody's. Whatever cannot be read is reported with the
// reason, never skipped in silence; every length and count is bounded before it is believed.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::blocklog {

struct Entry {
  uint64_t index = 0;  // position in the log, from 0
  Bytes header_at;     // of its header, in the log
  Bytes offset;        // on the device
  Bytes length;        // on the device
  uint64_t flags = 0;
  std::span<const uint8_t> data;  // `length` bytes of a write; empty for discards and marks
  std::string mark;               // text of a mark

  bool flush() const;
  bool fua() const;
  bool discard() const;
  bool is_mark() const;
};

// What was not read, from where, and why.
struct Dropped {
  Bytes at;     // in the log
  Bytes bytes;  // up to the end of the log
  std::string reason;
  bool counted = true;  // the super block counts what was dropped: it was there once
};

struct BlockLog {
  uint32_t sector_bytes = 512;
  uint64_t counted_entries = 0;  // nr_entries of the super block: may lag behind after a kill
  std::vector<Entry> entries;
  std::optional<Dropped> dropped;
  bool torn_down = false;  // the kernel's own last mark is there
  Bytes end;               // one past the last byte that was read
};

struct ReadOptions {
  // Read on behind nr_entries until something is no entry. Only for logs whose device was zeroed
  // before: elsewhere old bytes can look like entries.
  bool scan_past_end = false;
  // When known, an entry beyond the device is damage.
  std::optional<Bytes> device_size;
};

// `bytes` must outlive the result, which points into it. A user error when it is no such log at
// all (too short, other magic, newer version, impossible sector size). Thread-safe.
Result<BlockLog> ReadLog(std::span<const uint8_t> bytes, const ReadOptions& options);

}  // namespace plugpull::blocklog
