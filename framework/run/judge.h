// SPDX-License-Identifier: Apache-2.0
// Judges the crash states of one disk on several threads, each distinct recovered image once. The
// result is a pure function of its input: the number of threads changes nothing but the time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "framework/base/result.h"
#include "framework/crashstate/enumerate.h"
#include "framework/ext4/journal.h"
#include "framework/image/fingerprint.h"
#include "framework/oracle/content.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/guarantees.h"
#include "framework/oracle/same_recovery.h"
#include "framework/oracle/stale_data.h"
#include "framework/oracle/times.h"
#include "framework/os/file.h"
#include "framework/run/promises.h"
#include "framework/run/state_engine.h"
#include "framework/workload/obligations.h"

namespace plugpull::run {

struct JudgeOptions {
  bool fsck = true;
  bool content = true;
  // What earlier boots had made durable, judged with content; outlives the judge. May be null.
  const std::vector<KeptPromise>* promises = nullptr;
  // What the workload wrote, for the stale data oracle; outlives the judge. Null: it is not asked.
  const oracle::StaleDataIndex* stale_data = nullptr;
  // What a recorded recovery comes to when it is not cut; outlives the judge. Null: it is not
  // asked.
  const oracle::SameRecovery* same_recovery = nullptr;
  // What the workload asks about power cuts; outlives the judge. Null: it is not asked.
  const std::vector<workload::GuaranteeQuestion>* guarantees = nullptr;
  const std::vector<workload::TimesQuestion>* times = nullptr;  // with `guarantees` only
  unsigned jobs = 1;                                            // threads, at least 1
  EngineOptions engine;
  bool deduplicate = true;  // false: every state is judged, whatever others recovered to
  // Called with states done and states in all, from one thread at a time.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// What the oracles said of one state. Texts are empty for those that hold or were not asked.
struct StateVerdict {
  image::Fingerprint recovered;  // of the image after recovery
  oracle::Outcome recovery = oracle::Outcome::kHolds;
  oracle::Outcome structure = oracle::Outcome::kHolds;
  oracle::Outcome content = oracle::Outcome::kHolds;
  // Of images whose structure holds: in others, files may well share blocks.
  oracle::Outcome stale_data = oracle::Outcome::kHolds;
  // Violated, too, where recovery or structure are: the uninterrupted recovery holds.
  oracle::Outcome same_recovery = oracle::Outcome::kHolds;
  // Of those that were asked about by oracles in a guest (guest_oracles.h).
  oracle::Outcome kernel = oracle::Outcome::kHolds;
  oracle::Outcome command = oracle::Outcome::kHolds;
  bool order_decides = false;  // the other order of overlapping writes has another verdict
  const std::string* evidence = nullptr;          // of recovery or structure
  const std::string* content_evidence = nullptr;  // of content
  const std::string* stale_evidence = nullptr;    // of stale_data
  const std::string* same_recovery_evidence = nullptr;
  const std::string* kernel_evidence = nullptr;
  const std::string* command_evidence = nullptr;
  // What the content oracle and the guarantees oracle observed; null where they were not asked.
  // Guarantees are asked of images whose structure holds. Where nobody can say whether recovery or
  // structure hold, what would have been asked is unknown; so is what a doubtful recovery breaks.
  const oracle::GuaranteeAnswers* content_answers = nullptr;
  const oracle::GuaranteeAnswers* guarantee_answers = nullptr;

  oracle::Outcome Worst() const;
};

class Judge {
 public:
  // All references outlive the judge. `obligations` may be null: then the content of this boot's
  // own workload is not judged.
  // `base_extents`: where the space's base may be other than zero.
  Judge(const crashstate::CrashSpace& space, const ext4::JournalLayout& journal,
        const std::vector<os::Extent>& base_extents, const workload::ObligationIndex* obligations,
        oracle::Fsck& fsck, JudgeOptions options);
  ~Judge();

  // One verdict for each state, in their order. An environment error when a state could not be
  // built (memory, processes); what an oracle could not do is an unknown verdict instead.
  Result<std::vector<StateVerdict>> Run(const std::vector<crashstate::StateSpec>& states);

  uint64_t content_checks() const;
  uint64_t stale_data_checks() const;
  uint64_t recoveries_compared() const;
  uint64_t guarantee_checks() const;
  // Of all threads, after Run. When e2fsck does not confirm an image of the sample that was passed
  // in process, Run begins again and has e2fsck judge every image; both are counted.
  const EngineCounts& counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The obligations in force at every cut of a history, from its "ack" marks of one workload.
std::vector<workload::ObligationKey> KeysOfCuts(const blocklog::History& history, uint32_t workload,
                                                uint64_t operations);

}  // namespace plugpull::run
