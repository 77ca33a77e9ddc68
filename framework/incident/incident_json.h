// SPDX-License-Identifier: Apache-2.0
// An incident for machines. The format is stable: keys are added, never renamed or removed.
#pragma once

#include <string>

#include "framework/incident/incident.h"

namespace plugpull::incident {

// One JSON object (UTF-8, ends in a newline). Of the worst device, at the top level:
//   device (null when the log names none), filesystem (null when not known), options [],
//   loop: null, or {events [], period_s (null without times), count (whole cycles), cut_off,
//     alike (closed cycles with just these events), closed, period_min_s, period_max_s}
//   attempts, gave_up, confidence (0 to 1), summary
// then what else is known of it, and devices [], all of them in that form, the worst first; log {},
// notes [].
std::string RenderIncidentJson(const Incident& incident);

}  // namespace plugpull::incident
