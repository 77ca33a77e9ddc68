// SPDX-License-Identifier: Apache-2.0
// Recovery of ext4 crash states in this process: the journal is replayed and orphans are processed
// as `e2fsck -y -E journal_only` of e2fsprogs 1.47 does, block by block, but for
//   - the superblock's counters (CounterRanges), which stay as they are,
//   - a file system that does not ask for recovery, yet has something in its journal: e2fsck would
//     replay it; the kernel empties it unread, and so is done here (ext4_load_journal),
//   - the orphan file: see orphan_processing.h.
// Consecutive states mostly differ in few blocks, and a step costs what differs. What comes out is
// a function of the state alone, not of the way to it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "framework/ext4/journal.h"
#include "framework/ext4/journal_log.h"
#include "framework/ext4/recovered_fingerprint.h"
#include "framework/ext4/recovery_shape.h"
#include "framework/ext4/superblock.h"
#include "framework/image/cow_image.h"

namespace plugpull::ext4 {

struct RecoveryReport {
  enum class Outcome : uint8_t {
    kClean,      // nothing to recover: the image as it is
    kRecovered,  // replayed or emptied, orphans processed
    kRefused,    // the kernel gives up over the journal
    kElsewhere,  // this code does not claim to do it as e2fsck does: give it to e2fsck
  };
  Outcome outcome = Outcome::kClean;
  std::string reason = {};       // of kRefused and kElsewhere; of kClean where there is no ext4
  bool disputed = false;         // of kRefused: as of JournalInspection
  uint32_t transactions = 0;     // replayed
  uint32_t blocks_replayed = 0;  // different ones
  uint32_t revoked = 0;          // different blocks that revoke records name
  uint32_t orphans = 0;          // inodes released or truncated
};

// Keeps a recovered image in step with a raw one over the same base and store. One thread.
class JournalRecovery {
 public:
  // `raw` and its store outlive the object. `layout`: of the file system in raw's base, or of the
  // one that is made in the course of the log.
  JournalRecovery(const image::CowImage& raw, JournalLayout layout);
  JournalRecovery(const JournalRecovery&) = delete;
  JournalRecovery& operator=(const JournalRecovery&) = delete;

  // `changed`: blocks of raw that may have changed since the last call. The result is valid until
  // the next call.
  const RecoveryReport& Update(std::span<const uint64_t> changed);

  // The recovered image after kClean and kRecovered; raw itself after the others. Its changes() are
  // left for the caller to clear.
  image::CowImage& recovered() { return recovered_; }
  const image::CowImage& recovered() const { return recovered_; }

  // Of the recovered image, as RecoveredFingerprint says.
  image::Fingerprint fingerprint() const;

 private:
  using Outcome = RecoveryReport::Outcome;
  // What is to be done, as found in raw alone.
  struct Need {
    Outcome outcome = Outcome::kClean;
    std::string reason = {};
    bool disputed = false;
    bool replay = false;
    bool discard = false;  // the journal, unread
    bool finish = false;   // e2fsck has something to do: a replay or orphans
  };
  struct SuperEdit {
    bool error = false;         // set it in s_state
    bool drop_orphans = false;  // forget the list
  };

  void FollowLog(std::span<const uint64_t> changed);
  Need WhatIsNeeded();
  std::string ElsewhereReason(const Superblock& super) const;
  // Brings the recovered image to raw and what is replayed over it.
  void Place(bool replayed);
  const image::Content* TargetOf(uint64_t block);
  const image::Content* ContentOf(const JournalReplay::Source& source);
  // The end of recovery, on the replayed image.
  std::string Finish(const Need& need);
  void Patch(uint64_t block, std::span<const uint8_t> bytes);
  void PatchJournal(const JournalSuperEdit& edit);
  void PatchSuper(const SuperEdit& edit);
  std::span<const uint8_t> SuperBytes(const image::CowImage& image) const;

  const image::CowImage& raw_;
  const JournalLayout layout_;
  const RecoveredFingerprint fingerprint_;
  bool usable_;  // raw and layout fit together
  uint64_t super_block_;
  image::CowImage recovered_;
  JournalLog log_;
  JournalReplay replay_;
  RecoveryShape shape_;
  RecoveryReport report_;

  std::unordered_map<uint64_t, uint32_t> place_of_;  // by block
  const uint8_t* journal_super_bytes_ = nullptr;     // of which the next three were read
  std::optional<JournalSuper> journal_super_;
  std::string journal_problem_;  // the kernel refuses it by its superblock
  bool log_read_ = false;
  size_t kept_ = 0;                // transactions of the log that are as replay_ took them over
  bool replayed_ = false;          // recovered_ has what is replayed
  std::vector<uint64_t> dirty_;    // blocks that may not be as TargetOf says
  std::vector<uint64_t> patched_;  // blocks that are not as TargetOf says
  std::unordered_map<const uint8_t*, const image::Content*> base_contents_;
  std::unordered_map<const uint8_t*, const image::Content*> unescaped_;
};

// Recovers an image in one piece, for those who have but one. Takes any bytes.
RecoveryReport RecoverImage(std::span<const uint8_t> image);

}  // namespace plugpull::ext4
