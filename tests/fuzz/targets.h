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

// Three such lists of patches, one after the other: JournalRecovery, and ConsistencyChecker on what
// it recovers, step by step; a step must give what a fresh start gives.
void FuzzRecovery(Input input);

// Patches outside the journal: CheckConsistency. With PLUGPULL_FUZZ_E2FSCK in the environment,
// e2fsck must agree with every image that is called clean (slow).
void FuzzConsistency(Input input);

// Text: CrashStateId::Parse and ToString.
void FuzzCrashStateId(Input input);

// A kernel log in any form: ReadIncident and what is made of it. The same bytes as a signature.
void FuzzIncident(Input input);

}  // namespace plugpull::fuzz
