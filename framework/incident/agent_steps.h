// SPDX-License-Identifier: Apache-2.0
// The steps of a scenario in which an agent does what a kernel log shows. Of incident_scenario.
#pragma once

#include <string>
#include <vector>

#include "framework/incident/incident_scenario.h"

namespace plugpull::incident {

inline constexpr char kScenarioDisk[] = "vol";
inline constexpr char kScenarioMountPoint[] = "/data";

// Both add guest, steps, variants and expectations to a scenario that has its disk, and name the
// agent's file. `options`: of the mount.
void AddFailingAgent(const DeviceReport& report, const std::vector<std::string>& options,
                     IncidentScenario& made);
void AddFirstFormat(const DeviceReport& report, const std::vector<std::string>& options,
                    IncidentScenario& made);

// The agents' programs, which the build takes from scenarios/incident.
extern const char kFieldAgentText[];
extern const char kFirstFormatText[];

}  // namespace plugpull::incident
