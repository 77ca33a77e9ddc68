// SPDX-License-Identifier: Apache-2.0
// The agent matrix: a row for each agent of each run, a column for each property of the contract
// that any of them was judged by. A cell is what was observed in that run:
//   holds      something happened that the property speaks of, and it was kept
//   VIOLATED   it was not; "(!)" where the scenario does not list it
//   unknown    it could not be judged
//   -          nothing happened that it speaks of: no success
// Properties that no row was put to the test with have no column and are named below. Runs that
// ended in an error or were skipped have a row that says so, and no cells.
#pragma once

#include <string>

#include "framework/proto/verdict.pb.h"
#include "framework/report/terminal.h"

namespace plugpull::report {

// Whether any run has an agent, or was to have: of a scenario that has one in another run.
bool HasAgents(const ReportList& reports);

// A table whose columns are numbered, and what the numbers mean. At most options.width columns.
std::string RenderAgentMatrix(const ReportList& reports, const TerminalOptions& options);

// The same as a document (GitHub's Markdown), with what was observed of each agent over all its
// runs, the evidence of every violation, and the commands that made it. Ends in a newline.
std::string RenderAgentMatrixMarkdown(const ReportList& reports);

}  // namespace plugpull::report
