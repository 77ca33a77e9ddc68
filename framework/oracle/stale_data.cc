// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/stale_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <set>

#include "framework/image/poison.h"
#include "framework/workload/file_tree.h"

namespace plugpull::oracle {
namespace {

using workload::ContentTag;
using workload::FileHistory;
using workload::kCellBytes;
using Kind = StaleFile::Kind;

static_assert(image::kPoisonCellBytes == kCellBytes);

constexpr size_t kWindowBytes = 64 << 10;
constexpr size_t kStretchBytes = 1024;  // compared at once
static_assert(kWindowBytes % kStretchBytes == 0 && kStretchBytes % kCellBytes == 0);
// Bounds that a damaged image cannot push us over.
constexpr size_t kNamesMax = 1'000'000;
constexpr size_t kDepthMax = 256;

// A regular file and its names, in order.
struct FoundFile {
  NodeInfo node;
  std::vector<std::string> names;
};

// The tree below the root.
class Walk {
 public:
  explicit Walk(FileSystemView& view) : view_(view) {}

  // Files by inode, in the order of their first names. What could not be looked at is in unseen().
  std::vector<FoundFile> Run();
  const std::string& unseen() const { return unseen_; }

 private:
  struct Folder {
    std::string path;
    size_t depth;
  };
  void Visit(const std::string& path, size_t depth);
  void Unseen(const std::string& path, const std::string& why) {
    if (unseen_.empty()) unseen_ = fmt::format("/{} cannot be read ({})", path, why);
  }

  FileSystemView& view_;
  std::deque<Folder> waiting_;
  std::set<uint64_t> folders_;  // inodes; a damaged tree may have loops
  std::vector<FoundFile> files_;
  std::unordered_map<uint64_t, size_t> position_;  // in files_, by inode
  size_t names_ = 0;
  std::string unseen_;
};

std::vector<FoundFile> Walk::Run() {
  Visit("", 0);
  while (!waiting_.empty()) {
    const Folder folder = std::move(waiting_.front());
    waiting_.pop_front();
    const auto names = view_.List(folder.path);
    if (!names.ok()) {
      Unseen(folder.path, names.error().ToString());
      continue;
    }
    for (const std::string& name : *names) {
      if (++names_ > kNamesMax) {
        Unseen(folder.path, fmt::format("there are more than {} names", kNamesMax));
        return std::move(files_);
      }
      Visit(folder.path.empty() ? name : folder.path + "/" + name, folder.depth + 1);
    }
  }
  return std::move(files_);
}

void Walk::Visit(const std::string& path, size_t depth) {
  const auto node = view_.Lookup(path);
  if (!node.ok()) return Unseen(path, node.error().ToString());
  if (!node->has_value()) return Unseen(path, "the name is listed, but stands for nothing");
  const NodeInfo& info = **node;
  if (info.type == NodeType::kFolder) {
    if (depth > kDepthMax) return Unseen(path, fmt::format("deeper than {} folders", kDepthMax));
    if (folders_.insert(info.inode).second) waiting_.push_back({path, depth});
    return;
  }
  if (info.type != NodeType::kFile) return;
  const auto [known, added] = position_.emplace(info.inode, files_.size());
  if (added) files_.push_back({info, {}});
  files_[known->second].names.push_back(path);
}

// What one cell of a file is, where it is stale.
struct StaleCell {
  Kind kind = Kind::kUnrecognised;
  std::optional<uint64_t> disk_offset;
  std::optional<ContentTag> tag;
};

// Whether every byte of a cell, or of its beginning, is zero or the file's own, of whichever
// version: writes and truncates begin and end anywhere, so a cell may be put together of several.
bool MayBeOwn(uint64_t file, uint64_t offset, std::span<const uint8_t> cell) {
  constexpr size_t kVersionAt = 16;  // of 8 bytes; framework/workload/content.h
  constexpr size_t kVersionEnd = 24;
  uint8_t own[kCellBytes];
  workload::FillContent(file, 0, offset, own);
  for (size_t i = 0; i < cell.size(); ++i) {
    const bool of_version = i >= kVersionAt && i < kVersionEnd;
    if (cell[i] != 0 && cell[i] != own[i] && !of_version) return false;
  }
  return true;
}

class Judge {
 public:
  Judge(const StaleDataIndex& index, FileSystemView& view) : index_(index), view_(view) {}

  StaleDataVerdict Run();

 private:
  Status JudgeFile(const FoundFile& found);
  // The files of the workload that an inode may be; empty when it is none of them.
  std::vector<uint64_t> Candidates(const FoundFile& found) const;
  // Of several files, the one that the fewest bytes are stale in; the latest of equals.
  Result<uint64_t> Owner(const FoundFile& found, const std::vector<uint64_t>& candidates);
  std::optional<StaleCell> Classify(uint64_t owner, uint64_t offset,
                                    std::span<const uint8_t> cell) const;
  void AddCell(uint64_t offset, size_t length, StaleCell cell, StaleFile& stale);
  std::string Evidence(const StaleFile& stale, const NodeInfo& node) const;

  // Calls `each(offset, bytes)` for stretches of a file that are not zero.
  template <typename Each>
  Status ForEachStretch(const NodeInfo& node, const Each& each);

  const StaleDataIndex& index_;
  FileSystemView& view_;
  StaleDataVerdict verdict_;
  std::vector<uint8_t> window_;
};

StaleDataVerdict Judge::Run() {
  Walk walk(view_);
  const std::vector<FoundFile> files = walk.Run();
  std::string unseen = walk.unseen();
  for (const FoundFile& file : files) {
    const Status judged = JudgeFile(file);
    if (judged.ok() || !unseen.empty()) continue;
    unseen = fmt::format("/{} cannot be read ({})", file.names[0], judged.error().ToString());
  }
  if (verdict_.stale_files > 0) {
    verdict_.outcome = Outcome::kViolated;
    verdict_.evidence = verdict_.files[0].evidence;
    if (verdict_.stale_files > 1) {
      verdict_.evidence +=
          fmt::format(" (and stale data in {} more files)", verdict_.stale_files - 1);
    }
  } else if (!unseen.empty()) {
    verdict_.outcome = Outcome::kUnknown;
    verdict_.evidence = unseen;
  }
  return std::move(verdict_);
}

template <typename Each>
Status Judge::ForEachStretch(const NodeInfo& node, const Each& each) {
  if (node.size > workload::kFileBytesMax.value) {
    return UserError(fmt::format("it has {} bytes; at most {} are read", node.size,
                                 workload::kFileBytesMax.value));
  }
  window_.resize(kWindowBytes);
  for (uint64_t start = 0; start < node.size; start += kWindowBytes) {
    const auto length = static_cast<size_t>(std::min<uint64_t>(kWindowBytes, node.size - start));
    const auto window = std::span(window_).first(length);
    PP_RETURN_IF_ERROR(view_.Read(node.inode, start, window));
    for (size_t at = 0; at < length; at += kStretchBytes) {
      const auto stretch = window.subspan(at, std::min(kStretchBytes, length - at));
      if (!workload::HoldsZeroes(stretch)) each(start + at, std::span<const uint8_t>(stretch));
    }
  }
  return OkStatus();
}

// Calls `each(offset, cell)`; the last one of a file may be short.
template <typename Each>
void ForEachCell(uint64_t offset, std::span<const uint8_t> bytes, const Each& each) {
  for (size_t at = 0; at < bytes.size(); at += kCellBytes) {
    each(offset + at, bytes.subspan(at, std::min(kCellBytes, bytes.size() - at)));
  }
}

// Names that do not agree are the content oracle's business: then it may be any file of theirs.
std::vector<uint64_t> Judge::Candidates(const FoundFile& found) const {
  std::vector<uint64_t> all;
  std::vector<uint64_t> common;
  bool first = true;
  for (const std::string& name : found.names) {
    const std::vector<uint64_t>* files = index_.FilesOf(name);
    if (files == nullptr) continue;
    std::vector<uint64_t> next_all;
    std::vector<uint64_t> next_common;
    std::set_union(all.begin(), all.end(), files->begin(), files->end(),
                   std::back_inserter(next_all));
    std::set_intersection(common.begin(), common.end(), files->begin(), files->end(),
                          std::back_inserter(next_common));
    all = std::move(next_all);
    common = first ? *files : std::move(next_common);
    first = false;
  }
  return common.empty() ? all : common;
}

Result<uint64_t> Judge::Owner(const FoundFile& found, const std::vector<uint64_t>& candidates) {
  if (candidates.empty()) return uint64_t{0};
  if (candidates.size() == 1) return candidates[0];
  std::vector<uint64_t> stale_cells(candidates.size());
  PP_RETURN_IF_ERROR(ForEachStretch(found.node, [&](uint64_t start, std::span<const uint8_t> all) {
    ForEachCell(start, all, [&](uint64_t offset, std::span<const uint8_t> cell) {
      for (size_t i = 0; i < candidates.size(); ++i) {
        if (Classify(candidates[i], offset, cell)) ++stale_cells[i];
      }
    });
  }));
  size_t owner = candidates.size() - 1;
  for (size_t i = owner; i-- > 0;) {
    if (stale_cells[i] < stale_cells[owner]) owner = i;
  }
  return candidates[owner];
}

std::optional<StaleCell> Judge::Classify(uint64_t owner, uint64_t offset,
                                         std::span<const uint8_t> cell) const {
  if (workload::HoldsZeroes(cell)) return std::nullopt;
  const auto poison = image::RecognisePoison(cell);
  if (owner == 0) {
    if (!poison || cell.size() < kCellBytes) return std::nullopt;
    return StaleCell{Kind::kPoison, poison->disk_offset, std::nullopt};
  }
  if (poison) return StaleCell{Kind::kPoison, poison->disk_offset, std::nullopt};
  const auto tag = workload::DecodeCell(cell);
  // Pieces of the file's own cells with zeroes between them may look like another cell. Of another
  // file's it is only one that was written; of its own, where it cannot be such pieces.
  if (tag && tag->file != owner && index_.WasWritten(*tag)) {
    return StaleCell{Kind::kOtherFile, std::nullopt, tag};
  }
  if (MayBeOwn(owner, offset, cell)) return std::nullopt;
  if (tag && index_.WasWritten(*tag)) return StaleCell{Kind::kMisplaced, std::nullopt, tag};
  return StaleCell{};
}

void Judge::AddCell(uint64_t offset, size_t length, StaleCell cell, StaleFile& stale) {
  const bool first = stale.stale_bytes == 0;
  stale.stale_bytes += length;
  if (first) {
    stale.kind = cell.kind;
    stale.offset = offset;
    stale.disk_offset = cell.disk_offset;
    stale.tag = cell.tag;
    stale.length = length;
    return;
  }
  const uint64_t distance = offset - stale.offset;
  if (distance != stale.length || cell.kind != stale.kind) return;
  if (cell.tag && (cell.tag->file != stale.tag->file ||
                   cell.tag->cell != stale.tag->cell + distance / kCellBytes)) {
    return;
  }
  const bool both = cell.disk_offset && stale.disk_offset;
  if (both && *cell.disk_offset != *stale.disk_offset + distance) return;
  stale.length += length;
}

Status Judge::JudgeFile(const FoundFile& found) {
  ++verdict_.files_checked;
  StaleFile stale;
  PP_ASSIGN_OR_RETURN(stale.file, Owner(found, Candidates(found)));
  const auto check = [&](uint64_t start, std::span<const uint8_t> all) {
    const auto tag = workload::DecodeCell(all.first(std::min(kCellBytes, all.size())));
    if (tag && tag->file == stale.file &&
        workload::HoldsContent(tag->file, tag->version, start, all)) {
      return;
    }
    ForEachCell(start, all, [&](uint64_t offset, std::span<const uint8_t> cell) {
      if (auto one = Classify(stale.file, offset, cell)) {
        AddCell(offset, cell.size(), std::move(*one), stale);
      }
    });
  };
  const Status read = ForEachStretch(found.node, check);
  if (stale.stale_bytes == 0) {
    if (read.ok()) verdict_.bytes_checked += found.node.size;
    return read;
  }
  ++verdict_.stale_files;
  if (verdict_.files.size() < kStaleFilesMax) {
    stale.path = "/" + found.names[0];
    stale.evidence = Evidence(stale, found.node);
    verdict_.files.push_back(std::move(stale));
  }
  return read;
}

std::string Judge::Evidence(const StaleFile& stale, const NodeInfo& node) const {
  std::string what;
  switch (stale.kind) {
    case Kind::kPoison:
      what = stale.disk_offset
                 ? fmt::format("what byte {} of the disk held before mkfs", *stale.disk_offset)
                 : "what the disk held before mkfs";
      break;
    case Kind::kOtherFile:
      what =
          fmt::format("bytes of {}, version {}, from its byte {}", index_.Describe(stale.tag->file),
                      stale.tag->version, stale.tag->cell * kCellBytes);
      break;
    case Kind::kMisplaced:
      what = fmt::format("this file's bytes, version {}, from byte {}", stale.tag->version,
                         stale.tag->cell * kCellBytes);
      break;
    case Kind::kUnrecognised:
      what = "bytes that no write put there: pieces of other files, or old metadata";
      break;
  }
  return fmt::format("{}: bytes {} to {} hold {}; {} of its {} bytes are stale", stale.path,
                     stale.offset, stale.offset + stale.length - 1, what, stale.stale_bytes,
                     node.size);
}

}  // namespace

StaleDataIndex::StaleDataIndex(const workload::ObligationIndex& workload) : workload_(workload) {
  for (const workload::NameHistory& name : workload.names()) {
    if (name.doubt.failed_at != workload::kNever || name.doubt.unknown_at != workload::kNever) {
      continue;
    }
    std::set<uint64_t> files;
    for (const auto& change : name.changes) {
      if (change.after.kind == workload::Binding::Kind::kFile) files.insert(change.after.file);
    }
    files_of_[name.path].assign(files.begin(), files.end());
  }
  for (const FileHistory& file : workload.files()) files_[file.file] = &file;
}

const std::vector<uint64_t>* StaleDataIndex::FilesOf(const std::string& path) const {
  const auto it = files_of_.find(path);
  return it == files_of_.end() ? nullptr : &it->second;
}

bool StaleDataIndex::WasWritten(const ContentTag& tag) const {
  const auto file = files_.find(tag.file);
  if (file == files_.end() || tag.version == 0) return false;
  // Versions are operations counted from 1 (workload::VersionOf).
  const uint64_t operation = tag.version - 1;
  const auto& events = file->second->events;
  const auto event = std::lower_bound(
      events.begin(), events.end(), operation,
      [](const FileHistory::Event& one, uint64_t value) { return one.operation < value; });
  if (event == events.end() || event->operation != operation) return false;
  if (event->kind != FileHistory::EventKind::kWrite &&
      event->kind != FileHistory::EventKind::kSyncedWrite) {
    return false;
  }
  if (tag.cell > workload::kFileBytesMax.value / kCellBytes) return false;
  const uint64_t start = tag.cell * kCellBytes;
  return start < event->offset + event->length && start + kCellBytes > event->offset;
}

std::string StaleDataIndex::Describe(uint64_t file) const {
  const auto it = files_.find(file);
  if (it == files_.end() || it->second->name_events.empty()) return fmt::format("file {}", file);
  const size_t name = it->second->name_events.front().name;
  return fmt::format("file {} (created as /{})", file, workload_.names()[name].path);
}

const char* StaleDataBlame(DataMode mode, WriteOrder order) {
  if (mode == DataMode::kWriteback) {
    return "data=writeback allows it: data may reach the disk after metadata that points at it";
  }
  switch (order) {
    case WriteOrder::kNotAsked:
      return "no flush was sent (nobarrier), so nothing kept the order that ext4 builds on";
    case WriteOrder::kHidden:
      return "the disk hid its cache, so no flush was sent: the disk broke the order that ext4 "
             "builds on";
    case WriteOrder::kIgnored:
      return "the disk ignored flushes: the disk broke the order that ext4 builds on";
    case WriteOrder::kKept:
      break;
  }
  return mode == DataMode::kJournal
             ? "data=journal forbids it: data is committed with the metadata that points at it"
             : "data=ordered forbids it: data goes to the disk before metadata that points at it";
}

const char* StaleKindName(StaleFile::Kind kind) {
  switch (kind) {
    case Kind::kPoison:
      return "poison";
    case Kind::kOtherFile:
      return "other file";
    case Kind::kMisplaced:
      return "misplaced";
    case Kind::kUnrecognised:
      return "unrecognised";
  }
  return "unknown";
}

StaleDataVerdict JudgeStaleData(const StaleDataIndex& index, FileSystemView& view) {
  return Judge(index, view).Run();
}

}  // namespace plugpull::oracle
