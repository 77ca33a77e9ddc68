// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <system_error>
#include <utility>

#include "framework/cli/commands.h"
#include "framework/os/fd.h"
#include "framework/run/record.h"

namespace plugpull::cli {
namespace {

constexpr char kExitStatusHelp[] =
    "Exit status: 0 as expected, 1 a verdict differs from what was expected, 2 the scenario, the\n"
    "log or the command line is wrong, 3 the guest, this machine or plugpull failed, 4 nothing "
    "ran.";

constexpr unsigned kJobsMax = 1024;
constexpr uint64_t kStatesMax = 10'000'000;
constexpr uint64_t kCountMax = 1'000'000'000'000;

// A whole number within bounds, as its digits say: CLI11 alone reads -1 as the largest number.
CLI::Validator Number(uint64_t low, uint64_t high, const std::string& what_to_do) {
  const auto judge = [=](const std::string& text) {
    uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, value);
    const bool whole = read.ec == std::errc() && read.ptr == end && !text.empty();
    if (whole && value >= low && value <= high) return std::string();
    return fmt::format("{} is no number from {} to {}; {}", text, low, high, what_to_do);
  };
  return CLI::Validator(judge, fmt::format("{} to {}", low, high), "number");
}

CLI::Validator Jobs() { return Number(1, kJobsMax, "leave it out for one for each processor"); }

CLI::Validator MaxStates() {
  return Number(1, kStatesMax, "more are looked at by several runs with different --seed");
}

// A seed as its digits say: CLI11 reads -1 as the largest number.
CLI::Option* AddSeed(CLI::App& app, std::optional<uint64_t>& seed, const std::string& help) {
  const auto digits = [](const std::string& text) {
    return text.find_first_not_of("0123456789") == std::string::npos
               ? std::string()
               : "a seed is a number from 0 to 18446744073709551615, not " + text;
  };
  return app.add_option("--seed", seed, help)->check(CLI::Validator(digits, "", "seed"));
}

void AddRunOptions(CLI::App& app, RunArguments& run, bool checks) {
  app.add_option("scenario", run.scenarios, "scenario files, or folders of them")->required();
  app.add_option("--out", run.out, "results folder (default: plugpull-out)");
  app.add_option("--agent", run.agent, "definition file of the agent or driver to test instead");
  AddSeed(app, run.seed, "in place of every scenario's seed");
  app.add_option("--jobs,-j", run.jobs,
                 "guests and checking threads at a time (default: processors)")
      ->check(Jobs());
  app.add_option("--shard", run.shard, "I/N: only the I-th of N parts of the runs, I from 1");
  app.add_option("--filter", run.filter, "regular expression on SCENARIO/VARIANT");
  app.add_option("--kernel", run.kernels, "in place of every scenario's kernel; may be repeated");
  app.add_option("--accel", run.accelerator, "auto, kvm or tcg")
      ->check(CLI::IsMember({"auto", "kvm", "tcg"}));
  app.add_flag("--dry-run", run.dry_run, "print what would run");
  if (!checks) return;
  app.add_option("--repeat", run.repeat, "run everything so many times, seeds counting up")
      ->check(Number(1, 10'000, "start it again for more, with another --seed"));
  app.add_option("--baseline", run.baseline, "report.json of an older run: only new findings fail");
  app.add_flag("--json", run.json, "JSON on stdout in place of the table");
}

void AddCheck(CLI::App& app, CheckArguments& check, int& status) {
  CLI::App* command =
      app.add_subcommand("check", "judge recordings, or anybody's dm-log-writes log");
  command->add_option("recording", check.recordings, "recording folders");
  CLI::Option* log =
      command->add_option("--log", check.log, "a dm-log-writes log, judged by e2fsck alone");
  command->add_option("--base", check.base, "with --log: the disk when the log began")->needs(log);
  command->add_option("--fs", check.fs, "with --log: the file system")
      ->check(CLI::IsMember({"ext4"}))
      ->needs(log);
  command->add_option("--from", check.from, "with --log: cut from the first mount, or from mkfs")
      ->check(CLI::IsMember({"mount", "mkfs"}))
      ->needs(log);
  command->add_flag("--lying", check.lying, "with --log: the disk ignores flushes")->needs(log);
  command
      ->add_flag("--scan-past-end", check.scan_past_end,
                 "with --log: read behind the counted entries (only if the log device was zeroed)")
      ->needs(log);
  command
      ->add_option("--max-states", check.max_states,
                   "most states (default: as recorded; with --log 4000)")
      ->check(MaxStates());
  command->add_option("--out", check.out, "also write reports to this folder");
  AddSeed(*command, check.seed, "draw other states");
  command->add_option("--jobs,-j", check.jobs, "threads (default: processors)")->check(Jobs());
  command->add_flag("--e2fsck-only", check.e2fsck_only,
                    "recover and judge every image with e2fsck, nothing in process (slow)");
  command->add_option("--baseline", check.baseline,
                      "report.json of an older run: only new findings fail");
  command->add_flag("--json", check.json, "JSON on stdout in place of the table");
  command->callback([&] { status = CheckRecordings(check); });
}

void AddStates(CLI::App& app, StateArguments& states, int& status) {
  CLI::App* list = app.add_subcommand("states", "list the crash states that a check looks at");
  list->add_option("recording", states.recording, "recording folder")->required();
  list->add_option("--limit", states.limit, "print only so many (default: all)")
      ->check(Number(1, kCountMax, "leave it out for all"));
  list->callback([&] { status = ListStates(states); });

  CLI::App* write = app.add_subcommand("materialize", "write the image of a crash state");
  write
      ->add_option("recording_or_id", states.recording,
                   "recording folder (with --log: the state's id)")
      ->required();
  write->add_option("id", states.id, "the state's id, as reports print it");
  write->add_option("-o,--output", states.image, "image to write (sparse)")->required();
  write->add_flag("--recovered", states.recovered,
                  "after journal replay and orphan processing, as it is judged");
  write->add_option("--log", states.log, "a dm-log-writes log instead of a recording");
  write->add_option("--base", states.base, "with --log: the disk when the log began");
  write->add_flag("--scan-past-end", states.scan_past_end, "with --log: as for check");
  write->callback([&] {
    if (!states.log.empty()) {
      if (!states.id.empty()) {
        status = Fail(UserError("materialize takes a recording or --log LOG, not both"));
        return;
      }
      states.id = states.recording;
    }
    status = MaterializeState(states);
  });
}

// A command on one state, of a recording or of a log. `run` sets the exit status.
CLI::App* AddDiagnosis(CLI::App& app, const std::string& name, const std::string& help,
                       DiagnoseArguments& state, const std::function<void()>& run, int& status) {
  CLI::App* command = app.add_subcommand(name, help);
  command
      ->add_option("recording_or_id", state.recording,
                   "recording folder (with --log: the state's id)")
      ->required();
  command->add_option("id", state.id, "the state's id, as reports print it");
  command->add_option("--log", state.log, "a dm-log-writes log instead of a recording");
  command->add_option("--base", state.base, "with --log: the disk when the log began");
  command->add_flag("--scan-past-end", state.scan_past_end, "with --log: as for check");
  command
      ->add_option("--finding", state.finding,
                   "which finding to keep while minimising (default: the worst of the state)")
      ->check(CLI::IsMember({"METADATA_INCONSISTENT", "JOURNAL_REFUSED", "DURABILITY_LOST",
                             "STALE_DATA_EXPOSED", "RECOVERY_DIFFERS", "TORN_WRITE"}));
  command
      ->add_option("--max-states", state.max_states,
                   "most states to judge while minimising (default: 2000)")
      ->check(Number(1, kStatesMax, "leave it out for 2000"));
  command->add_option("--jobs,-j", state.jobs, "threads (default: processors)")->check(Jobs());
  command->add_flag("--json", state.json, "JSON on stdout in place of the text");
  command->callback([&state, &status, name, run] {
    if (!state.log.empty()) {
      if (!state.id.empty()) {
        status = Fail(UserError(name + " takes a recording or --log LOG, not both"));
        return;
      }
      state.id = std::exchange(state.recording, "");
    }
    if (state.id.empty()) {
      status = Fail(UserError(fmt::format(
          "{0} takes a recording and the id of a state: plugpull {0} RECORDING ID", name)));
      return;
    }
    run();
  });
  return command;
}

void AddDiagnoses(CLI::App& app, DiagnoseArguments& state, int& status) {
  AddDiagnosis(
      app, "minimize", "find the fewest lost writes that still break a state in the same way",
      state, [&] { status = MinimizeState(state); }, status);
  CLI::App* explain = AddDiagnosis(
      app, "explain", "say what was lost in a state, and which rule of ordering that broke", state,
      [&] { status = ExplainState(state); }, status);
  explain->add_flag("--minimize", state.minimize, "minimise the state first");
}

void AddLog(CLI::App& app, LogArguments& log, int& status) {
  CLI::App* command = app.add_subcommand("log", "look at a dm-log-writes log, ours or anybody's");
  command->require_subcommand(1);
  const auto common = [&](CLI::App* sub) {
    sub->add_option("log", log.log, "a log file, or a recording folder")->required();
    sub->add_option("--disk", log.disk, "with a recording: whose log (default: the only one)");
    sub->add_flag("--scan-past-end", log.scan_past_end, "read behind the counted entries");
    sub->add_flag("--host-log", log.host, "with a recording: the log that QEMU made (`host_log`)");
  };
  CLI::App* show = command->add_subcommand("show", "print the entries");
  common(show);
  show->add_option("--first", log.first, "first entry (default: 0)")
      ->check(Number(0, kCountMax, "leave it out to begin at the first"));
  show->add_option("--count", log.count, "how many (default: all)")
      ->check(Number(1, kCountMax, "leave it out for all"));
  show->callback([&] { status = ShowLog(log); });
  CLI::App* stat = command->add_subcommand("stat", "count what is in it");
  common(stat);
  stat->callback([&] { status = LogStatistics(log); });
  CLI::App* convert =
      command->add_subcommand("convert", "write it as a plain log that ends where its entries do");
  common(convert);
  convert->add_option("-o,--output", log.output, "log to write")->required();
  convert->callback([&] { status = ConvertLog(log); });
}

void AddIncident(CLI::App& app, IncidentArguments& incident, int& status) {
  CLI::App* command = app.add_subcommand("incident", "kernel logs from the field");
  command->require_subcommand(1);
  CLI::App* import = command->add_subcommand(
      "import", "say what happened to the disks in a kernel log, and write a scenario of it");
  import
      ->add_option(
          "klog", incident.klog,
          "dmesg in any of its forms, journalctl -k, a journal export, or syslog; - is stdin")
      ->required();
  import->add_option("--out", incident.out,
                     "folder to write scenario and signature of the worst device to");
  import->add_flag("--json", incident.json, "as JSON");
  import->callback([&] { status = ImportIncident(incident);
});
CLI::App* reproduce = command->add_subcommand(
    "reproduce",
    "run an incident's scenario, and say how far its kernel log matches the field's (0 it does)");
reproduce->add_option("incident", incident.klog, "folder that import wrote, or a kernel log")
    ->required();
reproduce->add_option("--out", incident.out, "results folder (default: plugpull-out)");
reproduce->add_option("--jobs,-j", incident.jobs, "guests at a time (default: processors)")
    ->check(Jobs());
reproduce->add_option("--accel", incident.accelerator, "auto, kvm or tcg")
    ->check(CLI::IsMember({"auto", "kvm", "tcg"}));
reproduce->add_flag("--json", incident.json, "as JSON");
reproduce->callback([&] { status = ReproduceIncident(incident); });
CLI::App* compare = command->add_subcommand(
    "compare", "say how far a reproduced log matches the field's (0 it does, 1 it does not)");
compare->add_option("field", incident.klog, "kernel log, or signature.json")->required();
compare->add_option("reproduced", incident.other, "kernel log, or signature.json")->required();
compare->add_flag("--json", incident.json, "as JSON");
compare->callback([&] { status = CompareIncidents(incident); });
}  // namespace

// As every program ends whose reader is gone, such as `head`.
[[noreturn]] void EndByBrokenPipe() {
  ::signal(SIGPIPE, SIG_DFL);
  ::raise(SIGPIPE);
  std::_Exit(128 + SIGPIPE);
}

int CannotPrint(int error_number) {
  if (error_number == EPIPE) EndByBrokenPipe();
  return Fail(EnvironmentError("cannot write to stdout: " + os::ErrnoText(error_number)));
}

// `status` is set by the command that is run. Nothing that is thrown gets further than this.
int ParseAndRun(CLI::App& app, int argc, char** argv, const int& status) {
  const std::string first = argc > 1 ? argv[1] : "";
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  const bool known = first.empty() || first.starts_with('-') ||
                     std::any_of(commands.begin(), commands.end(),
                                 [&](const CLI::App* one) { return one->get_name() == first; });
  if (!known) {
    return Fail(UserError(fmt::format("there is no command '{}'; see: plugpull --help", first)));
  }
  try {
    app.parse(argc, argv);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return CannotPrint(errno);
    return status;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help and --version
    std::string command = "plugpull";
    for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
      at = at->get_subcommands().front();
      command += " " + at->get_name();
    }
    return Fail(UserError(fmt::format("{}; see: {} --help", error.what(), command)));
  } catch (const std::system_error& error) {  // of fmt::print, when nobody reads
    return CannotPrint(error.code().value());
  } catch (const std::exception& error) {
    return Fail(InternalError(error.what()));
  }
}

}  // namespace plugpull::cli

int Fail(const Error& error) {
  const char* whose = error.code == ErrorCode::kInternal
                          ? "internal error (a fault of plugpull: please report it): "
                      : error.code == ErrorCode::kGuest ? "guest: "
                                                        : "";
  fmt::print(stderr, "plugpull: {}{}\n", whose, error.ToString());
  return ExitStatusFor(error.code);
}

int Main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  spdlog::set_default_logger(spdlog::stderr_logger_mt("plugpull"));
  spdlog::set_pattern("%n: %l: %v");
  CLI::App app("plugpull: power cuts, lying disks and mount agents, tested on a laptop",
               "plugpull");
  app.footer(kExitStatusHelp);
  app.set_version_flag("--version", std::string("plugpull ") + run::kVersion);
  app.require_subcommand(1);
  int status = 0;

  RunArguments run;
  CLI::App* run_command = app.add_subcommand("run", "record scenarios, check them, report");
  AddRunOptions(*run_command, run, true);
  run_command->callback([&] { status = RunScenarios(run); });
  CLI::App* record_command = app.add_subcommand("record", "record scenarios, to be checked later");
  AddRunOptions(*record_command, run, false);
  record_command->callback([&] { status = RecordScenarios(run); });
  CLI::App* shell_command =
      app.add_subcommand("shell", "a shell in a guest with a scenario's disks");
  AddRunOptions(*shell_command, run, false);
  shell_command->callback([&] { status = OpenShell(run); });

  CheckArguments check;
  AddCheck(app, check, status);
  StateArguments states;
  AddStates(app, states, status);
  DiagnoseArguments diagnosis;
  AddDiagnoses(app, diagnosis, status);

  std::string folder = "scenarios";
  bool list_json = false;
  CLI::App* list = app.add_subcommand("list", "the scenarios of a folder");
  list->add_option("folder", folder, "default: scenarios");
  list->add_flag("--json", list_json, "as JSON");
  list->callback([&] { status = ListCatalog(folder, list_json); });
  std::vector<std::string> paths;
  CLI::App* validate =
      app.add_subcommand("validate", "say what is wrong with scenarios, all of it");
  validate->add_option("scenario", paths, "scenario files, or folders of them")->required();
  std::string agent;
  validate->add_option("--agent", agent, "with the agent of this definition file");
  validate->callback([&] { status = ValidateFiles(paths, agent); });
  std::string name;
  std::string path;
  CLI::App* fresh = app.add_subcommand("new", "write a scenario to start from");
  fresh->add_option("name", name, "its name")->required();
  fresh->add_option("-o,--output", path, "file (default: NAME.textproto)");
  fresh->callback([&] { status = NewScenario(name, path); });

  LogArguments log;
  AddLog(app, log, status);
  IncidentArguments incident;
  AddIncident(app, incident, status);

  ReportArguments report;
  CLI::App* report_command =
      app.add_subcommand("report", "print the report of results folders again");
  report_command->add_option("out", report.folders, "results folders")->required();
  CLI::Option* as_json = report_command->add_flag("--json", report.json, "as JSON");
  CLI::Option* as_junit = report_command->add_flag("--junit", report.junit, "as JUnit XML");
  CLI::Option* matrix = report_command->add_flag(
      "--matrix", report.matrix,
      "what was observed of guarantees (oracle GUARANTEES) and of agents, run by run");
  matrix->excludes(as_json)->excludes(as_junit);
  report_command->add_option("--format", report.format, "of the matrix (default: table)")
      ->check(CLI::IsMember({"table", "markdown"}))
      ->needs(matrix);
  report_command->callback([&] { status = ShowReport(report); });

  CLI::App* kernel = app.add_subcommand("kernel", "kernels for guests");
  kernel->require_subcommand(1);
  kernel->add_subcommand("list", "those that have a name")->callback([&] {
    status = ListKernels();
  });
  std::vector<std::string> kernels;
  CLI::App* fetch = kernel->add_subcommand("fetch", "get some now");
  fetch->add_option("name", kernels, "such as debian:6.1")->required();
  fetch->callback([&] { status = FetchKernels(kernels); });
  app.add_subcommand("doctor", "what this machine can do, and what to do about the rest")
      ->callback([&] { status = Doctor(); });

  return ParseAndRun(app, argc, argv, status);
}

}  // namespace plugpull::cli
