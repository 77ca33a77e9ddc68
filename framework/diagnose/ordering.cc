// SPDX-License-Identifier: Apache-2.0
#include "framework/diagnose/ordering.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "framework/ext4/superblock.h"

namespace plugpull::diagnose {

using blocklog::Event;
using crashstate::BlockRole;
using crashstate::BlockWrite;
using crashstate::JournalSuperWrite;
using crashstate::JournalTransaction;
using crashstate::kNoTransaction;
using Kind = BrokenRule::Kind;

namespace {

constexpr uint64_t kIncompatAt = ext4::kSuperblockAt + 0x60;  // s_feature_incompat

bool InLog(BlockRole role) {
  return role == BlockRole::kDescriptor || role == BlockRole::kDataCopy ||
         role == BlockRole::kRevoke;
}

class RuleFinder {
 public:
  explicit RuleFinder(const OrderingInput& input)
      : input_(input), history_(*input.history), line_(*input.timeline) {
    std::unordered_set<uint64_t> blocks;
    for (const size_t event : input.state->lost) {
      for (const BlockWrite& write : line_.WritesOf(event)) blocks.insert(write.block);
    }
    for (size_t i = 0; i < line_.writes.size(); ++i) {
      if (blocks.contains(line_.writes[i].block)) writes_to_[line_.writes[i].block].push_back(i);
    }
    for (const JournalTransaction& transaction : line_.transactions) {
      if (transaction.commit) commits_.push_back(*transaction.commit);
    }
    std::sort(commits_.begin(), commits_.end());
  }

  std::vector<BrokenRule> Run() {
    std::vector<BrokenRule> all;
    for (const size_t event : input_.state->lost) {
      found_.clear();
      for (const BlockWrite& write : line_.WritesOf(event)) {
        if (write.changes) Judge(write);
      }
      const auto better = [&](const BrokenRule& a, const BrokenRule& b) {
        return RankOf(a) < RankOf(b);
      };
      const auto best = std::min_element(found_.begin(), found_.end(), better);
      if (best != found_.end()) all.push_back(std::move(*best));
    }
    return all;
  }

 private:
  bool Arrived(size_t event) const {
    return event >= history_.base && event < input_.state->cut &&
           !std::binary_search(input_.state->lost.begin(), input_.state->lost.end(), event);
  }
  // Lower is better.
  std::tuple<bool, bool, Kind> RankOf(const BrokenRule& rule) const {
    const bool aside = rule.kind == Kind::kSyncBeforeReturn && !input_.prefer_sync;
    return {aside, rule.arrived + 1 != input_.state->cut, rule.kind};
  }
  const BlockWrite& WriteAt(size_t index) const { return line_.writes[index]; }
  uint64_t EntryOf(size_t event) const { return history_.events[event].entry; }
  uint32_t SequenceOf(const BlockWrite& write) const {
    return line_.transactions[write.transaction].sequence;
  }

  // Something newer had reached the block before `event`: the loss was of no matter any more.
  bool Superseded(const BlockWrite& write, size_t event) const {
    const auto& others = writes_to_.at(write.block);
    return std::any_of(others.begin(), others.end(), [&](size_t index) {
      const BlockWrite& other = WriteAt(index);
      return other.whole && other.event > write.event && other.event < event &&
             Arrived(other.event);
    });
  }

  void Add(Kind kind, const BlockWrite& lost, size_t arrived, std::string sentence) {
    BrokenRule rule{kind, lost.event, arrived, std::move(sentence), std::nullopt};
    if (history_.events[lost.event].fua) rule.promised_by = lost.event;
    for (size_t i = lost.event + 1; i <= arrived && !rule.promised_by; ++i) {
      if (history_.events[i].HasFlush()) rule.promised_by = i;
    }
    found_.push_back(std::move(rule));
  }

  // Tail moves that reached the disk have taken the transaction out of the log.
  bool GivenUp(const JournalTransaction& transaction) const {
    return transaction.dropped_by &&
           Arrived(WriteAt(line_.supers[*transaction.dropped_by].write).event);
  }

  void Judge(const BlockWrite& write) {
    if (InLog(write.role)) JudgeLogBlock(write);
    if (write.role == BlockRole::kCommit) JudgeCommit(write);
    if (write.role == BlockRole::kCheckpoint) JudgeCheckpoint(write);
    if (write.role == BlockRole::kJournalSuper) JudgeJournalSuper(write);
    if (SetsNeedsRecovery(write)) JudgeBeginning(write, Kind::kRecoveryBeforeCommit);
    const bool data = write.role == BlockRole::kOther && input_.is_file_data(write.block);
    if (data || InLog(write.role) || write.role == BlockRole::kCommit) JudgeSync(write);
  }

  void JudgeLogBlock(const BlockWrite& write) {
    const JournalTransaction& transaction = line_.transactions[write.transaction];
    if (!transaction.commit || GivenUp(transaction)) return;
    const BlockWrite& commit = WriteAt(*transaction.commit);
    if (!Arrived(commit.event)) return;
    Add(Kind::kJournalBeforeCommit, write, commit.event,
        fmt::format("the commit block of transaction {} (entry {}) reached the disk before the {} "
                    "(entry {}): a transaction's own journal blocks must be durable before its "
                    "commit block",
                    transaction.sequence, EntryOf(commit.event), input_.words_of(write),
                    EntryOf(write.event)));
  }

  void JudgeCommit(const BlockWrite& write) {
    const JournalTransaction& transaction = line_.transactions[write.transaction];
    for (const size_t index : transaction.checkpoints) {
      const BlockWrite& home = WriteAt(index);
      if (!Arrived(home.event) || home.event < write.event) continue;
      Add(Kind::kCommitBeforeCheckpoint, write, home.event,
          fmt::format("the {} (entry {}) reached the disk before the {} (entry {}): a block may be "
                      "written home only when its transaction has committed",
                      input_.words_of(home), EntryOf(home.event), input_.words_of(write),
                      EntryOf(write.event)));
      break;
    }
    if (GivenUp(transaction)) return;
    if (const auto later = FirstCommitBehind(write.event)) {
      const BlockWrite& commit = WriteAt(*later);
      Add(Kind::kCommitsInOrder, write, commit.event,
          fmt::format("the {} (entry {}) reached the disk before the {} (entry {}): transactions "
                      "commit in their order, and recovery ends at the first that has not",
                      input_.words_of(commit), EntryOf(commit.event), input_.words_of(write),
                      EntryOf(write.event)));
    }
  }

  void JudgeCheckpoint(const BlockWrite& write) {
    const JournalTransaction& transaction = line_.transactions[write.transaction];
    if (!transaction.dropped_by) return;
    const JournalSuperWrite& super = line_.supers[*transaction.dropped_by];
    const size_t event = WriteAt(super.write).event;
    if (event < write.event || !Arrived(event) || Superseded(write, event)) return;
    const std::string moved =
        super.start == 0 ? "the journal was emptied"
                         : fmt::format("the journal's tail moved from transaction {} to {}",
                                       super.from_sequence, super.sequence);
    Add(Kind::kHomeBeforeTail, write, event,
        fmt::format("{} (entry {}) before the {} (entry {}) reached the disk: the journal gives "
                    "up a transaction only when its blocks are durable at home",
                    moved, EntryOf(event), input_.words_of(write), EntryOf(write.event)));
  }

  void JudgeJournalSuper(const BlockWrite& write) {
    const auto super = std::find_if(line_.supers.begin(), line_.supers.end(),
                                    [&](const auto& one) { return &WriteAt(one.write) == &write; });
    if (super == line_.supers.end()) return;
    if (!super->moves_tail) {
      if (super->start != 0) JudgeBeginning(write, Kind::kLogBeginBeforeCommit);
      return;
    }
    std::unordered_map<uint64_t, uint32_t> space;  // blocks given up, to their transaction
    for (const uint32_t dropped : super->dropped) {
      const JournalTransaction& transaction = line_.transactions[dropped];
      for (const size_t index : transaction.blocks) space[WriteAt(index).block] = dropped;
      if (transaction.commit) space[WriteAt(*transaction.commit).block] = dropped;
    }
    for (size_t i = line_.first_write[write.event + 1]; i < line_.writes.size(); ++i) {
      const BlockWrite& other = WriteAt(i);
      if (other.event >= input_.state->cut) return;
      const auto over = space.find(other.block);
      if (over == space.end() || !other.changes || !Arrived(other.event)) continue;
      if (Superseded(write, other.event)) return;
      Add(Kind::kTailBeforeReuse, write, other.event,
          fmt::format("the {} (entry {}) was written over transaction {} before the {} (entry {}) "
                      "reached the disk: the log's space is used again only when the tail behind "
                      "it is durable",
                      input_.words_of(other), EntryOf(other.event),
                      line_.transactions[over->second].sequence, input_.words_of(write),
                      EntryOf(write.event)));
      return;
    }
  }

  // What has to be there before anything can be replayed.
  void JudgeBeginning(const BlockWrite& write, Kind kind) {
    const auto index = FirstCommitBehind(write.event);
    if (!index) return;
    const BlockWrite& commit = WriteAt(*index);
    if (Superseded(write, commit.event)) return;
    Add(kind, write, commit.event,
        fmt::format(
            "the {} (entry {}) reached the disk before the {} (entry {}), which {}: without "
            "it nothing is replayed",
            input_.words_of(commit), EntryOf(commit.event), input_.words_of(write),
            EntryOf(write.event),
            kind == Kind::kLogBeginBeforeCommit
                ? "says where the log begins"
                : "says that the journal is in use (needs_recovery)"));
  }

  void JudgeSync(const BlockWrite& write) {
    if (!input_.sync_mark || *input_.sync_mark < write.event || !Arrived(*input_.sync_mark) ||
        Superseded(write, *input_.sync_mark)) {
      return;
    }
    Add(Kind::kSyncBeforeReturn, write, *input_.sync_mark,
        fmt::format("{} returned (entry {}) before the {} (entry {}) had reached the disk: what a "
                    "sync covers must be durable when it returns",
                    input_.sync_words, EntryOf(*input_.sync_mark), input_.words_of(write),
                    EntryOf(write.event)));
  }

  std::optional<size_t> FirstCommitBehind(size_t event) const {
    auto it = std::lower_bound(commits_.begin(), commits_.end(), line_.first_write[event + 1]);
    for (; it != commits_.end() && WriteAt(*it).event < input_.state->cut; ++it) {
      if (Arrived(WriteAt(*it).event)) return *it;
    }
    return std::nullopt;
  }

  // The first superblock of a mount: it says needs_recovery where the disk did not.
  bool SetsNeedsRecovery(const BlockWrite& write) const {
    if (line_.block_bytes == 0 || write.block != ext4::kSuperblockAt / line_.block_bytes ||
        !NeedsRecovery(write)) {
      return false;
    }
    bool before = kIncompatAt < input_.base.size() && IsSet(input_.base[kIncompatAt]);
    for (const size_t index : writes_to_.at(write.block)) {
      if (WriteAt(index).event >= write.event) break;
      if (Arrived(WriteAt(index).event)) before = NeedsRecovery(WriteAt(index));
    }
    return !before;
  }

  static bool IsSet(uint8_t incompat) { return (incompat & ext4::kIncompatNeedsRecovery) != 0; }

  bool NeedsRecovery(const BlockWrite& write) const {
    const Event& event = history_.events[write.event];
    return event.offset.value <= kIncompatAt &&
           kIncompatAt - event.offset.value < event.data.size() &&
           IsSet(event.data[kIncompatAt - event.offset.value]);
  }

  const OrderingInput& input_;
  const blocklog::History& history_;
  const crashstate::JournalTimeline& line_;
  std::unordered_map<uint64_t, std::vector<size_t>> writes_to_;  // of blocks with a loss
  std::vector<size_t> commits_;                                  // writes, ascending
  std::vector<BrokenRule> found_;                                // by the loss of one event
};

}  // namespace

const char* BrokenRuleName(Kind kind) {
  switch (kind) {
    case Kind::kJournalBeforeCommit:
      return "journal-before-commit";
    case Kind::kHomeBeforeTail:
      return "home-before-tail";
    case Kind::kLogBeginBeforeCommit:
      return "log-begin-before-commit";
    case Kind::kRecoveryBeforeCommit:
      return "needs-recovery-before-commit";
    case Kind::kTailBeforeReuse:
      return "tail-before-reuse";
    case Kind::kSyncBeforeReturn:
      return "sync-before-return";
    case Kind::kCommitBeforeCheckpoint:
      return "commit-before-checkpoint";
    case Kind::kCommitsInOrder:
      return "commits-in-order";
  }
  return "";
}

std::vector<BrokenRule> FindBrokenRules(const OrderingInput& input) {
  return RuleFinder(input).Run();
}

}  // namespace plugpull::diagnose
