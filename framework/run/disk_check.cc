// SPDX-License-Identifier: Apache-2.0
#include "framework/run/disk_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "framework/run/coverage.h"
#include "framework/run/guarantee_tally.h"
#include "framework/run/uninterrupted.h"

namespace plugpull::run {

using crashstate::StateSpec;
using oracle::Outcome;

namespace {

// What makes two findings the same one. Ordered as they are shown: worst first.
struct FindingKey {
  Finding::Kind kind;
  FindingClass finding_class;
  Oracle oracle;
  auto operator<=>(const FindingKey&) const = default;
};

struct Found {
  uint64_t count = 0;
  size_t example = 0;
  size_t example_lost = 0;  // writes that the example has lost
  const std::string* evidence = nullptr;
};

const std::string kOrderDecides =
    "the order of two overlapping writes is not known, and the verdict depends on it";

class Tally {
 public:
  // With `torn`, what is found needs a write that tore, and is of a class of its own.
  void Add(size_t index, const StateVerdict& verdict, size_t lost, bool torn) {
    if (verdict.order_decides) {
      Count({Finding::UNKNOWN, FINDING_UNSPECIFIED, FSCK}, index, lost, &kOrderDecides);
      return;
    }
    const auto class_of = [&](FindingClass whole) { return torn ? TORN_WRITE : whole; };
    Add(index, lost, verdict.recovery, class_of(JOURNAL_REFUSED), FSCK, verdict.evidence);
    Add(index, lost, verdict.structure, class_of(METADATA_INCONSISTENT), FSCK, verdict.evidence);
    Add(index, lost, verdict.content, class_of(DURABILITY_LOST), CONTENT, verdict.content_evidence);
    Add(index, lost, verdict.stale_data, class_of(STALE_DATA_EXPOSED), STALE_DATA,
        verdict.stale_evidence);
    Add(index, lost, verdict.same_recovery, class_of(RECOVERY_DIFFERS), SAME_RECOVERY,
        verdict.same_recovery_evidence);
    Add(index, lost, verdict.kernel, KERNEL_DISAGREES, KERNEL_MOUNT, verdict.kernel_evidence);
    Add(index, lost, verdict.command, class_of(COMMAND_FAILED), COMMAND, verdict.command_evidence);
  }

  const std::map<FindingKey, Found>& found() const { return found_; }

 private:
  void Add(size_t index, size_t lost, Outcome outcome, FindingClass finding_class, Oracle oracle,
           const std::string* evidence) {
    if (outcome == Outcome::kViolated) {
      Count({Finding::VIOLATED, finding_class, oracle}, index, lost, evidence);
    } else if (outcome == Outcome::kUnknown) {
      Count({Finding::UNKNOWN, FINDING_UNSPECIFIED, oracle}, index, lost, evidence);
    }
  }

  // The example is the state that lost the fewest writes, the first of them.
  void Count(const FindingKey& key, size_t index, size_t lost, const std::string* evidence) {
    Found& found = found_[key];
    if (found.count++ == 0 || lost < found.example_lost) {
      found.example = index;
      found.example_lost = lost;
      found.evidence = evidence;
    }
  }

  std::map<FindingKey, Found> found_;
};

void CountStates(const std::vector<StateVerdict>& verdicts, const std::vector<StateSpec>& states,
                 std::optional<uint32_t> enumerator, StateCounts& counts) {
  uint64_t enumerated = 0;
  uint64_t by_outcome[3] = {};
  std::set<image::Fingerprint> distinct;
  for (size_t i = 0; i < states.size(); ++i) {
    if (enumerator && states[i].enumerator != *enumerator) continue;
    ++enumerated;
    distinct.insert(verdicts[i].recovered);
    ++by_outcome[static_cast<size_t>(verdicts[i].Worst())];
  }
  counts.set_enumerated(enumerated);
  counts.set_distinct(distinct.size());
  counts.set_holds(by_outcome[static_cast<size_t>(Outcome::kHolds)]);
  counts.set_violated(by_outcome[static_cast<size_t>(Outcome::kViolated)]);
  counts.set_unknown(by_outcome[static_cast<size_t>(Outcome::kUnknown)]);
}

void AddEnumerators(const crashstate::Enumeration& enumeration,
                    const std::vector<StateVerdict>& verdicts, DiskReport& report) {
  for (uint32_t i = 0; i < enumeration.enumerators.size(); ++i) {
    EnumeratorReport& out = *report.add_enumerator();
    out.set_name(enumeration.enumerators[i].name);
    out.set_exhaustive(enumeration.enumerators[i].exhaustive);
    CountStates(verdicts, enumeration.states, i, *out.mutable_states());
    Tally tally;
    for (size_t s = 0; s < verdicts.size(); ++s) {
      const StateSpec& spec = enumeration.states[s];
      if (spec.enumerator == i) tally.Add(s, verdicts[s], 0, !spec.selection.torn.empty());
    }
    for (const auto& [key, found] : tally.found()) {
      const bool listed = std::ranges::count(out.found(), static_cast<int>(key.finding_class)) > 0;
      if (key.kind == Finding::VIOLATED && !listed) out.add_found(key.finding_class);
    }
  }
}

oracle::WriteOrder OrderOf(const DiskSource& source) {
  if (source.space().model().lying) return oracle::WriteOrder::kIgnored;
  if (!source.sends_flushes()) return oracle::WriteOrder::kHidden;
  const auto& history = source.history();
  const bool asked = std::any_of(history.events.begin() + static_cast<ptrdiff_t>(history.base),
                                 history.events.end(),
                                 [](const auto& event) { return event.HasFlush() || event.fua; });
  return asked ? oracle::WriteOrder::kKept : oracle::WriteOrder::kNotAsked;
}

void AddFindings(const DiskSource& source, const crashstate::Enumeration& enumeration,
                 const std::vector<StateVerdict>& verdicts, const DiskCheckOptions& options,
                 DiskReport& report) {
  const auto& space = source.space();
  Tally tally;
  std::vector<size_t> scratch;
  std::vector<size_t> lost;
  for (size_t i = 0; i < verdicts.size(); ++i) {
    if (verdicts[i].Worst() == Outcome::kHolds) continue;
    space.LostEventsInto(enumeration.states[i].cut, enumeration.states[i].selection, scratch, lost);
    tally.Add(i, verdicts[i], lost.size(), !enumeration.states[i].selection.torn.empty());
  }
  for (const auto& [key, found] : tally.found()) {
    const StateSpec& spec = enumeration.states[found.example];
    const std::string id = crashstate::IdOf(space, spec).ToString();
    Finding& finding = *report.add_finding();
    finding.set_kind(key.kind);
    finding.set_oracle(key.oracle);
    if (key.kind == Finding::VIOLATED) finding.set_class_(key.finding_class);
    finding.set_count(found.count);
    finding.set_example(id);
    finding.set_command(options.command_for ? options.command_for(id) : "");
    if (found.evidence != nullptr) finding.set_evidence(*found.evidence);
    if (key.finding_class == STALE_DATA_EXPOSED) {
      *finding.mutable_evidence() +=
          fmt::format("\n{}", oracle::StaleDataBlame(options.data_mode, OrderOf(source)));
    }
    space.LostEventsInto(spec.cut, spec.selection, scratch, lost);
    finding.set_lost_writes(static_cast<uint32_t>(lost.size()));
    constexpr size_t kNamedMax = 6;
    for (size_t i = 0; i < std::min(lost.size(), kNamedMax); ++i) {
      finding.add_lost(source.names().EventInWords(lost[i]));
    }
    for (const auto& torn : space.TornWritesOf(spec.selection)) {
      finding.add_lost("torn: " + source.names().EventInWords(torn.event));
    }
  }
}

// The marks of the log and the results of the trace must be of one run: every acknowledgement of a
// sync that the trace knows to have succeeded, and at least one where there were any. Else content
// would be held against nothing, or against another run's promises.
Status CheckAcknowledgements(const blocklog::History& history, const WorkloadTrace& trace) {
  std::set<std::string> succeeded;
  for (const OperationResult& result : trace.result()) {
    if (result.error() == 0 && result.index() < static_cast<uint64_t>(trace.operation_size()) &&
        workload::IsAcknowledged(trace.operation(static_cast<int>(result.index())))) {
      succeeded.insert(fmt::format("{}.{}", trace.workload(), result.index()));
    }
  }
  size_t acknowledged = 0;
  for (const auto& event : history.events) {
    if (event.mark.kind != "ack") continue;
    if (!succeeded.contains(event.mark.text)) {
      return UserError(fmt::format(
          "log entry {} acknowledges operation {}, which the workload's trace does not know as "
          "one that succeeded and is acknowledged; log and trace are not of one run: record again",
          event.entry, event.mark.text.substr(0, 40)));
    }
    ++acknowledged;
  }
  if (acknowledged == 0 && !succeeded.empty()) {
    return UserError(fmt::format(
        "{} syncs succeeded, but the log has no mark of one; log and trace are not of one run: "
        "record again",
        succeeded.size()));
  }
  return OkStatus();
}

// Who judged how much, and where two judges did not agree.
void AddJudges(const Judge& judge, DiskReport& report) {
  const EngineCounts& counts = judge.counts();
  const auto add = [&](const std::string& name, uint64_t runs) {
    if (runs == 0) return;
    JudgeCount& count = *report.add_judge();
    count.set_judge(name);
    count.set_runs(runs);
  };
  add("recovery in process", counts.recovered);
  add("recovery by e2fsck", counts.recovered_by_e2fsck);
  add("structure passed in process", counts.passed);
  add("structure condemned in process", counts.condemned);
  add("structure not judged in process", counts.not_judged);
  add("e2fsck -fn", counts.e2fsck_checks);
  add("e2fsck -fn on a sample of the passed", counts.sampled);
  add("content", judge.content_checks());
  add("stale data", judge.stale_data_checks());
  add("same recovery", judge.recoveries_compared());
  add("guarantees", judge.guarantee_checks());
  if (counts.falsely_passed > 0) {
    report.add_note(fmt::format(
        "a fault of plugpull: its own check passed {} of {} images that e2fsck, asked as a sample, "
        "condemns; all images were judged again by e2fsck alone. Please report it",
        counts.falsely_passed, counts.sampled));
  }
  if (counts.not_confirmed > 0) {
    report.add_note(fmt::format(
        "e2fsck could not judge {} of {} images that it was asked about as a sample; all images "
        "were judged again by e2fsck alone",
        counts.not_confirmed, counts.sampled));
  }
  if (counts.falsely_condemned > 0) {
    report.add_note(
        fmt::format("plugpull's own check condemned {} images that e2fsck passes; they hold",
                    counts.falsely_condemned));
  }
  for (const std::string& words : counts.disagreements) report.add_note("  " + words);
}

// Whether a files workload ran on a disk, by the steps that were carried out.
bool HasWorkload(const Recording& manifest, const std::string& disk) {
  std::map<std::string, std::string> disk_at;
  const Scenario& scenario = manifest.scenario();
  for (int i = 0; i < StepsRun(manifest); ++i) {
    const Step& step = scenario.step(i);
    if (step.has_mount()) disk_at[step.mount().at()] = step.mount().disk();
    if (step.has_workload() && disk_at[step.workload().at()] == disk) return true;
  }
  return false;
}

Status CheckStaleDataCanJudge(const DiskSource& source, bool has_workload) {
  if (has_workload && source.poisoned()) return OkStatus();
  return UserError(fmt::format("STALE_DATA cannot judge disk {}: {}", source.name(),
                               has_workload ? "it was not filled with poison (`fill: POISON`) when "
                                              "it was recorded; record it again"
                                            : "no files workload ran on it"));
}

Result<oracle::SameRecovery> SameRecoveryOf(const DiskSource& source,
                                            const DiskCheckOptions& options, oracle::Fsck& fsck) {
  if (options.recovery) return UninterruptedRecovery(source, *options.recovery, fsck);
  return UserError(fmt::format(
      "SAME_RECOVERY cannot judge disk {}: what was recorded is no recovery", source.name()));
}

// Adds one state to those that are judged; both orders of it, where its order is not known.
Status AddChosen(const DiskSource& source, const crashstate::CrashStateId& id,
                 crashstate::Enumeration& enumeration, DiskReport& report) {
  const crashstate::CrashSpace& space = source.space();
  StateSpec spec;
  PP_ASSIGN_OR_RETURN(spec.cut, space.CutOfEntry(id.cut));
  PP_ASSIGN_OR_RETURN(const auto lost_events, space.LostEvents(spec.cut, id.selection));
  PP_ASSIGN_OR_RETURN(const auto torn, space.TornWrites(spec.cut, id.selection));
  spec.selection = id.selection;
  spec.enumerator = static_cast<uint32_t>(enumeration.enumerators.size());
  enumeration.enumerators.push_back({"power cut", true});
  enumeration.states.push_back(spec);
  if (space.OrderUnknown(spec.cut, lost_events)) {
    spec.overlapping_older = true;
    enumeration.states.push_back(spec);
    ++enumeration.order_unknown;
    report.add_note(
        "in the state that the power cut left, the order of overlapping writes is not known: both "
        "orders were judged, and the next boot began with the one that the state's id names");
  }
  return OkStatus();
}

Result<crashstate::Enumeration> StatesOf(const DiskSource& source, const Check& check,
                                         const DiskCheckOptions& options, DiskReport& report) {
  crashstate::Enumeration enumeration;
  if (!options.only_left_by_power_cut) {
    enumeration =
        crashstate::EnumerateStates(source.space(), check, options.seed, &source.timeline());
  }
  const auto& left = options.left_by_power_cut;
  if (left && left->model == source.space().model()) {
    PP_RETURN_IF_ERROR(AddChosen(source, *left, enumeration, report));
  }
  return enumeration;
}

StateSpec StartOf(const DiskSource& source) {
  StateSpec base;
  base.cut = source.space().first_cut();
  return base;
}

// Whether a later boot began with a disk that holds.
Result<Said> JudgeStart(const DiskSource& source, oracle::Fsck& fsck) {
  StateEngine engine(source.space(), source.journal(), source.base_extents(), fsck,
                     {.in_process = true, .sample_permille = 1000}, nullptr);
  PP_ASSIGN_OR_RETURN(const RecoveredState recovered, engine.MoveTo(StartOf(source)));
  if (recovered.said.outcome != Outcome::kHolds) return recovered.said;
  PP_ASSIGN_OR_RETURN(Said structure, engine.JudgeStructure());
  if (recovered.fast_commits && structure.outcome == Outcome::kViolated) {
    structure = {Outcome::kUnknown, oracle::kFastCommitDoubt + structure.evidence};
  }
  return structure;
}

// Says that no state of a later boot was judged, for `start` does not hold. That it is broken is a
// finding of the boot before; that nobody knows is one of this boot.
void AddBadStart(const DiskSource& source, const Said& start, const DiskCheckOptions& options,
                 DiskReport& report) {
  StateCounts& states = *report.mutable_states();
  if (start.outcome == Outcome::kViolated) {
    report.add_note("no state of this boot was judged, for what it began with does not hold: " +
                    start.evidence);
    return;
  }
  report.add_note(
      "no state of this boot was judged, for nobody can say whether what it began with "
      "holds");
  states.set_enumerated(1);
  states.set_distinct(1);
  states.set_unknown(1);
  const std::string id = crashstate::IdOf(source.space(), StartOf(source)).ToString();
  Finding& finding = *report.add_finding();
  finding.set_kind(Finding::UNKNOWN);
  finding.set_oracle(FSCK);
  finding.set_count(1);
  finding.set_example(id);
  finding.set_command(options.command_for ? options.command_for(id) : "");
  finding.set_evidence(start.evidence);
}

}  // namespace

int StepsRun(const Recording& manifest) {
  int run = manifest.scenario().step_size();
  for (const UnmetDemand& unmet : manifest.unmet_demand()) {
    run =
        std::min<int>(run, manifest.scenario().step_size() - static_cast<int>(unmet.steps_left()));
  }
  return std::max(run, 0);
}

bool Asks(const Check& check, Oracle oracle) {
  return std::find(check.oracle().begin(), check.oracle().end(), oracle) != check.oracle().end();
}

bool LeaveOut(Oracle oracle, Check& check) {
  auto& oracles = *check.mutable_oracle();
  const auto kept = std::remove(oracles.begin(), oracles.end(), static_cast<int>(oracle));
  if (kept == oracles.end()) return false;
  oracles.erase(kept, oracles.end());
  if (oracles.empty()) check.add_oracle(FSCK);
  return true;
}

Result<std::optional<WorkloadTrace>> TraceOf(const recording::Reader& reader,
                                             const std::string& disk) {
  PP_ASSIGN_OR_RETURN(auto traces, reader.ReadTraces(disk));
  if (traces.size() > 1) {
    return UserError(fmt::format(
        "{} files workloads ran on disk {}; the content oracle follows one: split the scenario",
        traces.size(), disk));
  }
  if (!traces.empty()) return std::optional(std::move(traces[0]));
  if (HasWorkload(reader.manifest(), disk)) {
    return UserError(fmt::format(
        "the trace of the workload on disk {} is missing from the recording; record again", disk));
  }
  return std::optional<WorkloadTrace>();
}

Result<std::optional<workload::ObligationIndex>> ObligationsOf(const DiskSource& source,
                                                               const Check& check,
                                                               const WorkloadTrace* trace) {
  const bool needed = Asks(check, CONTENT) || Asks(check, STALE_DATA) || Asks(check, GUARANTEES);
  if (!needed || trace == nullptr) return std::optional<workload::ObligationIndex>();
  PP_RETURN_IF_ERROR(CheckAcknowledgements(source.history(), *trace));
  PP_ASSIGN_OR_RETURN(auto index, workload::ObligationIndex::Make(*trace));
  return std::optional(std::move(index));
}

Result<DiskReport> CheckDisk(const DiskSource& source, const Check& check,
                             const WorkloadTrace* trace, oracle::Fsck& fsck,
                             const DiskCheckOptions& options) {
  const auto& space = source.space();
  DiskReport report;
  report.set_disk(source.name());
  report.set_model(space.model().ToWords() +
                   (space.model().atomic_unit == 0 ? ", atomic unit: a whole write" : ""));

  JudgeOptions judge_options;
  judge_options.jobs = options.jobs;
  judge_options.progress = options.progress;
  judge_options.engine.in_process = !options.e2fsck_only;
  judge_options.fsck = Asks(check, FSCK);
  const bool content_asked = Asks(check, CONTENT);
  const bool stale_data_asked = Asks(check, STALE_DATA);
  PP_ASSIGN_OR_RETURN(const auto obligations, ObligationsOf(source, check, trace));
  judge_options.content = content_asked && (obligations.has_value() || !options.promises.empty());
  judge_options.promises = &options.promises;
  if (content_asked && !judge_options.content) {
    report.add_note("content was not judged: no files workload ran on this disk");
  }
  if (options.begins_as_crash_state && judge_options.fsck) {
    PP_ASSIGN_OR_RETURN(const Said start, JudgeStart(source, fsck));
    if (start.outcome != Outcome::kHolds) {
      AddBadStart(source, start, options, report);
      return report;
    }
  }
  std::optional<oracle::StaleDataIndex> stale_data;
  if (stale_data_asked) {
    PP_RETURN_IF_ERROR(CheckStaleDataCanJudge(source, obligations.has_value()));
    judge_options.stale_data = &stale_data.emplace(*obligations);
  }

  std::optional<oracle::SameRecovery> same_recovery;
  if (Asks(check, SAME_RECOVERY)) {
    PP_ASSIGN_OR_RETURN(same_recovery, SameRecoveryOf(source, options, fsck));
    judge_options.same_recovery = &*same_recovery;
  }

  std::vector<workload::GuaranteeQuestion> questions;
  std::vector<workload::TimesQuestion> times;
  if (Asks(check, GUARANTEES) && trace != nullptr) {
    PP_ASSIGN_OR_RETURN(questions, workload::QuestionsOf(*trace));
    judge_options.guarantees = &questions;
    PP_ASSIGN_OR_RETURN(times, workload::TimesQuestionsOf(*trace));
    judge_options.times = &times;
  }

  PP_ASSIGN_OR_RETURN(const crashstate::Enumeration enumeration,
                      StatesOf(source, check, options, report));
  Judge judge(space, source.journal(), source.base_extents(), obligations ? &*obligations : nullptr,
              fsck, judge_options);
  PP_ASSIGN_OR_RETURN(auto verdicts, judge.Run(enumeration.states));
  GuestOracleOptions guest = options.guest;
  guest.seed = options.seed;
  GuestOracles guest_oracles(source, check, fsck, std::move(guest));
  guest_oracles.Ask(enumeration.states, verdicts);

  CountStates(verdicts, enumeration.states, std::nullopt, *report.mutable_states());
  AddEnumerators(enumeration, verdicts, report);
  AddFindings(source, enumeration, verdicts, options, report);
  if (Asks(check, GUARANTEES)) {
    AddGuarantees(source, check, enumeration.states, verdicts, options.command_for, report);
  }
  *report.mutable_coverage() = MeasureCoverage(source.history(), source.timeline());
  report.mutable_coverage()->set_order_unknown(enumeration.order_unknown);
  AddJudges(judge, report);
  guest_oracles.AddTo(report);
  if (source.journal().blocks.empty()) {
    report.add_note("the file system has no journal: nothing is replayed after a cut");
  }
  if (options.judged) options.judged(enumeration.states, verdicts, report);
  return report;
}

}  // namespace plugpull::run
