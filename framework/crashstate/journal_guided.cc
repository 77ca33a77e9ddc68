// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/journal_guided.h"

#include <algorithm>
#include <unordered_map>

#include "framework/crashstate/round_robin.h"

namespace plugpull::crashstate {
namespace {

constexpr size_t kLostMax = 4000;

// In the order of their turns. The source of each order is in fs/jbd2/commit.c (journal blocks and,
// in data=ordered, file data before the commit), fs/jbd2/checkpoint.c (the commit before any write
// home) and jbd2_update_log_tail of fs/jbd2/journal.c (writes home before the tail moves, the moved
// tail before the log goes over what it freed).
enum Kind : size_t {
  // Behind a write home: the transaction that it came from never reached the log.
  kCheckpointWithoutTransaction,
  // Behind a move of the tail: writes home of what it dropped are missing, all or one.
  kTailWithoutCheckpoints,
  kTailWithoutOneCheckpoint,
  // Behind a commit: blocks of its transaction are missing.
  kCommitAlone,
  kCommitWithoutCopy,
  kCommitWithoutDescriptor,
  kCommitWithoutRevoke,
  // Behind a commit: file data that was written before it is missing, all or one write.
  kCommitWithoutData,
  kCommitWithoutOneData,
  // Behind a commit that has overwritten what the tail had left: the tail still points there.
  kOldTail,
  kCommitLost,
  kCheckpointWithoutCommit,
  // Behind the commit after a write of the journal superblock: that write is missing.
  kSuperLost,
  kNothingLost,
  kKinds,
};

class Guide {
 public:
  Guide(const CrashSpace& space, const JournalTimeline& timeline, uint64_t seed,
        uint32_t enumerator)
      : space_(space), line_(timeline), enumerator_(enumerator), robin_(kKinds, seed) {}

  bool Name(size_t budget, std::vector<StateSpec>& out) {
    for (uint32_t t = 0; t < line_.transactions.size(); ++t) {
      if (line_.transactions[t].commit) AddCommit(t);
      AddCheckpoints(t);
    }
    std::sort(commits_.begin(), commits_.end());
    for (uint32_t s = 0; s < line_.supers.size(); ++s) AddSuper(s);
    AddOldTails();
    return robin_.Take(
        budget,
        [this](size_t kind, const RoundRobin::Candidate& candidate) {
          return StateOf(kind, candidate);
        },
        out);
  }

 private:
  size_t EventOf(size_t write) const { return line_.writes[write].event; }
  // Behind an event and the marks that follow it: the disk is the same, and what was acknowledged
  // meanwhile is owed too.
  size_t CutBehind(size_t event) const {
    const auto& events = space_.history().events;
    size_t cut = event + 1;
    while (cut < events.size() && events[cut].kind == blocklog::Event::Kind::kMark) ++cut;
    return cut;
  }
  size_t CutOfCommit(uint32_t transaction) const {
    return CutBehind(EventOf(*line_.transactions[transaction].commit));
  }

  // ---- candidates

  void AddNothingLost(size_t cut) { robin_.Add(kNothingLost, {cut, 0}); }

  void AddCommit(uint32_t t) {
    const JournalTransaction& transaction = line_.transactions[t];
    const size_t cut = CutOfCommit(t);
    commits_.push_back(*transaction.commit);
    AddNothingLost(cut);
    robin_.Add(kCommitAlone, {t, 0});
    robin_.Add(kCommitLost, {t, 0});
    for (const size_t write : transaction.blocks) {
      if (!space_.IsVolatile(EventOf(write), cut)) continue;
      const BlockRole role = line_.writes[write].role;
      robin_.Add(role == BlockRole::kDescriptor ? kCommitWithoutDescriptor
                 : role == BlockRole::kRevoke   ? kCommitWithoutRevoke
                                                : kCommitWithoutCopy,
                 {t, write});
    }
    data_since_[t] = last_commit_;
    last_commit_ = std::max(last_commit_, *transaction.commit + 1);
    robin_.Add(kCommitWithoutData, {t, 0});
    for (size_t write = data_since_[t]; write < *transaction.commit; ++write) {
      if (IsData(write) && space_.IsVolatile(EventOf(write), cut)) {
        robin_.Add(kCommitWithoutOneData, {t, write});
      }
    }
  }

  bool IsData(size_t write) const { return line_.writes[write].role == BlockRole::kOther; }

  void AddCheckpoints(uint32_t t) {
    for (const size_t write : line_.transactions[t].checkpoints) {
      AddNothingLost(CutBehind(EventOf(write)));
      robin_.Add(kCheckpointWithoutTransaction, {t, write});
      robin_.Add(kCheckpointWithoutCommit, {t, write});
    }
  }

  void AddSuper(uint32_t s) {
    const JournalSuperWrite& super = line_.supers[s];
    const size_t cut = CutBehind(EventOf(super.write));
    AddNothingLost(cut);
    robin_.Add(kSuperLost, {s, 0});
    if (!super.moves_tail) return;
    robin_.Add(kTailWithoutCheckpoints, {s, 0});
    for (const uint32_t t : super.dropped) {
      for (const size_t write : line_.transactions[t].checkpoints) {
        if (space_.IsVolatile(EventOf(write), cut)) {
          robin_.Add(kTailWithoutOneCheckpoint, {s, write});
        }
      }
    }
  }

  // For each transaction that lies in the log where a dropped one lay: the last super write that
  // had freed some of its place.
  void AddOldTails() {
    std::unordered_map<uint64_t, uint32_t> owner;  // of a block of the journal
    for (uint32_t t = 0; t < line_.transactions.size(); ++t) {
      const JournalTransaction& transaction = line_.transactions[t];
      if (!transaction.commit) continue;
      std::optional<size_t> freed_by;
      const auto take = [&](size_t write) {
        const auto [it, added] = owner.try_emplace(line_.writes[write].block, t);
        if (added) return;
        const auto dropped_by = line_.transactions[std::exchange(it->second, t)].dropped_by;
        if (dropped_by &&
            EventOf(line_.supers[*dropped_by].write) < EventOf(*line_.transactions[t].commit)) {
          freed_by = std::max(freed_by.value_or(0), *dropped_by);
        }
      };
      for (const size_t write : transaction.blocks) take(write);
      take(*transaction.commit);
      if (freed_by) robin_.Add(kOldTail, {t, *freed_by});
    }
  }

  // ---- states

  std::optional<StateSpec> StateOf(size_t kind, const RoundRobin::Candidate& candidate) {
    lost_.clear();
    size_t cut = 0;
    switch (kind) {
      case kNothingLost:
        return Spec(candidate.group);
      case kTailWithoutCheckpoints:
      case kTailWithoutOneCheckpoint:
        cut = CutBehind(EventOf(line_.supers[candidate.group].write));
        LoseOfTail(kind, candidate);
        break;
      case kSuperLost:
        cut = LoseSuper(candidate.group);
        break;
      case kOldTail:
        cut = CutOfCommit(static_cast<uint32_t>(candidate.group));
        for (size_t s = candidate.subject; s < line_.supers.size(); ++s) {
          if (EventOf(line_.supers[s].write) >= cut) break;
          Lose(line_.supers[s].write);
        }
        break;
      case kCheckpointWithoutTransaction:
      case kCheckpointWithoutCommit: {
        cut = CutBehind(EventOf(candidate.subject));
        const JournalTransaction& transaction = line_.transactions[candidate.group];
        if (transaction.commit) Lose(*transaction.commit);
        if (kind == kCheckpointWithoutTransaction) LoseAll(transaction.blocks);
        break;
      }
      default:
        cut = CutOfCommit(static_cast<uint32_t>(candidate.group));
        LoseOfCommit(kind, candidate);
    }
    return LossySpec(cut);
  }

  void LoseOfTail(size_t kind, const RoundRobin::Candidate& candidate) {
    if (kind == kTailWithoutOneCheckpoint) return Lose(candidate.subject);
    for (const uint32_t t : line_.supers[candidate.group].dropped) {
      LoseAll(line_.transactions[t].checkpoints);
    }
  }

  void LoseOfCommit(size_t kind, const RoundRobin::Candidate& candidate) {
    const auto t = static_cast<uint32_t>(candidate.group);
    const JournalTransaction& transaction = line_.transactions[t];
    if (kind == kCommitAlone) return LoseAll(transaction.blocks);
    if (kind == kCommitLost) return Lose(*transaction.commit);
    if (kind != kCommitWithoutData) return Lose(candidate.subject);
    for (size_t write = data_since_[t]; write < *transaction.commit; ++write) {
      if (IsData(write)) Lose(write);
    }
  }

  // The cut behind the first commit after it; the log's end when there is none.
  size_t LoseSuper(size_t s) {
    const size_t write = line_.supers[s].write;
    Lose(write);
    const auto commit = std::upper_bound(commits_.begin(), commits_.end(), write);
    return commit == commits_.end() ? space_.last_cut() : CutBehind(EventOf(*commit));
  }

  void Lose(size_t write) { lost_.push_back(EventOf(write)); }
  void LoseAll(const std::vector<size_t>& writes) {
    for (const size_t write : writes) Lose(write);
  }

  StateSpec Spec(size_t cut) const {
    StateSpec spec;
    spec.cut = cut;
    spec.enumerator = enumerator_;
    return spec;
  }

  // Without those of lost_ that the model allows to be lost; nothing when it allows none.
  std::optional<StateSpec> LossySpec(size_t cut) {
    std::erase_if(lost_, [&](size_t event) { return !space_.IsVolatile(event, cut); });
    std::sort(lost_.begin(), lost_.end());
    lost_.erase(std::unique(lost_.begin(), lost_.end()), lost_.end());
    if (lost_.size() > kLostMax) lost_.resize(kLostMax);
    if (lost_.empty()) return std::nullopt;
    StateSpec spec = Spec(cut);
    spec.selection.kind = Selection::Kind::kLose;
    for (const size_t event : lost_) {
      spec.selection.entries.push_back(space_.history().events[event].entry);
    }
    return spec;
  }

  const CrashSpace& space_;
  const JournalTimeline& line_;
  uint32_t enumerator_;
  RoundRobin robin_;
  // First write behind the commit before a transaction's own, for committed transactions.
  std::unordered_map<uint32_t, size_t> data_since_;
  size_t last_commit_ = 0;
  std::vector<size_t> commits_;  // writes
  std::vector<size_t> lost_;     // events
};

}  // namespace

bool NameJournalStates(const CrashSpace& space, const JournalTimeline& timeline, uint64_t seed,
                       uint32_t enumerator, size_t budget, std::vector<StateSpec>& out) {
  return Guide(space, timeline, seed, enumerator).Name(budget, out);
}

}  // namespace plugpull::crashstate
