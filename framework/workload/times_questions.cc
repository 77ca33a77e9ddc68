// SPDX-License-Identifier: Apache-2.0
#include "framework/workload/times_questions.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

namespace plugpull::workload {
namespace {

using Guarantee = GuaranteeReport::Guarantee;

constexpr size_t kQuestionsMax = 100'000;
constexpr uint64_t kNsPerHour = 3600ULL * 1'000'000'000;
constexpr uint64_t kNsPerDay = 24 * kNsPerHour;
// A little above, for what is done once a day is done a little later.
constexpr uint64_t kWaitNsMin = 25 * kNsPerHour;
// Half the kernel's dirtytime_expire_interval.
constexpr uint64_t kNoTriggerNsMax = 6 * kNsPerHour;

InodeTimes FromProto(const Times& times) {
  return {times.atime_ns(), times.mtime_ns(), times.ctime_ns()};
}

// Times that operations have given an inode and that nothing is known to have written.
struct Pending {
  uint64_t change = 0;    // the last of the operations
  uint64_t since_ns = 0;  // start of the first
  InodeTimes before = {};
  InodeTimes after = {};
  std::optional<uint64_t> other_change = {};
  std::optional<uint64_t> evicted = {};
  bool asked = false;  // by a question that a commit opened
};

struct Reading {
  Guarantee guarantee = GuaranteeReport::ATIME_OF_FILE;
  uint64_t operation = 0;
  InodeTimes before = {};
  InodeTimes after = {};
};

// What is known of what a path names.
struct Inode {
  std::optional<Pending> pending;
  std::optional<Reading> reading;   // not synced
  std::optional<uint64_t> read_ns;  // when it was read last, unless it was changed since
  std::optional<uint64_t> grown;    // last operation that made or enlarged it, not synced
  uint64_t size = 0;
};

class Builder {
 public:
  explicit Builder(const WorkloadTrace& trace) : trace_(trace) {}
  Result<std::vector<TimesQuestion>> Run();

 private:
  bool Succeeded(int index) const {
    return index < trace_.result_size() &&
           trace_.result(index).index() == static_cast<uint64_t>(index) &&
           trace_.result(index).error() == 0;
  }

  void Do(const Operation& operation, const OperationResult& result, uint64_t index);
  void Change(const Operation& operation, const OperationResult& result, uint64_t index);
  void Read(const Operation& operation, const OperationResult& result, Inode& inode,
            uint64_t index);
  void SyncOne(const Operation& operation, uint64_t now_ns, uint64_t index);
  void SyncAll(uint64_t index);
  void Committed(const std::string& path, uint64_t grown, uint64_t now_ns, uint64_t index);
  void Evict(uint64_t index);
  void Wait(const OperationResult& result, uint64_t index);

  void Ask(Guarantee guarantee, const std::string& path, const Pending& pending, uint64_t index);
  void Ask(const std::string& path, const Reading& reading, uint64_t index);
  void Add(TimesQuestion question);
  template <typename Which>
  void End(uint64_t index, const Which& which);
  void EndOf(const std::string& path, uint64_t index) {
    End(index, [&](const TimesQuestion& question) { return question.path == path; });
  }
  void EndOpenedByCommits(uint64_t index) {
    End(index, [](const TimesQuestion& question) {
      return question.guarantee == GuaranteeReport::TIMES_WITHOUT_TRIGGER ||
             question.guarantee == GuaranteeReport::TIMES_AFTER_OTHER_CHANGE ||
             question.guarantee == GuaranteeReport::TIMES_AFTER_EVICTION;
    });
  }

  const WorkloadTrace& trace_;
  std::map<std::string, Inode> inodes_;
  std::vector<TimesQuestion> questions_;
  std::vector<size_t> open_;               // in questions_
  std::map<size_t, uint64_t> expires_ns_;  // of some of these
};

void Builder::Add(TimesQuestion question) {
  if (questions_.size() >= kQuestionsMax) return;
  open_.push_back(questions_.size());
  questions_.push_back(std::move(question));
}

template <typename Which>
void Builder::End(uint64_t index, const Which& which) {
  std::erase_if(open_, [&](size_t i) {
    if (!which(questions_[i])) return false;
    questions_[i].ends_at = std::min(questions_[i].ends_at, index);
    return true;
  });
}

void Builder::Ask(Guarantee guarantee, const std::string& path, const Pending& pending,
                  uint64_t index) {
  TimesQuestion question{.guarantee = guarantee, .path = path, .change = pending.change};
  question.open_from = index;
  question.before = pending.before;
  question.after = pending.after;
  question.atime = pending.before.atime_ns != pending.after.atime_ns;
  question.mtime = pending.before.mtime_ns != pending.after.mtime_ns;
  // The other change has set ctime itself.
  question.ctime = pending.before.ctime_ns != pending.after.ctime_ns && !pending.other_change;
  if (question.atime || question.mtime || question.ctime) Add(std::move(question));
}

void Builder::Ask(const std::string& path, const Reading& reading, uint64_t index) {
  TimesQuestion question{.guarantee = reading.guarantee, .path = path, .change = reading.operation};
  question.open_from = index;
  question.before = reading.before;
  question.after = reading.after;
  question.atime = true;
  Add(std::move(question));
}

void Builder::Read(const Operation& operation, const OperationResult& result, Inode& inode,
                   uint64_t index) {
  Reading reading{
      .operation = index, .before = FromProto(result.before()), .after = FromProto(result.after())};
  const bool again = inode.read_ns.has_value();
  const uint64_t elapsed_ns = again ? result.started_ns() - *inode.read_ns : 0;
  inode.read_ns = result.ended_ns();
  inode.reading.reset();
  if (operation.kind() == Operation::LIST) {
    if (again) return;  // not asked of folders
    reading.guarantee = GuaranteeReport::ATIME_OF_FOLDER;
  } else if (again) {
    reading.guarantee = elapsed_ns > kNsPerDay ? GuaranteeReport::ATIME_OF_FILE_NEXT_DAY
                                               : GuaranteeReport::ATIME_OF_FILE_AGAIN;
  }
  inode.reading = reading;
}

void Builder::Change(const Operation& operation, const OperationResult& result, uint64_t index) {
  EndOf(operation.path(), index);
  Inode& inode = inodes_[operation.path()];
  const bool reads = operation.kind() == Operation::READ || operation.kind() == Operation::LIST;
  if (!reads) inode.read_ns.reset();
  if (!result.has_before() || !result.has_after()) {
    // What is done without a look leaves nothing to ask of.
    inode.pending.reset();
    inode.reading.reset();
    return;
  }
  if (reads) Read(operation, result, inode, index);
  const InodeTimes before = FromProto(result.before());
  const InodeTimes after = FromProto(result.after());
  std::optional<Pending>& pending = inode.pending;
  // What came behind a trigger waits for one of its own.
  if (pending && (pending->other_change || pending->evicted || pending->asked)) pending.reset();
  const bool other = operation.kind() == Operation::CHMOD;
  if (other && !pending) return;
  if (!pending) pending = Pending{.since_ns = result.started_ns(), .before = before};
  pending->change = index;
  pending->after = after;
  if (other) pending->other_change = index;
}

// An fsync or fdatasync of a file or folder.
void Builder::SyncOne(const Operation& operation, uint64_t now_ns, uint64_t index) {
  const auto found = inodes_.find(operation.path());
  if (found == inodes_.end()) return;
  Inode& inode = found->second;
  if (operation.kind() == Operation::FDATASYNC) {
    if (inode.pending) {
      Ask(GuaranteeReport::TIMES_AFTER_FDATASYNC, operation.path(), *inode.pending, index);
    }
    inode.pending.reset();
    return;
  }
  if (inode.pending) {
    Ask(GuaranteeReport::TIMES_AFTER_SYNC, operation.path(), *inode.pending, index);
  }
  inode.pending.reset();
  if (inode.reading) Ask(operation.path(), *inode.reading, index);
  inode.reading.reset();
  if (inode.grown) Committed(operation.path(), *inode.grown, now_ns, index);
  inode.grown.reset();
}

// The journal has committed, for the sake of `path`, all that came before its operation `grown`.
void Builder::Committed(const std::string& path, uint64_t grown, uint64_t now_ns, uint64_t index) {
  for (auto& [other, inode] : inodes_) {
    std::optional<Pending>& pending = inode.pending;
    if (!pending || pending->asked || other == path) continue;
    const uint64_t last = std::max(
        {pending->change, pending->other_change.value_or(0), pending->evicted.value_or(0)});
    if (last >= grown) continue;
    pending->asked = true;
    if (pending->evicted) {
      Ask(GuaranteeReport::TIMES_AFTER_EVICTION, other, *pending, index);
    } else if (pending->other_change) {
      Ask(GuaranteeReport::TIMES_AFTER_OTHER_CHANGE, other, *pending, index);
    } else if (now_ns - pending->since_ns < kNoTriggerNsMax) {
      const size_t place = questions_.size();
      Ask(GuaranteeReport::TIMES_WITHOUT_TRIGGER, other, *pending, index);
      if (questions_.size() > place) expires_ns_[place] = pending->since_ns + kNoTriggerNsMax;
    }
  }
}

void Builder::SyncAll(uint64_t index) {
  EndOpenedByCommits(index);
  for (auto& [path, inode] : inodes_) {
    if (inode.pending) Ask(GuaranteeReport::TIMES_AFTER_SYNC, path, *inode.pending, index);
    if (inode.reading) Ask(path, *inode.reading, index);
    inode.pending.reset();
    inode.reading.reset();
    inode.grown.reset();
  }
}

void Builder::Evict(uint64_t index) {
  EndOpenedByCommits(index);
  for (auto& [path, inode] : inodes_) {
    std::optional<Pending>& pending = inode.pending;
    if (!pending) continue;
    if (pending->other_change || pending->asked) {
      pending.reset();
    } else {
      pending->evicted = index;
    }
  }
}

void Builder::Wait(const OperationResult& result, uint64_t index) {
  EndOpenedByCommits(index);
  const bool day = result.ended_ns() - result.started_ns() >= kWaitNsMin;
  for (auto& [path, inode] : inodes_) {
    if (inode.pending && day) {
      Ask(GuaranteeReport::TIMES_AFTER_A_DAY, path, *inode.pending, index);
    }
    inode.pending.reset();
  }
}

void Builder::Do(const Operation& operation, const OperationResult& result, uint64_t index) {
  std::erase_if(open_, [&](size_t i) {
    const auto expiry = expires_ns_.find(i);
    if (expiry == expires_ns_.end() || result.ended_ns() < expiry->second) return false;
    questions_[i].ends_at = std::min(questions_[i].ends_at, index);
    return true;
  });
  switch (operation.kind()) {
    case Operation::CREATE:
    case Operation::MKDIR: {
      EndOf(operation.path(), index);
      Inode& inode = inodes_[operation.path()] = {};
      inode.grown = index;
      // A new name changes the folder that it is in.
      const std::string parent(ParentFolder(operation.path()));
      EndOf(parent, index);
      const auto folder = inodes_.find(parent);
      if (folder == inodes_.end()) return;
      folder->second.pending.reset();
      folder->second.reading.reset();
      folder->second.read_ns.reset();
      return;
    }
    case Operation::WRITE: {
      Change(operation, result, index);
      Inode& inode = inodes_[operation.path()];
      const uint64_t end = operation.offset() + operation.length();
      if (end > inode.size) inode.grown = index;
      inode.size = std::max(inode.size, end);
      return;
    }
    case Operation::READ:
    case Operation::LIST:
    case Operation::CHMOD:
      return Change(operation, result, index);
    case Operation::FSYNC:
    case Operation::FDATASYNC:
      return SyncOne(operation, result.ended_ns(), index);
    case Operation::SYNC:
    case Operation::SYNCFS:
      return SyncAll(index);
    case Operation::EVICT:
      return Evict(index);
    case Operation::WAIT:
      return Wait(result, index);
    default:
      // Names that move or go are none of this workload's: what is asked of them ends.
      EndOf(operation.path(), index);
      EndOf(operation.path2(), index);
      inodes_.erase(operation.path());
      inodes_.erase(operation.path2());
  }
}

Result<std::vector<TimesQuestion>> Builder::Run() {
  if (static_cast<uint64_t>(trace_.operation_size()) > kOperationsMax) {
    return UserError(fmt::format("the trace has {} operations, the most is {}",
                                 trace_.operation_size(), kOperationsMax));
  }
  const bool looks =
      std::any_of(trace_.operation().begin(), trace_.operation().end(),
                  [](const Operation& operation) { return operation.look_at_times(); });
  for (int i = 0; looks && i < trace_.operation_size(); ++i) {
    const auto index = static_cast<uint64_t>(i);
    if (!Succeeded(i)) {
      End(index, [](const TimesQuestion&) { return true; });
      break;
    }
    // Of fdatasync: until the next operation that the log knows to have ended, whichever it is.
    if (IsAcknowledged(trace_.operation(i))) {
      End(index + 1, [&](const TimesQuestion& question) {
        return question.guarantee == GuaranteeReport::TIMES_AFTER_FDATASYNC &&
               question.open_from < index;
      });
    }
    Do(trace_.operation(i), trace_.result(i), index);
  }
  return std::move(questions_);
}

}  // namespace

Result<std::vector<TimesQuestion>> TimesQuestionsOf(const WorkloadTrace& trace) {
  return Builder(trace).Run();
}

}  // namespace plugpull::workload
