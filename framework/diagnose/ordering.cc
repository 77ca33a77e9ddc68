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
    for (const size_t event : input.state->lost) losses_.push_back({event, nullptr});
    for (const TornUnits& torn : input.state->torn) losses_.push_back({torn.event, &torn});
    std::sort(losses_.begin(), losses_.end(),
              [](const LostEvent& a, const LostEvent& b) { return a.event < b.event; });
    for (const LostEvent& loss : losses_) {
      for (const BlockWrite& write : line_.WritesOf(loss.event)) blocks.insert(write.block);
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
    for (const LostEvent& loss : losses_) {
      found_.clear();
      for (const BlockWrite& write : line_.WritesOf(loss.event)) {
        if (!write.changes) continue;
        const Part lost = LostOf(write, loss.torn);
        if (lost == Part::kSome) JudgeTorn(write, *loss.torn);
        if (lost == Part::kAll) Judge(write);
      }
      const auto better = [&](const BrokenRule& a, const BrokenRule& b) {
        return RankOf(a) < RankOf(b);
      };
      const auto best = std::min_element(found_.begin(), found_.end(), better);
      if (best == found_.end()) continue;
      all.push_back(*best);
      if (best->kind != Kind::kSyncBeforeReturn) continue;
      // A sync that returned says what is missed, and data=ordered why it is.
      const auto data = std::ranges::find(found_, Kind::kDataBeforeCommit, &BrokenRule::kind);
      if (data != found_.end()) all.push_back(*data);
    }
    return all;
  }

  std::vector<ReachableData> Reachable() {
    std::vector<ReachableData> all;
    for (const LostEvent& loss : losses_) {
      for (const BlockWrite& write : line_.WritesOf(loss.event)) {
        if (!write.changes || LostOf(write, loss.torn) != Part::kAll) continue;
        const auto commit = CommitThatReaches(write);
        if (!commit) continue;
        all.push_back({loss.event, write.block, commit->transaction, commit->event});
        break;
      }
    }
    return all;
  }

 private:
  struct LostEvent {
    size_t event;
    const TornUnits* torn;  // null: lost whole
  };
  enum class Part : uint8_t { kNone, kSome, kAll };

  // How much of a block did not arrive.
  Part LostOf(const BlockWrite& write, const TornUnits* torn) const {
    if (torn == nullptr) return Part::kAll;
    const Event& event = history_.events[write.event];
    const uint64_t start = std::max(write.block * line_.block_bytes, event.offset.value);
    const uint64_t end =
        std::min((write.block + 1) * line_.block_bytes, (event.offset + event.length).value);
    const uint64_t first = (start - event.offset.value) / input_.atomic_unit;
    const uint64_t last = (end - event.offset.value - 1) / input_.atomic_unit;
    const auto& missing = torn->missing;
    const auto from = std::lower_bound(missing.begin(), missing.end(), first);
    const auto to = std::upper_bound(missing.begin(), missing.end(), last);
    if (from == to) return Part::kNone;
    return static_cast<uint64_t>(to - from) == last - first + 1 ? Part::kAll : Part::kSome;
  }
  // Whole: what arrived in part proves nothing.
  bool Arrived(size_t event) const {
    const auto loss =
        std::lower_bound(losses_.begin(), losses_.end(), event,
                         [](const LostEvent& one, size_t wanted) { return one.event < wanted; });
    return event >= history_.base && event < input_.state->cut &&
           (loss == losses_.end() || loss->event != event);
  }
  // Lower is better.
  std::tuple<bool, bool, bool, Kind> RankOf(const BrokenRule& rule) const {
    const bool aside = rule.kind == Kind::kSyncBeforeReturn && !input_.prefer_sync;
    return {rule.kind != Kind::kBlockIsAtomic, aside, rule.arrived + 1 != input_.state->cut,
            rule.kind};
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
    const bool data = IsFileData(write);
    if (data && input_.data_mode == ext4::DataMode::kOrdered) JudgeData(write);
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
    if (IsFileData(write)) {
      if (input_.is_synced && !input_.is_synced(write)) return;
    } else if (GivenUp(line_.transactions[write.transaction])) {
      return;  // what it held was home, or is another write's to have kept
    }
    Add(Kind::kSyncBeforeReturn, write, *input_.sync_mark,
        fmt::format("{} returned (entry {}) before the {} (entry {}) had reached the disk: what a "
                    "sync covers must be durable when it returns",
                    input_.sync_words, EntryOf(*input_.sync_mark), input_.words_of(write),
                    EntryOf(write.event)));
  }

  bool IsFileData(const BlockWrite& write) const {
    return write.role == BlockRole::kOther && input_.is_file_data(write.block);
  }

  // The commit block behind a lost write of file data that made the block reachable, and arrived.
  std::optional<BlockWrite> CommitThatReaches(const BlockWrite& write) const {
    if (!input_.reached_by || !IsFileData(write)) return std::nullopt;
    const auto transaction = input_.reached_by(write);
    if (!transaction || !line_.transactions[*transaction].commit) return std::nullopt;
    const BlockWrite& commit = WriteAt(*line_.transactions[*transaction].commit);
    if (commit.event < write.event || !Arrived(commit.event) || Superseded(write, commit.event)) {
      return std::nullopt;
    }
    return commit;
  }

  void JudgeData(const BlockWrite& write) {
    const auto commit = CommitThatReaches(write);
    if (!commit) return;
    Add(Kind::kDataBeforeCommit, write, commit->event,
        fmt::format("the {} (entry {}), which makes it reachable, reached the disk before the {} "
                    "(entry {}): under data=ordered file data must be durable before the "
                    "transaction that makes it reachable commits",
                    input_.words_of(*commit), EntryOf(commit->event), input_.words_of(write),
                    EntryOf(write.event)));
  }

  // Who took a block of this kind to be there as a whole.
  const char* WhoRelied(const BlockWrite& write) const {
    switch (write.role) {
      case BlockRole::kDescriptor:
      case BlockRole::kRevoke:
        return "recovery reads it as one, and a checksum at its end only tells that it is not";
      case BlockRole::kDataCopy:
        return "recovery writes it home as one when its transaction has committed";
      case BlockRole::kCommit:
        return "a transaction has committed when its commit block is there, and not in part";
      case BlockRole::kJournalSuper:
        return "jbd2 overwrites it in place, and there is no other copy";
      case BlockRole::kCheckpoint:
        return "ext4 writes metadata home as one, and only as long as the journal holds the "
               "transaction can a replay mend it";
      case BlockRole::kJournalOther:
        return "recovery may come to read it as one";
      case BlockRole::kOther:
        break;
    }
    if (write.block == ext4::kSuperblockAt / line_.block_bytes) {
      return "ext4 overwrites the superblock in place, with one checksum over all of it";
    }
    return IsFileData(write) ? "nothing promises the data before a sync has returned"
                             : "ext4 writes metadata in place as one, and this write is in no "
                               "transaction of the journal";
  }

  void JudgeTorn(const BlockWrite& write, const TornUnits& torn) {
    BrokenRule rule{
        Kind::kBlockIsAtomic, write.event, write.event,
        fmt::format("the {} (entry {}) arrived in part ({}): a block of {} bytes is "
                    "not atomic on a disk that tears at {} bytes; {}",
                    input_.words_of(write), EntryOf(write.event), input_.units_words(torn),
                    line_.block_bytes, input_.atomic_unit, WhoRelied(write)),
        std::nullopt};
    // What is in flight when the power goes was promised nothing yet.
    const bool in_flight = write.event + 1 == input_.state->cut;
    if (history_.events[write.event].fua && !in_flight) rule.promised_by = write.event;
    for (size_t i = write.event + 1; i < input_.state->cut && !rule.promised_by; ++i) {
      if (history_.events[i].HasFlush()) rule.promised_by = i;
    }
    found_.push_back(std::move(rule));
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
  std::vector<LostEvent> losses_;                                // lost and torn, ascending
  std::unordered_map<uint64_t, std::vector<size_t>> writes_to_;  // of blocks with a loss
  std::vector<size_t> commits_;                                  // writes, ascending
  std::vector<BrokenRule> found_;                                // by the loss of one event
};

}  // namespace

const char* BrokenRuleName(Kind kind) {
  switch (kind) {
    case Kind::kBlockIsAtomic:
      return "block-is-atomic";
    case Kind::kDataBeforeCommit:
      return "data-before-commit";
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

std::vector<ReachableData> FindReachableData(const OrderingInput& input) {
  return RuleFinder(input).Reachable();
}

std::vector<BrokenRule> FindBrokenRules(const OrderingInput& input) {
  return RuleFinder(input).Run();
}

}  // namespace plugpull::diagnose
