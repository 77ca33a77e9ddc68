// SPDX-License-Identifier: Apache-2.0
// The log of a recorded recovery: the crash state itself, written to a disk of zeroes, the mark
// "base", and what recovery wrote. So the log says all, and whoever can read a recording can cut
// it: the state is folded into the base as mkfs is elsewhere, and costs what it holds, not the size
// of the disk.
#pragma once

#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/log_writer.h"
#include "framework/run/state_images.h"

namespace plugpull::run {

// A state that holds more is not recorded.
inline constexpr Bytes kRecordedStateMax = Bytes(2ULL << 30);

// Appends the present state. An environment error when it holds more than kRecordedStateMax.
Status AddState(const StateImages& images, blocklog::LogWriter& log);

// Appends a mark behind the end of a disk of `device_size`.
void AddMark(Bytes device_size, const std::string& kind, const std::string& text,
             blocklog::LogWriter& log);

// Appends all entries of another log, of the same sector size.
void AddEntries(const blocklog::BlockLog& entries, blocklog::LogWriter& log);

// Replaying the log must give what the file holds: the proof that no write is missing. A guest
// error when it does not, or when the log lacks its base or its end.
Status CheckReplay(const std::vector<uint8_t>& log, Bytes device_size, int result_fd);

}  // namespace plugpull::run
