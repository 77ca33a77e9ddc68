// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/agents/linux_disk.h"

#include <blkid.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "vm/guest/agents/owned_fd.h"

extern char** environ;

namespace plugpull::agents {
namespace {

namespace fs = std::filesystem;

constexpr size_t kDisksMax = 4096;
constexpr int kStackDepthMax = 16;
constexpr size_t kScanBytes = 1u << 20;
constexpr size_t kDirectAlign = 4096;  // enough for O_DIRECT on every disk
constexpr Millis kWaitPause{10};

std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (names.size() == kDisksMax) break;
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// virtio-blk has it at the disk, NVMe at the controller below. A device-mapper device has a name
// that somebody gave to it.
std::string SerialOf(const std::string& folder) {
  const std::string mapped = ReadSmallFile(folder + "/dm/name");
  if (!mapped.empty()) return "dm:" + mapped;
  std::string serial = ReadSmallFile(folder + "/serial");
  if (serial.empty()) serial = ReadSmallFile(folder + "/device/serial");
  while (!serial.empty() && serial.back() == ' ') serial.pop_back();
  return serial;
}

// The name of what is on top of a disk; empty when more than one thing is.
std::string TopOf(const std::string& sys_block, std::string name) {
  for (int depth = 0; depth < kStackDepthMax; ++depth) {
    const auto holders = Names(sys_block + "/" + name + "/holders");
    if (holders.empty()) return name;
    if (holders.size() > 1) return {};
    name = holders.front();
  }
  return {};
}

template <typename Number>
bool ToNumber(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool ReadDisk(const std::string& folder, Disk& disk) {
  const std::string number = ReadSmallFile(folder + "/dev");
  const size_t colon = number.find(':');
  uint64_t sectors = 0;
  if (colon == number.npos || !ToNumber(number.substr(0, colon), disk.device.major) ||
      !ToNumber(number.substr(colon + 1), disk.device.minor) ||
      !ToNumber(ReadSmallFile(folder + "/size"), sectors)) {
    return false;
  }
  disk.size_bytes = sectors * kSectorBytes;
  const std::string mapped = ReadSmallFile(folder + "/dm/name");
  disk.path = mapped.empty() ? "/dev/" + disk.name : "/dev/mapper/" + mapped;
  return disk.size_bytes > 0;
}

struct ProbeDeleter {
  void operator()(blkid_probe probe) const { ::blkid_free_probe(probe); }
};
using BlkidProbe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, ProbeDeleter>;

std::string ValueOf(blkid_probe probe, const char* name) {
  const char* value = nullptr;
  return ::blkid_probe_lookup_value(probe, name, &value, nullptr) == 0 ? value : "";
}

// Also known by the mount's own root, which is another one than its folder's: a bind mount from
// the same file system is a mount too.
bool IsElsewhere(int folder, const char* name, const struct statx& parent) {
  struct statx entry {};
  if (::statx(folder, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &entry) != 0) {
    return false;
  }
  return entry.stx_dev_major != parent.stx_dev_major ||
         entry.stx_dev_minor != parent.stx_dev_minor ||
         (entry.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

// Empties a folder. 0, or the first error. `kept`: something stays on purpose.
int EmptyFolder(OwnedFd folder, const std::string& path, bool enter_mounts, int depth,
                std::vector<std::string>& left, bool& kept) {
  constexpr int kDepthMax = 128;
  if (depth > kDepthMax) return ELOOP;
  struct statx self {};
  if (::statx(folder.get(), "", AT_EMPTY_PATH, STATX_TYPE, &self) != 0) return errno;
  // Names first: what is removed while a folder is read may be told twice, or not at all.
  for (const auto& name : Names(fmt::format("/proc/self/fd/{}", folder.get()))) {
    const std::string inner = path + "/" + name;
    const bool elsewhere = IsElsewhere(folder.get(), name.c_str(), self);
    if (elsewhere && !enter_mounts) {
      left.push_back(inner);
      kept = true;
      continue;
    }
    if (::unlinkat(folder.get(), name.c_str(), 0) == 0) continue;
    if (errno != EISDIR && errno != EBUSY) return errno;
    OwnedFd next(
        ::openat(folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) return errno;
    bool inner_kept = false;
    if (const int error =
            EmptyFolder(std::move(next), inner, enter_mounts, depth + 1, left, inner_kept)) {
      return error;
    }
    kept = kept || inner_kept || elsewhere;
    if (inner_kept || elsewhere) continue;
    if (::unlinkat(folder.get(), name.c_str(), AT_REMOVEDIR) != 0) return errno;
  }
  return 0;
}

}  // namespace

std::string ReadSmallFile(const std::string& path) {
  OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return {};
  char buffer[4096];
  const ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
  std::string text(buffer, count > 0 ? static_cast<size_t>(count) : 0);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\0')) text.pop_back();
  return text;
}

Result<std::vector<Disk>> ListDisks(const std::string& sys_block) {
  std::error_code error;
  if (!fs::is_directory(sys_block, error)) {
    return EnvironmentError(sys_block + " is missing: is /sys mounted?");
  }
  std::vector<Disk> disks;
  for (const auto& name : Names(sys_block)) {
    Disk disk;
    disk.serial = SerialOf(sys_block + "/" + name);
    if (disk.serial.empty()) continue;
    disk.name = TopOf(sys_block, name);
    if (!disk.name.empty() && ReadDisk(sys_block + "/" + disk.name, disk)) {
      disks.push_back(std::move(disk));
    }
  }
  return disks;
}

// Source: libblkid's documentation of blkid_do_safeprobe: 0 found, 1 nothing, -2 ambivalent, and
// other negative values for errors; -1 is only the first of them.
Probe ProbePath(const std::string& path) {
  Probe result;
  result.error_number = EIO;
  errno = 0;
  const BlkidProbe probe(::blkid_new_probe_from_filename(path.c_str()));
  if (!probe) {
    if (errno != 0) result.error_number = errno;
    return result;
  }
  ::blkid_probe_enable_superblocks(probe.get(), 1);
  ::blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE);
  ::blkid_probe_enable_partitions(probe.get(), 1);
  errno = 0;
  switch (::blkid_do_safeprobe(probe.get())) {
    case 0:
      result.kind = Probe::Kind::kFound;
      result.type = ValueOf(probe.get(), "TYPE");
      result.partition_table = ValueOf(probe.get(), "PTTYPE");
      break;
    case 1:
      result.kind = Probe::Kind::kNothing;
      break;
    case -2:
      result.kind = Probe::Kind::kAmbivalent;
      break;
    default:
      if (errno != 0) result.error_number = errno;
      return result;
  }
  result.error_number = 0;
  return result;
}

Scan ScanPath(const std::string& path, uint64_t size_bytes, uint64_t bytes_max) {
  if (size_bytes == 0 || size_bytes > bytes_max) {
    return {Scan::Kind::kNotScanned, 0, EFBIG};
  }
  // O_EXCL: the kernel refuses when the device is mounted or part of another one. The cache may
  // hold what the disk has lost since.
  OwnedFd fd(::open(path.c_str(), O_RDONLY | O_EXCL | O_DIRECT | O_CLOEXEC));
  if (!fd.valid() && errno == EINVAL) {
    fd = OwnedFd(::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  }
  if (!fd.valid()) return {Scan::Kind::kNotScanned, 0, errno};
  const std::unique_ptr<void, decltype(&std::free)> buffer(
      std::aligned_alloc(kDirectAlign, kScanBytes), &std::free);
  if (buffer == nullptr) return {Scan::Kind::kNotScanned, 0, ENOMEM};
  const char* bytes = static_cast<const char*>(buffer.get());
  for (uint64_t at = 0; at < size_bytes;) {
    const ssize_t count = ::pread(fd.get(), buffer.get(), kScanBytes, static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    // Less than the disk should have is unread, whatever the reason.
    if (count <= 0) return {Scan::Kind::kUnreadable, at, count < 0 ? errno : EIO};
    const char* found = std::find_if(bytes, bytes + count, [](char c) { return c != 0; });
    if (found != bytes + count) {
      return {Scan::Kind::kNotBlank, at + static_cast<uint64_t>(found - bytes), 0};
    }
    at += static_cast<uint64_t>(count);
  }
  return {Scan::Kind::kBlank, size_bytes, 0};
}

int RunToEnd(const std::vector<std::string>& argv, Millis time_max) {
  constexpr int kNotStarted = 126;
  std::vector<char*> words;
  for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, argv.front().c_str(), &files, &attributes, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return kNotStarted;
  const auto end = std::chrono::steady_clock::now() + time_max;
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) != pid) {
    if (std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(kWaitPause);
      continue;
    }
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    break;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int RemoveTreeAt(const std::string& path, bool enter_mounts, std::vector<std::string>& left) {
  OwnedFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.valid()) return errno == ENOENT ? 0 : errno;
  struct statx self {};
  if (::statx(folder.get(), "", AT_EMPTY_PATH, STATX_TYPE, &self) != 0) return errno;
  if ((self.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 && !enter_mounts) {
    left.push_back(path);
    return 0;
  }
  bool kept = false;
  if (const int error = EmptyFolder(std::move(folder), path, enter_mounts, 0, left, kept)) {
    return error;
  }
  if (kept) return 0;
  return ::rmdir(path.c_str()) == 0 || errno == EBUSY ? 0 : errno;
}

}  // namespace plugpull::agents
