// SPDX-License-Identifier: Apache-2.0
// Which rule of ordering a loss breaks. ext4 and jbd2 rely on one write being durable before
// another is sent; a state in which the second is there and the first is not breaks that rule.
// Each is derived from the block log, the journal in it, and what was lost; none is guessed.
// Sources, of the Linux kernel:
//   commit        fs/jbd2/commit.c, jbd2_journal_commit_transaction: all descriptors, copies and
//                 revokes are waited for before the commit block is sent, which goes behind a
//                 flush and is forced (REQ_PREFLUSH | REQ_FUA)
//   checkpoint    fs/jbd2/commit.c, the same: a block may be written home once the transaction
//                 that holds it has committed (jbd2_journal_insert_checkpoint)
//   tail          fs/jbd2/checkpoint.c, jbd2_cleanup_journal_tail: the device is flushed before
//                 the journal superblock gives up transactions whose blocks were written home
//   log space     fs/jbd2/journal.c, __jbd2_update_log_tail: the journal superblock is forced
//                 before the space that it gives up is used again
//   beginning     fs/jbd2/commit.c: the journal superblock says where the log begins before the
//                 first transaction is written; fs/ext4/super.c: needs_recovery is set at mount
//   sync          fs/ext4/fsync.c: fsync returns behind the commit, and a flush
//   file data     Documentation/admin-guide/ext4.rst, data=ordered: data is forced out before the
//                 metadata that makes it reachable commits; fs/jbd2/commit.c waits for it
//                 (jbd2_journal_submit_data_buffers, jbd2_journal_finish_inode_data_buffers) and
//                 flushes. Blocks that were reachable before they were written are in no such
//                 order, and under data=writeback none are
//   atomic block  fs/buffer.c and fs/jbd2: a block is written in one piece, and what is there of it
//                 is taken to be all of it; a checksum (metadata_csum, journal checksums) tells a
//                 block that tore and brings nothing back
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/blocklog/history.h"
#include "framework/crashstate/journal_timeline.h"
#include "framework/diagnose/minimize.h"
#include "framework/ext4/superblock.h"

namespace plugpull::diagnose {

struct BrokenRule {
  // The order is the order in which they are preferred.
  enum class Kind : uint8_t {
    kBlockIsAtomic,           // a part of a block, the rest of it
    kJournalBeforeCommit,     // a transaction's blocks in the log, its commit block
    kHomeBeforeTail,          // a checkpoint write, the tail that moves past its transaction
    kLogBeginBeforeCommit,    // the journal superblock that begins the log, a commit block
    kRecoveryBeforeCommit,    // the superblock with needs_recovery, a commit block
    kTailBeforeReuse,         // the journal superblock that moves the tail, a write over its space
    kSyncBeforeReturn,        // what a sync covers, the sync's return
    kDataBeforeCommit,        // file data, the commit block that makes it reachable (data=ordered)
    kCommitBeforeCheckpoint,  // a commit block, a checkpoint write of its transaction
    kCommitsInOrder,          // a commit block, that of a later transaction
  };
  Kind kind = Kind::kJournalBeforeCommit;
  size_t lost = 0;       // event that had to be durable first; of kBlockIsAtomic: that tore
  size_t arrived = 0;    // event, or mark, that was there all the same
  std::string sentence;  // "the commit block of ... reached the disk, ... did not"
  // A flush, or the forced write itself, that had promised the lost write: the disk lied.
  std::optional<size_t> promised_by;
};

// "journal-before-commit" and so on, for machines.
const char* BrokenRuleName(BrokenRule::Kind kind);

// File data that was lost, and the commit block that made it reachable and arrived.
struct ReachableData {
  size_t lost = 0;
  uint64_t block = 0;
  uint32_t transaction = 0;  // position in the timeline
  size_t commit = 0;         // event
};

struct OrderingInput {
  const blocklog::History* history = nullptr;
  std::span<const uint8_t> base;  // the disk at history->base
  const crashstate::JournalTimeline* timeline = nullptr;
  const CutAndLost* state = nullptr;
  // A write, and a block of it, in words; both without articles.
  std::function<std::string(const crashstate::BlockWrite& write)> words_of;
  std::function<bool(uint64_t block)> is_file_data;
  // Of a write of file data: the transaction that made the block a part of the file, readable, when
  // it was none before the write. Nothing where there is none, or none is known; may be empty.
  std::function<std::optional<uint32_t>(const crashstate::BlockWrite& write)> reached_by;
  // How the disk is known to have been mounted; nothing: not known, or in several ways.
  std::optional<ext4::DataMode> data_mode;
  // Of the model; torn units are counted in it.
  uint32_t atomic_unit = 0;
  // Which units of a torn write arrived, in words.
  std::function<std::string(const TornUnits& torn)> units_words;
  // The sync whose promise was broken: its mark, and "fsync of /d3/f80 (operation 311)".
  std::optional<size_t> sync_mark;
  std::string sync_words;
  // Whether it covers a lost write of file data; empty: all of them.
  std::function<bool(const crashstate::BlockWrite& write)> is_synced;
  // It is that promise which is asked about; else its rule comes last.
  bool prefer_sync = false;
};

// What was lost of file data that the state has made reachable, in the order of the lost writes.
// Whether that breaks a rule is data=ordered's or data=writeback's to say.
std::vector<ReachableData> FindReachableData(const OrderingInput& input);

// The broken rules, one for each lost or torn write at most, but that file data may break those of
// a sync and of data=ordered: the one that the last event before the
// cut breaks, if any, else the first of the kinds. In the order of the writes.
std::vector<BrokenRule> FindBrokenRules(const OrderingInput& input);

}  // namespace plugpull::diagnose
