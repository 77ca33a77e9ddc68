// SPDX-License-Identifier: Apache-2.0
// Where reports go: the results folder, the terminal, stdout as JSON.
#pragma once

#include <string>

#include "framework/base/result.h"
#include "framework/proto/verdict.pb.h"
#include "framework/run/workdir.h"

namespace plugpull::cli {

struct OutputOptions {
  bool json = false;          // JSON on stdout instead of the table
  std::string baseline;       // path of an older report.json; empty: none
  std::string baseline_json;  // its content
};

// Reads the baseline, before anything is started that may write over it. A user error when it is
// missing or no report.
Result<OutputOptions> PrepareOutput(bool json, const std::string& baseline);

// Opens a results folder for new reports: those of an older run are gone, so that a run that is
// killed leaves none that could be taken for its own.
Result<run::Workdir> OpenForReports(const std::string& folder);

// Applies the baseline, writes the reports to the results folder (when there is one), prints them,
// and returns the exit status.
int Deliver(ReportList reports, const run::Workdir* workdir, const OutputOptions& options);

// Prints reports on stdout and returns their exit status.
enum class ReportFormat { kTable, kJson, kJUnit, kMatrix, kMatrixMarkdown };
int Print(const ReportList& reports, ReportFormat format);

}  // namespace plugpull::cli
