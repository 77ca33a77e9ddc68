// SPDX-License-Identifier: Apache-2.0
#include "framework/run/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "framework/run/cross_check.h"
#include "framework/run/disk_check.h"
#include "framework/run/mount_use.h"
#include "framework/run/nested_cuts.h"

namespace plugpull::run {
namespace {

void SetError(RunReport& report, const Error& error) {
  report.set_error(error.ToString());
  report.set_error_kind(ErrorCodeName(error.code));
}

// Measures wall time into the report.
class Stopwatch {
 public:
  explicit Stopwatch(RunReport& report) : report_(report) {}
  ~Stopwatch() {
    const auto passed = std::chrono::steady_clock::now() - start_;
    report_.set_check_wall_ms(
        static_cast<uint64_t>(std::chrono::duration_cast<Millis>(passed).count()));
  }

 private:
  RunReport& report_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

DiskCheckOptions DiskOptions(const CheckOptions& options, uint64_t seed, const std::string& what,
                             const std::string& source_words) {
  DiskCheckOptions disk;
  const auto no_guest = []() -> Result<GuestImage> {
    return UserError("a log without its recording does not say what to boot");
  };
  disk.guest.kernel_image = no_guest;
  disk.guest.command_image = no_guest;
  disk.seed = seed;
  disk.jobs = options.jobs;
  disk.e2fsck_only = options.e2fsck_only;
  if (options.progress) {
    disk.progress = [progress = options.progress, what](uint64_t done, uint64_t total) {
      progress(what, done, total);
    };
  }
  disk.command_for = [source_words](const std::string& id) {
    return MaterializeCommand(source_words, id);
  };
  return disk;
}

// The guest that the recording was made in. The kernel alone is asked without what the scenario
// brings along, which may be gone.
GuestOracleOptions GuestOf(const Recording& manifest, const CheckOptions& options,
                           const std::string& what) {
  GuestOracleOptions guest;
  const auto image = [&manifest, &options](bool with_programs) {
    return [&manifest, &options, with_programs]() -> Result<GuestImage> {
      if (options.image) return *options.image;
      Guest wanted = manifest.scenario().guest();
      if (!with_programs) {
        wanted.clear_program();
        wanted.clear_file();
      }
      return PrepareGuestImage(wanted, options.accelerator, manifest.scenario_path());
    };
  };
  guest.kernel_image = image(false);
  guest.command_image = image(true);
  guest.start_machine = options.start_machine;
  guest.memory_mib = manifest.scenario().guest().memory_mib();
  if (options.progress) {
    guest.progress = [progress = options.progress, what](uint64_t done, uint64_t total) {
      progress(what + ", in a guest", done, total);
    };
  }
  return guest;
}

// One mount with data=writeback is enough to make what it allows last.
oracle::DataMode WeakestDataMode(const MountUse& use) {
  for (const auto mode : {oracle::DataMode::kWriteback, oracle::DataMode::kJournal}) {
    if (use.data_modes.contains(mode)) return mode;
  }
  return oracle::DataMode::kOrdered;
}

// With which options the kernel mounted, or which it refused: the run got as far as this because
// the mounts did what their steps say.
void AddMounts(const Scenario& scenario, RunReport& report) {
  std::set<std::string> refused;
  bool mounted = false;
  for (const Step& step : scenario.step()) {
    if (!step.has_mount()) continue;
    if (report.mount_option().empty()) *report.mutable_mount_option() = step.mount().option();
    if (step.mount().expect_errno().empty()) mounted = true;
    refused.insert(step.mount().expect_errno());
  }
  if (!mounted && refused.size() == 1) report.set_mount_errno(*refused.begin());
}

// A log that was not read to its counted end cannot hold: it says less than it was asked.
void NoteDropped(const DiskSource& source, RunReport& report) {
  const auto& dropped = source.history().dropped;
  if (!dropped || !dropped->counted || report.has_incomplete_reason()) return;
  report.set_incomplete_reason(fmt::format("{} bytes of the log of disk {} were not read: {}",
                                           dropped->bytes.value, source.name(), dropped->reason));
}

// What was asked for and not done is no success.
void NoteNotDone(const DiskReport& disk, RunReport& report) {
  const CrossCheckReport& cross_check = disk.cross_check();
  if (!cross_check.has_not_done() || report.has_incomplete_reason()) return;
  report.set_incomplete_reason(
      fmt::format("the logs of disk {} were not held against each other: {}", disk.disk(),
                  cross_check.not_done()));
}

Status CheckDisks(const recording::Reader& reader, const CheckOptions& options, RunReport& report) {
  const Scenario& scenario = reader.manifest().scenario();
  if (scenario.check().empty())
    return UserError("the scenario has no disk whose log could be checked");
  PP_ASSIGN_OR_RETURN(oracle::Fsck fsck, oracle::Fsck::Find());
  const std::string what = report.name() + (report.variant().empty() ? "" : "/" + report.variant());
  for (Check check : scenario.check()) {
    if (options.max_states) check.set_max_states(*options.max_states);
    PP_ASSIGN_OR_RETURN(const auto source,
                        DiskSource::FromRecording(reader, check.disk(), ModelOf(check.model())));
    PP_ASSIGN_OR_RETURN(const auto trace, TraceOf(reader, check.disk()));
    NoteDropped(*source, report);
    DiskCheckOptions disk = DiskOptions(options, report.seed(), what, ShellWord(reader.folder()));
    disk.guest = GuestOf(reader.manifest(), options, what);
    disk.data_mode = WeakestDataMode(MountUseOf(&scenario, check.disk(), source->base()));
    if (reader.manifest().has_recovery()) disk.recovery = reader.manifest().recovery();
    if (check.has_nested()) {
      disk.judged = [&](const auto& states, const auto& verdicts, DiskReport& disk_report) {
        const NestedOptions nested{.recording = reader.folder(),
                                   .manifest = &reader.manifest(),
                                   .seed = report.seed(),
                                   .check = options,
                                   .kernel_image = disk.guest.kernel_image};
        RunNestedCuts(*source, check, fsck, nested, states, verdicts, disk_report);
      };
    }
    PP_ASSIGN_OR_RETURN(*report.add_disk(),
                        CheckDisk(*source, check, trace ? &*trace : nullptr, fsck, disk));
    if (!WantsCrossCheck(reader.manifest(), check.disk())) continue;
    DiskReport& found = *report.mutable_disk(report.disk_size() - 1);
    if (options.progress) {
      disk.progress = [&](uint64_t done, uint64_t total) {
        options.progress(what + ", the host's log", done, total);
      };
    }
    *found.mutable_cross_check() =
        CrossCheck(reader, *source, found, check, trace ? &*trace : nullptr, fsck, disk);
    NoteNotDone(found, report);
  }
  for (const DiskReport& disk : report.disk()) PP_RETURN_IF_ERROR(ContradictionOf(disk));
  return OkStatus();
}

}  // namespace

std::string ShellWord(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
  });
  if (plain) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string LogFileWords(const std::string& log, const std::string& base, bool scan_past_end) {
  std::string words = "--log " + ShellWord(log);
  if (!base.empty()) words += " --base " + ShellWord(base);
  if (scan_past_end) words += " --scan-past-end";
  return words;
}

std::string MaterializeCommand(const std::string& source_words, const std::string& id) {
  return fmt::format("./plugpull materialize {} {} -o broken.img", source_words, ShellWord(id));
}

std::string RunCommand(const std::string& scenario_path, const std::string& name,
                       const std::string& variant, const std::string& kernel, uint64_t seed) {
  if (scenario_path.empty()) return {};
  std::string command = fmt::format("./plugpull run {}", ShellWord(scenario_path));
  if (!variant.empty()) {
    command += fmt::format(" --filter {}", ShellWord("^" + name + "/" + variant + "$"));
  }
  // It may have come from the command line; then the scenario does not know it.
  if (kernel != Guest().kernel()) command += " --kernel " + ShellWord(kernel);
  return command + fmt::format(" --seed {}", seed);
}

void Conclude(RunReport& report) {
  const std::set<int> expected(report.expected().begin(), report.expected().end());
  std::set<int> found;
  bool surprise = false;
  for (DiskReport& disk : *report.mutable_disk()) {
    for (Finding& finding : *disk.mutable_finding()) {
      const bool listed =
          finding.kind() == Finding::VIOLATED && expected.contains(finding.class_());
      finding.set_expected(listed);
      surprise |= !listed;
      if (finding.kind() == Finding::VIOLATED) found.insert(finding.class_());
    }
  }
  report.clear_missed();
  for (const int wanted : expected) {
    if (!found.contains(wanted)) report.add_missed(static_cast<FindingClass>(wanted));
  }
  report.set_as_expected(!report.has_error() && !report.has_incomplete_reason() && !surprise &&
                         report.missed().empty());
}

RunReport CheckRecording(const std::string& folder, const CheckOptions& options) {
  RunReport report;
  const Stopwatch stopwatch(report);
  report.set_recording(folder);
  const auto reader = recording::Reader::Open(folder);
  if (!reader.ok()) {
    report.set_name(folder);
    SetError(report, reader.error());
    return report;
  }
  const Recording& manifest = reader->manifest();
  const Scenario& scenario = manifest.scenario();
  report.set_name(scenario.name());
  report.set_variant(manifest.variant());
  report.set_summary(scenario.summary());
  report.set_seed(options.seed.value_or(manifest.seed()));
  report.set_kernel(scenario.guest().kernel());
  report.set_kernel_release(manifest.kernel_release());
  report.set_accelerator(manifest.accelerator());
  report.set_guest_wall_ms(manifest.guest_wall_ms());
  *report.mutable_expected() = scenario.expect().found();
  AddMounts(scenario, report);
  if (manifest.has_incomplete_reason()) {
    report.set_incomplete_reason(manifest.incomplete_reason());
  }
  std::string command = RunCommand(manifest.scenario_path(), scenario.name(), manifest.variant(),
                                   scenario.guest().kernel(), report.seed());
  if (options.seed || options.max_states) {
    command = "./plugpull check " + ShellWord(folder);
    if (options.seed) command += fmt::format(" --seed {}", *options.seed);
    if (options.max_states) command += fmt::format(" --max-states {}", *options.max_states);
  }
  if (!command.empty()) report.set_command(command);
  if (const Status status = CheckDisks(*reader, options, report); !status.ok()) {
    Error error = status.error();
    // What an incomplete recording lacks is not the user's mistake.
    if (manifest.has_incomplete_reason()) error.code = ErrorCode::kGuest;
    SetError(report, error);
  }
  Conclude(report);
  return report;
}

RunReport CheckLogFile(const std::string& log, const std::string& base, bool scan_past_end,
                       const Check& check, const CheckOptions& options) {
  RunReport report;
  const Stopwatch stopwatch(report);
  report.set_name(log);
  report.set_seed(options.seed.value_or(1));
  const auto work = [&]() -> Status {
    PP_ASSIGN_OR_RETURN(oracle::Fsck fsck, oracle::Fsck::Find());
    PP_ASSIGN_OR_RETURN(const auto source, DiskSource::FromLogFile(
                                               {log, base, scan_past_end, ModelOf(check.model())}));
    NoteDropped(*source, report);
    const std::string words = LogFileWords(log, base, scan_past_end);
    PP_ASSIGN_OR_RETURN(
        *report.add_disk(),
        CheckDisk(*source, check, nullptr, fsck, DiskOptions(options, report.seed(), log, words)));
    return OkStatus();
  };
  if (const Status status = work(); !status.ok()) SetError(report, status.error());
  Conclude(report);
  return report;
}

}  // namespace plugpull::run
