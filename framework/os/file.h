// SPDX-License-Identifier: Apache-2.0
// Whole files, folders, and files mapped for reading.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/os/fd.h"

namespace plugpull::os {

// The whole file; a user error when it is missing, unreadable, or longer than `size_max`.
Result<std::string> ReadFile(const std::string& path, Bytes size_max);

// Replaces the file in one step (a new file beside it, fsync, rename): readers see all or nothing.
Status WriteFileAtomic(const std::string& path, std::string_view content);

// Opens for reading; a user error names the path and the reason.
Result<Fd> OpenForReading(const std::string& path);
Result<Bytes> FileSize(int fd);

// A read-only mapping of a whole regular file.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);
  std::span<const uint8_t> bytes() const { return mapping_.bytes(); }

 private:
  Mapping mapping_;
};

// An environment error when less than `least` is free where `folder` is.
Status CheckFreeSpace(const std::string& folder, Bytes least);

bool Exists(const std::string& path);
bool IsFolder(const std::string& path);       // follows symbolic links
Status MakeFolders(const std::string& path);  // like mkdir -p
Status RemoveAll(const std::string& path);    // like rm -rf; a missing path is no error
Status Rename(const std::string& from, const std::string& to);
// Names in a folder, sorted, without . and ..
Result<std::vector<std::string>> ListFolder(const std::string& path);

// Stretches of a file that may hold data, in order; what lies between is zero (SEEK_DATA).
struct Extent {
  Bytes start;
  Bytes end;  // one past the last byte
};
Result<std::vector<Extent>> DataExtents(int fd, Bytes size);

// The first byte at which two files differ, both of `size` bytes; nothing when they are equal. What
// is a hole in both costs nothing.
Result<std::optional<Bytes>> FirstDifference(int fd_a, int fd_b, Bytes size);

// The absolute path of a program on PATH (and the sbin folders), or an environment error that
// names the package that holds it.
Result<std::string> FindProgram(const std::string& name, const std::string& package);

// An environment variable, or `otherwise`.
std::string GetEnv(const char* name, const std::string& otherwise);

// $PLUGPULL_CACHE, else $XDG_CACHE_HOME/plugpull, else $HOME/.cache/plugpull. Created when missing.
Result<std::string> CacheFolder();

}  // namespace plugpull::os
