// SPDX-License-Identifier: Apache-2.0
// Device-mapper tables as types. A target builds its table line and parses it back, so that what
// was asked for and what the kernel reports are compared as values, never as text.
//
// A table line is "START LENGTH TYPE PARAMETERS", with START and LENGTH in sectors of 512 bytes
// (source: dmsetup(8), TABLE FORMAT; dm-linear and log-writes in the kernel's
// Documentation/admin-guide/device-mapper/). Devices are written MAJOR:MINOR, which is the form
// that the kernel reports (STATUSTYPE_TABLE in drivers/md/dm-linear.c and dm-log-writes.c).
//
// Pure; all functions are thread-safe.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::dm {

// All our devices are named so, which is how leftovers are told from other people's.
inline constexpr std::string_view kNamePrefix = "pp-";
inline constexpr size_t kNameBytesMax = 127;  // DM_NAME_LEN - 1

// A block device's number. The kernel has 12 bits of major and 20 of minor.
struct DeviceNumber {
  static constexpr uint32_t kMajorMax = (1u << 12) - 1;
  static constexpr uint32_t kMinorMax = (1u << 20) - 1;

  uint32_t major = 0;
  uint32_t minor = 0;

  auto operator<=>(const DeviceNumber&) const = default;
  std::string ToString() const;  // "254:3"
  // A user error when `text` is not MAJOR:MINOR in decimal and within the bounds.
  static Result<DeviceNumber> Parse(std::string_view text);
};

// Hands everything through to `device`, from `offset` on.
struct Linear {
  static constexpr std::string_view kType = "linear";

  Sectors start;  // in the mapped device
  Sectors length;
  DeviceNumber device;
  Sectors offset;  // in `device`

  bool operator==(const Linear&) const = default;
  std::string Parameters() const;  // "254:0 2048"
  std::string Line() const;        // "0 8192 linear 254:0 2048"
  static Result<Linear> Parse(std::string_view line);
};

// Hands everything through to `device` and records each write on `log_device`.
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

// Shows `origin`, which is never written to; what is written goes to `scratch` and is forgotten
// with the device (source: Documentation/admin-guide/device-mapper/snapshot.rst, a transient
// snapshot).
struct Snapshot {
  static constexpr std::string_view kType = "snapshot";

  Sectors start;  // in the mapped device
  Sectors length;
  DeviceNumber origin;
  DeviceNumber scratch;
  Sectors chunk;  // copied at a time, a power of two

  bool operator==(const Snapshot&) const = default;
  std::string Parameters() const;  // "254:1 254:16 N 16"
  std::string Line() const;        // "0 8192 snapshot 254:1 254:16 N 16"
  static Result<Snapshot> Parse(std::string_view line);
};

using Target = std::variant<Linear, LogWrites, Snapshot>;
using Table = std::vector<Target>;  // in the order of `start`

inline constexpr size_t kTargetsMax = 1024;

std::string_view TypeOf(const Target& target);
Sectors StartOf(const Target& target);
Sectors LengthOf(const Target& target);
std::string ParametersOf(const Target& target);
std::string LineOf(const Target& target);

// The target in one table line, of whichever type it says. A user error names the word that is
// wrong and what was expected there.
Result<Target> ParseLine(std::string_view line);

// What the kernel would refuse, found before it is asked: an empty table, one that does not begin
// at sector 0, gaps and overlaps, targets of no length, ends beyond 2^63 bytes, more than
// kTargetsMax targets. A user error.
Status Validate(const Table& table);

// Lines of a table, joined by newlines.
std::string ToString(const Table& table);

// The status line of a log-writes target: "ENTRIES SECTOR", and " logging_disabled" behind it once
// the log is full or a page could not be had (source: log_writes_status in
// drivers/md/dm-log-writes.c).
struct LogWritesStatus {
  uint64_t logged_entries = 0;
  Sectors highest_sector;  // of the log device, the last one that is taken
  bool logging_disabled = false;

  bool operator==(const LogWritesStatus&) const = default;
  std::string Line() const;
  static Result<LogWritesStatus> Parse(std::string_view line);
};

}  // namespace plugpull::dm
