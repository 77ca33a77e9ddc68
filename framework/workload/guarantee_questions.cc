// SPDX-License-Identifier: Apache-2.0
#include "framework/workload/guarantee_questions.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace plugpull::workload {
namespace {

using Kind = GuaranteeQuestion::Kind;

constexpr size_t kQuestionsMax = 100'000;

class Builder {
 public:
  explicit Builder(const WorkloadTrace& trace) : trace_(trace) {}
  Result<std::vector<GuaranteeQuestion>> Run();

 private:
  bool Succeeded(int index) const {
    return index < trace_.result_size() &&
           trace_.result(index).index() == static_cast<uint64_t>(index) &&
           trace_.result(index).error() == 0;
  }

  void Before(const Operation& operation, uint64_t index);
  void AskAboutWrite(const Operation& operation, uint64_t index);
  void AskAboutRename(const Operation& operation, uint64_t index);
  void After(const Operation& operation, const std::vector<NameChange>& changes, uint64_t index);
  void Sync(const Operation& operation, uint64_t index);
  // Ends what is open about a file or a name.
  void End(uint64_t file, const std::string& path, uint64_t index);
  template <typename Which>
  void Settle(uint64_t index, const Which& which);
  template <typename Which>
  void NamesDurable(uint64_t index, const Which& which);
  void Add(GuaranteeQuestion question);

  // Since when a file stands under a name, both durable; nothing when one is not.
  std::optional<uint64_t> DurableSince(const std::string& path, uint64_t file) const;
  const ContentMap* ContentOf(uint64_t file) const {
    const FileTree::File* live = tree_.FindFile(file);
    return live == nullptr ? nullptr : &live->content;
  }

  const WorkloadTrace& trace_;
  FileTree tree_;
  std::map<uint64_t, uint64_t> bytes_durable_;     // sync, by file; absent: they are not
  std::map<std::string, uint64_t> names_durable_;  // sync, by path; absent: it is not
  std::set<uint64_t> dirty_files_;                 // the others that there are
  std::map<std::string, uint64_t> dirty_names_;    // with their files; 0: a folder
  std::vector<GuaranteeQuestion> questions_;
  std::vector<size_t> open_;  // in questions_
};

std::optional<uint64_t> Builder::DurableSince(const std::string& path, uint64_t file) const {
  const auto bytes = bytes_durable_.find(file);
  const auto name = names_durable_.find(path);
  if (bytes == bytes_durable_.end() || name == names_durable_.end()) return std::nullopt;
  return std::max(bytes->second, name->second);
}

void Builder::Add(GuaranteeQuestion question) {
  if (questions_.size() >= kQuestionsMax) return;
  open_.push_back(questions_.size());
  questions_.push_back(std::move(question));
}

void Builder::End(uint64_t file, const std::string& path, uint64_t index) {
  std::erase_if(open_, [&](size_t i) {
    GuaranteeQuestion& question = questions_[i];
    if (question.file_before != file && question.file_after != file && question.path != path) {
      return false;
    }
    question.ends_at = index;
    return true;
  });
}

template <typename Which>
void Builder::Settle(uint64_t index, const Which& which) {
  std::erase_if(open_, [&](size_t i) {
    if (!which(questions_[i])) return false;
    questions_[i].settled_at = index;
    return true;
  });
}

template <typename Which>
void Builder::NamesDurable(uint64_t index, const Which& which) {
  std::erase_if(dirty_names_, [&](const auto& name) {
    if (!which(name.first, name.second)) return false;
    names_durable_[name.first] = index;
    return true;
  });
}

void Builder::AskAboutWrite(const Operation& operation, uint64_t index) {
  const ContentMap* content = ContentOf(operation.file());
  const auto durable = DurableSince(operation.path(), operation.file());
  if (content == nullptr || !durable || operation.length() == 0 || operation.o_sync()) return;
  const uint64_t size = content->size_bytes();
  const bool append = operation.offset() == size && size > 0;
  const bool inside = operation.offset() + operation.length() <= size;
  if (!append && !inside) return;
  GuaranteeQuestion question;
  question.kind = append ? Kind::kAppend : Kind::kOverwrite;
  question.path = operation.path();
  question.change = index;
  question.durable_at = *durable;
  question.file_before = question.file_after = operation.file();
  question.before = question.after = *content;
  question.after.Write(operation.offset(), operation.length(), VersionOf(index));
  Add(std::move(question));
}

void Builder::AskAboutRename(const Operation& operation, uint64_t index) {
  const Binding from = tree_.Lookup(operation.path());
  const Binding to = tree_.Lookup(operation.path2());
  if (to.kind != Binding::Kind::kFile || to.file == from.file) return;
  const auto durable = DurableSince(operation.path2(), to.file);
  const ContentMap* before = ContentOf(to.file);
  const ContentMap* after = ContentOf(from.file);
  if (!durable || before == nullptr || after == nullptr) return;
  // An empty file holds nothing that could be told from another's.
  if (before->size_bytes() == 0 || after->size_bytes() == 0) return;
  GuaranteeQuestion question;
  const auto moved = DurableSince(operation.path(), from.file);
  question.kind = moved ? Kind::kRenameSynced : Kind::kRenameUnsynced;
  question.path = operation.path2();
  question.change = index;
  question.durable_at = std::max(*durable, moved.value_or(0));
  question.file_before = to.file;
  question.file_after = from.file;
  question.before = *before;
  question.after = *after;
  Add(std::move(question));
}

void Builder::Before(const Operation& operation, uint64_t index) {
  switch (operation.kind()) {
    case Operation::WRITE:
    case Operation::TRUNCATE:
      End(operation.file(), operation.path(), index);
      if (operation.kind() == Operation::WRITE) AskAboutWrite(operation, index);
      bytes_durable_.erase(operation.file());
      dirty_files_.insert(operation.file());
      return;
    case Operation::RENAME:
      End(tree_.Lookup(operation.path()).file, operation.path(), index);
      if (const Binding to = tree_.Lookup(operation.path2()); to.kind == Binding::Kind::kFile) {
        End(to.file, operation.path2(), index);
      }
      return AskAboutRename(operation, index);
    case Operation::UNLINK:
      return End(tree_.Lookup(operation.path()).file, operation.path(), index);
    default:
      return;
  }
}

void Builder::Sync(const Operation& operation, uint64_t index) {
  if (operation.kind() == Operation::SYNC || operation.kind() == Operation::SYNCFS) {
    for (const uint64_t file : std::exchange(dirty_files_, {})) bytes_durable_[file] = index;
    NamesDurable(index, [](const std::string&, uint64_t) { return true; });
    return Settle(index, [](const GuaranteeQuestion&) { return true; });
  }
  const bool fsync = operation.kind() == Operation::FSYNC;
  const bool synced_write = operation.kind() == Operation::WRITE && operation.o_sync();
  if (!fsync && !synced_write && operation.kind() != Operation::FDATASYNC) return;
  const Binding binding = tree_.Lookup(operation.path());
  if (binding.kind != Binding::Kind::kFile) {
    // Of a folder: names in it.
    NamesDurable(index, [&](const std::string& path, uint64_t) {
      return ParentFolder(path) == operation.path();
    });
    return Settle(index, [&](const GuaranteeQuestion& question) {
      const bool rename =
          question.kind == Kind::kRenameSynced || question.kind == Kind::kRenameUnsynced;
      return rename && ParentFolder(question.path) == operation.path();
    });
  }
  // O_SYNC covers the bytes of that write alone, so the file counts as it did before.
  if (!synced_write && dirty_files_.erase(binding.file) > 0) bytes_durable_[binding.file] = index;
  if (fsync || synced_write) {
    NamesDurable(index, [&](const std::string&, uint64_t file) { return file == binding.file; });
  }
  Settle(index,
         [&](const GuaranteeQuestion& question) { return question.file_after == binding.file; });
}

void Builder::After(const Operation& operation, const std::vector<NameChange>& changes,
                    uint64_t index) {
  for (const NameChange& change : changes) {
    names_durable_.erase(change.path);
    dirty_names_.erase(change.path);
    if (change.after.kind == Binding::Kind::kAbsent) continue;
    dirty_names_[change.path] = change.after.file;
    if (operation.kind() == Operation::CREATE) dirty_files_.insert(change.after.file);
  }
  Sync(operation, index);
}

Result<std::vector<GuaranteeQuestion>> Builder::Run() {
  if (static_cast<uint64_t>(trace_.operation_size()) > kOperationsMax) {
    return UserError(fmt::format("the trace has {} operations, the most is {}",
                                 trace_.operation_size(), kOperationsMax));
  }
  for (int i = 0; i < trace_.operation_size(); ++i) {
    const Operation& operation = trace_.operation(i);
    const auto index = static_cast<uint64_t>(i);
    if (!Succeeded(i)) {
      for (const size_t open : open_) questions_[open].ends_at = index;
      break;
    }
    Before(operation, index);
    auto changes = tree_.Apply(operation, index);
    if (!changes.ok()) {
      return WithContext(std::move(changes).error(), fmt::format("trace, operation {}", index));
    }
    After(operation, *changes, index);
  }
  return std::move(questions_);
}

}  // namespace

Result<std::vector<GuaranteeQuestion>> QuestionsOf(const WorkloadTrace& trace) {
  return Builder(trace).Run();
}

}  // namespace plugpull::workload
