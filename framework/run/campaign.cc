// SPDX-License-Identifier: Apache-2.0
#include "framework/run/campaign.h"

#include <fmt/format.h>

#include <atomic>
#include <optional>
#include <system_error>
#include <thread>

namespace plugpull::run {
namespace {

RunReport FailedReport(const PlannedRun& run, const Error& error) {
  RunReport report;
  const Scenario& scenario = run.plan.scenario();
  report.set_name(scenario.name());
  report.set_variant(run.plan.variant());
  report.set_summary(scenario.summary());
  report.set_seed(scenario.seed());
  report.set_kernel(scenario.guest().kernel());
  const std::string command =
      RunCommand(run.scenario_path, scenario.name(), run.plan.variant(), scenario.guest().kernel(),
                 scenario.seed(), run.agent_path);
  if (!command.empty()) report.set_command(command);
  report.set_error(error.ToString());
  report.set_error_kind(ErrorCodeName(error.code));
  *report.mutable_expected() = scenario.expect().found();
  Conclude(report);
  return report;
}

}  // namespace

std::vector<Result<std::string>> RecordCampaign(const std::vector<PlannedRun>& runs,
                                                const Workdir& workdir,
                                                const CampaignOptions& options) {
  std::vector<std::optional<Result<std::string>>> results(runs.size());
  std::atomic<size_t> next = 0;
  // A guest lives and dies on the thread that started it.
  const auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < runs.size();) {
      RecordOptions record;
      record.accelerator = options.accelerator;
      record.scenario_path = runs[i].scenario_path;
      record.agent_path = runs[i].agent_path;
      record.jobs = options.jobs;
      record.place = runs[i].place;
      record.start_machine = options.start_machine;
      record.image = options.image;
      record.progress = [&, i](const std::string& what) {
        if (options.progress) options.progress(runs[i].plan.FullName(), what, 0, 0);
      };
      results[i] = RecordPlan(runs[i].plan, workdir, record);
    }
  };
  std::vector<std::thread> threads;
  try {
    for (size_t i = 1; i < std::min<size_t>(options.jobs, runs.size()); ++i) {
      threads.emplace_back(work);
    }
  } catch (const std::system_error&) {
    // The machine gives no more threads: those that there are do the work.
  }
  work();
  for (std::thread& thread : threads) thread.join();
  std::vector<Result<std::string>> done;
  for (auto& result : results) done.push_back(*std::move(result));
  return done;
}

ReportList RunCampaign(const std::vector<PlannedRun>& runs, const Workdir& workdir,
                       const CampaignOptions& options) {
  const auto recordings = RecordCampaign(runs, workdir, options);
  ReportList reports;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (!recordings[i].ok()) {
      *reports.add_run() = FailedReport(runs[i], recordings[i].error());
      continue;
    }
    CheckOptions check;
    check.jobs = options.jobs;
    check.accelerator = options.accelerator;
    check.start_machine = options.start_machine;
    check.image = options.image;
    if (options.progress) {
      check.progress = [&](const std::string& what, uint64_t done, uint64_t total) {
        options.progress(what, "checking crash states", done, total);
      };
    }
    *reports.add_run() = CheckRecording(*recordings[i], check);
  }
  return reports;
}

}  // namespace plugpull::run
