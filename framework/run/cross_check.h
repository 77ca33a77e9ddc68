// SPDX-License-Identifier: Apache-2.0
// Holds what was found in the guest's log of a disk against what QEMU's log of the same run shows:
// the two logs with each other (crashstate/log_agreement.h), and the verdicts of the same check.
//
// Verdicts contradict each other when a class is found in one log and not in the other, although
// its share of the states there makes it all but certain that the states of the other would have
// shown it: kExpectedMin of them would have had it. The states are not the same ones: the logs cut
// one run into requests in two ways, so enumerators draw others.
#pragma once

#include <string>

#include "framework/base/result.h"
#include "framework/oracle/fsck.h"
#include "framework/proto/verdict.pb.h"
#include "framework/proto/workload.pb.h"
#include "framework/recording/recording.h"
#include "framework/run/disk_check.h"
#include "framework/run/disk_source.h"

namespace plugpull::run {

inline constexpr double kExpectedMin = 20;  // states; e^-20 of a chance that none is among them

// Whether the scenario of a recording asks for a log of the host of this disk.
bool WantsCrossCheck(const Recording& manifest, const std::string& disk);

// `guest`: the source that `found` is the report of, under `check`. The oracles that need a guest
// are not asked again. Whatever keeps the logs from being compared is `not_done` in the report.
CrossCheckReport CrossCheck(const recording::Reader& reader, const DiskSource& guest,
                            const DiskReport& found, const Check& check, const WorkloadTrace* trace,
                            oracle::Fsck& fsck, const DiskCheckOptions& options);

// What a contradiction means and where to look, as an error of plugpull's own; OK without one.
Status ContradictionOf(const DiskReport& disk);

// The verdict part of CrossCheck alone: fills host_states, host_found, verdict_contradiction and
// what is to be noted.
void CompareVerdicts(const DiskReport& guest, const DiskReport& host, CrossCheckReport& report);

}  // namespace plugpull::run
