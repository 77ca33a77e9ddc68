// SPDX-License-Identifier: Apache-2.0
// Everything that can be known to be wrong with a scenario before a guest is started.
#pragma once

#include <string>
#include <vector>

#include "framework/proto/scenario.pb.h"
#include "framework/scenario/diagnostic.h"

namespace plugpull::scenario {

// A matrix has at most so many combinations.
inline constexpr uint64_t kPlansMax = 4096;

// The serial of the disk that holds the block log of disk NAME is this and NAME, so no serial of
// a scenario starts with it.
inline constexpr char kLogSerialPrefix[] = "log-";

// A disk that is filled with poison is at most so large: none of its image is empty, so each that
// is in memory costs as much as the disk holds.
inline constexpr uint32_t kPoisonedMibMax = 256;

// The mistakes of a scenario that was not read from text (an incident's, a recording's); places
// are field paths, and `label` stands where the file's name would. Empty: it is valid.
std::vector<Diagnostic> ValidateScenario(const Scenario& scenario, const std::string& label);

// The same for one that was, with its places. What `source` lists as broken is not reported again,
// nor is what follows from it.
void ValidateInto(const Scenario& scenario, const SourceNode& source, Reporter& reporter);

// Whether a step demands something that can come out otherwise: DEMAND_UNMET is then possible.
bool HasDemand(const Step& step);

// What is wrong with the name of a guest's kernel, in words; empty when it is a good one.
std::string KernelMistake(const std::string& kernel);

}  // namespace plugpull::scenario
