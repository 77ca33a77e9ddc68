// SPDX-License-Identifier: Apache-2.0
#include "framework/run/state_judge.h"

#include <fmt/format.h>

#include "framework/run/check.h"
#include "framework/run/disk_check.h"
#include "framework/run/uninterrupted.h"

namespace plugpull::run {

using crashstate::StateSpec;
using diagnose::CutAndLost;
using oracle::Outcome;

std::vector<StateFinding> FindingsOf(const StateVerdict& verdict) {
  std::vector<StateFinding> findings;
  if (verdict.order_decides) return findings;
  if (verdict.structure == Outcome::kViolated) {
    findings.push_back({METADATA_INCONSISTENT, FSCK, verdict.evidence});
  }
  if (verdict.recovery == Outcome::kViolated) {
    findings.push_back({JOURNAL_REFUSED, FSCK, verdict.evidence});
  }
  if (verdict.content == Outcome::kViolated) {
    findings.push_back({DURABILITY_LOST, CONTENT, verdict.content_evidence});
  }
  if (verdict.stale_data == Outcome::kViolated) {
    findings.push_back({STALE_DATA_EXPOSED, STALE_DATA, verdict.stale_evidence});
  }
  if (verdict.same_recovery == Outcome::kViolated) {
    findings.push_back({RECOVERY_DIFFERS, SAME_RECOVERY, verdict.same_recovery_evidence});
  }
  return findings;
}

namespace {

std::vector<uint64_t> MissingOf(const crashstate::Tear& tear, uint64_t units) {
  std::vector<uint64_t> missing;
  for (uint64_t unit = 0; unit < units; ++unit) {
    if (!tear.Arrived(unit, units)) missing.push_back(unit);
  }
  return missing;
}

}  // namespace

Status StateJudge::OpenRecording(const StateRequest& request) {
  PP_ASSIGN_OR_RETURN(reader_, recording::Reader::Open(request.recording));
  PP_ASSIGN_OR_RETURN(source_, DiskSource::FromRecording(*reader_, id_.disk, id_.model));
  bool found = false;
  for (const Check& check : reader_->manifest().scenario().check()) {
    if (check.disk() != id_.disk) continue;
    const bool fits = ModelOf(check.model()) == id_.model;
    if (fits || !found) check_ = check;
    found = true;
    if (fits) break;
  }
  if (!found) check_.add_oracle(FSCK);
  PP_ASSIGN_OR_RETURN(trace_, TraceOf(*reader_, id_.disk));
  PP_ASSIGN_OR_RETURN(promises_, PromisesOf(*reader_, id_.disk));
  source_words_ = ShellWord(request.recording);
  return OkStatus();
}

Result<std::unique_ptr<StateJudge>> StateJudge::Open(const StateRequest& request) {
  auto state_judge = std::unique_ptr<StateJudge>(new StateJudge());
  StateJudge& self = *state_judge;
  PP_ASSIGN_OR_RETURN(self.id_, crashstate::CrashStateId::Parse(request.id));
  if (!request.recording.empty()) {
    PP_RETURN_IF_ERROR(self.OpenRecording(request));
  } else {
    PP_ASSIGN_OR_RETURN(self.source_,
                        DiskSource::FromLogFile(
                            {request.log, request.base, request.scan_past_end, self.id_.model}));
    self.check_.add_oracle(FSCK);
    self.source_words_ = LogFileWords(request.log, request.base, request.scan_past_end);
  }
  const auto& space = self.source_->space();
  PP_ASSIGN_OR_RETURN(self.state_.cut, space.CutOfEntry(self.id_.cut));
  PP_ASSIGN_OR_RETURN(self.state_.lost, space.LostEvents(self.state_.cut, self.id_.selection));
  PP_ASSIGN_OR_RETURN(const auto torn, space.TornWrites(self.state_.cut, self.id_.selection));
  for (const crashstate::TornWrite& write : torn) {
    self.state_.torn.push_back({write.event, MissingOf(write.tear, space.UnitsOf(write.event))});
  }
  PP_ASSIGN_OR_RETURN(self.obligations_, ObligationsOf(*self.source_, self.check_, self.trace()));
  PP_ASSIGN_OR_RETURN(oracle::Fsck fsck, oracle::Fsck::Find());
  self.fsck_.emplace(std::move(fsck));
  JudgeOptions options;
  options.fsck = Asks(self.check_, FSCK);
  options.content =
      Asks(self.check_, CONTENT) && (self.obligations_.has_value() || !self.promises_.empty());
  options.promises = &self.promises_;
  if (Asks(self.check_, STALE_DATA) && self.obligations_) {
    options.stale_data = &self.stale_data_.emplace(*self.obligations_);
  }
  if (Asks(self.check_, GUARANTEES) && self.trace_) {
    PP_ASSIGN_OR_RETURN(self.questions_, workload::QuestionsOf(*self.trace_));
    options.guarantees = &self.questions_;
    PP_ASSIGN_OR_RETURN(self.times_, workload::TimesQuestionsOf(*self.trace_));
    options.times = &self.times_;
  }
  if (Asks(self.check_, SAME_RECOVERY) && self.reader_) {
    PP_ASSIGN_OR_RETURN(
        self.same_recovery_,
        UninterruptedRecovery(*self.source_, self.reader_->manifest().recovery(), *self.fsck_));
    options.same_recovery = &*self.same_recovery_;
  }
  options.jobs = request.jobs;
  self.judge_.emplace(space, self.source_->journal(), self.source_->base_extents(),
                      self.obligations_ ? &*self.obligations_ : nullptr, *self.fsck_, options);
  return state_judge;
}

StateSpec StateJudge::SpecOf(const CutAndLost& state) const {
  StateSpec spec;
  spec.cut = state.cut;
  if (!state.lost.empty()) spec.selection.kind = crashstate::Selection::Kind::kLose;
  for (const size_t event : state.lost) {
    spec.selection.entries.push_back(source_->history().events[event].entry);
  }
  for (const diagnose::TornUnits& torn : state.torn) {
    spec.selection.torn.push_back(
        crashstate::Tear::Without(source_->history().events[torn.event].entry, torn.missing,
                                  source_->space().UnitsOf(torn.event)));
  }
  spec.overlapping_older = id_.overlapping_older;
  return spec;
}

std::string StateJudge::IdOf(const CutAndLost& state) const {
  return crashstate::IdOf(source_->space(), SpecOf(state)).ToString();
}

Result<std::vector<StateVerdict>> StateJudge::Run(const std::vector<CutAndLost>& states) {
  std::vector<StateSpec> specs;
  std::vector<size_t> place;  // in `specs`, of each state
  for (const CutAndLost& state : states) {
    StateSpec spec = SpecOf(state);
    const bool unknown_order = source_->space().OrderUnknown(state.cut, state.lost);
    // The judge compares a state with the one before it when that is its twin.
    place.push_back(specs.size() + (unknown_order && id_.overlapping_older ? 1 : 0));
    spec.overlapping_older = false;
    specs.push_back(spec);
    if (!unknown_order) continue;
    spec.overlapping_older = true;
    specs.push_back(std::move(spec));
  }
  PP_ASSIGN_OR_RETURN(const auto all, judge_->Run(specs));
  std::vector<StateVerdict> verdicts;
  for (const size_t i : place) verdicts.push_back(all[i]);
  return verdicts;
}

}  // namespace plugpull::run
