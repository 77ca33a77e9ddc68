// SPDX-License-Identifier: Apache-2.0
// A block history read against the ext4 journal: what each write was for, and in which order the
// life of each transaction went. A transaction T is written to the log (revokes, descriptors and
// the copies that they announce), committed, its blocks are written home (checkpointed), and then
// the journal superblock moves the tail of the log past it. jbd2 keeps that order by flushes alone
// (fs/jbd2/commit.c, fs/jbd2/checkpoint.c, jbd2_update_log_tail in fs/jbd2/journal.c).
//
// Writes are logged in the order of their completion, so a copy may come before its descriptor; it
// is behind the commit of the transaction before. Blocks of the fast-commit area are kJournalOther.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "framework/blocklog/history.h"
#include "framework/ext4/journal.h"

namespace plugpull::crashstate {

enum class BlockRole : uint8_t {
  kOther,         // outside the journal: file data, or metadata that is not from the journal
  kCheckpoint,    // home of a journaled block, equal to its newest copy in the journal
  kJournalSuper,  // see JournalTimeline::supers
  kDescriptor,
  kDataCopy,  // of the block `home`
  kRevoke,
  kCommit,
  kJournalOther,  // in the journal, and of no transaction that the history shows
};

inline constexpr uint32_t kNoTransaction = 0xffffffff;

// What a write did to one block of the file system. A write of many blocks has many of them.
struct BlockWrite {
  size_t event = 0;    // position in the history
  uint64_t block = 0;  // of the file system
  uint64_t home = 0;   // of kDataCopy: where it belongs
  uint32_t transaction = kNoTransaction;  // position in JournalTimeline::transactions
  BlockRole role = BlockRole::kOther;
  bool whole = true;    // false: the write covers a part of the block
  bool changes = true;  // false: the block held these bytes already
};

struct JournalTransaction {
  uint32_t sequence = 0;
  // Positions in JournalTimeline::writes, ascending.
  std::vector<size_t> blocks;  // descriptors, copies and revokes
  std::optional<size_t> commit;
  std::vector<size_t> checkpoints;     // those that changed something
  std::optional<size_t> dropped_by;    // position in supers: the tail moved past it
};

// A write of the journal superblock that changed it.
struct JournalSuperWrite {
  size_t write = 0;  // position in JournalTimeline::writes
  uint32_t sequence = 0;
  uint32_t start = 0;  // 0: the journal is empty
  // Of one that moved the tail: from this transaction to `sequence`.
  bool moves_tail = false;
  uint32_t from_sequence = 0;
  std::vector<uint32_t> dropped;  // positions in transactions
};

struct JournalTimeline {
  uint32_t block_bytes = 0;  // of the file system; 0: it has none, and there are no block writes
  std::vector<BlockWrite> writes;         // in the order of the log
  std::vector<size_t> first_write;        // by event, and one more at the end
  std::vector<JournalTransaction> transactions;  // in the order of their first block
  std::vector<JournalSuperWrite> supers;
  std::vector<size_t> discards;  // events
  uint64_t wraps = 0;            // times the log went back to its first block
  uint64_t orphan_cuts = 0;      // cuts behind an event that recovery meets with orphans listed

  std::span<const BlockWrite> WritesOf(size_t event) const {
    return std::span(writes).subspan(first_write[event],
                                     first_write[event + 1] - first_write[event]);
  }
};

// Decodes events from history.base on; `base` is the disk there. Time and memory are bounded by the
// bytes of the log, whatever they say.
JournalTimeline DecodeJournal(const blocklog::History& history, std::span<const uint8_t> base,
                              const ext4::JournalLayout& journal);

}  // namespace plugpull::crashstate
