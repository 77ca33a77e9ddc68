// SPDX-License-Identifier: Apache-2.0
#include "framework/run/state_engine.h"

#include <algorithm>

#include "framework/base/check.h"

namespace plugpull::run {

using oracle::Outcome;

namespace {

constexpr size_t kDisagreementsKept = 5;
constexpr size_t kUncheckedLeast = 4096;  // blocks to remember before any are taken out

image::Fingerprint FingerprintOf(const image::CowImage& raw) {
  return {raw.sum().high, raw.sum().low};
}

}  // namespace

bool InSample(const image::Fingerprint& fingerprint, uint64_t permille) {
  return fingerprint.low % 1000 < permille;
}

void EngineCounts::Add(const EngineCounts& other) {
  recovered += other.recovered;
  recovered_by_e2fsck += other.recovered_by_e2fsck;
  passed += other.passed;
  condemned += other.condemned;
  not_judged += other.not_judged;
  e2fsck_checks += other.e2fsck_checks;
  sampled += other.sampled;
  falsely_passed += other.falsely_passed;
  not_confirmed += other.not_confirmed;
  falsely_condemned += other.falsely_condemned;
  disagreements.insert(disagreements.end(), other.disagreements.begin(), other.disagreements.end());
  std::sort(disagreements.begin(), disagreements.end());
  if (disagreements.size() > kDisagreementsKept) disagreements.resize(kDisagreementsKept);
}

StateEngine::StateEngine(const crashstate::CrashSpace& space, const ext4::JournalLayout& journal,
                         const std::vector<os::Extent>& base_extents, oracle::Fsck& fsck,
                         const EngineOptions& options, RecoveryMemo* memo)
    : space_(space),
      journal_(journal),
      base_extents_(base_extents),
      fsck_(fsck),
      options_(options),
      cursor_(space),
      memo_(memo) {
  if (!options.in_process) return;
  recovery_.emplace(cursor_.image(), journal);
  checker_.emplace(recovery_->recovered());
  reader_.emplace(recovery_->recovered());
}

Status StateEngine::LoadWork(const image::CowImage& image) {
  if (!work_) {
    PP_ASSIGN_OR_RETURN(work_, oracle::WorkImage::Make(space_.base(), base_extents_));
  }
  work_of_.reset();
  work_->Load(image);
  return OkStatus();
}

Result<RecoveredState> StateEngine::RunRecovery() {
  const image::CowImage& raw = cursor_.image();
  PP_RETURN_IF_ERROR(LoadWork(raw));
  oracle::RecoveryResult recovery = fsck_.Recover(*work_, journal_);
  PP_ASSIGN_OR_RETURN(const auto recovered, work_->Scan(journal_));
  work_of_ = FingerprintOf(raw);
  const bool refused = recovery.outcome != Outcome::kHolds;
  return RecoveredState{{recovery.outcome, std::move(recovery.evidence)},
                        refused ? FingerprintOf(raw) : recovered,
                        recovery.fast_commits};
}

Result<RecoveredState> StateEngine::RecoverByE2fsck() {
  recovered_by_e2fsck_ = true;
  const auto compute = [&] {
    ++counts_.recovered_by_e2fsck;
    return RunRecovery();
  };
  PP_ASSIGN_OR_RETURN(
      RecoveredState recovered,
      memo_ == nullptr ? compute() : memo_->Get(FingerprintOf(cursor_.image()), compute));
  fingerprint_ = recovered.fingerprint;
  return recovered;
}

Status StateEngine::NeedWork() {
  if (!recovered_by_e2fsck_) return LoadWork(recovery_->recovered());
  if (work_of_ == FingerprintOf(cursor_.image())) return OkStatus();
  const auto again = RunRecovery();
  return again.ok() ? OkStatus() : Status(again.error());
}

// Many states may pass without a judgement, when others have recovered to the same images.
void StateEngine::NoteUnchecked(const std::vector<uint64_t>& changes) {
  unchecked_.insert(unchecked_.end(), changes.begin(), changes.end());
  if (unchecked_.size() < std::max(unchecked_max_, kUncheckedLeast)) return;
  std::sort(unchecked_.begin(), unchecked_.end());
  unchecked_.erase(std::unique(unchecked_.begin(), unchecked_.end()), unchecked_.end());
  unchecked_max_ = 2 * unchecked_.size();
}

Result<RecoveredState> StateEngine::MoveTo(const crashstate::StateSpec& spec) {
  cursor_.MoveToSelection(spec.cut, spec.selection, spec.overlapping_older);
  image::CowImage& raw = cursor_.image();
  recovered_by_e2fsck_ = false;
  if (!recovery_) {
    raw.ClearChanges();
    return RecoverByE2fsck();
  }
  const ext4::RecoveryReport& report = recovery_->Update(raw.changes());
  raw.ClearChanges();
  image::CowImage& recovered = recovery_->recovered();
  NoteUnchecked(recovered.changes());
  recovered.ClearChanges();
  if (report.outcome == ext4::RecoveryReport::Outcome::kElsewhere) return RecoverByE2fsck();
  ++counts_.recovered;
  if (report.outcome == ext4::RecoveryReport::Outcome::kRefused) {
    const Outcome outcome = report.disputed ? Outcome::kUnknown : Outcome::kViolated;
    return RecoveredState{{outcome, report.reason}, FingerprintOf(raw)};
  }
  fingerprint_ = recovery_->fingerprint();
  return RecoveredState{{}, fingerprint_};
}

Result<Said> StateEngine::AskE2fsck() {
  PP_RETURN_IF_ERROR(NeedWork());
  ++counts_.e2fsck_checks;
  oracle::StructureResult result = fsck_.Check(*work_);
  return Said{result.outcome, std::move(result.evidence)};
}

Result<Said> StateEngine::JudgeStructure(bool sample) {
  if (recovered_by_e2fsck_) return AskE2fsck();
  using Verdict = ext4::ConsistencyVerdict::Outcome;
  const ext4::ConsistencyVerdict quick = checker_->Check(unchecked_);
  unchecked_.clear();
  if (quick.outcome == Verdict::kClean) {
    ++counts_.passed;
    if (!sample || !InSample(fingerprint_, options_.sample_permille)) return Said{};
    ++counts_.sampled;
  } else {
    ++(quick.outcome == Verdict::kSuspect ? counts_.condemned : counts_.not_judged);
  }
  PP_ASSIGN_OR_RETURN(Said said, AskE2fsck());
  const auto disagree = [&](uint64_t& count, const std::string& words) {
    ++count;
    if (counts_.disagreements.size() < kDisagreementsKept) counts_.disagreements.push_back(words);
  };
  if (quick.outcome == Verdict::kClean && said.outcome == Outcome::kViolated) {
    disagree(counts_.falsely_passed, "passed in process; " + said.evidence);
  } else if (quick.outcome == Verdict::kClean && said.outcome == Outcome::kUnknown) {
    disagree(counts_.not_confirmed, "e2fsck could not judge it; " + said.evidence);
  } else if (quick.outcome == Verdict::kSuspect && said.outcome == Outcome::kHolds) {
    disagree(counts_.falsely_condemned, "e2fsck passed it; in process: " + quick.reason);
  }
  return said;
}

Result<oracle::WorkImage*> StateEngine::RecoveredWork() {
  PP_RETURN_IF_ERROR(NeedWork());
  return &*work_;
}

Result<oracle::Ext4View> StateEngine::OpenRecovered() {
  if (recovered_by_e2fsck_) {
    PP_RETURN_IF_ERROR(NeedWork());
    PP_ASSIGN_OR_RETURN(auto fs, ext4::FileSystem::Open(work_->bytes()));
    return oracle::Ext4View(std::move(fs));
  }
  PP_ASSIGN_OR_RETURN(auto fs, ext4::FileSystem::Open(recovery_->recovered()));
  reader_->Refresh();
  return oracle::Ext4View(std::move(fs), &*reader_);
}

}  // namespace plugpull::run
