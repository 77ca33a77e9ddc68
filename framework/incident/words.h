// SPDX-License-Identifier: Apache-2.0
// What happened to a device, in plain words, and how sure that is.
#pragma once

#include <string>

#include "framework/incident/incident.h"

namespace plugpull::incident {

// Fills in summary, confidence and reasons from what is counted.
void DescribeInWords(const KlogSummary& log, DeviceReport& report);

// "3 mounts", "1 mount".
std::string Plural(uint64_t count, const std::string& one, const std::string& many);

// "once", "3 times".
std::string TimesWords(uint64_t count);

// "0.25 s", "30 s", "7 min", "3 h".
std::string DurationWords(double seconds);

}  // namespace plugpull::incident
