// SPDX-License-Identifier: Apache-2.0
// Device-mapper tables as typed values: they build the lines that the kernel is given and parse
// the lines that it reports, so that what was asked for and what the kernel reports are compared
// as values, never as text.
//
// A table line is "START LENGTH TYPE PARAMETERS", with START and LENGTH in sectors of 512 bytes
// (source: dmsetup(8), TABLE FORMAT). Devices are written MAJOR:MINOR, which is the form that the
// kernel reports. Each family of targets has a file of its own: mapping.h, flakey.h, snapshot.h,
// log_writes.h; support.h says which kernels have what.
//
// Pure; all functions are thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dm-targets/table/device_number.h"
#include "dm-targets/table/flakey.h"
#include "dm-targets/table/log_writes.h"
#include "dm-targets/table/mapping.h"
#include "dm-targets/table/snapshot.h"
#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::dm {

// All our devices are named so, which is how leftovers are told from other people's.
inline constexpr std::string_view kNamePrefix = "pp-";
inline constexpr size_t kNameBytesMax = 127;  // DM_NAME_LEN - 1

using Target = std::variant<Linear, LogWrites, Snapshot, SnapshotOrigin, Flakey, Delay, Striped,
                            ErrorTarget, Zero>;
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
// kTargetsMax targets, features that contradict, stripes that do not come out even. A user error.
Status Validate(const Table& table);

// Whether two tables do the same. Not always the same as being equal: newer kernels report some
// targets in more words than they were given.
bool SameMeaning(const Table& asked, const Table& reported);

// Lines of a table, joined by newlines.
std::string ToString(const Table& table);

}  // namespace plugpull::dm
