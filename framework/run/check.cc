// SPDX-License-Identifier: Apache-2.0
#include "framework/run/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "framework/agent/contract.h"
#include "framework/blocklog/history.h"
#include "framework/blocklog/log_reader.h"
#include "framework/run/cross_check.h"
#include "framework/run/disk_check.h"
#include "framework/run/mount_use.h"
#include "framework/run/nested_cuts.h"
#include "framework/run/power_cut.h"
#include "framework/run/promises.h"
#include "framework/run/workdir.h"
#include "framework/scenario/validate.h"

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

// What a check of a boot has to know of the boots before it and of its end.
Status AddBoot(const recording::Reader& reader, const std::string& disk,
               DiskCheckOptions& options) {
  const Recording& manifest = reader.manifest();
  if (!manifest.has_boot()) return OkStatus();
  PP_ASSIGN_OR_RETURN(options.promises, PromisesOf(reader, disk));
  options.begins_as_crash_state = manifest.boot().number() > 1;
  for (const ChosenState& chosen : manifest.power_cut().chosen()) {
    if (chosen.disk() != disk) continue;
    PP_ASSIGN_OR_RETURN(options.left_by_power_cut, crashstate::CrashStateId::Parse(chosen.state()));
  }
  return OkStatus();
}

// What a search for a state did not find is a finding of its own.
void AddNotFound(const Recording& manifest, DiskReport& report) {
  const RecordedPowerCut& cut = manifest.power_cut();
  Finding& finding = *report.add_finding();
  finding.set_kind(Finding::VIOLATED);
  finding.set_class_(NO_SUCH_STATE);
  finding.set_oracle(FSCK);
  for (const Step& step : manifest.scenario().step()) {
    const FindingClass found = step.power_cut().search().found();
    if (step.has_power_cut() && found == DURABILITY_LOST) finding.set_oracle(CONTENT);
    if (step.has_power_cut() && found == STALE_DATA_EXPOSED) finding.set_oracle(STALE_DATA);
  }
  finding.set_count(cut.searched());
  finding.set_evidence(fmt::format(
      "{}, so the power_cut has nothing to go on with: the steps behind it were not carried out",
      cut.not_found()));
}

// Requests that were to fail, where none did: a run that is green for want of a fault.
void NoteFaultsWithoutEffect(const Recording& manifest, RunReport& report) {
  for (const RecordedFault& fault : manifest.fault()) {
    if (fault.request_error_size() > 0) continue;
    const auto step = static_cast<int>(fault.step());
    if (step < 1 || step > manifest.scenario().step_size()) continue;
    if (!manifest.scenario().step(step - 1).device_fault().has_io_error()) continue;
    report.add_note(fmt::format("step {}, {}: no request failed by it", step, fault.what()));
  }
}

// What the readers of a report must know of the power cut that ended a boot.
// `first`: of this disk and boot.
void NotePowerCut(const recording::Reader& reader, bool first, DiskReport& report) {
  const Recording& manifest = reader.manifest();
  if (!manifest.has_boot()) return;
  report.set_boot(manifest.boot().number());
  for (const std::string& words : manifest.boot().not_judged()) report.add_note(words);
  const RecordedPowerCut& cut = manifest.power_cut();
  if (first && cut.has_not_found() && cut.searched_disk() == report.disk()) {
    AddNotFound(manifest, report);
  }
  for (const ChosenState& chosen : cut.chosen()) {
    if (chosen.disk() != report.disk()) continue;
    std::string shows;
    for (const int shown : chosen.shows()) {
      shows += (shows.empty() ? "" : ", ") + FindingClass_Name(static_cast<FindingClass>(shown));
    }
    report.add_note(fmt::format(
        "boot {} ended in a power cut ({}): {}, {} writes lost, shows {}; boot {} began with it; "
        "this rebuilds it: {}",
        report.boot(), cut.policy(), chosen.state(), chosen.lost_writes(),
        shows.empty() ? (chosen.holds() ? "nothing" : "nothing that could be judged") : shows,
        report.boot() + 1, MaterializeCommand(ShellWord(reader.folder()), chosen.state())));
  }
  if (cut.kept_disk_size() > 0) {
    std::string kept;
    for (const std::string& disk : cut.kept_disk()) kept += (kept.empty() ? "" : ", ") + disk;
    report.add_note(
        fmt::format("without a log, as if they had no cache, kept what they had: {}", kept));
  }
}

struct PartOfCheck {
  bool first = false;  // of its disk, in this boot
  // Set: only the state that the power cut left, which is of this model and not of the check's.
  std::optional<crashstate::DeviceModel> only_left_under;
};

Status CheckOneDisk(const recording::Reader& reader, Check check, oracle::Fsck& fsck,
                    const CheckOptions& options, const std::string& what, const PartOfCheck& part,
                    RunReport& report) {
  const Scenario& scenario = reader.manifest().scenario();
  if (options.max_states) check.set_max_states(*options.max_states);
  PP_ASSIGN_OR_RETURN(
      const auto source,
      DiskSource::FromRecording(reader, check.disk(),
                                part.only_left_under.value_or(ModelOf(check.model()))));
  PP_ASSIGN_OR_RETURN(const auto trace, TraceOf(reader, check.disk()));
  NoteDropped(*source, report);
  DiskCheckOptions disk = DiskOptions(options, report.seed(), what, ShellWord(reader.folder()));
  disk.guest = GuestOf(reader.manifest(), options, what);
  disk.data_mode = WeakestDataMode(MountUseOf(&scenario, check.disk(), source->base()));
  if (reader.manifest().has_recovery()) disk.recovery = reader.manifest().recovery();
  PP_RETURN_IF_ERROR(AddBoot(reader, check.disk(), disk));
  disk.only_left_by_power_cut = part.only_left_under.has_value();
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
  NotePowerCut(reader, part.first, *report.mutable_disk(report.disk_size() - 1));
  if (part.only_left_under || !WantsCrossCheck(reader.manifest(), check.disk())) return OkStatus();
  DiskReport& found = *report.mutable_disk(report.disk_size() - 1);
  if (options.progress) {
    disk.progress = [&](uint64_t done, uint64_t total) {
      options.progress(what + ", the host's log", done, total);
    };
  }
  *found.mutable_cross_check() =
      CrossCheck(reader, *source, found, check, trace ? &*trace : nullptr, fsck, disk);
  NoteNotDone(found, report);
  return OkStatus();
}

// A power_cut may name a state of another model than those of the checks of its disk. Under its own
// it is judged by itself.
Status CheckStatesOfOtherModels(const recording::Reader& reader, oracle::Fsck& fsck,
                                const CheckOptions& options, const std::string& what,
                                RunReport& report) {
  const Scenario& scenario = reader.manifest().scenario();
  for (const ChosenState& chosen : reader.manifest().power_cut().chosen()) {
    PP_ASSIGN_OR_RETURN(const auto id, crashstate::CrashStateId::Parse(chosen.state()));
    std::optional<Check> first;
    bool judged = false;
    for (const Check& check : scenario.check()) {
      if (check.disk() != chosen.disk()) continue;
      judged |= ModelOf(check.model()) == id.model;
      if (!first) first = check;
    }
    if (judged) continue;
    if (!first) {
      report.add_note(fmt::format(
          "the state {} that the power cut of boot {} left was not judged, for no check is of disk "
          "{}",
          chosen.state(), reader.manifest().boot().number(), chosen.disk()));
      continue;
    }
    first->clear_nested();
    LeaveOut(GUARANTEES, *first);  // its counts are of the check's model
    PP_RETURN_IF_ERROR(
        CheckOneDisk(reader, *first, fsck, options, what, {false, id.model}, report));
  }
  return OkStatus();
}

// Whether the log of a disk has nothing to cut because the steps ended before its first mount.
bool EndsBeforeFirstMount(const recording::Reader& reader, const std::string& disk) {
  const Recording& manifest = reader.manifest();
  const auto& steps = manifest.scenario().step();
  const auto end_of_run = steps.begin() + StepsRun(manifest);
  const auto mounts = [&](const Step& step) { return step.mount().disk() == disk; };
  if (std::any_of(steps.begin(), end_of_run, mounts)) return false;
  const RecordedDisk* recorded = reader.FindDisk(disk);
  if (std::none_of(end_of_run, steps.end(), mounts) || recorded == nullptr) return false;
  const Bytes size(recorded->size_bytes());
  const Bytes strip(recorded->strip_bytes());
  const auto bytes = reader.ReadLog(*recorded);
  if (!bytes.ok()) return false;
  const auto log = blocklog::ReadLog(*bytes, {true, size + strip});
  if (!log.ok()) return false;
  const auto history = blocklog::MakeHistory(*log, {size, strip});
  return history.ok() && history->base == 0;
}

// Stale data is looked for in the files of a workload. Where the steps ended before it, there are
// none, and the other oracles go on without it.
void LeaveOutStaleData(const recording::Reader& reader, Check& check, RunReport& report) {
  const Scenario& scenario = reader.manifest().scenario();
  const RecordedDisk* recorded = reader.FindDisk(check.disk());
  if (!Asks(check, STALE_DATA) || recorded == nullptr || !recorded->has_poison_seed()) return;
  std::map<std::string, std::string> disk_at;
  bool left_out = false;
  for (int i = 0; i < scenario.step_size(); ++i) {
    const Step& step = scenario.step(i);
    if (step.has_mount()) disk_at[step.mount().at()] = step.mount().disk();
    if (!step.has_workload() || disk_at[step.workload().at()] != check.disk()) continue;
    if (i < StepsRun(reader.manifest())) return;
    left_out = true;
  }
  if (!left_out) return;
  LeaveOut(STALE_DATA, check);
  report.add_note(
      fmt::format("stale data on disk {} was not judged, for the steps ended before its workload",
                  check.disk()));
}

Status CheckDisks(const recording::Reader& reader, const CheckOptions& options, RunReport& report) {
  const Recording& manifest = reader.manifest();
  const Scenario& scenario = manifest.scenario();
  if (scenario.check().empty()) {
    if (report.agent_size() > 0) return OkStatus();  // the contract is the judge
    if (std::any_of(scenario.step().begin(), scenario.step().end(), scenario::HasDemand)) {
      return OkStatus();  // its steps are the judges
    }
    return UserError(
        "the scenario has no disk whose log could be checked, and no step demands "
        "anything or starts an agent");
  }
  PP_ASSIGN_OR_RETURN(oracle::Fsck fsck, oracle::Fsck::Find());
  const std::string what = report.name() + (report.variant().empty() ? "" : "/" + report.variant());
  const bool ended_early = StepsRun(manifest) < scenario.step_size();
  std::set<std::string> noted;
  for (Check check : scenario.check()) {
    const int disks = report.disk_size();
    if (ended_early) LeaveOutStaleData(reader, check, report);
    const Status checked = CheckOneDisk(reader, check, fsck, options, what,
                                        {noted.insert(check.disk()).second, {}}, report);
    if (checked.ok()) continue;
    if (!ended_early || checked.error().code != ErrorCode::kUser ||
        !EndsBeforeFirstMount(reader, check.disk())) {
      return checked;
    }
    report.mutable_disk()->DeleteSubrange(disks, report.disk_size() - disks);
    report.add_note(
        fmt::format("disk {} was not checked, for the steps ended before there was "
                    "enough to look at: {}",
                    check.disk(), checked.error().ToString()));
  }
  PP_RETURN_IF_ERROR(CheckStatesOfOtherModels(reader, fsck, options, what, report));
  for (const DiskReport& disk : report.disk()) PP_RETURN_IF_ERROR(ContradictionOf(disk));
  return OkStatus();
}

Status CheckAgents(const recording::Reader& reader, RunReport& report) {
  PP_ASSIGN_OR_RETURN(const auto timeline, reader.ReadTimeline());
  if (!timeline) return OkStatus();
  for (AgentReport& agent :
       agent::JudgeTimeline(*timeline, reader.manifest().scenario().contract())) {
    *report.add_agent() = std::move(agent);
  }
  return OkStatus();
}

// What steps of a boot demanded and did not get; steps count in the whole scenario.
void AddDemands(const Recording& manifest, RunReport& report) {
  const uint32_t before = std::max(manifest.boot().first_step(), 1U) - 1;
  report.set_steps(report.steps() + static_cast<uint32_t>(manifest.scenario().step_size()));
  report.set_steps_run(report.steps_run() + static_cast<uint32_t>(StepsRun(manifest)));
  for (const UnmetDemand& unmet : manifest.unmet_demand()) {
    Finding& finding = *report.add_finding();
    finding.set_kind(Finding::VIOLATED);
    finding.set_oracle(STEPS);
    finding.set_class_(DEMAND_UNMET);
    finding.set_count(1);
    finding.set_step(before + unmet.step());
    if (unmet.has_line()) finding.set_line(unmet.line());
    finding.set_evidence(
        fmt::format("{}\nasked for: {}\nbut: {}", unmet.what(), unmet.asked(), unmet.came()));
  }
}

// Whether another boot comes behind this one. A recording whose run was ended before the state for
// the next boot was chosen is not a whole one.
Result<bool> GoesOn(const Recording& manifest) {
  const RecordedBoot& boot = manifest.boot();
  // The reason may be that the next boot is missing.
  if (boot.number() >= boot.boots() || manifest.has_incomplete_reason()) return false;
  if (manifest.power_cut().chosen_size() > 0) return true;
  if (manifest.power_cut().has_not_found() || manifest.unmet_demand_size() > 0) return false;
  return UserError(
      fmt::format("boot {} of {} ended in a power cut, but what it left was never chosen: the run "
                  "was ended before that; record it again",
                  boot.number(), boot.boots()));
}

// The boots behind the first one, whose folder `first` is.
Status CheckLaterBoots(const std::string& first, const Recording& manifest,
                       const CheckOptions& options, RunReport& report) {
  PP_ASSIGN_OR_RETURN(bool expected, GoesOn(manifest));
  for (uint32_t number = 2; expected && number <= manifest.boot().boots(); ++number) {
    const std::string folder = Workdir::BootRecording(first, number);
    const auto reader = recording::Reader::Open(folder);
    if (!reader.ok()) {
      return WithContext(reader.error(), fmt::format("boot {} of {} of the scenario", number,
                                                     manifest.boot().boots()));
    }
    const Recording& boot = reader->manifest();
    if (boot.has_incomplete_reason() && !report.has_incomplete_reason()) {
      report.set_incomplete_reason(fmt::format("boot {}: {}", number, boot.incomplete_reason()));
    }
    report.set_guest_wall_ms(report.guest_wall_ms() + boot.guest_wall_ms());
    AddDemands(boot, report);
    const Status checked = CheckDisks(*reader, options, report);
    if (!checked.ok()) return WithContext(checked.error(), fmt::format("boot {}", number));
    PP_ASSIGN_OR_RETURN(expected, GoesOn(boot));
  }
  return OkStatus();
}

// A later boot that is checked alone cannot show what the others have to.
void ExpectOnlyWhatWasFound(RunReport& report) {
  std::set<int> found;
  for (const Finding& finding : report.finding()) found.insert(finding.class_());
  for (const DiskReport& disk : report.disk()) {
    for (const Finding& finding : disk.finding()) {
      if (finding.kind() == Finding::VIOLATED) found.insert(finding.class_());
    }
  }
  std::vector<int> expected;
  std::copy_if(report.expected().begin(), report.expected().end(), std::back_inserter(expected),
               [&](int one) { return found.contains(one); });
  report.mutable_expected()->Assign(expected.begin(), expected.end());
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
                       const std::string& variant, const std::string& kernel, uint64_t seed,
                       const std::string& agent_path) {
  if (scenario_path.empty()) return {};
  std::string command = fmt::format("./plugpull run {}", ShellWord(scenario_path));
  if (!agent_path.empty()) command += " --agent " + ShellWord(agent_path);
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
  const auto judge = [&](Finding& finding) {
    const bool listed = finding.kind() == Finding::VIOLATED && expected.contains(finding.class_());
    finding.set_expected(listed);
    surprise |= !listed;
    if (finding.kind() == Finding::VIOLATED) found.insert(finding.class_());
  };
  for (Finding& finding : *report.mutable_finding()) judge(finding);
  for (DiskReport& disk : *report.mutable_disk()) {
    for (Finding& finding : *disk.mutable_finding()) judge(finding);
  }
  for (AgentReport& agent : *report.mutable_agent()) {
    for (PropertyReport& property : *agent.mutable_property()) {
      if (property.verdict() == PropertyReport::UNKNOWN) surprise = true;
      if (property.verdict() != PropertyReport::VIOLATED) continue;
      const bool listed = expected.contains(property.property());
      property.set_expected(listed);
      surprise |= !listed;
      found.insert(property.property());
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
  if (manifest.has_guest_clock_ms()) report.set_guest_clock_ms(manifest.guest_clock_ms());
  *report.mutable_expected() = scenario.expect().found();
  AddMounts(scenario, report);
  if (manifest.has_incomplete_reason()) {
    report.set_incomplete_reason(manifest.incomplete_reason());
  }
  std::string command = RunCommand(manifest.scenario_path(), scenario.name(), manifest.variant(),
                                   scenario.guest().kernel(), report.seed(), manifest.agent_path());
  if (manifest.has_agent_path()) {
    report.add_note(fmt::format("its agents are replaced by that of {}", manifest.agent_path()));
  }
  if (options.seed || options.max_states) {
    command = "./plugpull check " + ShellWord(folder);
    if (options.seed) command += fmt::format(" --seed {}", *options.seed);
    if (options.max_states) command += fmt::format(" --max-states {}", *options.max_states);
  }
  if (!command.empty()) report.set_command(command);
  AddDemands(manifest, report);
  NoteFaultsWithoutEffect(manifest, report);
  Status status = CheckAgents(*reader, report);
  if (status.ok()) status = CheckDisks(*reader, options, report);
  if (status.ok() && manifest.boot().number() == 1) {
    status = CheckLaterBoots(folder, manifest, options, report);
  }
  if (manifest.boot().number() > 1) ExpectOnlyWhatWasFound(report);
  if (!status.ok()) {
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
