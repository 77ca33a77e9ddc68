// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/content.h"

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <utility>

#include "fmt/format.h"
#include "fmt/ranges.h"

namespace plugpull::oracle {
namespace {

using workload::AllowedBinding;
using workload::Binding;
using workload::ByteObligation;
using workload::ContentTag;
using workload::FileObligation;
using workload::kCellBytes;
using workload::NameObligation;
using workload::ReachObligation;
using Kind = ContentViolation::Kind;
using Found = ContentViolation::Found;

constexpr size_t kRememberedMax = 1'000'000;
constexpr size_t kWindowBytes = 64 << 10;
static_assert(kWindowBytes % kCellBytes == 0);

std::string VersionText(uint64_t version) {
  return version == 0 ? std::string("zeroes") : fmt::format("version {}", version);
}

// The first few: a text that people read.
std::string VersionList(std::span<const uint64_t> versions) {
  constexpr size_t kShownMax = 8;
  std::string text =
      fmt::format("{}", fmt::join(versions.first(std::min(versions.size(), kShownMax)), ", "));
  if (versions.size() > kShownMax) text += fmt::format(" and {} more", versions.size() - kShownMax);
  return text;
}

bool Holds(uint64_t file, uint64_t version, uint64_t offset, std::span<const uint8_t> bytes) {
  return version == 0 ? workload::HoldsZeroes(bytes)
                      : workload::HoldsContent(file, version, offset, bytes);
}

}  // namespace

// What is wrong with a file; a wrong size does not keep its bytes from being looked at.
struct FileMismatch {
  std::optional<ContentViolation> size;
  std::optional<ContentViolation> bytes;

  bool any() const { return size || bytes; }
  const ContentViolation& first() const { return size ? *size : *bytes; }
};

struct ContentMemo::Impl {
  struct Key {
    image::Fingerprint stamp;
    uint64_t serial;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const {
      return key.stamp.low ^ (key.serial * 0x9e3779b97f4a7c15ULL);
    }
  };
  std::unordered_map<Key, FileMismatch, Hash> mismatches;
};

ContentMemo::ContentMemo() : impl_(std::make_unique<Impl>()) {}
ContentMemo::~ContentMemo() = default;

class ContentJudge {
 public:
  ContentJudge(const workload::Obligations& obligations, FileSystemView& view, ContentMemo* memo)
      : obligations_(obligations), view_(view), memo_(memo == nullptr ? nullptr : &*memo->impl_) {}

  ContentVerdict Run();

 private:
  using Mismatch = std::optional<ContentViolation>;  // its path is set by Report
  // A whole file is compared once, however many names it has.
  struct Compared {
    const FileObligation* content = nullptr;
    FileMismatch mismatch;
  };

  void CheckName(const NameObligation& name);
  void CheckFile(const NameObligation& name, const NodeInfo& node);
  void CheckReach(const ReachObligation& reach);
  const FileMismatch& Compare(const NodeInfo& node, const FileObligation& content);
  FileMismatch Remembered(const NodeInfo& node, const FileObligation& content);
  Mismatch CompareSize(const NodeInfo& node, const FileObligation& content) const;
  Mismatch CompareBytes(const NodeInfo& node, const FileObligation& content);
  Mismatch CompareStretch(const NodeInfo& node, uint64_t file, const ByteObligation& owed,
                          uint64_t end);
  Mismatch CompareCells(uint64_t file, const ByteObligation& owed, uint64_t offset, uint64_t end);
  ContentViolation Describe(uint64_t file, const ByteObligation& owed, uint64_t offset) const;
  // Makes window_ hold the bytes at `offset`, as many as fit of those below `end`.
  Status Fill(const NodeInfo& node, uint64_t offset, uint64_t end);
  std::span<const uint8_t> Window(uint64_t offset, uint64_t end) const;

  std::string Operation(uint64_t operation) const {
    return obligations_.index->Describe(operation);
  }
  void Report(const std::string& path, ContentViolation violation,
              GuaranteeReport::Guarantee broken = GuaranteeReport::FSYNC_NAME);
  void ReportName(const NameObligation& name, Kind kind, const std::string& what);

  const workload::Obligations& obligations_;
  FileSystemView& view_;
  ContentMemo::Impl* memo_;
  ContentVerdict verdict_;
  std::string unseen_;  // what could not be looked at
  // By inode; references to what is in it stay good.
  std::unordered_map<uint64_t, std::deque<Compared>> compared_;
  std::vector<uint8_t> window_;
  uint64_t window_inode_ = 0;
  uint64_t window_start_ = 0;
  size_t window_bytes_ = 0;  // 0: nothing is in it
};

ContentVerdict ContentJudge::Run() {
  for (const NameObligation* name : obligations_.names) CheckName(*name);
  for (const ReachObligation* reach : obligations_.files) CheckReach(*reach);
  if (!obligations_.names.empty() || !obligations_.files.empty()) {
    verdict_.answers.asked.Add(GuaranteeReport::FSYNC_NAME);
  }
  verdict_.answers.shown = verdict_.answers.asked;
  // A name that cannot be looked up may be there, with a size and bytes.
  for (const auto guarantee :
       {GuaranteeReport::FSYNC_NAME, GuaranteeReport::FSYNC_SIZE, GuaranteeReport::FSYNC_DATA}) {
    if (!unseen_.empty() && !verdict_.answers.broken.Has(guarantee)) {
      verdict_.answers.unknown.Add(guarantee);
    }
  }
  if (verdict_.violation_count > 0) {
    verdict_.outcome = Outcome::kViolated;
    verdict_.evidence = verdict_.violations[0].evidence;
    if (verdict_.violation_count > 1) {
      verdict_.evidence += fmt::format(" (and {} more)", verdict_.violation_count - 1);
    }
  } else if (!unseen_.empty()) {
    verdict_.outcome = Outcome::kUnknown;
    verdict_.evidence = unseen_;
  }
  return std::move(verdict_);
}

void ContentJudge::Report(const std::string& path, ContentViolation violation,
                          GuaranteeReport::Guarantee broken) {
  ++verdict_.violation_count;
  verdict_.answers.Break(broken, "/" + path + ": " + violation.evidence);
  if (verdict_.violations.size() >= kContentViolationsMax) return;
  violation.path = "/" + path;
  violation.evidence = violation.path + ": " + violation.evidence;
  verdict_.violations.push_back(std::move(violation));
}

void ContentJudge::ReportName(const NameObligation& name, Kind kind, const std::string& what) {
  ContentViolation violation;
  violation.kind = kind;
  violation.file = name.allowed[0].binding.file;
  violation.sync_operation = name.sync;
  violation.evidence = fmt::format("{}; {} had made its {} durable", what, Operation(name.sync),
                                   Operation(name.change));
  Report(*name.path, std::move(violation));
}

void ContentJudge::CheckName(const NameObligation& name) {
  ++verdict_.names_checked;
  auto found = view_.Lookup(*name.path);
  const bool may_be_absent = name.Allows(Binding::Kind::kAbsent);
  if (!found.ok()) {
    if (!may_be_absent) {
      return ReportName(name, Kind::kUnreadable,
                        fmt::format("cannot be looked up ({})", found.error().ToString()));
    }
    if (unseen_.empty()) {
      unseen_ = fmt::format("/{} cannot be looked up ({})", *name.path, found.error().ToString());
    }
    return;
  }
  if (!found->has_value()) {
    if (!may_be_absent) ReportName(name, Kind::kNameMissing, "is missing");
    return;
  }
  const NodeInfo& node = **found;
  const bool is_folder = node.type == NodeType::kFolder;
  if (is_folder && name.Allows(Binding::Kind::kFolder)) return;
  const bool is_file = node.type == NodeType::kFile;
  if (is_file && name.Allows(Binding::Kind::kFile)) return CheckFile(name, node);
  if (name.allowed[0].binding.kind == Binding::Kind::kAbsent) {
    return ReportName(name, Kind::kNameResurrected, "is there again");
  }
  ReportName(name, Kind::kWrongType,
             is_folder ? "is a folder" : (is_file ? "is a file" : "is neither file nor folder"));
}

// The name may stand for any of several files: it is as it should be when one of them fits.
void ContentJudge::CheckFile(const NameObligation& name, const NodeInfo& node) {
  const FileMismatch* first = nullptr;
  for (const AllowedBinding& one : name.allowed) {
    if (one.binding.kind != Binding::Kind::kFile) continue;
    const FileMismatch& mismatch = Compare(node, *one.content);
    if (!mismatch.any()) return;
    if (first == nullptr) first = &mismatch;
  }
  Report(*name.path, first->first(),
         first->size ? GuaranteeReport::FSYNC_SIZE : GuaranteeReport::FSYNC_DATA);
  if (first->bytes) {
    verdict_.answers.Break(GuaranteeReport::FSYNC_DATA,
                           fmt::format("/{}: {}", *name.path, first->bytes->evidence));
  }
}

void ContentJudge::CheckReach(const ReachObligation& reach) {
  const std::string* path = nullptr;
  std::optional<ContentViolation> nearest;
  for (const std::string* name : reach.names) {
    auto found = view_.Lookup(*name);
    if (!found.ok() || !found->has_value()) continue;
    if ((*found)->type != NodeType::kFile) continue;
    const FileMismatch& mismatch = Compare(**found, *reach.content);
    if (!mismatch.any()) return;
    if (nearest) continue;
    path = name;
    nearest = mismatch.first();
  }
  ContentViolation violation;
  violation.kind = Kind::kFileLost;
  violation.file = reach.content->file;
  violation.sync_operation = reach.sync;
  violation.evidence =
      fmt::format("file {} is under none of the {} names that it may have; {} had made it durable",
                  violation.file, reach.names.size(), Operation(reach.sync));
  if (nearest) violation.evidence += fmt::format("; /{}: {}", *path, nearest->evidence);
  Report(*reach.names.back(), std::move(violation));
}

const FileMismatch& ContentJudge::Compare(const NodeInfo& node, const FileObligation& content) {
  if (!content.sizes.empty()) verdict_.answers.asked.Add(GuaranteeReport::FSYNC_SIZE);
  if (!content.bytes.empty()) verdict_.answers.asked.Add(GuaranteeReport::FSYNC_DATA);
  std::deque<Compared>& known = compared_[node.inode];
  for (const Compared& one : known) {
    if (one.content == &content) return one.mismatch;
  }
  ++verdict_.files_checked;
  known.push_back({&content, Remembered(node, content)});
  return known.back().mismatch;
}

FileMismatch ContentJudge::Remembered(const NodeInfo& node, const FileObligation& content) {
  const bool worth_it = memo_ != nullptr && content.serial != 0;
  const auto stamp = worth_it ? view_.Stamp(node.inode) : std::nullopt;
  if (stamp) {
    const auto it = memo_->mismatches.find({*stamp, content.serial});
    if (it != memo_->mismatches.end()) return it->second;
  }
  FileMismatch mismatch{CompareSize(node, content), CompareBytes(node, content)};
  if (stamp) {
    if (memo_->mismatches.size() >= kRememberedMax) memo_->mismatches.clear();
    memo_->mismatches.emplace(ContentMemo::Impl::Key{*stamp, content.serial}, mismatch);
  }
  return mismatch;
}

ContentJudge::Mismatch ContentJudge::CompareSize(const NodeInfo& node,
                                                 const FileObligation& content) const {
  const auto fits = [&](const workload::SizeRange& range) {
    return node.size >= range.low_bytes && node.size <= range.high_bytes;
  };
  if (content.sizes.empty() || std::any_of(content.sizes.begin(), content.sizes.end(), fits)) {
    return std::nullopt;
  }
  ContentViolation violation;
  violation.kind = Kind::kWrongSize;
  violation.file = content.file;
  violation.sync_operation = content.size_sync;
  violation.evidence =
      fmt::format("is {} bytes long; {} had made a size of {}{} bytes durable{}", node.size,
                  Operation(content.size_sync),
                  content.sizes[0].low_bytes == content.sizes[0].high_bytes ? "" : "at least ",
                  content.sizes[0].low_bytes,
                  content.sizes.size() == 1 ? "" : ", and no later operation gives this one");
  return violation;
}

ContentJudge::Mismatch ContentJudge::CompareBytes(const NodeInfo& node,
                                                  const FileObligation& content) {
  window_bytes_ = 0;
  for (const ByteObligation& owed : content.bytes) {
    const uint64_t end = std::min(owed.end, node.size);
    if (owed.start >= end) break;
    if (Mismatch mismatch = CompareStretch(node, content.file, owed, end)) return mismatch;
    verdict_.bytes_checked += end - owed.start;
  }
  return std::nullopt;
}

ContentJudge::Mismatch ContentJudge::CompareStretch(const NodeInfo& node, uint64_t file,
                                                    const ByteObligation& owed, uint64_t end) {
  for (uint64_t offset = owed.start; offset < end;) {
    if (Status status = Fill(node, offset, node.size); !status.ok()) {
      ContentViolation violation;
      violation.kind = Kind::kUnreadable;
      violation.file = file;
      violation.offset = offset;
      violation.sync_operation = owed.sync;
      violation.evidence =
          fmt::format("byte {} cannot be read ({}); {} had made {} durable", offset,
                      status.error().ToString(), Operation(owed.sync), VersionText(owed.version));
      return violation;
    }
    const std::span<const uint8_t> bytes = Window(offset, end);
    if (!Holds(file, owed.version, offset, bytes)) {
      if (Mismatch mismatch = CompareCells(file, owed, offset, offset + bytes.size())) {
        return mismatch;
      }
    }
    offset += bytes.size();
  }
  return std::nullopt;
}

ContentJudge::Mismatch ContentJudge::CompareCells(uint64_t file, const ByteObligation& owed,
                                                  uint64_t offset, uint64_t end) {
  for (uint64_t next = offset; offset < end; offset = next) {
    next = std::min(end, (offset / kCellBytes + 1) * kCellBytes);
    const std::span<const uint8_t> cell = Window(offset, next);
    if (Holds(file, owed.version, offset, cell)) continue;
    if (owed.zeroes_allowed && workload::HoldsZeroes(cell)) continue;
    const auto holds = [&](uint64_t version) { return Holds(file, version, offset, cell); };
    if (std::any_of(owed.later.begin(), owed.later.end(), holds)) continue;
    return Describe(file, owed, offset);
  }
  return std::nullopt;
}

ContentViolation ContentJudge::Describe(uint64_t file, const ByteObligation& owed,
                                        uint64_t offset) const {
  ContentViolation violation;
  violation.kind = Kind::kBytesLost;
  violation.file = file;
  violation.offset = offset;
  violation.sync_operation = owed.sync;
  violation.expected_versions.push_back(owed.version);
  violation.expected_versions.insert(violation.expected_versions.end(), owed.later.begin(),
                                     owed.later.end());
  // The cell around the byte says more than the part of it that is owed.
  const uint64_t cell = offset / kCellBytes;
  std::string what;
  violation.tag = workload::DecodeCell(Window(cell * kCellBytes, (cell + 1) * kCellBytes));
  if (violation.tag && violation.tag->file != file) {
    violation.found = Found::kForeign;
    what = fmt::format("bytes of file {}, version {}", violation.tag->file, violation.tag->version);
  } else if (violation.tag && violation.tag->cell != cell) {
    violation.found = Found::kMisplaced;
    what = fmt::format("this file's bytes from byte {}", violation.tag->cell * kCellBytes);
  } else if (violation.tag) {
    violation.found = Found::kOtherVersion;
    what = VersionText(violation.tag->version);
  } else if (workload::HoldsZeroes(Window(offset, std::min(owed.end, (cell + 1) * kCellBytes)))) {
    violation.found = Found::kZeroes;
    what = "zeroes";
  } else {
    violation.found = Found::kUnrecognised;
    what = "bytes that nobody wrote";
  }
  violation.evidence = fmt::format("byte {} holds {}; {} had made {} durable", offset, what,
                                   Operation(owed.sync), VersionText(owed.version));
  if (!owed.later.empty()) {
    violation.evidence += fmt::format(", and only {} may have followed", VersionList(owed.later));
  }
  return violation;
}

Status ContentJudge::Fill(const NodeInfo& node, uint64_t offset, uint64_t end) {
  const bool inside = window_bytes_ > 0 && window_inode_ == node.inode && offset >= window_start_ &&
                      offset < window_start_ + window_bytes_;
  if (inside) return OkStatus();
  window_.resize(kWindowBytes);
  window_bytes_ = 0;
  const uint64_t start = offset / kCellBytes * kCellBytes;
  const size_t length = static_cast<size_t>(std::min<uint64_t>(kWindowBytes, end - start));
  PP_RETURN_IF_ERROR(view_.Read(node.inode, start, std::span(window_).first(length)));
  window_inode_ = node.inode;
  window_start_ = start;
  window_bytes_ = length;
  return OkStatus();
}

std::span<const uint8_t> ContentJudge::Window(uint64_t offset, uint64_t end) const {
  const uint64_t last = std::min(end, window_start_ + window_bytes_);
  return std::span(window_).subspan(offset - window_start_, last - offset);
}

const char* ContentViolationName(ContentViolation::Kind kind) {
  switch (kind) {
    case Kind::kNameMissing:
      return "name missing";
    case Kind::kNameResurrected:
      return "name resurrected";
    case Kind::kWrongType:
      return "wrong type";
    case Kind::kWrongSize:
      return "wrong size";
    case Kind::kBytesLost:
      return "bytes lost";
    case Kind::kFileLost:
      return "file lost";
    case Kind::kUnreadable:
      return "unreadable";
  }
  return "unknown";
}

ContentVerdict JudgeContent(const workload::Obligations& obligations, FileSystemView& view,
                            ContentMemo* memo) {
  return ContentJudge(obligations, view, memo).Run();
}

ContentVerdict JudgeContent(const workload::ObligationIndex& index,
                            const workload::ObligationKey& key, FileSystemView& view) {
  workload::ObligationTracker tracker(index);
  const auto obligations = tracker.At(key);
  if (obligations.ok()) return JudgeContent(**obligations, view);
  ContentVerdict verdict;
  verdict.outcome = Outcome::kUnknown;
  verdict.evidence = obligations.error().ToString();
  return verdict;
}

}  // namespace plugpull::oracle
