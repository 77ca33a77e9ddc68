// SPDX-License-Identifier: Apache-2.0
// The log of a jbd2 journal, read as recovery reads it: JournalLog is PASS_SCAN of do_one_pass in
// fs/jbd2/recovery.c, JournalReplay is PASS_REVOKE and PASS_REPLAY. Both remember what they read,
// so that a change near the end of the log costs what lies behind it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "framework/ext4/journal.h"

namespace plugpull::ext4 {

// One thread.
class JournalLog {
 public:
  struct Write {
    uint64_t home = 0;
    uint32_t place = 0;
    uint32_t checksum = 0;
    bool escaped = false;
    std::optional<bool> valid = {};  // DataValid, once it was asked; of lasting bytes
  };
  // The ends are those of its parts of places(), writes() and revokes().
  struct Transaction {
    uint32_t sequence = 0;
    uint64_t commit_time = 0;
    bool commit_valid =
        true;  // false: its checksum is wrong, and under async_commit that is no end
    uint32_t revoke_bytes_wrong = 0;  // not 0: a revoke block counts that many, more than it has
    size_t places_end = 0;
    size_t writes_end = 0;
    size_t revokes_end = 0;
    uint32_t next_place = 0;  // behind its commit block
  };
  // kLasting: what the reader gives stays as it is while the log lives, so that an address stands
  // for its bytes. kPassing: until its next call.
  enum class Bytes : uint8_t { kPassing, kLasting };

  // `layout` outlives the log.
  JournalLog(BlockReader read, const JournalLayout& layout, Bytes bytes);

  // Reads the log of a superblock without fault that has something in it (s_start is not 0).
  void Start(const JournalSuper& super);
  // The same where that superblock took the place of the one before, and everything else that has
  // changed since is told to Reread next. False when the log is to be started: when more has
  // changed than that it begins with a later transaction of those that were read.
  bool StartLater(const JournalSuper& super);
  // Reads on where one of the changed places was read, if one was. How many transactions are as
  // before.
  size_t Reread(std::span<const uint32_t> changed_places);

  const JournalSuper& super() const { return super_; }
  // Why the kernel gives up while it looks for the end of the log; empty when it does not.
  const std::string& refusal() const { return refusal_; }
  // Of a refusal: newer kernels go on there.
  bool disputed() const { return disputed_; }
  // Transactions that recovery replays; those behind them were read, too.
  size_t complete() const { return complete_; }
  const std::vector<Transaction>& transactions() const { return transactions_; }
  // Of the first transaction that is not replayed.
  uint32_t end_sequence() const;
  const std::vector<uint32_t>& places() const { return places_; }
  const std::vector<Write>& writes() const { return writes_; }
  const std::vector<uint64_t>& revokes() const { return revokes_; }

  std::span<const uint8_t> Block(uint32_t place) const;
  // Whether the block in the journal is the one that its tag speaks of.
  // `index`: of the write; `sequence`: of its transaction.
  bool DataValid(size_t index, uint32_t sequence);

 private:
  struct DataKey {
    const uint8_t* bytes;
    uint32_t sequence;
    bool operator==(const DataKey&) const = default;
  };
  struct DataKeyHash {
    size_t operator()(const DataKey& key) const {
      return std::hash<const uint8_t*>()(key.bytes) ^ (size_t{key.sequence} << 32);
    }
  };
  // The transaction that is being read.
  struct Open {
    uint32_t sequence;
    uint32_t place;
    bool suspicious = false;  // a checksum was wrong; the commit's time says whether it is stale
    uint32_t revoke_bytes_wrong = 0;
  };

  void ReadOn();
  // One block of the log; false when it ends the log.
  bool ReadBlock(Open& open);
  bool ReadDescriptor(Open& open, std::span<const uint8_t> bytes);
  void ReadRevokes(Open& open, std::span<const uint8_t> bytes);
  bool ReadCommit(Open& open, std::span<const uint8_t> bytes);
  // Of a commit block whose checksum is wrong: whether it is right when all behind the header was
  // zeroes.
  bool HeaderAloneValid(std::span<const uint8_t> bytes) const;
  void Forget(size_t kept);
  void MarkRead(uint32_t place);
  void FindEnd();
  void DropFirst(size_t count);
  void Advance(uint32_t& place, uint32_t count) const;
  bool ChecksumValid(std::span<const uint8_t> bytes, size_t at);

  BlockReader read_;
  const JournalLayout& layout_;
  Bytes bytes_;
  JournalSuper super_;
  bool checksums_ = false;
  uint32_t seed_ = 0;
  std::vector<Transaction> transactions_;
  size_t complete_ = 0;
  std::string refusal_;
  bool disputed_ = false;
  std::vector<uint32_t> places_;
  std::vector<Write> writes_;
  std::vector<uint64_t> revokes_;
  std::vector<uint32_t> tail_places_;  // read behind the last transaction
  // By place: 1 + the first transaction for which it was read; 0: none.
  std::vector<uint32_t> reader_;
  std::unordered_map<DataKey, uint32_t, DataKeyHash> data_checksums_;
  std::unordered_map<const uint8_t*, bool> header_valid_;
};

// What replaying a log writes home. One thread.
class JournalReplay {
 public:
  // `home_known`: false for blocks whose replay this code does not follow; see outside().
  explicit JournalReplay(std::function<bool(uint64_t home)> home_known)
      : home_known_(std::move(home_known)) {}

  struct Source {
    uint32_t place;
    bool escaped;
  };

  // Takes over what is in the log, whose first `kept` transactions are as at the last call. Adds
  // the homes whose source may have changed to `touched`.
  void Follow(JournalLog& log, size_t kept, std::vector<uint64_t>& touched);

  // Why the kernel gives up while it replays; empty when it does not.
  const std::string& refusal() const { return refusal_; }
  const std::unordered_map<uint64_t, Source>& sources() const { return sources_; }  // by home
  bool outside() const { return !outside_.empty(); }  // something is written to an unknown home
  size_t revoked() const { return revoked_.size(); }

 private:
  void Apply(JournalLog& log, size_t first, size_t last, std::vector<uint64_t>& touched);
  void Clear(std::vector<uint64_t>& touched);

  std::function<bool(uint64_t home)> home_known_;
  size_t applied_ = 0;
  std::string refusal_;
  std::unordered_map<uint64_t, Source> sources_;
  std::unordered_set<uint64_t> outside_;
  std::unordered_map<uint64_t, uint32_t> revoked_;  // the last transaction that revokes a home
};

}  // namespace plugpull::ext4
