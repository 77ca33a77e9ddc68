// SPDX-License-Identifier: Apache-2.0
#include "framework/workload/file_tree.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace plugpull::workload {
namespace {

Error Refused(const Operation& operation, const std::string& why) {
  return UserError(
      fmt::format("{} \"{}\": {}", Operation::Kind_Name(operation.kind()), operation.path(), why));
}

}  // namespace

bool NeedsNoPath(Operation::Kind kind) {
  return kind == Operation::SYNC || kind == Operation::SYNCFS || kind == Operation::EVICT ||
         kind == Operation::WAIT;
}

void ContentMap::Write(uint64_t offset, uint64_t length, uint64_t version) {
  if (length == 0) return;  // write(2): no other effect, in particular no new size
  if (offset > size_bytes_) versions_.Assign(size_bytes_, offset, 0);
  versions_.Assign(offset, offset + length, version);
  size_bytes_ = std::max(size_bytes_, offset + length);
}

void ContentMap::Truncate(uint64_t size_bytes) {
  if (size_bytes < size_bytes_) versions_.Erase(size_bytes, size_bytes_);
  if (size_bytes > size_bytes_) versions_.Assign(size_bytes_, size_bytes, 0);
  size_bytes_ = size_bytes;
}

Status CheckPath(std::string_view path) {
  if (path.size() > kPathBytesMax) {
    return UserError(
        fmt::format("a path is {} bytes long, the most is {}", path.size(), kPathBytesMax));
  }
  if (path.empty()) return OkStatus();
  if (path.find('\0') != std::string_view::npos) return UserError("a path holds a zero byte");
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    if (part.empty() || part == "." || part == ".." || part.size() > kNameBytesMax) {
      return UserError(fmt::format(
          "the path \"{}\" has a part that is empty, \".\", \"..\" or longer than {} bytes", path,
          kNameBytesMax));
    }
    start = end + 1;
  }
  return OkStatus();
}

Status CheckOperation(const Operation& operation) {
  PP_RETURN_IF_ERROR(CheckPath(operation.path()));
  PP_RETURN_IF_ERROR(CheckPath(operation.path2()));
  const bool two_paths =
      operation.kind() == Operation::RENAME || operation.kind() == Operation::LINK;
  const bool root_allowed = NeedsNoPath(operation.kind()) || operation.kind() == Operation::FSYNC;
  if (operation.kind() == Operation::UNSPECIFIED || !Operation::Kind_IsValid(operation.kind())) {
    return UserError(
        fmt::format("operation kind {} is not known", static_cast<int>(operation.kind())));
  }
  if (operation.path().empty() && !root_allowed) return Refused(operation, "needs a path");
  if (two_paths && operation.path2().empty()) return Refused(operation, "needs a second path");
  if (operation.kind() == Operation::CREATE && operation.file() == 0) {
    return Refused(operation, "needs a file number above 0");
  }
  const uint64_t offset = operation.kind() == Operation::WRITE ? operation.offset() : 0;
  if (offset > kFileBytesMax.value || operation.length() > kFileBytesMax.value - offset) {
    return Refused(operation, fmt::format("offset {} and length {} reach past {} bytes", offset,
                                          operation.length(), kFileBytesMax.value));
  }
  return OkStatus();
}

std::string_view ParentFolder(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

Binding FileTree::Lookup(std::string_view path) const {
  if (path.empty()) return {Binding::Kind::kFolder, 0};
  const auto found = names_.find(path);
  return found == names_.end() ? Binding{} : found->second;
}

const FileTree::File* FileTree::FindFile(uint64_t file) const {
  const auto found = files_.find(file);
  return found == files_.end() ? nullptr : &found->second;
}

bool FileTree::IsEmptyFolder(std::string_view path) const {
  const auto found = entry_counts_.find(path);
  return found == entry_counts_.end() || found->second == 0;
}

Status FileTree::CheckFree(const std::string& path) const {
  const std::string_view parent = ParentFolder(path);
  if (Lookup(parent).kind != Binding::Kind::kFolder) {
    return UserError(fmt::format("\"{}\" is not a folder", parent));
  }
  if (Lookup(path).kind != Binding::Kind::kAbsent) {
    return UserError(fmt::format("\"{}\" exists already", path));
  }
  return OkStatus();
}

Result<uint64_t> FileTree::FileAt(const std::string& path) const {
  const Binding binding = Lookup(path);
  if (binding.kind != Binding::Kind::kFile) {
    return UserError(fmt::format("\"{}\" is not a file", path));
  }
  return binding.file;
}

NameChange FileTree::Bind(const std::string& path, Binding after) {
  NameChange change{path, Lookup(path), after};
  if (change.before.kind == Binding::Kind::kFile) {
    const auto old = files_.find(change.before.file);
    PP_CHECK(old != files_.end());
    if (--old->second.names == 0) files_.erase(old);
  }
  uint64_t& entry_count = entry_counts_[std::string(ParentFolder(path))];
  if (change.before.kind != Binding::Kind::kAbsent) --entry_count;
  if (after.kind != Binding::Kind::kAbsent) ++entry_count;
  if (after.kind == Binding::Kind::kFile) ++files_[after.file].names;
  if (after.kind == Binding::Kind::kAbsent) {
    names_.erase(path);
  } else {
    names_[path] = after;
  }
  return change;
}

Result<std::vector<NameChange>> FileTree::Make(const Operation& operation, Binding binding) {
  PP_RETURN_IF_ERROR(CheckFree(operation.path()));
  if (binding.kind == Binding::Kind::kFile && !used_files_.insert(binding.file).second) {
    return Refused(operation, fmt::format("file number {} is in use already", binding.file));
  }
  return std::vector<NameChange>{Bind(operation.path(), binding)};
}

Result<std::vector<NameChange>> FileTree::Rename(const Operation& operation) {
  PP_ASSIGN_OR_RETURN(const uint64_t file, FileAt(operation.path()));
  const Binding target = Lookup(operation.path2());
  if (target.kind == Binding::Kind::kFolder) {
    return Refused(operation, fmt::format("\"{}\" is a folder", operation.path2()));
  }
  if (target.kind == Binding::Kind::kAbsent) PP_RETURN_IF_ERROR(CheckFree(operation.path2()));
  // rename(2): two names of one file: "rename() does nothing, and returns a success status".
  if (target.kind == Binding::Kind::kFile && target.file == file) return std::vector<NameChange>{};
  std::vector<NameChange> changes;
  changes.push_back(Bind(operation.path2(), {Binding::Kind::kFile, file}));
  changes.push_back(Bind(operation.path(), {}));
  return changes;
}

Result<std::vector<NameChange>> FileTree::Link(const Operation& operation) {
  PP_ASSIGN_OR_RETURN(const uint64_t file, FileAt(operation.path()));
  PP_RETURN_IF_ERROR(CheckFree(operation.path2()));
  return std::vector<NameChange>{Bind(operation.path2(), {Binding::Kind::kFile, file})};
}

Result<std::vector<NameChange>> FileTree::RemoveFolder(const Operation& operation) {
  if (Lookup(operation.path()).kind != Binding::Kind::kFolder) {
    return Refused(operation, "is not a folder");
  }
  if (!IsEmptyFolder(operation.path())) return Refused(operation, "the folder is not empty");
  return std::vector<NameChange>{Bind(operation.path(), {})};
}

Result<std::vector<NameChange>> FileTree::Apply(const Operation& operation, uint64_t index) {
  PP_RETURN_IF_ERROR(CheckOperation(operation));
  const std::vector<NameChange> none;
  switch (operation.kind()) {
    case Operation::MKDIR:
      return Make(operation, {Binding::Kind::kFolder, 0});
    case Operation::CREATE:
      return Make(operation, {Binding::Kind::kFile, operation.file()});
    case Operation::RENAME:
      return Rename(operation);
    case Operation::LINK:
      return Link(operation);
    case Operation::RMDIR:
      return RemoveFolder(operation);
    case Operation::UNLINK: {
      PP_RETURN_IF_ERROR(FileAt(operation.path()));
      return std::vector<NameChange>{Bind(operation.path(), {})};
    }
    case Operation::WRITE:
    case Operation::TRUNCATE: {
      PP_ASSIGN_OR_RETURN(const uint64_t file, FileAt(operation.path()));
      if (file != operation.file()) {
        return Refused(operation, fmt::format("is file {}, not {}", file, operation.file()));
      }
      ContentMap& content = files_[file].content;
      if (operation.kind() == Operation::TRUNCATE) {
        content.Truncate(operation.length());
      } else {
        content.Write(operation.offset(), operation.length(), VersionOf(index));
      }
      return none;
    }
    case Operation::FSYNC:
      if (Lookup(operation.path()).kind == Binding::Kind::kAbsent) {
        return Refused(operation, "does not exist");
      }
      return none;
    case Operation::LIST:
      if (Lookup(operation.path()).kind == Binding::Kind::kFolder) return none;
      return Refused(operation, "is not a folder");
    case Operation::FDATASYNC:
    case Operation::READ:
    case Operation::CHMOD:
      PP_RETURN_IF_ERROR(FileAt(operation.path()));
      return none;
    default:
      return none;  // those that need no path; CheckOperation has refused what is not known
  }
}

}  // namespace plugpull::workload
