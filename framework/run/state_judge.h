// SPDX-License-Identifier: Apache-2.0
// Judges single states, and others of the same disk, as the recording's own check does.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/diagnose/minimize.h"
#include "framework/proto/scenario.pb.h"
#include "framework/proto/workload.pb.h"
#include "framework/run/disk_source.h"
#include "framework/run/judge.h"

namespace plugpull::run {

struct StateRequest {
  std::string recording;  // folder; empty: `log`
  std::string log;
  std::string base;
  bool scan_past_end = false;
  std::string id;
  unsigned jobs = 1;  // threads
};

// A finding of one state.
struct StateFinding {
  FindingClass finding_class = FINDING_UNSPECIFIED;
  Oracle oracle = FSCK;
  const std::string* evidence = nullptr;  // may be null
};

// What a verdict says is violated, worst first; nothing when it hangs on an unknown order.
std::vector<StateFinding> FindingsOf(const StateVerdict& verdict);

// A state that somebody asked about, its disk, and the judges of its check.
class StateJudge {
 public:
  // The check is the recording's for that disk, the one with the id's model if there are several;
  // a log without a recording is judged by e2fsck alone. A user error when recording, log or id
  // are wrong or do not fit each other; an environment error without e2fsck.
  static Result<std::unique_ptr<StateJudge>> Open(const StateRequest& request);

  const DiskSource& source() const { return *source_; }
  const crashstate::CrashStateId& id() const { return id_; }
  const diagnose::CutAndLost& state() const { return state_; }
  const Check& check() const { return check_; }
  // Null for a log without a recording.
  const Scenario* scenario() const { return reader_ ? &reader_->manifest().scenario() : nullptr; }
  // Null when no files workload ran on the disk.
  const WorkloadTrace* trace() const { return trace_ ? &*trace_ : nullptr; }
  // What content is held against; null when neither it nor stale data is judged.
  const workload::ObligationIndex* obligations() const {
    return obligations_ ? &*obligations_ : nullptr;
  }
  oracle::Fsck& fsck() { return *fsck_; }

  // One verdict for each state, in their order. Evidence stays as long as the judge.
  Result<std::vector<StateVerdict>> Run(const std::vector<diagnose::CutAndLost>& states);

  // The state as the engine builds it.
  crashstate::StateSpec SpecOf(const diagnose::CutAndLost& state) const;
  // The id of another state of the disk, which names what it loses.
  std::string IdOf(const diagnose::CutAndLost& state) const;
  // The recording or the log as words of a command.
  const std::string& source_words() const { return source_words_; }

 private:
  StateJudge() = default;
  Status OpenRecording(const StateRequest& request);

  crashstate::CrashStateId id_;
  std::string source_words_;
  std::optional<recording::Reader> reader_;
  Check check_;
  std::unique_ptr<DiskSource> source_;
  std::optional<WorkloadTrace> trace_;
  std::optional<workload::ObligationIndex> obligations_;
  std::vector<KeptPromise> promises_;
  std::optional<oracle::StaleDataIndex> stale_data_;
  std::vector<workload::GuaranteeQuestion> questions_;
  std::vector<workload::TimesQuestion> times_;
  std::optional<oracle::SameRecovery> same_recovery_;
  std::optional<oracle::Fsck> fsck_;
  std::optional<Judge> judge_;
  diagnose::CutAndLost state_;
};

}  // namespace plugpull::run
