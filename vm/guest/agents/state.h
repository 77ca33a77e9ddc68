// SPDX-License-Identifier: Apache-2.0
// What the agent remembers of each volume, over restarts of it and of the machine, and the file
// that it is kept in. Pure; who writes the file does it in one step (a new file, fsync, rename,
// fsync of the folder), so a file that does not end as it should was damaged, and is refused:
// to forget what was given up is to begin the loop again.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "vm/guest/agents/mount_table.h"

namespace plugpull::agents {

inline constexpr size_t kStateBytesMax = 256u << 10;
inline constexpr size_t kRecordsMax = 1024;

// The circuit breaker of a volume.
//
//   kIdle, kWaiting --attempt--> kTrying --success--> kMounted --unmounted, or lost--> kIdle
//                                   |
//                                   +--a failure that may pass--> kWaiting
//                                   +--one that will not pass, or one too many--> kGivenUp
//
// kTrying in the file is an attempt that did not come to an end, and a failure.
// Nothing but an operator (`reset`) leads out of kGivenUp: no restart, no other name of the disk,
// no unplugging.
enum class Phase { kIdle, kTrying, kWaiting, kMounted, kGivenUp };
const char* PhaseName(Phase phase);

struct Record {
  Phase phase = Phase::kIdle;
  uint32_t failures = 0;   // since a mount last held for Limits::stable
  int64_t next_ms = 0;     // not before: milliseconds of the wall clock, since 1970
  int64_t delay_ms = 0;    // how long that was after the failure
  int64_t mounted_ms = 0;  // when the mount that is there was made, or found
  int error_number = 0;    // of the last failure
  DeviceNumber device;     // what was mounted
  std::string disk;        // what the disk was called when it was last touched
  bool alerted = false;    // somebody was told that it was given up
  bool formatted = false;  // it was given a file system: never again
  bool released = false;   // an operator had it unmounted: it is let alone
  std::string reason;      // of the last failure, in words
};

using State = std::map<std::string, Record>;  // by serial

std::string FormatState(const State& state);
// An environment error for anything that FormatState has not made.
Result<State> ParseState(std::string_view text);

}  // namespace plugpull::agents
