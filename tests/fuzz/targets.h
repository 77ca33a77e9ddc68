// SPDX-License-Identifier: Apache-2.0
// The entry points of the fuzzers. Each takes any bytes and returns; it aborts where the code under
// test breaks a promise, and the sanitizers do where it breaks the language's rules.
#pragma once

#include <cstdint>
#include <span>

namespace plugpull::fuzz {

using Input = std::span<const uint8_t>;

// One byte of options, then a dm-log-writes log: ReadLog and MakeHistory.
void FuzzLogReader(Input input);

// Patches of a small file system (hostile_image.h): ParseSuperblock, CounterRanges, FindJournal and
// FileSystem.
void FuzzSuperblock(Input input);

// Patches of a small file system whose journal holds transactions: the journal's parsers, and
// whatever recovers from it.
void FuzzJournal(Input input);

// Text: CrashStateId::Parse and ToString.
void FuzzCrashStateId(Input input);

}  // namespace plugpull::fuzz
