// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "framework/cli/commands.h"
#include "framework/cli/output_file.h"
#include "framework/cli/progress.h"
#include "framework/cli/report_output.h"
#include "framework/os/file.h"
#include "framework/run/check.h"
#include "framework/run/disk_source.h"
#include "framework/run/materialize.h"

namespace plugpull::cli {
namespace {

Check CheckOfArguments(const CheckArguments& arguments) {
  Check check;
  check.set_disk("log");
  check.set_max_states(arguments.max_states.value_or(check.max_states()));
  check.add_oracle(FSCK);
  check.add_enumerate()->mutable_prefix();
  check.add_enumerate()->mutable_lose_one();
  check.add_enumerate()->mutable_lose_subset();
  Model& model = *check.mutable_model();
  model.set_kind(arguments.lying ? Model::LYING : Model::VOLATILE_CACHE);
  model.set_from(arguments.from == "mkfs" ? Model::MKFS : Model::FIRST_MOUNT);
  return check;
}

}  // namespace

int CheckRecordings(const CheckArguments& arguments) {
  if (arguments.recordings.empty() == arguments.log.empty()) {
    return Fail(
        UserError("check takes recording folders, or --log LOG; see: plugpull check --help"));
  }
  const auto output = PrepareOutput(arguments.json, arguments.baseline);
  if (!output.ok()) return Fail(output.error());
  std::optional<run::Workdir> workdir;
  if (!arguments.out.empty()) {
    auto opened = OpenForReports(arguments.out);
    if (!opened.ok()) return Fail(opened.error());
    workdir = *std::move(opened);
  }
  ReportList reports;
  {
    Progress progress;
    run::CheckOptions options;
    options.jobs =
        arguments.jobs != 0 ? arguments.jobs : std::max(1U, std::thread::hardware_concurrency());
    options.seed = arguments.seed;
    options.max_states = arguments.max_states;
    options.e2fsck_only = arguments.e2fsck_only;
    options.progress = [&](const std::string& what, uint64_t done, uint64_t total) {
      progress.Show(what, "checking crash states", done, total);
    };
    for (const std::string& recording : arguments.recordings) {
      *reports.add_run() = run::CheckRecording(recording, options);
    }
    if (!arguments.log.empty()) {
      *reports.add_run() = run::CheckLogFile(arguments.log, arguments.base, arguments.scan_past_end,
                                             CheckOfArguments(arguments), options);
    }
  }
  return Deliver(std::move(reports), workdir ? &*workdir : nullptr, *output);
}

int ListStates(const StateArguments& arguments) {
  uint64_t left = arguments.limit == 0 ? UINT64_MAX : arguments.limit;
  const Status status = run::ForEachState(
      arguments.recording, [&](const std::string& enumerator, const std::string& id) {
        fmt::print("{}  {}\n", id, enumerator);
        return --left > 0;
      });
  return status.ok() ? 0 : Fail(status.error());
}

int MaterializeState(const StateArguments& arguments) {
  run::StateImageRequest request;
  request.recording = arguments.log.empty() ? arguments.recording : "";
  request.log = arguments.log;
  request.base = arguments.base;
  request.scan_past_end = arguments.scan_past_end;
  request.id = arguments.id;
  request.image = arguments.image;
  request.recovered = arguments.recovered;
  if (request.id.empty()) {
    return Fail(
        UserError("materialize takes a recording and the id of a state: plugpull materialize "
                  "RECORDING ID -o IMG"));
  }
  if (const Status free = CheckOutputFile(request.image); !free.ok()) return Fail(free.error());
  const auto said = run::WriteStateImage(request);
  if (!said.ok()) return Fail(said.error());
  fmt::print("{}\n", *said);
  return 0;
}

int ShowReport(const ReportArguments& arguments) {
  ReportList reports;
  for (const std::string& folder : arguments.folders) {
    auto read = run::Workdir::ReadReports(folder);
    if (!read.ok()) return Fail(read.error());
    reports.MergeFrom(*read);
  }
  if (arguments.matrix) {
    return Print(reports, arguments.format == "markdown" ? ReportFormat::kMatrixMarkdown
                                                         : ReportFormat::kMatrix);
  }
  return Print(reports, arguments.json    ? ReportFormat::kJson
                        : arguments.junit ? ReportFormat::kJUnit
                                          : ReportFormat::kTable);
}

}  // namespace plugpull::cli
