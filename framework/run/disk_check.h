// SPDX-License-Identifier: Apache-2.0
// Checks one disk: enumerates, judges, and puts what was found into the verdict model.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "framework/base/result.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/stale_data.h"
#include "framework/proto/recording.pb.h"
#include "framework/proto/verdict.pb.h"
#include "framework/proto/workload.pb.h"
#include "framework/recording/recording.h"
#include "framework/run/disk_source.h"
#include "framework/run/guest_oracles.h"
#include "framework/run/judge.h"

namespace plugpull::run {

struct DiskCheckOptions {
  uint64_t seed = 1;
  unsigned jobs = 1;
  bool e2fsck_only = false;  // nothing is recovered or judged in process
  // Of the mount whose files are judged; what stale data in them means depends on it.
  oracle::DataMode data_mode = oracle::DataMode::kOrdered;
  std::function<void(uint64_t done, uint64_t total)> progress;
  GuestOracleOptions guest;  // of the oracles that need one; its seed is not looked at
  // What earlier boots had made durable.
  std::vector<KeptPromise> promises;
  // The state that the power cut at the end of this boot left; it is judged whatever the check
  // names.
  std::optional<crashstate::CrashStateId> left_by_power_cut;
  // That state alone is judged, for it is of another model than the check.
  bool only_left_by_power_cut = false;
  // Of a boot behind a power cut: what it began with may be broken, and no fault of its own.
  bool begins_as_crash_state = false;
  // Of a recording of a recovery; SAME_RECOVERY needs it.
  std::optional<RecordedRecovery> recovery;
  // Called at the end with all states and verdicts; may add to the report.
  std::function<void(const std::vector<crashstate::StateSpec>& states,
                     const std::vector<StateVerdict>& verdicts, DiskReport& report)>
      judged;
  // The command that writes the image of a state.
  std::function<std::string(const std::string& id)> command_for;
};

// How many of the scenario's steps were carried out.
int StepsRun(const Recording& manifest);

// Whether a check asks for an oracle.
bool Asks(const Check& check, Oracle oracle);

// Takes an oracle out of a check, which keeps FSCK where nothing else is left. False: it did not
// ask for it.
bool LeaveOut(Oracle oracle, Check& check);

// What the files workload did on a disk; nothing when none ran there. A user error when there were
// several, or when the recording lacks the trace of one.
Result<std::optional<WorkloadTrace>> TraceOf(const recording::Reader& reader,
                                             const std::string& disk);

// What the content oracle holds states against; nothing when the check does not ask for it, or
// without a trace. A user error when log and trace are not of one run.
Result<std::optional<workload::ObligationIndex>> ObligationsOf(const DiskSource& source,
                                                               const Check& check,
                                                               const WorkloadTrace* trace);

// `trace` may be null: then content is not judged, and STALE_DATA is a user error. The check's
// model is the source's. Of a later boot that began with a broken disk no state is judged, which is
// a note; where nobody can say whether the disk was broken, it is an unknown finding.
Result<DiskReport> CheckDisk(const DiskSource& source, const Check& check,
                             const WorkloadTrace* trace, oracle::Fsck& fsck,
                             const DiskCheckOptions& options);

}  // namespace plugpull::run
