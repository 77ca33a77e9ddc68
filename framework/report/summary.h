// SPDX-License-Identifier: Apache-2.0
// The questions that every report asks of the verdict model, answered in one place, so that the
// terminal, JSON, JUnit and the exit status never disagree. All functions are pure.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "framework/proto/verdict.pb.h"

namespace plugpull::report {

enum class Outcome {
  kAsExpected,
  kDiffers,  // a finding that is not expected, an expected one that is missing, or an unknown
  kUserError,
  kFailure,  // the guest, this machine or plugpull itself; or the recording is incomplete, so
             // that neither "holds" nor a violation can be relied on
  kSkipped,
};

Outcome OutcomeOf(const RunReport& run);

// What the program ends with after all runs:
//   2  at least one run ended in a user error
//   3  else, at least one ended in another error, or its recording is incomplete
//   1  else, at least one verdict differs from what was expected
//   4  else, nothing ran: there are no runs, or all were skipped
//   0  else: everything that ran is as expected
// Errors go before verdicts because 0 and 1 promise that all that was asked for was judged; a
// script that tries again after 3 meets the 1 then.
int ExitStatus(const ReportList& reports);

// Why a run's outcome is kDiffers, in words, one entry for each reason, worst first.
std::vector<std::string> Differences(const RunReport& run);

// Why a run's outcome is kUserError or kFailure, in words.
std::string ErrorText(const RunReport& run);

// "fsck", "content".
std::string OracleWord(const Finding& finding);
// "METADATA_INCONSISTENT"; "UNKNOWN" for an unknown verdict.
std::string ClassWord(const Finding& finding);
// "step 3 (line 21)", of a finding of the run.
std::string StepPlace(const Finding& finding);
// "vol", or "vol, boot 2".
std::string DiskWord(const DiskReport& disk);
// "scenario/variant", or the scenario alone.
std::string RunWord(const RunReport& run);

// The sum over the run's disks. Sums stop at the largest number instead of wrapping.
StateCounts SumStates(const RunReport& run);

// True when states hold and nothing else was found, but nothing was checkpointed while recording,
// so that "holds" says little.
bool HoldsWeakly(const DiskReport& disk);

// An enumerator that only replays the log up to a point, as tools without a device model do.
bool IsPrefix(const EnumeratorReport& enumerator);

// Classes that were found violated, and how often, by the oracles that judge the guest's log and
// the host's alike: not by those that need a guest or a recovery that was recorded in one.
std::map<int, uint64_t> ClassesOfBothLogs(const DiskReport& disk);

}  // namespace plugpull::report
