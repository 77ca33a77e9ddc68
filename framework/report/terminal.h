// SPDX-License-Identifier: Apache-2.0
// The report for people.
#pragma once

#include <string>

#include "framework/proto/verdict.pb.h"

namespace plugpull::report {

struct TerminalOptions {
  bool colour = false;  // colours and box-drawing lines; else plain ASCII around what is reported
  int width = 100;      // columns; below 60 it is taken as 60
};

// For each run: what it was, what was found with an example, its evidence and the command that
// rebuilds it, what was covered (zeroes too) and how it compares with what was expected. Then one
// table of all runs, what replaying prefixes alone would have found where other enumerators ran
// too, and what the device model cannot see. Text from outside cannot reach the terminal as
// control characters. Commands and blind spots are never cut; evidence is, after a few lines.
std::string RenderTerminal(const ReportList& reports, const TerminalOptions& options);

}  // namespace plugpull::report
