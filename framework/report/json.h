// SPDX-License-Identifier: Apache-2.0
// The report for machines. The format is stable: keys are added, never renamed or removed.
#pragma once

#include <string>

#include "framework/proto/verdict.pb.h"

namespace plugpull::report {

// A JSON list (UTF-8, ends in a newline) with one object for each scenario and variant:
//   name, variant, seed (unsigned 64-bit), kernel,
//   states {enumerated, distinct, holds, violated, unknown}: the sum over the run's disks,
//   verdicts: the violated and unknown ones, each {oracle ("fsck", "content"), class ("UNKNOWN"
//     for unknown ones), count (states), example (state id), expected (bool), command}
// and after these what else is known: outcome, error, missed, disks with model, coverage and
// enumerators. Bytes that are not UTF-8 become U+FFFD.
std::string RenderJson(const ReportList& reports);

}  // namespace plugpull::report
