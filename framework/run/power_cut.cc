// SPDX-License-Identifier: Apache-2.0
#include "framework/run/power_cut.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "framework/base/prng.h"
#include "framework/oracle/content.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/stale_data.h"
#include "framework/run/disk_check.h"
#include "framework/run/guest_session.h"
#include "framework/run/judge.h"
#include "framework/run/promises.h"
#include "framework/run/state_engine.h"
#include "framework/run/state_judge.h"

namespace plugpull::run {

using crashstate::Selection;
using crashstate::StateSpec;
using oracle::Outcome;

namespace {

// So many lost writes are named in an id; more are drawn with certainty.
constexpr size_t kNamedLostMax = 16;
constexpr uint32_t kCertain = 1000;  // permille
constexpr size_t kSearchedAtATime = 256;

int StepOfCut(const Scenario& boot) {
  for (int i = 0; i < boot.step_size(); ++i) {
    if (boot.step(i).has_power_cut()) return i;
  }
  return -1;
}

std::string PolicyInWords(const PowerCutStep& cut) {
  switch (cut.policy_case()) {
    case PowerCutStep::kNothingVolatile:
      return "nothing volatile survives";
    case PowerCutStep::kSample:
      return fmt::format("each volatile write is lost with a chance of {} in 1000",
                         cut.sample().lose_permille());
    case PowerCutStep::kState:
      return "the state that the scenario names";
    case PowerCutStep::kSearch:
      return fmt::format("the first state of disk {} that shows {}", cut.search().disk(),
                         FindingClass_Name(cut.search().found()));
    default:
      return "no policy";
  }
}

// All that can be lost at the end of the log is.
StateSpec NothingVolatile(const crashstate::CrashSpace& space) {
  StateSpec spec;
  spec.cut = space.last_cut();
  std::vector<size_t> losable;
  space.VolatileEvents(spec.cut, losable);
  if (losable.empty()) return spec;
  if (losable.size() > kNamedLostMax) {
    spec.selection.kind = Selection::Kind::kSample;
    spec.selection.lose_permille = kCertain;
    return spec;
  }
  spec.selection.kind = Selection::Kind::kLose;
  for (const size_t event : losable) {
    spec.selection.entries.push_back(space.history().events[event].entry);
  }
  return spec;
}

StateSpec Sampled(const crashstate::CrashSpace& space, uint32_t permille, uint64_t seed) {
  StateSpec spec;
  spec.cut = space.last_cut();
  std::vector<size_t> losable;
  space.VolatileEvents(spec.cut, losable);
  if (losable.empty() || permille == 0) return spec;
  spec.selection.kind = Selection::Kind::kSample;
  spec.selection.seed = seed;
  spec.selection.lose_permille = permille;
  return spec;
}

Result<StateSpec> SpecOf(const crashstate::CrashSpace& space, const crashstate::CrashStateId& id) {
  StateSpec spec;
  PP_ASSIGN_OR_RETURN(spec.cut, space.CutOfEntry(id.cut));
  PP_ASSIGN_OR_RETURN(const auto lost, space.LostEvents(spec.cut, id.selection));
  PP_ASSIGN_OR_RETURN(const auto torn, space.TornWrites(spec.cut, id.selection));
  spec.selection = id.selection;
  spec.overlapping_older = id.overlapping_older;
  return spec;
}

bool Shows(const StateVerdict& verdict, const StateSpec& spec, FindingClass wanted) {
  const std::vector<StateFinding> findings = FindingsOf(verdict);
  if (!spec.selection.torn.empty()) return wanted == TORN_WRITE && !findings.empty();
  return std::any_of(findings.begin(), findings.end(),
                     [&](const StateFinding& finding) { return finding.finding_class == wanted; });
}

class Chooser {
 public:
  Chooser(const recording::Reader& boot, const PowerCutOptions& options, oracle::Fsck fsck)
      : boot_(boot),
        scenario_(boot.manifest().scenario()),
        options_(options),
        step_(StepOfCut(scenario_)),
        fsck_(std::move(fsck)) {}

  Result<PowerCutChoice> Choose() {
    if (step_ < 0) {
      return InternalError(boot_.folder() + " is the recording of a boot without a power_cut");
    }
    RecordedPowerCut& recorded = choice_.recorded;
    recorded.set_step(static_cast<uint32_t>(step_) + 1);
    recorded.set_policy(PolicyInWords(Cut()));
    for (const Disk& disk : scenario_.disk()) {
      if (HasLog(disk)) {
        PP_RETURN_IF_ERROR(ChooseFor(disk.name()));
        if (recorded.has_not_found()) break;
      } else {
        recorded.add_kept_disk(disk.name());
      }
    }
    if (recorded.has_not_found()) {
      choice_.disks.clear();
      recorded.clear_chosen();
    }
    return std::move(choice_);
  }

 private:
  const PowerCutStep& Cut() const { return scenario_.step(step_).power_cut(); }

  Status ChooseFor(const std::string& name) {
    const Check check = FirstCheckOf(scenario_, name);
    CutDisk disk;
    std::optional<crashstate::CrashStateId> given;
    if (Cut().policy_case() == PowerCutStep::kState) {
      PP_ASSIGN_OR_RETURN(given, crashstate::CrashStateId::Parse(Cut().state()));
      if (given->disk != name) given.reset();
    }
    PP_ASSIGN_OR_RETURN(disk.source, Open(name, given ? given->model : ModelOf(check.model())));
    const crashstate::CrashSpace& space = disk.source->space();
    PP_ASSIGN_OR_RETURN(const auto trace, TraceOf(boot_, name));
    PP_ASSIGN_OR_RETURN(const auto earlier, PromisesOf(boot_, name));
    if (given) {
      auto spec = SpecOf(space, *given);
      if (!spec.ok()) {
        return WithContext(spec.error(),
                           fmt::format("power_cut: {} is no state of this boot, recorded in {}; "
                                       "`plugpull states` lists some",
                                       Cut().state(), boot_.folder()));
      }
      disk.spec = *std::move(spec);
    } else if (Cut().has_sample()) {
      disk.spec = Sampled(space, Cut().sample().lose_permille(),
                          DeriveSeed(boot_.manifest().seed(), "power cut " + name,
                                     boot_.manifest().boot().number()));
    } else if (Cut().has_search() && Cut().search().disk() == name) {
      PP_ASSIGN_OR_RETURN(const auto found,
                          Search(*disk.source, check, trace ? &*trace : nullptr, earlier));
      if (!found) return OkStatus();
      disk.spec = *found;
    } else {
      disk.spec = NothingVolatile(space);
    }
    PP_RETURN_IF_ERROR(JudgeChosen(trace ? &*trace : nullptr, disk));
    choice_.disks[name] = std::move(disk);
    return OkStatus();
  }

  Result<std::unique_ptr<DiskSource>> Open(const std::string& disk,
                                           crashstate::DeviceModel model) const {
    auto source = DiskSource::FromRecording(boot_, disk, model);
    if (source.ok() || boot_.manifest().boot().number() > 1) return source;
    // A disk that nobody has mounted: all that was ever written to it is cut.
    model.from_mkfs = true;
    return DiskSource::FromRecording(boot_, disk, model);
  }

  // Nothing when no state shows it; that is in the choice then.
  Result<std::optional<StateSpec>> Search(const DiskSource& source, Check check,
                                          const WorkloadTrace* trace,
                                          const std::vector<KeptPromise>& earlier) {
    const SearchCut& search = Cut().search();
    check.set_max_states(search.within());
    PP_ASSIGN_OR_RETURN(const auto obligations, ObligationsOf(source, check, trace));
    JudgeOptions judging;
    judging.jobs = std::max(1U, options_.jobs);
    judging.fsck = Asks(check, FSCK);
    judging.content = Asks(check, CONTENT);
    judging.promises = &earlier;
    std::optional<oracle::StaleDataIndex> stale_data;
    if (Asks(check, STALE_DATA) && obligations && source.poisoned()) {
      judging.stale_data = &stale_data.emplace(*obligations);
    }
    Judge judge(source.space(), source.journal(), source.base_extents(),
                obligations ? &*obligations : nullptr, fsck_, judging);
    const auto states = crashstate::EnumerateStates(source.space(), check, boot_.manifest().seed(),
                                                    &source.timeline())
                            .states;
    choice_.recorded.set_searched_disk(source.name());
    for (size_t first = 0; first < states.size();) {
      size_t end = std::min(first + kSearchedAtATime, states.size());
      // Twins are judged together.
      while (end < states.size() && states[end].overlapping_older) ++end;
      const std::vector<StateSpec> some(states.begin() + static_cast<ptrdiff_t>(first),
                                        states.begin() + static_cast<ptrdiff_t>(end));
      PP_ASSIGN_OR_RETURN(const auto verdicts, judge.Run(some));
      for (size_t i = 0; i < some.size(); ++i) {
        if (!Shows(verdicts[i], some[i], search.found())) continue;
        choice_.recorded.set_searched(first + i + 1);
        return std::optional(some[i]);
      }
      first = end;
      if (options_.progress) options_.progress(first, states.size());
    }
    choice_.recorded.set_searched(states.size());
    choice_.recorded.set_not_found(
        fmt::format("no state of {} shows {}", states.size(), FindingClass_Name(search.found())));
    return std::optional<StateSpec>();
  }

  Status JudgeChosen(const WorkloadTrace* trace, CutDisk& disk) {
    const DiskSource& source = *disk.source;
    const crashstate::CrashSpace& space = source.space();
    ChosenState& chosen = *choice_.recorded.add_chosen();
    chosen.set_disk(source.name());
    chosen.set_state(crashstate::IdOf(space, disk.spec).ToString());
    std::vector<size_t> scratch;
    std::vector<size_t> lost;
    space.LostEventsInto(disk.spec.cut, disk.spec.selection, scratch, lost);
    chosen.set_lost_writes(static_cast<uint32_t>(lost.size()));
    StateEngine engine(space, source.journal(), source.base_extents(), fsck_,
                       {.in_process = true, .sample_permille = 1000}, nullptr);
    PP_ASSIGN_OR_RETURN(const RecoveredState recovered, engine.MoveTo(disk.spec));
    Said structure{Outcome::kUnknown, recovered.said.evidence};
    if (recovered.said.outcome == Outcome::kHolds) {
      PP_ASSIGN_OR_RETURN(structure, engine.JudgeStructure());
    }
    disk.holds = structure.outcome == Outcome::kHolds && !recovered.fast_commits;
    chosen.set_holds(disk.holds);
    std::vector<FindingClass> shows;
    if (recovered.said.outcome == Outcome::kViolated) shows.push_back(JOURNAL_REFUSED);
    if (structure.outcome == Outcome::kViolated) shows.push_back(METADATA_INCONSISTENT);
    bool lost_content = false;
    PP_ASSIGN_OR_RETURN(auto candidates, Candidates(trace, source, disk.spec.cut));
    for (TracedPromise& promise : candidates) {
      Said said{Outcome::kUnknown, "the state is not recovered"};
      if (recovered.said.outcome == Outcome::kHolds) {
        PP_ASSIGN_OR_RETURN(said, Content(promise, engine));
      }
      lost_content |= said.outcome == Outcome::kViolated;
      const bool kept = said.outcome == Outcome::kHolds && disk.holds;
      if (!kept) {
        disk.not_kept.push_back(fmt::format(
            "what the workload of boot {} made durable on disk {} is not held against later boots: "
            "{}",
            promise.boot, source.name(),
            said.outcome == Outcome::kHolds
                ? "the state that the power cut left does not hold as a file system"
                : "the state that the power cut left has it no more, or that is not known: " +
                      said.evidence));
        continue;
      }
      disk.promises.push_back(std::move(promise));
    }
    if (lost_content) shows.push_back(DURABILITY_LOST);
    if (!disk.spec.selection.torn.empty() && !shows.empty()) shows = {TORN_WRITE};
    for (const FindingClass shown : shows) chosen.add_shows(shown);
    return OkStatus();
  }

  static Result<Said> Content(const TracedPromise& promise, StateEngine& engine) {
    PP_ASSIGN_OR_RETURN(const auto index, workload::ObligationIndex::Make(promise.trace));
    auto view = engine.OpenRecovered();
    if (!view.ok()) return Said{Outcome::kUnknown, view.error().ToString()};
    oracle::ContentVerdict verdict = oracle::JudgeContent(index, promise.key, *view);
    return Said{verdict.outcome, std::move(verdict.evidence)};
  }

  // What may be promised from here on: of earlier boots, and of this one's workload.
  Result<std::vector<TracedPromise>> Candidates(const WorkloadTrace* trace,
                                                const DiskSource& source, size_t cut) const {
    std::vector<TracedPromise> candidates;
    const RecordedBoot& boot = boot_.manifest().boot();
    for (const RecordedPromise& recorded : boot.promise()) {
      if (recorded.disk() != source.name()) continue;
      TracedPromise promise;
      promise.boot = recorded.boot();
      PP_ASSIGN_OR_RETURN(promise.trace, boot_.ReadTrace(recorded.file()));
      promise.key = {recorded.ended(), recorded.begun()};
      candidates.push_back(std::move(promise));
    }
    if (trace == nullptr) return candidates;
    TracedPromise own;
    own.boot = boot.number();
    own.trace = *trace;
    own.key = KeysOfCuts(source.history(), trace->workload(),
                         static_cast<uint64_t>(trace->operation_size()))[cut];
    candidates.push_back(std::move(own));
    return candidates;
  }

  const recording::Reader& boot_;
  const Scenario& scenario_;
  const PowerCutOptions& options_;
  int step_;
  oracle::Fsck fsck_;
  PowerCutChoice choice_;
};

}  // namespace

Check FirstCheckOf(const Scenario& scenario, const std::string& disk) {
  for (const Check& check : scenario.check()) {
    if (check.disk() == disk) return check;
  }
  Check check;
  check.set_disk(disk);
  check.mutable_model();
  check.add_oracle(FSCK);
  check.add_oracle(CONTENT);
  check.add_enumerate()->mutable_prefix();
  check.add_enumerate()->mutable_lose_one();
  check.add_enumerate()->mutable_lose_subset();
  return check;
}

Result<PowerCutChoice> ChoosePowerCut(const recording::Reader& boot,
                                      const PowerCutOptions& options) {
  PP_ASSIGN_OR_RETURN(oracle::Fsck fsck, oracle::Fsck::Find());
  return Chooser(boot, options, std::move(fsck)).Choose();
}

}  // namespace plugpull::run
