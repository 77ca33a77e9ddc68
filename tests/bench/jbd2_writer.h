// SPDX-License-Identifier: Apache-2.0
// Does to a disk what jbd2 does, and logs it: ordered data, revoke blocks, descriptors with tags,
// copies, a flush, a forced commit block; checkpoints when the journal is three quarters full.
// Order of writes: fs/jbd2/commit.c, checkpoint.c and journal.c of the Linux kernel. Format:
// Documentation/filesystems/ext4/journal.rst. One thing is simpler than there: a transaction is
// committed before the next one begins.
//
// Shares no code with framework/ext4, which reads what is written here.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "framework/blocklog/log_writer.h"
#include "tests/bench/memory_disk.h"

namespace plugpull::bench {

// What the log holds.
struct JournalActivity {
  uint64_t writes = 0;
  uint64_t transactions = 0;
  uint64_t checkpoints = 0;  // moves of the journal's tail
  uint64_t home_writes = 0;
  uint64_t wraps = 0;
  uint64_t revokes = 0;
  uint64_t escapes = 0;
};

class Jbd2Writer {
 public:
  struct Transaction {
    std::vector<std::pair<uint64_t, uint64_t>> data;  // ordered: first block, blocks
    std::set<uint64_t> metadata;                      // blocks, journaled as the disk holds them
    std::set<uint64_t> revokes;                       // blocks that no longer hold metadata
  };

  // `journal`: blocks of the journal by place; its superblock is as mke2fs made it. The disk and
  // the log outlive the writer.
  Jbd2Writer(MemoryDisk& disk, std::vector<uint64_t> journal, blocklog::LogWriter& log);

  // Logs blocks as they are on the disk, forced.
  void WriteThrough(uint64_t block);
  // The journal superblock of a mounted file system: features, then the log's beginning.
  void Mount();
  void Commit(const Transaction& transaction);

  const JournalActivity& activity() const { return activity_; }
  // A transaction may fill this many blocks of the journal.
  uint64_t transaction_blocks_max() const { return (places_.size() - 1) / 8; }

 private:
  struct Committed {
    uint32_t sequence;
    uint32_t first_place;
    uint64_t blocks;
    std::set<uint64_t> homes;
  };
  void Log(uint64_t block, std::span<const uint8_t> bytes, uint64_t flags);
  uint64_t BlocksFor(const Transaction& transaction) const;
  // Writes the next block of the log.
  void Append(std::vector<uint8_t> bytes, uint64_t flags);
  std::vector<uint8_t> Headed(uint32_t type) const;
  void Seal(std::vector<uint8_t>& block, size_t at) const;
  void AppendRevokes(const Transaction& transaction);
  void AppendCopies(const Transaction& transaction);
  void AppendCommit();
  void Checkpoint();
  void WriteSuper(uint32_t sequence, uint32_t start);

  MemoryDisk& disk_;
  std::vector<uint64_t> places_;
  blocklog::LogWriter& log_;
  uint32_t block_bytes_;
  std::vector<uint8_t> super_;
  uint32_t seed_ = 0;
  uint32_t sequence_ = 1;
  uint32_t next_ = 1;
  uint64_t used_ = 0;
  bool empty_ = true;
  std::deque<Committed> live_;
  // By home block: the last transaction that wrote it, and what it wrote.
  struct Latest {
    uint32_t sequence;
    std::vector<uint8_t> bytes;
  };
  std::map<uint64_t, Latest> latest_;
  JournalActivity activity_;
};

}  // namespace plugpull::bench
