// SPDX-License-Identifier: Apache-2.0
// The jbd2 journal as it lies on the disk. Layout and rules: include/linux/jbd2.h,
// fs/jbd2/recovery.c and fs/jbd2/journal.c of the Linux kernel. Numbers on the disk are
// big-endian. Nothing here replays; see journal_recovery.h.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::ext4 {

enum class JournalBlockType : uint8_t { kNone, kDescriptor, kCommit, kSuper, kRevoke };

struct JournalHeader {
  JournalBlockType type = JournalBlockType::kNone;
  uint32_t sequence = 0;
};

// By magic and type alone: a data block never carries the magic (it is escaped).
JournalHeader ParseJournalHeader(std::span<const uint8_t> block);

struct JournalSuper {
  uint32_t block_bytes = 0;
  uint32_t blocks = 0;    // s_maxlen
  uint32_t first = 0;     // first block of the log proper
  uint32_t sequence = 0;  // of the first transaction to replay
  uint32_t start = 0;     // its block; 0: the journal is empty
  int32_t error = 0;      // s_errno
  uint32_t version = 2;
  uint32_t users = 0;  // s_nr_users
  uint32_t feature_incompat = 0;
  uint32_t feature_compat = 0;
  uint32_t feature_ro_compat = 0;
  std::vector<uint8_t> uuid;   // 16 bytes
  bool checksum_valid = true;  // always true without a checksum feature
  bool operator==(const JournalSuper&) const = default;

  bool checksum_v3() const { return (feature_incompat & 0x10) != 0; }
  bool checksum_v2() const { return (feature_incompat & 0x8) != 0; }
  bool has_64bit() const { return (feature_incompat & 0x2) != 0; }
  bool async_commit() const { return (feature_incompat & 0x4) != 0; }
  bool fast_commit() const { return (feature_incompat & 0x20) != 0; }
  bool checksum_v1() const { return (feature_compat & 0x1) != 0; }
};

// A user error when the block is no journal superblock.
Result<JournalSuper> ParseJournalSuper(std::span<const uint8_t> block);

struct JournalTag {
  uint64_t block = 0;     // home of the data, in file-system blocks
  uint32_t flags = 0;     // 1: escaped
  uint32_t checksum = 0;  // low 16 bits of it under v2
};

// The tags of a descriptor block, bounded by the block.
std::vector<JournalTag> ParseTags(const JournalSuper& super, std::span<const uint8_t> descriptor);

// Homes that a revoke block takes back, bounded by the block; none when its count is wrong.
std::vector<uint64_t> ParseRevokes(const JournalSuper& super, std::span<const uint8_t> block);

// Where the journal lies in an image.
struct JournalLayout {
  std::vector<uint64_t> blocks;  // file-system blocks, by place in the journal
  uint32_t block_bytes = 0;
};

// Of the file system in the image; no blocks when it has no internal journal.
Result<JournalLayout> FindJournal(std::span<const uint8_t> image);

// The journal superblock in an image.
Result<JournalSuper> ReadJournalSuper(std::span<const uint8_t> image, const JournalLayout& layout);

// What makes the kernel refuse a journal by its superblock alone, whether there is anything to
// replay or not (journal_get_superblock, load_superblock, jbd2_journal_load); empty when nothing.
std::string JournalSuperProblem(const JournalSuper& super, const JournalLayout& layout);

// What recovery would meet, judged as fs/jbd2/recovery.c does in its three passes, without
// replaying anything.
struct JournalInspection {
  enum class Outcome : uint8_t {
    kEmpty,    // nothing to replay
    kReplays,  // transactions would be replayed up to a normal end
    kRefused,  // the kernel gives up: a checksum is wrong, or a block is missing
    kNotRead,  // fast commits, which are left to e2fsck
  };
  Outcome outcome = Outcome::kEmpty;
  uint32_t transactions = 0;  // complete ones
  std::string reason;         // of a refusal
  // Of kRefused: the journal superblock or the search for the end of the log. Then the kernel gives
  // up even where it would only empty the journal, because the file system does not ask for
  // recovery (jbd2_journal_wipe scans, too).
  bool refused_by_scan = false;
  // Of kRefused: a commit block that is whole in its header alone. e2fsck 1.47 refuses it; kernels
  // with "jbd2: avoid mount failed when commit block is partial submitted" (6.11, and stable ones
  // since 2024) take it for a commit block that tore, and replay the transaction.
  bool disputed = false;
  // Of kReplays: places in the journal that belong to complete transactions, in their order. No
  // other block of the log, but the journal superblock, shapes what recovery makes.
  std::vector<uint32_t> used;
};
JournalInspection InspectJournal(std::span<const uint8_t> image, const JournalLayout& layout);

// The same where there is no image in one piece. The reader gives the bytes of a file-system
// block, valid until its next call, or nothing when the block lies outside the disk.
using BlockReader = std::function<std::span<const uint8_t>(uint64_t block)>;
JournalInspection InspectJournal(const BlockReader& read, const JournalLayout& layout);

// Changes the block of a journal superblock, of which `super` was parsed, and seals it again.
struct JournalSuperEdit {
  bool empty = false;  // s_start becomes 0
  bool clear_error = false;
  std::optional<uint32_t> sequence = std::nullopt;
};
void EditJournalSuper(std::span<uint8_t> block, const JournalSuper& super,
                      const JournalSuperEdit& edit);

// Empties the journal without replaying it, as the kernel does when the file system does not need
// recovery (ext4_load_journal, jbd2_journal_wipe): s_start becomes 0.
Status DiscardJournal(std::span<uint8_t> image, const JournalLayout& layout);

}  // namespace plugpull::ext4
