// SPDX-License-Identifier: Apache-2.0
// The scenario that an incident gives: today the disk, the file system and the mount as the field
// had them, under a workload, with the power cut at every place. What the language cannot say yet
// (the re-attachments, the program that mounts) stands in the comment.
#pragma once

#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/incident/incident.h"
#include "framework/proto/scenario.pb.h"

namespace plugpull::incident {

// The disk of the scenario is no larger than this, and as large where the log does not say.
inline constexpr uint32_t kScenarioDiskMib = 64;

struct IncidentScenario {
  Scenario scenario;
  std::vector<std::string> left_out;  // mount options of the field that are not in it
};

// A user error for file systems other than ext4, the only one that scenarios know.
Result<IncidentScenario> MakeScenario(const DeviceReport& report);

// The scenario in protobuf's text format, with comments that say what happened and what is missing.
Result<std::string> ScenarioText(const DeviceReport& report);

}  // namespace plugpull::incident
