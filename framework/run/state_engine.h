// SPDX-License-Identifier: Apache-2.0
// Builds, recovers and judges crash states one after the other. What two states have in common is
// not done twice: the image moves by what differs, recovery follows it, and the consistency check
// follows recovery. e2fsck stays the authority on structure: it is asked about every image that
// the check in process condemns or cannot judge, and about a sample of those that it passes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/crashstate/enumerate.h"
#include "framework/crashstate/state_cursor.h"
#include "framework/ext4/consistency.h"
#include "framework/ext4/journal_recovery.h"
#include "framework/ext4/tree_reader.h"
#include "framework/image/fingerprint.h"
#include "framework/oracle/ext4_view.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/work_image.h"
#include "framework/os/file.h"
#include "framework/run/once.h"

namespace plugpull::run {

struct EngineOptions {
  bool in_process = true;  // false: e2fsck does all recovery and judges every image
  // Of 1000 images that the check in process passes, so many go to e2fsck, too. Which ones follows
  // from their fingerprints alone.
  uint64_t sample_permille = 20;
};

// Whether an image of this fingerprint, when it passes, is in a sample of so many of 1000.
bool InSample(const image::Fingerprint& fingerprint, uint64_t permille);

// How much work each judge did.
struct EngineCounts {
  uint64_t recovered = 0;            // states, in process
  uint64_t recovered_by_e2fsck = 0;  // different images, where they are remembered
  uint64_t passed = 0;               // images that the check in process passed
  uint64_t condemned = 0;            // ... condemned
  uint64_t not_judged = 0;           // ... could not judge
  uint64_t e2fsck_checks = 0;
  uint64_t sampled = 0;            // of them, on images that the check in process had passed
  uint64_t falsely_passed = 0;     // of those, condemned by e2fsck
  uint64_t not_confirmed = 0;      // of those, not judged by e2fsck either
  uint64_t falsely_condemned = 0;  // condemned in process, passed by e2fsck
  std::vector<std::string> disagreements;  // in words, some of them
  void Add(const EngineCounts& other);
};

struct Said {
  oracle::Outcome outcome = oracle::Outcome::kHolds;
  std::string evidence;
};

struct RecoveredState {
  // kViolated: the journal was refused. kUnknown: nobody can say whether it is. Then there is no
  // recovered image to judge.
  Said said;
  image::Fingerprint fingerprint;  // of the recovered image, else of the state
  bool fast_commits = false;       // as in oracle::RecoveryResult
};

// What e2fsck makes of images, by their fingerprints before recovery: all bytes count. Engines of
// one space and one Fsck share it.
using RecoveryMemo = Once<image::Fingerprint, image::FingerprintHash, Result<RecoveredState>>;

// One for each thread.
class StateEngine {
 public:
  // All references outlive the engine. `memo` may be null: then every state is recovered.
  StateEngine(const crashstate::CrashSpace& space, const ext4::JournalLayout& journal,
              const std::vector<os::Extent>& base_extents, oracle::Fsck& fsck,
              const EngineOptions& options, RecoveryMemo* memo);

  // Moves to a state and recovers it. An environment error when memory or processes are missing.
  Result<RecoveredState> MoveTo(const crashstate::StateSpec& spec);

  // Of the recovered image. `sample`: it may be one of those that e2fsck looks at, too, although
  // the check in process passes it; false for an image that was judged before.
  Result<Said> JudgeStructure(bool sample = true);
  // Valid until the next move.
  Result<oracle::Ext4View> OpenRecovered();

  // The recovered image as a file, valid until the next move. Not to be written to.
  Result<oracle::WorkImage*> RecoveredWork();

  const EngineCounts& counts() const { return counts_; }

 private:
  // What e2fsck makes of the present state: asked, or remembered.
  Result<RecoveredState> RecoverByE2fsck();
  Result<RecoveredState> RunRecovery();
  // Makes work_ the recovered image of the present state.
  Status NeedWork();
  Result<Said> AskE2fsck();
  Status LoadWork(const image::CowImage& image);
  void NoteUnchecked(const std::vector<uint64_t>& changes);

  const crashstate::CrashSpace& space_;
  const ext4::JournalLayout& journal_;
  const std::vector<os::Extent>& base_extents_;
  oracle::Fsck& fsck_;
  EngineOptions options_;

  crashstate::StateCursor cursor_;
  std::optional<ext4::JournalRecovery> recovery_;
  std::optional<ext4::ConsistencyChecker> checker_;
  std::optional<ext4::TreeReader> reader_;
  std::vector<uint64_t> unchecked_;        // recovered blocks that changed since the checker looked
  size_t unchecked_max_ = 0;               // when it is as long, what is in it twice is taken out
  std::optional<oracle::WorkImage> work_;  // made when e2fsck is first asked
  RecoveryMemo* memo_;
  bool recovered_by_e2fsck_ = false;           // the present state
  std::optional<image::Fingerprint> work_of_;  // the state that e2fsck made work_ of
  image::Fingerprint fingerprint_;             // of the present state
  EngineCounts counts_;
};

}  // namespace plugpull::run
