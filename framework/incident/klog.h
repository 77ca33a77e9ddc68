// SPDX-License-Identifier: Apache-2.0
// Kernel logs as people send them, read into records: time, priority, text. What comes in is
// foreign and may be anything; nothing here fails, what could not be used is counted.
//
// Forms, which may change from line to line:
//   dmesg: plain, -t, -T, -H (-e), -d, -x, -r, -J, --time-format iso; with caller ids ("[   T12]")
//     (-H says the seconds of a new minute only roughly: its times are off by up to a minute)
//   /dev/kmsg
//   journalctl -k: short and its kin, short-iso, short-full, short-monotonic, short-unix, cat,
//   json,
//     export; of a whole journal only what the kernel said
//   syslog: RFC 3164 and RFC 5424, with or without priorities, rsyslog's files, busybox
// Sources: dmesg(1) and dmesg.c of util-linux 2.38, journalctl(1), "Journal Export Formats" of
// systemd, Documentation/ABI/testing/dev-kmsg, RFC 3164, RFC 5424.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "framework/base/units.h"
#include "framework/incident/log_input.h"

namespace plugpull::incident {

// Longest log that the program reads. It is read piece by piece: its length costs time only.
inline constexpr Bytes kKlogBytesMax = Mebibytes(16 << 10);
// A line is read so far; kernel messages end long before (LOG_LINE_MAX, 1 KiB).
inline constexpr uint64_t kLineBytesMax = 8 << 10;
// An entry of a journal, as JSON or in the export form, with all its fields.
inline constexpr uint64_t kEntryBytesMax = 1 << 20;
// `dmesg -J` is one JSON document.
inline constexpr uint64_t kDocumentBytesMax = 16 << 20;

// When a record was made, as far as the log says.
struct Stamp {
  enum class Clock {
    kNone,
    kBoot,  // microseconds since the machine started
    kWall,  // microseconds since some midnight: of 1970 where the log names the year
  };
  Clock clock = Clock::kNone;
  int64_t us = 0;
};

struct KlogRecord {
  uint64_t line = 0;  // 1 is the log's first line (or entry, in a journal)
  uint32_t boot = 0;  // how many starts of the machine the log has shown before it
  Stamp at;
  int priority = -1;      // 0 (emergency) to 7 (debug); -1: not said
  std::string_view text;  // without control characters at its ends; lives as long as the call
};

// Microseconds from one record to a later one; nothing where one has no time, their clocks or boots
// differ, or time went back.
std::optional<int64_t> Elapsed(const Stamp& from, uint32_t from_boot, const Stamp& to,
                               uint32_t to_boot);

struct KlogSummary {
  std::string form = "empty";   // of most lines, in words
  uint64_t lines = 0;           // or entries of a journal
  uint64_t records = 0;         // of the kernel
  uint64_t foreign = 0;         // of other programs
  uint64_t cut_lines = 0;       // longer than is read
  uint64_t broken_entries = 0;  // of a journal: no JSON, or no field that it needs
  uint64_t time_went_back = 0;  // by more than a second
  uint64_t missed = 0;          // messages of which journald or printk say that they were lost
  uint32_t boots = 1;           // starts of the machine that the log spans
  bool binary = false;          // more bytes that no text has than bytes of text
  std::string kernel;           // release of the last kernel that started: "6.1.0-18-amd64"
};

using RecordSink = std::function<void(const KlogRecord&)>;

// Calls `sink` for each record in the order of the log. Deterministic; one thread.
KlogSummary ReadKlog(LogInput& input, const RecordSink& sink);
KlogSummary ReadKlog(std::string_view bytes, const RecordSink& sink);

}  // namespace plugpull::incident
