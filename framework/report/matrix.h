// SPDX-License-Identifier: Apache-2.0
// The guarantee matrix: a row for each run of a scenario that asks the GUARANTEES oracle, a column
// for each guarantee; those about times are a table of their own, with the runs of the scenarios
// that ask about times. No cell says more than what was looked at ("kept" and "lost" of times):
//   held       in all states at which the question was open, and in some of them what it is about
//              had left a trace
//   weak       never broken, but no state shows a trace of it: a question that was not put
//   N (broken) in N of the states at which it was open; one of them is named below the table
//   ?          open in some states, and answered in none; behind one of the others: some states
//   more
//              in which it was open, and nobody could answer it
//   -          not asked
// Rows of mounts that the kernel refused say so, and runs that ended in an error or are incomplete
// have no cells.
#pragma once

#include <string>

#include "framework/proto/verdict.pb.h"
#include "framework/report/terminal.h"

namespace plugpull::report {

// Whether any run asks the GUARANTEES oracle.
bool HasGuarantees(const ReportList& reports);

// Tables of at most options.width columns and a line for each broken cell, with the id of a state.
std::string RenderMatrix(const ReportList& reports, const TerminalOptions& options);

// The same as a document (GitHub's Markdown), with counts in every cell, the evidence of each
// broken one, and the commands that made it. Ends in a newline.
std::string RenderMatrixMarkdown(const ReportList& reports);

}  // namespace plugpull::report
