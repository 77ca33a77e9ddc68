// SPDX-License-Identifier: Apache-2.0
#include "framework/cli/report_output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "framework/cli/commands.h"
#include "framework/os/file.h"
#include "framework/report/agent_matrix.h"
#include "framework/report/baseline.h"
#include "framework/report/json.h"
#include "framework/report/junit.h"
#include "framework/report/matrix.h"
#include "framework/report/summary.h"
#include "framework/report/terminal.h"

namespace plugpull::cli {

namespace {

// For the terminal that stdout is, or plain.
report::TerminalOptions OptionsForStdout() {
  report::TerminalOptions options;
  const bool terminal = ::isatty(STDOUT_FILENO) != 0;
  options.colour =
      terminal && os::GetEnv("NO_COLOR", "").empty() && os::GetEnv("TERM", "") != "dumb";
  winsize size{};
  if (terminal && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 60) {
    options.width = size.ws_col;
  }
  return options;
}

}  // namespace

int Print(const ReportList& reports, ReportFormat format) {
  std::string text;
  const bool agents = report::HasAgents(reports);
  switch (format) {
    case ReportFormat::kTable:
      text = report::RenderTerminal(reports, OptionsForStdout());
      break;
    case ReportFormat::kJson:
      text = report::RenderJson(reports);
      break;
    case ReportFormat::kJUnit:
      text = report::RenderJUnit(reports);
      break;
    case ReportFormat::kMatrix:
      if (report::HasGuarantees(reports) || !agents) {
        text = report::RenderMatrix(reports, OptionsForStdout());
      }
      if (!text.empty() && agents) text += "\n";
      if (agents) text += report::RenderAgentMatrix(reports, OptionsForStdout());
      break;
    case ReportFormat::kMatrixMarkdown:
      if (report::HasGuarantees(reports) || !agents) text = report::RenderMatrixMarkdown(reports);
      if (!text.empty() && agents) text += "\n";
      if (agents) text += report::RenderAgentMatrixMarkdown(reports);
      break;
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return report::ExitStatus(reports);
}

Result<OutputOptions> PrepareOutput(bool json, const std::string& baseline) {
  OutputOptions options{json, baseline, {}};
  if (baseline.empty()) return options;
  PP_ASSIGN_OR_RETURN(options.baseline_json, os::ReadFile(baseline, report::kBaselineSizeMax));
  ReportList none;
  const auto read = report::FilterAgainstBaseline(none, options.baseline_json);
  if (!read.ok()) return WithContext(read.error(), baseline);
  return options;
}

Result<run::Workdir> OpenForReports(const std::string& folder) {
  PP_ASSIGN_OR_RETURN(run::Workdir workdir, run::Workdir::Open(folder));
  PP_RETURN_IF_ERROR(workdir.RemoveReports());
  return workdir;
}

int Deliver(ReportList reports, const run::Workdir* workdir, const OutputOptions& options) {
  if (!options.baseline.empty()) {
    const auto excused = report::FilterAgainstBaseline(reports, options.baseline_json);
    if (!excused.ok()) return Fail(WithContext(excused.error(), options.baseline));
  }
  if (workdir != nullptr) {
    const Status written =
        workdir->WriteReports(reports, report::RenderJson(reports), report::RenderJUnit(reports));
    if (!written.ok()) return Fail(written.error());
  }
  const int status = Print(reports, options.json ? ReportFormat::kJson : ReportFormat::kTable);
  if (workdir != nullptr && !options.json) {
    fmt::print("Reports: {} {} {}\n", workdir->ReportFile(), workdir->JsonFile(),
               workdir->JUnitFile());
  }
  return status;
}

}  // namespace plugpull::cli
