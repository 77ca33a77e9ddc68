// SPDX-License-Identifier: Apache-2.0
// dm-log-writes: records what is written. Sources:
// Documentation/admin-guide/device-mapper/log-writes.rst and drivers/md/dm-log-writes.c of the
// kernel. Pure, thread-safe. Parse gives user errors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dm-targets/table/device_number.h"
#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::dm {

// Hands everything through to `device` and records each write on `log_device`. A write that
// `device` fails is recorded as if it had been done.
struct LogWrites {
  static constexpr std::string_view kType = "log-writes";

  Sectors start;
  Sectors length;
  DeviceNumber device;
  DeviceNumber log_device;

  bool operator==(const LogWrites&) const = default;
  std::string Parameters() const;  // "254:0 254:16"
  std::string Line() const;        // "0 8192 log-writes 254:0 254:16"
  static Result<LogWrites> Parse(std::string_view line);
};

// The status line of a log-writes target: "ENTRIES SECTOR", and " logging_disabled" behind it once
// the log is full or a page could not be had (source: log_writes_status).
struct LogWritesStatus {
  uint64_t logged_entries = 0;
  Sectors highest_sector;  // of the log device, the last one that is taken
  bool logging_disabled = false;

  bool operator==(const LogWritesStatus&) const = default;
  std::string Line() const;
  static Result<LogWritesStatus> Parse(std::string_view line);
};

}  // namespace plugpull::dm
