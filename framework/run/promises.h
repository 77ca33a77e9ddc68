// SPDX-License-Identifier: Apache-2.0
// What earlier boots of a scenario with power cuts made durable, and a later boot must not lose.
//
// The disk of a later boot is a crash state whose recovered image holds what the promise allows. A
// workload never touches the files and folders of another, so whatever the later boot's workloads
// do, at any cut of it the same must hold of the same names and bytes: the promise, at the cut that
// ended its own boot, is held against every state of the later one. Steps that may touch anything
// (commands, and mkfs and damage of the disk) end it; those promises are not judged, and said so.
#pragma once

#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/recording/recording.h"
#include "framework/workload/history.h"

namespace plugpull::run {

struct KeptPromise {
  uint32_t boot = 0;  // that made it
  workload::ObligationIndex index;
  workload::ObligationKey key;
};

// Of a disk of a recording, in the order of the boots. A user error when a trace is damaged.
Result<std::vector<KeptPromise>> PromisesOf(const recording::Reader& reader,
                                            const std::string& disk);

// Why the steps of a boot end all promises of a disk, in words; empty when they do not.
std::string StepThatEndsPromises(const Scenario& boot, const std::string& disk);

}  // namespace plugpull::run
