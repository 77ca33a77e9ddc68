// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <re2/re2.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <thread>

#include "framework/cli/commands.h"
#include "framework/cli/progress.h"
#include "framework/cli/report_output.h"
#include "framework/os/file.h"
#include "framework/recording/recording.h"
#include "framework/run/campaign.h"
#include "framework/scenario/agent_definition.h"
#include "framework/scenario/catalog.h"
#include "framework/scenario/load.h"

namespace plugpull::cli {
namespace {

constexpr size_t kFilterBytesMax = 1000;

struct Shard {
  uint64_t index = 1;
  uint64_t count = 1;
};

Result<Shard> ParseShard(const std::string& text) {
  Shard shard;
  if (text.empty()) return shard;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, shard.index);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == '/') {
    const auto second = std::from_chars(first.ptr + 1, end, shard.count);
    if (second.ec == std::errc() && second.ptr == end && shard.index >= 1 &&
        shard.index <= shard.count) {
      return shard;
    }
  }
  return UserError(fmt::format("--shard {} is not I/N with 1 <= I <= N, such as 2/4", text));
}

Result<std::vector<std::string>> ScenarioFiles(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    if (!os::IsFolder(path)) {
      files.push_back(path);
      continue;
    }
    PP_ASSIGN_OR_RETURN(const auto entries, scenario::ListScenarios(path));
    for (const auto& entry : entries) files.push_back(entry.path);
  }
  return files;
}

// All scenarios are loaded before anything is started: mistakes in the last are found first.
Result<std::vector<scenario::LoadedScenario>> LoadAll(const std::vector<std::string>& paths) {
  PP_ASSIGN_OR_RETURN(const auto files, ScenarioFiles(paths));
  std::vector<scenario::LoadedScenario> all;
  std::vector<scenario::Diagnostic> diagnostics;
  for (const std::string& file : files) {
    auto outcome = scenario::LoadScenarioFile(file);
    if (outcome.ok()) {
      all.push_back(*std::move(outcome.loaded));
    } else {
      diagnostics.insert(diagnostics.end(), outcome.diagnostics.begin(), outcome.diagnostics.end());
    }
  }
  if (diagnostics.empty()) return all;
  for (const auto& diagnostic : diagnostics) fmt::print(stderr, "{}\n", diagnostic.ToString());
  return UserError(fmt::format("{} mistake{} in the scenarios; nothing was run", diagnostics.size(),
                               diagnostics.size() == 1 ? "" : "s"));
}

// Where a run's results go. Several kernels or rounds must not write over each other.
std::string PlaceOf(const Scenario& scenario, const std::string& variant, bool several) {
  std::string place = run::Workdir::PlaceOf(scenario.name(), variant);
  if (!several) return place;
  std::string kernel = scenario.guest().kernel();
  std::replace(kernel.begin(), kernel.end(), '/', '_');
  return fmt::format("{}/{}-seed{}", place, kernel, scenario.seed());
}

struct Planned {
  std::vector<run::PlannedRun> runs;
  std::vector<RunReport> skipped;  // cases that the agent under test cannot be put to
  bool empty() const { return runs.empty() && skipped.empty(); }
};

// Puts the agent of --agent in place of those of the scenarios. What is left out is said on stderr;
// of it, scenarios that need what the agent does not have are kept in `skipped`.
Result<std::vector<scenario::LoadedScenario>> WithAgent(const RunArguments& arguments,
                                                        std::vector<scenario::LoadedScenario> all,
                                                        std::vector<RunReport>& skipped) {
  if (arguments.agent.empty()) return all;
  PP_ASSIGN_OR_RETURN(const auto definition, scenario::LoadDefinition(arguments.agent));
  std::vector<scenario::LoadedScenario> kept;
  for (auto& one : all) {
    const bool named = std::ranges::count(arguments.scenarios, one.file) > 0;
    if (!named && !scenario::HasAgents(one.scenario)) {
      fmt::print(stderr, "{}\n",
                 LeftOutWords(one.scenario.name(), {"", "it starts no agent", false}));
      continue;
    }
    PP_ASSIGN_OR_RETURN(auto applied, scenario::ApplyAgent(one.scenario, one.file, definition));
    for (const auto& left_out : applied.left_out) {
      fmt::print(stderr, "{}\n", LeftOutWords(one.scenario.name(), left_out));
      if (!left_out.capability) continue;
      RunReport report;
      report.set_name(applied.scenario.name());
      report.set_summary(applied.scenario.summary());
      report.set_seed(arguments.seed.value_or(applied.scenario.seed()));
      report.set_kernel(applied.scenario.guest().kernel());
      report.set_skipped(true);
      report.set_skip_reason(left_out.reason);
      run::Conclude(report);
      skipped.push_back(std::move(report));
    }
    if (applied.nothing_left) continue;
    one.scenario = std::move(applied.scenario);
    kept.push_back(std::move(one));
  }
  return kept;
}

Result<Planned> PlanAll(const RunArguments& arguments) {
  PP_ASSIGN_OR_RETURN(const Shard shard, ParseShard(arguments.shard));
  std::optional<RE2> filter;
  if (arguments.filter.size() > kFilterBytesMax) {
    return UserError(fmt::format("--filter has {} characters; at most {}", arguments.filter.size(),
                                 kFilterBytesMax));
  }
  if (!arguments.filter.empty()) {
    filter.emplace(arguments.filter, RE2::Quiet);
    if (!filter->ok()) {
      return UserError(fmt::format("--filter {}: not a regular expression (RE2 syntax): {}",
                                   arguments.filter, filter->error()));
    }
  }
  Planned planned;
  PP_ASSIGN_OR_RETURN(auto all, LoadAll(arguments.scenarios));
  PP_ASSIGN_OR_RETURN(const auto loaded, WithAgent(arguments, std::move(all), planned.skipped));
  if (filter) {
    std::erase_if(planned.skipped, [&](const RunReport& report) {
      return !RE2::PartialMatch(report.name(), *filter);
    });
  }
  if (shard.index != 1) planned.skipped.clear();  // they are said once
  std::vector<std::string> kernels = arguments.kernels;
  if (kernels.empty()) kernels.emplace_back();
  const bool several = kernels.size() > 1 || arguments.repeat > 1;
  std::vector<run::PlannedRun>& runs = planned.runs;
  uint64_t number = 0;
  std::map<std::string, std::string> files_of;  // by place
  for (const auto& one : loaded) {
    for (const std::string& kernel : kernels) {
      for (uint32_t round = 0; round < arguments.repeat; ++round) {
        scenario::PlanOverrides overrides;
        if (!kernel.empty()) overrides.kernel = kernel;
        const uint64_t first_seed = arguments.seed.value_or(one.scenario.seed());
        if (arguments.seed || round > 0) overrides.seed = first_seed + round;
        PP_ASSIGN_OR_RETURN(auto plans, scenario::ExpandPlans(one.scenario, overrides));
        for (auto& plan : plans) {
          if (filter && !RE2::PartialMatch(plan.FullName(), *filter)) continue;
          if (number++ % shard.count != shard.index - 1) continue;
          const std::string place = PlaceOf(plan.scenario(), plan.variant(), several);
          const auto [other, added] = files_of.try_emplace(place, one.file);
          if (!added) {
            return UserError(fmt::format(
                "{} and {} would both be recorded in {}: scenarios that run together need names of "
                "their own, and each is given once",
                other->second, one.file, place));
          }
          runs.push_back({std::move(plan), one.file, place, arguments.agent});
        }
      }
    }
  }
  return planned;
}

unsigned Jobs(unsigned wanted) {
  return wanted != 0 ? wanted : std::max(1U, std::thread::hardware_concurrency());
}

std::string OutFor(const RunArguments& arguments) {
  return arguments.out.empty() ? run::kDefaultOut : arguments.out;
}

run::CampaignOptions OptionsOf(const RunArguments& arguments, Progress& progress) {
  run::CampaignOptions options;
  options.jobs = Jobs(arguments.jobs);
  options.accelerator = arguments.accelerator;
  options.progress = [&progress](const std::string& run, const std::string& what, uint64_t done,
                                 uint64_t total) { progress.Show(run, what, done, total); };
  return options;
}

// An error when something is missing in a recording.
Status Complete(const std::string& folder) {
  PP_ASSIGN_OR_RETURN(const auto reader, recording::Reader::Open(folder));
  if (!reader.manifest().has_incomplete_reason()) return OkStatus();
  return GuestError(
      fmt::format("{} is incomplete: {}", folder, reader.manifest().incomplete_reason()));
}

int NothingRan() {
  fmt::print(stderr, "plugpull: nothing matches the filter and shard; see: plugpull list\n");
  return 4;
}

void PrintPlans(const std::vector<run::PlannedRun>& runs) {
  for (const auto& run : runs) {
    const Scenario& scenario = run.plan.scenario();
    fmt::print("{}  kernel {}  seed {}  {} steps, {} disks\n", run.plan.FullName(),
               scenario.guest().kernel(), scenario.seed(), scenario.step_size(),
               scenario.disk_size());
  }
}

}  // namespace

int RunScenarios(const RunArguments& arguments) {
  auto planned = PlanAll(arguments);
  if (!planned.ok()) return Fail(planned.error());
  const auto* runs = &planned->runs;
  if (planned->empty()) return NothingRan();
  if (arguments.dry_run) {
    PrintPlans(*runs);
    return 0;
  }
  const auto output = PrepareOutput(arguments.json, arguments.baseline);
  if (!output.ok()) return Fail(output.error());
  const auto workdir = OpenForReports(OutFor(arguments));
  if (!workdir.ok()) return Fail(workdir.error());
  ReportList reports;
  {
    Progress progress;
    const run::CampaignOptions options = OptionsOf(arguments, progress);
    reports = run::RunCampaign(*runs, *workdir, options);
  }
  for (RunReport& report : planned->skipped) *reports.add_run() = std::move(report);
  return Deliver(std::move(reports), &*workdir, *output);
}

int RecordScenarios(const RunArguments& arguments) {
  auto planned = PlanAll(arguments);
  if (!planned.ok()) return Fail(planned.error());
  const auto* runs = &planned->runs;
  if (runs->empty()) return NothingRan();
  if (arguments.dry_run) {
    PrintPlans(*runs);
    return 0;
  }
  const auto workdir = run::Workdir::Open(OutFor(arguments));
  if (!workdir.ok()) return Fail(workdir.error());
  std::vector<Result<std::string>> recordings;
  {
    Progress progress;
    const run::CampaignOptions options = OptionsOf(arguments, progress);
    recordings = run::RecordCampaign(*runs, *workdir, options);
  }
  int status = 0;
  for (const auto& recording : recordings) {
    Status kept = recording.ok() ? Complete(*recording) : Status(recording.error());
    if (recording.ok()) fmt::print("{}\n", *recording);
    if (kept.ok()) continue;
    const int failed = Fail(kept.error());
    status = status == 2 ? 2 : failed;  // as for run: the user's mistakes go first
  }
  return status;
}

int OpenShell(const RunArguments& arguments) {
  auto planned = PlanAll(arguments);
  if (!planned.ok()) return Fail(planned.error());
  const auto* runs = &planned->runs;
  if (runs->empty()) return NothingRan();
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0) {
    return Fail(
        UserError("shell needs a terminal; for programs that run by themselves there is the "
                  "scenario's step `command`"));
  }
  if (runs->size() > 1) {
    fmt::print(stderr, "plugpull: {} runs match; the shell is of the first, {}; see --filter\n",
               runs->size(), (*runs)[0].plan.FullName());
  }
  run::RecordOptions options;
  options.accelerator = arguments.accelerator;
  options.scenario_path = (*runs)[0].scenario_path;
  options.agent_path = (*runs)[0].agent_path;
  options.progress = [](const std::string& what) { fmt::print(stderr, "{}\n", what); };
  const Status status = run::OpenGuestShell((*runs)[0].plan, options);
  return status.ok() ? 0 : Fail(status.error());
}

}  // namespace plugpull::cli
