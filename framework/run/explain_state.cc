// SPDX-License-Identifier: Apache-2.0
#include "framework/run/explain_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "framework/oracle/ext4_view.h"
#include "framework/oracle/work_image.h"
#include "framework/run/check.h"
#include "framework/run/data_reach.h"
#include "framework/run/disk_check.h"
#include "framework/run/mount_use.h"
#include "framework/workload/content.h"

namespace plugpull::run {
namespace {

using diagnose::CutAndLost;
using oracle::Outcome;

constexpr size_t kLostInWords = 200;
constexpr size_t kManyLost = 8;        // more are better minimised first
constexpr size_t kRolesAfterMax = 16;  // images that are read for what is free at the cut

const char* InWords(Outcome outcome) {
  return outcome == Outcome::kHolds      ? "holds"
         : outcome == Outcome::kViolated ? "violated"
                                         : "unknown";
}

// "fsync of /d3/f80 (operation 311)".
std::string OperationInWords(const WorkloadTrace& trace, uint64_t index) {
  const Operation& operation = trace.operation(static_cast<int>(index));
  std::string kind = Operation::Kind_Name(operation.kind());
  std::transform(kind.begin(), kind.end(), kind.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (operation.o_sync()) kind = "O_SYNC " + kind;
  if (workload::NeedsNoPath(operation.kind())) {
    return fmt::format("{} (operation {})", kind, index);
  }
  return fmt::format("{} of /{} (operation {})", kind, operation.path(), index);
}

class Explainer {
 public:
  // `asked`: the finding to explain; unspecified: the worst.
  Explainer(StateJudge& judge, const CutAndLost& state, FindingClass asked)
      : judge_(judge), source_(judge.source()), state_(state), asked_(asked) {}

  Result<StateExplanation> Run() {
    StateExplanation said;
    said.id = judge_.IdOf(state_);
    said.model = source_.space().model().ToWords();
    said.cut_entry = source_.space().EntryOfCut(state_.cut);
    said.lost_count = state_.lost.size();
    said.torn = !state_.torn.empty();
    said.command = MaterializeCommand(judge_.source_words(), said.id);
    PP_ASSIGN_OR_RETURN(const auto verdicts, judge_.Run({state_}));
    AddVerdicts(verdicts[0], said);
    AddUnderWay(said);
    PP_RETURN_IF_ERROR(AddReasons(verdicts[0], said));
    return said;
  }

 private:
  static void AddVerdict(Oracle oracle, FindingClass finding_class, Outcome outcome,
                         const std::string* evidence, StateExplanation& said) {
    StateExplanation::Verdict& one = said.verdicts.emplace_back();
    one.oracle = oracle;
    one.outcome = InWords(outcome);
    if (outcome == Outcome::kViolated) one.finding_class = finding_class;
    if (outcome != Outcome::kHolds && evidence != nullptr) one.evidence = *evidence;
  }

  void AddVerdicts(const StateVerdict& verdict, StateExplanation& said) const {
    StateExplanation::Verdict& fsck = said.verdicts.emplace_back();
    const bool recovered = verdict.recovery == Outcome::kHolds;
    const Outcome structure = recovered ? verdict.structure : verdict.recovery;
    fsck.outcome = InWords(structure);
    if (structure == Outcome::kViolated) {
      fsck.finding_class = recovered ? METADATA_INCONSISTENT : JOURNAL_REFUSED;
    }
    if (verdict.evidence != nullptr) fsck.evidence = *verdict.evidence;
    if (structure == Outcome::kHolds) fsck.evidence.clear();
    if (recovered && !Asks(judge_.check(), FSCK)) fsck.outcome = "not judged";
    StateExplanation::Verdict& content = said.verdicts.emplace_back();
    content.oracle = CONTENT;
    if (!recovered || judge_.obligations() == nullptr) {
      content.outcome = "not judged";
      content.evidence = recovered ? "the check does not ask for it, or no files workload ran"
                                   : "recovery left nothing to look at";
    } else {
      content.outcome = InWords(verdict.content);
      if (verdict.content == Outcome::kViolated) content.finding_class = DURABILITY_LOST;
      if (verdict.content_evidence != nullptr) content.evidence = *verdict.content_evidence;
    }
    if (recovered && Asks(judge_.check(), STALE_DATA)) {
      AddVerdict(STALE_DATA, STALE_DATA_EXPOSED, verdict.stale_data, verdict.stale_evidence, said);
    }
    if (recovered && Asks(judge_.check(), SAME_RECOVERY)) {
      AddVerdict(SAME_RECOVERY, RECOVERY_DIFFERS, verdict.same_recovery,
                 verdict.same_recovery_evidence, said);
    }
    if (recovered && Asks(judge_.check(), GUARANTEES)) AddGuarantees(verdict, said);
    if (!verdict.order_decides) return;
    for (auto& one : said.verdicts) {
      one.outcome = "unknown";
      one.finding_class = FINDING_UNSPECIFIED;
    }
    fsck.evidence = "the order of two overlapping writes is not known, and the verdict hangs on it";
  }

  // Observations: what is broken is no finding.
  static void AddGuarantees(const StateVerdict& verdict, StateExplanation& said) {
    StateExplanation::Verdict& one = said.verdicts.emplace_back();
    one.oracle = GUARANTEES;
    one.outcome = verdict.guarantee_answers == nullptr ? "not judged" : "nothing broken";
    if (verdict.guarantee_answers == nullptr) return;
    for (const auto& [guarantee, evidence] : verdict.guarantee_answers->evidence) {
      one.outcome = "observed";
      one.evidence += fmt::format("{}{}: {}", one.evidence.empty() ? "" : "\n",
                                  GuaranteeReport::Guarantee_Name(guarantee), evidence);
    }
  }

  workload::ObligationKey KeyOfCut() const {
    const workload::ObligationIndex& index = *judge_.obligations();
    return KeysOfCuts(source_.history(), index.workload(), index.operations())[state_.cut];
  }

  void AddUnderWay(StateExplanation& said) const {
    if (judge_.obligations() == nullptr) return;
    const WorkloadTrace& trace = *judge_.trace();
    const workload::ObligationKey key = KeyOfCut();
    if (key.ended_count > 0) {
      said.under_way.push_back(OperationInWords(trace, key.ended_count - 1) + " had returned");
    }
    if (key.begun_count > key.ended_count) {
      said.under_way.push_back(fmt::format(
          "{}{} may have begun", OperationInWords(trace, key.ended_count),
          key.begun_count - key.ended_count == 1
              ? ""
              : fmt::format(", and what follows up to operation {},", key.begun_count - 1)));
    }
  }

  // The image of a state after recovery, in `work`.
  void Recover(oracle::WorkImage& work, const CutAndLost& state) const {
    crashstate::StateCursor cursor(source_.space());
    cursor.MoveToSelection(state.cut, judge_.SpecOf(state).selection,
                           judge_.id().overlapping_older);
    work.Load(cursor.image());
    // Whatever recovery says, what it left is read.
    judge_.fsck().Recover(work, source_.journal());
  }

  // Nothing where there is no file system to be read.
  Result<std::optional<ext4::BlockRoles>> RolesAt(size_t cut) const {
    PP_ASSIGN_OR_RETURN(auto work, oracle::WorkImage::Make(source_.base(), source_.base_extents()));
    Recover(work, {cut, {}});
    auto roles = ext4::BlockRoles::Make(work.bytes());
    if (!roles.ok()) return std::optional<ext4::BlockRoles>();
    return std::optional(*std::move(roles));
  }

  // The mark of the sync whose promise the content oracle found broken, and the sync in words.
  Status FindSync(diagnose::OrderingInput& input) const {
    PP_ASSIGN_OR_RETURN(auto work, oracle::WorkImage::Make(source_.base(), source_.base_extents()));
    Recover(work, state_);
    auto fs = ext4::FileSystem::Open(work.bytes());
    if (!fs.ok()) return OkStatus();
    oracle::Ext4View view(std::move(*fs));
    const auto verdict = oracle::JudgeContent(*judge_.obligations(), KeyOfCut(), view);
    if (verdict.violations.empty()) return OkStatus();
    const uint64_t operation = verdict.violations[0].sync_operation;
    if (operation >= judge_.obligations()->operations()) return OkStatus();
    const std::string text = fmt::format("{}.{}", judge_.obligations()->workload(), operation);
    const auto& events = source_.history().events;
    for (size_t i = source_.history().base; i < state_.cut; ++i) {
      if (events[i].mark.kind != "ack" || events[i].mark.text != text) continue;
      input.sync_mark = i;
      input.sync_words = OperationInWords(*judge_.trace(), operation);
      const Operation& sync = judge_.trace()->operation(static_cast<int>(operation));
      input.is_synced = [this, sync](const auto& write) { return IsSynced(write, sync); };
    }
    return OkStatus();
  }

  // Whether a write of file data has bytes of the file that was synced: each cell says whose it is.
  bool IsSynced(const crashstate::BlockWrite& write, const Operation& sync) const {
    if (workload::NeedsNoPath(sync.kind())) return sync.kind() != Operation::WAIT;
    const blocklog::Event& event = source_.history().events[write.event];
    for (size_t at = 0; at + workload::kCellBytes <= event.data.size();
         at += workload::kCellBytes) {
      const auto tag = workload::DecodeCell(event.data.subspan(at, workload::kCellBytes));
      if (tag && tag->file == sync.file()) return true;
    }
    return false;
  }

  diagnose::DiskUse UseOf(const MountUse& mounts) const {
    diagnose::DiskUse use;
    use.nobarrier = mounts.nobarrier;
    use.drops_flushes = !source_.sends_flushes();
    return use;
  }

  // The roles of the image at the cut, and at those of lost writes that it says little of.
  Status AddRoles(const std::optional<ext4::BlockRoles>& roles, diagnose::WriteNames& names) const {
    if (!roles) return OkStatus();
    std::vector<size_t> events = state_.lost;
    for (const diagnose::TornUnits& torn : state_.torn) events.push_back(torn.event);
    size_t read = 0;
    for (const size_t event : events) {
      if (read == kRolesAfterMax || !names.WantsRolesAfter(event)) continue;
      ++read;
      PP_ASSIGN_OR_RETURN(auto after, RolesAt(event + 1));
      if (after) names.AddRolesAfter(event, *std::move(after));
    }
    return OkStatus();
  }

  Status AddReasons(const StateVerdict& verdict, StateExplanation& said) const {
    PP_ASSIGN_OR_RETURN(const auto roles, RolesAt(state_.cut));
    diagnose::WriteNames names(source_.history(), source_.timeline(), source_.base(),
                               roles ? &*roles : nullptr);
    PP_RETURN_IF_ERROR(AddRoles(roles, names));
    diagnose::OrderingInput input;
    input.history = &source_.history();
    input.base = source_.base();
    input.timeline = &source_.timeline();
    input.state = &state_;
    input.atomic_unit = source_.space().model().atomic_unit;
    const MountUse mounts = MountUseOf(judge_.scenario(), source_.name(), source_.base());
    if (mounts.data_modes.size() == 1) input.data_mode = *mounts.data_modes.begin();
    std::optional<DataReach> reach;
    if (roles) {
      PP_ASSIGN_OR_RETURN(auto made, DataReach::Make(source_, judge_.fsck(), *roles, state_.cut));
      reach.emplace(std::move(made));
      input.reached_by = [&](const auto& write) { return reach->TransactionOf(write); };
    }
    if (verdict.recovery == Outcome::kHolds && verdict.content == Outcome::kViolated) {
      PP_RETURN_IF_ERROR(FindSync(input));
    }
    const auto findings = FindingsOf(verdict);
    const bool violated = !findings.empty();
    const FindingClass worst = violated ? findings[0].finding_class : FINDING_UNSPECIFIED;
    const bool worst_asked = asked_ == FINDING_UNSPECIFIED || asked_ == TORN_WRITE;
    input.prefer_sync = (worst_asked ? worst : asked_) == DURABILITY_LOST;
    said.explanation = diagnose::Explain(input, names, UseOf(mounts), violated, kLostInWords);
    if (reach && reach->not_looked_at() > 0) {
      said.explanation.remarks.push_back(fmt::format(
          "of the lost writes of file data only the first {} were followed to the transactions "
          "that make them reachable",
          DataReach::kWritesMax));
    }
    if (said.lost_count > kManyLost && violated) {
      said.advice = fmt::format(
          "{} writes were lost, and most of them do not matter: explain it again with --minimize",
          said.lost_count);
    }
    return OkStatus();
  }

  StateJudge& judge_;
  const DiskSource& source_;
  CutAndLost state_;
  FindingClass asked_;
};

}  // namespace

Result<StateExplanation> ExplainState(const ExplainRequest& request) {
  PP_ASSIGN_OR_RETURN(const auto judge, StateJudge::Open(request.minimize.state));
  if (!request.minimize_first) {
    PP_ASSIGN_OR_RETURN(auto said,
                        Explainer(*judge, judge->state(), request.minimize.finding_class).Run());
    said.id = judge->id().ToString();
    said.command = MaterializeCommand(judge->source_words(), said.id);
    return said;
  }
  PP_ASSIGN_OR_RETURN(auto minimized, MinimizeState(*judge, request.minimize));
  PP_ASSIGN_OR_RETURN(auto said, Explainer(*judge, minimized.state, minimized.finding_class).Run());
  said.id = minimized.id;
  said.command = minimized.command;
  said.minimized = std::move(minimized);
  return said;
}

}  // namespace plugpull::run
