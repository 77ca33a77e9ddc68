// SPDX-License-Identifier: Apache-2.0
// The scenario that an incident gives. What the log shows decides on its form:
//
//   mounts that failed    an agent that does what the log shows, on a damaged disk: the kind of the
//                         damage, refused for ever or with successes in between, re-attached or
//                         not, as often and as fast as in the field. The expectations are the
//                         properties of the contract that this breaks.
//   a first format        a blank disk, formatted, mounted, unplugged, plugged in and mounted again
//   mounts that succeed   files that are written under the mount options of the field, the power
//                         cut at every place
//
// The first two have the variant "field", and the variant "reference" in which the reference agent
// stands in the field's agent's place and keeps every property.
#pragma once

#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/incident/incident.h"
#include "framework/proto/scenario.pb.h"

namespace plugpull::incident {

// The disk of the scenario is no larger than this, and as large where the log does not say.
inline constexpr uint32_t kScenarioDiskMib = 64;
// The variant that does what the log shows, and the one that shows how it is done.
inline constexpr char kFieldVariant[] = "field";
inline constexpr char kReferenceVariant[] = "reference";

struct IncidentScenario {
  Scenario scenario;
  std::vector<std::string> left_out;  // mount options of the field that are not in it
  std::vector<std::string> differs;   // from what the log shows, sentences
  // Of the agent, beside the scenario; empty: it needs none.
  std::string file_name;
  std::string file_text;
};

// A user error for file systems other than ext4, the only one that scenarios know.
Result<IncidentScenario> MakeScenario(const DeviceReport& report);

// The scenario in protobuf's text format, with comments that say what happened and what differs.
Result<std::string> ScenarioText(const DeviceReport& report, const IncidentScenario& made);

}  // namespace plugpull::incident
