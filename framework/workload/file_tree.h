// SPDX-License-Identifier: Apache-2.0
// A healthy file system in memory, as far as a workload can see it: names, files with several
// names, sizes, and which write each byte comes from. What an operation does here is what Linux
// documents for the system call behind it (open(2), write(2), truncate(2), rename(2), link(2),
// unlink(2), mkdir(2), rmdir(2)); an operation that a healthy file system would refuse is refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/proto/workload.pb.h"
#include "framework/workload/interval_map.h"

namespace plugpull::workload {

// Bounds on what is taken from a trace, which may be damaged or hostile.
inline constexpr Bytes kFileBytesMax{uint64_t{1} << 30};
inline constexpr uint64_t kOperationsMax = 2'000'000;
inline constexpr size_t kPathBytesMax = 4096;  // PATH_MAX of linux/limits.h
inline constexpr size_t kNameBytesMax = 255;   // NAME_MAX, and EXT4_NAME_LEN of fs/ext4/ext4.h

// What a name stands for.
struct Binding {
  enum class Kind : uint8_t { kAbsent, kFile, kFolder };
  Kind kind = Kind::kAbsent;
  uint64_t file = 0;  // Operation.file of the CREATE that made it; 0 unless kFile
  bool operator==(const Binding&) const = default;
};

// One name that an operation bound anew.
struct NameChange {
  std::string path;
  Binding before;
  Binding after;
};

// Which version each byte of a file has; version 0 is a hole, which reads as zeroes.
class ContentMap {
 public:
  uint64_t size_bytes() const { return size_bytes_; }
  // Covers [0, size_bytes()) without gaps.
  const IntervalMap<uint64_t>& versions() const { return versions_; }

  void Write(uint64_t offset, uint64_t length, uint64_t version);
  void Truncate(uint64_t size_bytes);

 private:
  IntervalMap<uint64_t> versions_;
  uint64_t size_bytes_ = 0;
};

// A user error unless `path` is relative, without empty, "." and ".." parts, within the bounds;
// "" (the root folder) is fine.
Status CheckPath(std::string_view path);
// Kind, paths and numbers of an operation on its own: bounds, and what the kind needs.
Status CheckOperation(const Operation& operation);

// Operations that are about no file or folder.
bool NeedsNoPath(Operation::Kind kind);

// The folder that `path` is in: "" for the root folder. `path` is not "".
std::string_view ParentFolder(std::string_view path);

// The version that the bytes of the WRITE with this index carry (see workload.proto).
constexpr uint64_t VersionOf(uint64_t operation_index) { return operation_index + 1; }

// Not thread-safe while it is changed.
class FileTree {
 public:
  struct File {
    uint64_t names = 0;
    ContentMap content;
  };

  // Does the operation with this index, and says which names it bound anew. A user error, and no
  // change, when a healthy file system would refuse it. Syncs change nothing.
  Result<std::vector<NameChange>> Apply(const Operation& operation, uint64_t index);

  Binding Lookup(std::string_view path) const;
  // Null when there is no such file, or it has no name any more.
  const File* FindFile(uint64_t file) const;
  // Whether nothing is in the folder.
  bool IsEmptyFolder(std::string_view path) const;

 private:
  struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  template <typename T>
  using ByPath = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;

  Result<std::vector<NameChange>> Make(const Operation& operation, Binding binding);
  Result<std::vector<NameChange>> Rename(const Operation& operation);
  Result<std::vector<NameChange>> Link(const Operation& operation);
  Result<std::vector<NameChange>> RemoveFolder(const Operation& operation);
  Status CheckFree(const std::string& path) const;
  Result<uint64_t> FileAt(const std::string& path) const;
  NameChange Bind(const std::string& path, Binding after);

  ByPath<Binding> names_;          // without the root folder
  ByPath<uint64_t> entry_counts_;  // of folders, by path; no entry: empty
  std::unordered_map<uint64_t, File> files_;
  std::unordered_set<uint64_t> used_files_;
};

}  // namespace plugpull::workload
