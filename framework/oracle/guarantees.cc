// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/guarantees.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "framework/image/poison.h"
#include "framework/workload/content.h"

namespace plugpull::oracle {
namespace {

using workload::ContentMap;
using workload::GuaranteeQuestion;
using workload::kCellBytes;
using Kind = GuaranteeQuestion::Kind;

// Files that are longer than this are not read: they are none of this workload's.
constexpr uint64_t kReadBytesMax = 64 << 20;

std::string FoundWords(std::span<const uint8_t> bytes, uint64_t offset) {
  const uint64_t start = (offset + kCellBytes - 1) / kCellBytes * kCellBytes;
  const bool has_cell = start + kCellBytes <= bytes.size();
  const auto cell = has_cell
                        ? bytes.subspan(start, kCellBytes)
                        : bytes.subspan(offset).first(std::min(kCellBytes, bytes.size() - offset));
  if (workload::HoldsZeroes(cell)) return "zeroes";
  if (const auto tag = workload::DecodeCell(cell)) {
    return fmt::format("bytes of file {}, version {}", tag->file, tag->version);
  }
  if (image::RecognisePoison(cell)) return "what the disk held before mkfs";
  return "bytes that nobody wrote there";
}

// The first byte in [start, end) that is not what `content` of `file` says; `end` when all are.
uint64_t FirstDifference(uint64_t file, const ContentMap& content, std::span<const uint8_t> bytes,
                         uint64_t start, uint64_t end) {
  for (const auto& [from, stretch] : content.versions().stretches()) {
    const uint64_t last = std::min(stretch.end, end);
    for (uint64_t at = std::max(from, start), next = at; at < last; at = next) {
      next = std::min(last, (at / kCellBytes + 1) * kCellBytes);
      const auto cell = bytes.subspan(at, next - at);
      const bool holds = stretch.value == 0 ? workload::HoldsZeroes(cell)
                                            : workload::HoldsContent(file, stretch.value, at, cell);
      if (!holds) return at;
    }
  }
  return end;
}

bool IsWhole(uint64_t file, const ContentMap& content, std::span<const uint8_t> bytes) {
  return bytes.size() == content.size_bytes() &&
         FirstDifference(file, content, bytes, 0, bytes.size()) == bytes.size();
}

GuaranteeReport::Guarantee RenameGuarantee(Kind kind) {
  return kind == Kind::kRenameSynced ? GuaranteeReport::RENAME_SYNCED
                                     : GuaranteeReport::RENAME_UNSYNCED;
}

// What a question is about.
GuaranteeSet GuaranteesOf(const GuaranteeQuestion& question) {
  GuaranteeSet guarantees;
  switch (question.kind) {
    case Kind::kRenameSynced:
    case Kind::kRenameUnsynced:
      guarantees.Add(RenameGuarantee(question.kind));
      break;
    case Kind::kAppend:
      guarantees.Add(GuaranteeReport::APPEND_SOUND);
      guarantees.Add(GuaranteeReport::APPEND_WHOLE);
      break;
    case Kind::kOverwrite:
      guarantees.Add(GuaranteeReport::OVERWRITE_WHOLE);
      break;
  }
  return guarantees;
}

class GuaranteeJudge {
 public:
  explicit GuaranteeJudge(FileSystemView& view) : view_(view) {}

  void Judge(const GuaranteeQuestion& question);
  GuaranteeAnswers answers() && { return std::move(answers_); }

 private:
  void JudgeRename(const GuaranteeQuestion& question, const std::optional<NodeInfo>& node);
  void JudgeAppend(const GuaranteeQuestion& question);
  void JudgeOverwrite(const GuaranteeQuestion& question);
  void Asked(GuaranteeReport::Guarantee guarantee, bool shown) {
    answers_.asked.Add(guarantee);
    if (shown) answers_.shown.Add(guarantee);
  }
  void Unknown(const GuaranteeQuestion& question) { answers_.unknown.Add(GuaranteesOf(question)); }

  FileSystemView& view_;
  GuaranteeAnswers answers_;
  std::vector<uint8_t> bytes_;  // of the file that is looked at
};

void GuaranteeJudge::JudgeRename(const GuaranteeQuestion& question,
                                 const std::optional<NodeInfo>& node) {
  const auto guarantee = RenameGuarantee(question.kind);
  const bool file = node && node->type == NodeType::kFile;
  if (file && IsWhole(question.file_before, question.before, bytes_)) {
    return Asked(guarantee, false);
  }
  Asked(guarantee, true);
  if (file && IsWhole(question.file_after, question.after, bytes_)) return;
  std::string what = node ? "is no file" : "is missing";
  const uint64_t old_size = question.before.size_bytes();
  const uint64_t new_size = question.after.size_bytes();
  if (file && bytes_.size() != old_size && bytes_.size() != new_size) {
    what = fmt::format("is {} bytes long", bytes_.size());
  } else if (file) {
    const bool as_new = bytes_.size() == new_size;
    const uint64_t at =
        as_new ? FirstDifference(question.file_after, question.after, bytes_, 0, bytes_.size())
               : FirstDifference(question.file_before, question.before, bytes_, 0, bytes_.size());
    what = fmt::format("has the size of the {} file, and byte {} holds {}", as_new ? "new" : "old",
                       at, FoundWords(bytes_, at));
  }
  answers_.Break(guarantee,
                 fmt::format("/{}: {}; operation {} renamed file {} ({} bytes) over file {} ({} "
                             "bytes)",
                             question.path, what, question.change, question.file_after, new_size,
                             question.file_before, old_size));
}

void GuaranteeJudge::JudgeAppend(const GuaranteeQuestion& question) {
  const uint64_t old_size = question.before.size_bytes();
  const uint64_t new_size = question.after.size_bytes();
  if (bytes_.size() < old_size ||
      FirstDifference(question.file_before, question.before, bytes_, 0, old_size) != old_size) {
    return;
  }
  const bool shown = bytes_.size() > old_size;
  Asked(GuaranteeReport::APPEND_SOUND, shown);
  Asked(GuaranteeReport::APPEND_WHOLE, shown);
  const uint64_t end = std::min<uint64_t>(bytes_.size(), new_size);
  const uint64_t good = FirstDifference(question.file_after, question.after, bytes_, old_size, end);
  std::string what;
  if (bytes_.size() > new_size) {
    what = "longer than it ever was";
  } else if (good < end) {
    what = fmt::format("and byte {} holds {}", good, FoundWords(bytes_, good));
  }
  const auto say = [&](const std::string& why) {
    return fmt::format("/{}: is {} bytes long, {}; operation {} appended bytes {} to {}",
                       question.path, bytes_.size(), why, question.change, old_size, new_size - 1);
  };
  if (!what.empty()) answers_.Break(GuaranteeReport::APPEND_SOUND, say(what));
  if (what.empty() && shown && bytes_.size() < new_size) what = "which is a part of it";
  if (!what.empty()) answers_.Break(GuaranteeReport::APPEND_WHOLE, say(what));
}

void GuaranteeJudge::JudgeOverwrite(const GuaranteeQuestion& question) {
  if (bytes_.size() != question.before.size_bytes()) return;
  const uint64_t version = workload::VersionOf(question.change);
  std::optional<uint64_t> first_old;
  std::optional<uint64_t> first_new;
  for (const auto& [from, stretch] : question.after.versions().stretches()) {
    if (stretch.value != version) continue;
    for (uint64_t at = from, next = at; at < stretch.end; at = next) {
      next = std::min(stretch.end, (at / kCellBytes + 1) * kCellBytes);
      const bool is_old =
          FirstDifference(question.file_before, question.before, bytes_, at, next) == next;
      const bool is_new = workload::HoldsContent(question.file_after, version, at,
                                                 std::span(bytes_).subspan(at, next - at));
      if (!is_old && !is_new) return;
      if (is_old && is_new) continue;  // too little of a cell to tell
      std::optional<uint64_t>& first = is_old ? first_old : first_new;
      if (!first) first = at;
    }
  }
  Asked(GuaranteeReport::OVERWRITE_WHOLE, first_new.has_value());
  if (!first_old || !first_new) return;
  answers_.Break(GuaranteeReport::OVERWRITE_WHOLE,
                 fmt::format("/{}: byte {} is old and byte {} new; operation {} wrote them both",
                             question.path, *first_old, *first_new, question.change));
}

void GuaranteeJudge::Judge(const GuaranteeQuestion& question) {
  const auto found = view_.Lookup(question.path);
  if (!found.ok()) return Unknown(question);
  const std::optional<NodeInfo>& node = *found;
  const bool file = node && node->type == NodeType::kFile;
  bytes_.clear();
  if (file) {
    if (node->size > kReadBytesMax) return Unknown(question);
    bytes_.resize(node->size);
    if (!bytes_.empty() && !view_.Read(node->inode, 0, bytes_).ok()) return Unknown(question);
  }
  switch (question.kind) {
    case Kind::kRenameSynced:
    case Kind::kRenameUnsynced:
      return JudgeRename(question, node);
    case Kind::kAppend:
      return file ? JudgeAppend(question) : void();
    case Kind::kOverwrite:
      return file ? JudgeOverwrite(question) : void();
  }
}

}  // namespace

GuaranteeAnswers JudgeGuarantees(const std::vector<GuaranteeQuestion>& questions,
                                 const workload::ObligationKey& key, FileSystemView& view) {
  GuaranteeJudge judge(view);
  for (const GuaranteeQuestion& question : questions) {
    if (question.IsOpen(key)) judge.Judge(question);
  }
  return std::move(judge).answers();
}

GuaranteeSet OpenGuarantees(const std::vector<GuaranteeQuestion>& questions,
                            const workload::ObligationKey& key) {
  GuaranteeSet open;
  for (const GuaranteeQuestion& question : questions) {
    if (question.IsOpen(key)) open.Add(GuaranteesOf(question));
  }
  return open;
}

}  // namespace plugpull::oracle
