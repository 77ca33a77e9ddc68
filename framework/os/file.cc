// SPDX-License-Identifier: Apache-2.0
#include "framework/os/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace plugpull::os {

namespace fs = std::filesystem;

Result<Fd> OpenForReading(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return UserError(fmt::format("cannot open {}: {}", path, ErrnoText(errno)));
  return fd;
}

Result<Bytes> FileSize(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return EnvironmentError("fstat failed: " + ErrnoText(errno));
  return Bytes(static_cast<uint64_t>(info.st_size));
}

Result<std::string> ReadFile(const std::string& path, Bytes size_max) {
  PP_ASSIGN_OR_RETURN(const Fd fd, OpenForReading(path));
  std::string content;
  char buffer[65536];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return UserError(fmt::format("cannot read {}: {}", path, ErrnoText(errno)));
    if (n == 0) return content;
    content.append(buffer, static_cast<size_t>(n));
    if (content.size() > size_max.value) {
      return UserError(fmt::format("{} is longer than {} bytes, the limit for such a file", path,
                                   size_max.value));
    }
  }
}

Status WriteFileAtomic(const std::string& path, std::string_view content) {
  std::string temporary = path + ".XXXXXX";
  const Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) {
    return EnvironmentError(fmt::format("cannot write {}: {}", path, ErrnoText(errno)));
  }
  const auto* data = reinterpret_cast<const uint8_t*>(content.data());
  Status written = WriteAll(fd.get(), {data, content.size()});
  if (written.ok() && (::fchmod(fd.get(), 0644) != 0 || ::fsync(fd.get()) != 0 ||
                       ::rename(temporary.c_str(), path.c_str()) != 0)) {
    written = EnvironmentError(ErrnoText(errno));
  }
  if (!written.ok()) {
    ::unlink(temporary.c_str());
    return WithContext(std::move(written).error(), "cannot write " + path);
  }
  return OkStatus();
}

Result<MappedFile> MappedFile::Open(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const Fd fd, OpenForReading(path));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return UserError(fmt::format("{} is not a regular file", path));
  }
  MappedFile file;
  PP_ASSIGN_OR_RETURN(
      file.mapping_,
      Mapping::Map(fd.get(), Bytes(static_cast<uint64_t>(info.st_size)), Mapping::Mode::kReadOnly));
  return file;
}

Status CheckFreeSpace(const std::string& folder, Bytes least) {
  struct statvfs space {};
  if (::statvfs(folder.c_str(), &space) != 0) return OkStatus();  // whoever uses it will say so
  const uint64_t free = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  if (free >= least.value) return OkStatus();
  return EnvironmentError(
      fmt::format("no space left: {} bytes are free in {}, {} are needed; free some, or name "
                  "another folder by --out",
                  free, folder, least.value));
}

bool Exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

Status MakeFolders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    return EnvironmentError(fmt::format("cannot make the folder {}: {}", path, error.message()));
  }
  return OkStatus();
}

Status RemoveAll(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return EnvironmentError(fmt::format("cannot remove {}: {}", path, error.message()));
  return OkStatus();
}

Status Rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return EnvironmentError(fmt::format("cannot rename {} to {}: {}", from, to, ErrnoText(errno)));
  }
  return OkStatus();
}

Result<std::vector<std::string>> ListFolder(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return UserError(fmt::format("cannot list {}: {}", path, error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<Extent>> DataExtents(int fd, Bytes size) {
  std::vector<Extent> extents;
  off_t at = 0;
  const auto end = static_cast<off_t>(size.value);
  while (at < end) {
    const off_t start = ::lseek(fd, at, SEEK_DATA);
    if (start < 0 && errno == ENXIO) break;
    if (start < 0) return EnvironmentError("SEEK_DATA failed: " + ErrnoText(errno));
    off_t stop = ::lseek(fd, start, SEEK_HOLE);
    if (stop < 0) return EnvironmentError("SEEK_HOLE failed: " + ErrnoText(errno));
    stop = std::min(stop, end);
    extents.push_back({Bytes(static_cast<uint64_t>(start)), Bytes(static_cast<uint64_t>(stop))});
    at = stop;
  }
  return extents;
}

Result<std::optional<Bytes>> FirstDifference(int fd_a, int fd_b, Bytes size) {
  constexpr uint64_t kChunk = 1 << 16;
  PP_ASSIGN_OR_RETURN(auto extents, DataExtents(fd_a, size));
  PP_ASSIGN_OR_RETURN(const auto more, DataExtents(fd_b, size));
  extents.insert(extents.end(), more.begin(), more.end());
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.start < b.start; });
  std::vector<uint8_t> a(kChunk);
  std::vector<uint8_t> b(kChunk);
  uint64_t done = 0;
  for (const Extent& extent : extents) {
    for (done = std::max(done, extent.start.value); done < extent.end.value;) {
      const uint64_t n = std::min(kChunk, extent.end.value - done);
      PP_RETURN_IF_ERROR(PreadAll(fd_a, std::span(a).first(n), Bytes(done)));
      PP_RETURN_IF_ERROR(PreadAll(fd_b, std::span(b).first(n), Bytes(done)));
      const auto at = std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(n), b.begin());
      const auto same = static_cast<uint64_t>(at.first - a.begin());
      if (same < n) return std::optional(Bytes(done + same));
      done += n;
    }
  }
  return std::optional<Bytes>();
}

Result<std::string> FindProgram(const std::string& name, const std::string& package) {
  std::string path = GetEnv("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";
  size_t start = 0;
  while (start <= path.size()) {
    size_t stop = path.find(':', start);
    if (stop == std::string::npos) stop = path.size();
    const std::string candidate = path.substr(start, stop - start) + "/" + name;
    if (candidate.front() == '/' && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    start = stop + 1;
  }
  return EnvironmentError(fmt::format(
      "the program {} is not installed; it is in the package {} (./plugpull installs it)", name,
      package));
}

std::string GetEnv(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

Result<std::string> CacheFolder() {
  std::string folder = GetEnv("PLUGPULL_CACHE", "");
  if (folder.empty()) {
    const std::string base = GetEnv("XDG_CACHE_HOME", GetEnv("HOME", "") + "/.cache");
    folder = base + "/plugpull";
  }
  PP_RETURN_IF_ERROR(MakeFolders(folder));
  return folder;
}

}  // namespace plugpull::os
