// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/agents/linux_system.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <libmount.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "vm/guest/agents/linux_disk.h"
#include "vm/guest/agents/owned_fd.h"
#include "vm/guest/agents/state.h"

namespace plugpull::agents {
namespace {

constexpr size_t kMountInfoBytesMax = 4u << 20;
constexpr size_t kProbeBytes = 4096;
constexpr Millis kFormatTimeMax{600'000};
constexpr Millis kRepairTimeMax{3'600'000};

class FileLock : public Lock {
 public:
  explicit FileLock(OwnedFd fd) : fd_(std::move(fd)) {}

 private:
  OwnedFd fd_;  // the kernel drops the lock with it
};

std::string ErrnoText(int error_number) {
  return fmt::format("{} (errno {})", std::strerror(error_number), error_number);
}

Result<std::unique_ptr<Lock>> TryLock(const std::string& path, int flags) {
  OwnedFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (!fd.valid()) return EnvironmentError("cannot open " + path + ": " + ErrnoText(errno));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::unique_ptr<Lock>();
    return EnvironmentError("cannot lock " + path + ": " + ErrnoText(errno));
  }
  return std::unique_ptr<Lock>(new FileLock(std::move(fd)));
}

Result<std::string> ReadAll(const std::string& path, size_t bytes_max) {
  OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return EnvironmentError("cannot open " + path + ": " + ErrnoText(errno));
  std::string text;
  for (;;) {
    char buffer[16384];
    const ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return EnvironmentError("cannot read " + path + ": " + ErrnoText(errno));
    if (count == 0) return text;
    text.append(buffer, static_cast<size_t>(count));
    if (text.size() > bytes_max) {
      return EnvironmentError(fmt::format("{} has more than {} bytes", path, bytes_max));
    }
  }
}

int WriteFully(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 ? errno : EIO;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return 0;
}

struct ContextDeleter {
  void operator()(libmnt_context* context) const { ::mnt_free_context(context); }
};

}  // namespace

LinuxSystem::LinuxSystem(std::string name, std::string state_folder, std::string alert_file)
    : name_(std::move(name)),
      state_folder_(std::move(state_folder)),
      alert_file_(std::move(alert_file)) {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
}

int64_t LinuxSystem::NowMs() {
  return std::chrono::duration_cast<Millis>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool LinuxSystem::Sleep(Millis time) {
  if (told_to_end_) return false;
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  timespec wait{};
  wait.tv_sec = static_cast<time_t>(time.count() / 1000);
  wait.tv_nsec = static_cast<long>(time.count() % 1000 * 1'000'000);
  told_to_end_ = ::sigtimedwait(&signals, nullptr, &wait) > 0;
  return !told_to_end_;
}

// ---- Disks ----

Result<std::vector<Disk>> LinuxSystem::Disks() { return ListDisks(); }

Probe LinuxSystem::ProbeDisk(const Disk& disk) { return ProbePath(disk.path); }

Scan LinuxSystem::ScanDisk(const Disk& disk, uint64_t bytes_max) {
  return ScanPath(disk.path, disk.size_bytes, bytes_max);
}

// Without -F: mke2fs itself refuses a disk that is mounted. The whole disk was just read, and there
// is nothing to discard.
int LinuxSystem::Format(const Disk& disk, const std::string& type) {
  const int status =
      RunToEnd({"/sbin/mkfs." + type, "-q", "-E", "nodiscard", disk.path}, kFormatTimeMax);
  if (status != 0) Log(fmt::format("mkfs.{} {} ended with {}", type, disk.path, status));
  return status == 0 ? 0 : EIO;
}

int LinuxSystem::Repair(const Disk& disk) {
  const int status = RunToEnd({"/sbin/e2fsck", "-f", "-y", disk.path}, kRepairTimeMax);
  return status <= 1 ? 0 : EIO;
}

int LinuxSystem::Check(const Disk& disk) {
  const int status = RunToEnd({"/sbin/e2fsck", "-n", disk.path}, kRepairTimeMax);
  return status == 0 ? 0 : EIO;
}

// ---- Mounts ----

Result<std::vector<MountEntry>> LinuxSystem::Mounts() {
  PP_ASSIGN_OR_RETURN(const std::string text, ReadAll("/proc/self/mountinfo", kMountInfoBytesMax));
  return ParseMountInfo(text);
}

int LinuxSystem::PrepareTarget(const std::string& target) {
  for (size_t end = target.find('/', 1);; end = target.find('/', end + 1)) {
    if (::mkdir(target.substr(0, end).c_str(), 0755) != 0 && errno != EEXIST) return errno;
    if (end == target.npos) break;
  }
  // What a link leads to is not what the mount table will say.
  char real[PATH_MAX];
  if (::realpath(target.c_str(), real) == nullptr) return errno;
  if (target != real) return ELOOP;
  OwnedFd folder(::open(target.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.valid()) return errno;
  struct statx self {};
  if (::statx(folder.get(), "", AT_EMPTY_PATH, STATX_MODE, &self) != 0) return errno;
  if ((self.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) return 0;
  if ((self.stx_mode & 07777) == 0755) return 0;
  return ::fchmod(folder.get(), 0755) == 0 ? 0 : errno;
}

int LinuxSystem::Mount(const Disk& disk, const std::string& target, const std::string& type,
                       const std::vector<std::string>& options) {
  const std::unique_ptr<libmnt_context, ContextDeleter> owned(::mnt_new_context());
  libmnt_context* context = owned.get();
  if (context == nullptr) return ENOMEM;
  const std::string joined = fmt::format("{}", fmt::join(options, ","));
  // fstab has no say, no mount.TYPE program is run, no /etc/mtab is written. A write-protected disk
  // is an error: libmount would mount it read-only and call that a success.
  if (::mnt_context_set_optsmode(context, MNT_OMODE_NOTAB) != 0 ||
      ::mnt_context_disable_helpers(context, 1) != 0 ||
      ::mnt_context_disable_mtab(context, 1) != 0 ||
      ::mnt_context_enable_rwonly_mount(context, 1) != 0 ||
      ::mnt_context_set_source(context, disk.path.c_str()) != 0 ||
      ::mnt_context_set_target(context, target.c_str()) != 0 ||
      ::mnt_context_set_fstype(context, type.c_str()) != 0 ||
      ::mnt_context_set_options(context, joined.c_str()) != 0) {
    return EINVAL;
  }
  const int result = ::mnt_context_mount(context);
  if (result == 0 && ::mnt_context_get_status(context) == 1) {
    return ::mnt_context_forced_rdonly(context) ? EROFS : 0;
  }
  char words[512] = "";
  const int status = ::mnt_context_get_excode(context, result, words, sizeof words);
  const int error =
      ::mnt_context_syscall_called(context) == 1 ? ::mnt_context_get_syscall_errno(context) : 0;
  Log(fmt::format("mount {} on {}: {} (libmount's exit status {})", disk.path, target,
                  words[0] != '\0' ? words : ErrnoText(std::abs(error)), status));
  if (error != 0) return std::abs(error);
  return result < 0 ? -result : EIO;
}

int LinuxSystem::Unmount(const std::string& target, bool detach) {
  const int flags = UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0);
  return ::umount2(target.c_str(), flags) == 0 ? 0 : errno;
}

int LinuxSystem::WriteProbe(const std::string& target, DeviceNumber device) {
  // The open folder holds the mount: what is written goes there or nowhere.
  OwnedFd folder(::open(target.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.valid()) return errno;
  struct stat status {};
  if (::fstat(folder.get(), &status) != 0) return errno;
  if (status.st_dev != ::makedev(device.major, device.minor)) return ESTALE;
  OwnedFd file(::openat(folder.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (!file.valid()) return errno;
  const std::string bytes(kProbeBytes, 'p');
  if (const int error = WriteFully(file.get(), bytes)) return error;
  return ::fsync(file.get()) == 0 ? 0 : errno;
}

int LinuxSystem::RemoveTree(const std::string& path, bool enter_mounts,
                            std::vector<std::string>& left) {
  return RemoveTreeAt(path, enter_mounts, left);
}

// ---- State and locks ----

// Beside the state file, which is replaced by every write.
Result<std::unique_ptr<Lock>> LinuxSystem::TryLockState() {
  if (::mkdir(state_folder_.c_str(), 0700) != 0 && errno != EEXIST) {
    return EnvironmentError("cannot make " + state_folder_ + ": " + ErrnoText(errno));
  }
  return TryLock(state_folder_ + "/lock", O_RDWR | O_CREAT);
}

// On the device node, as systemd.io/BLOCK_DEVICE_LOCKING says: it holds between agents that do not
// know of each other, and keeps udev from looking while mkfs writes.
Result<std::unique_ptr<Lock>> LinuxSystem::TryLockDisk(const Disk& disk) {
  return TryLock(disk.path, O_RDONLY);
}

Result<std::optional<std::string>> LinuxSystem::ReadState() {
  const std::string path = state_folder_ + "/state";
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return std::optional<std::string>();
  PP_ASSIGN_OR_RETURN(std::string text, ReadAll(path, kStateBytesMax));
  return std::optional<std::string>(std::move(text));
}

// The name leads to the old file or to the new one, each of them whole, whenever the power goes.
Status LinuxSystem::WriteState(const std::string& text) {
  const std::string path = state_folder_ + "/state";
  const std::string fresh = fmt::format("{}.{}", path, ::getpid());
  const auto failed = [&](const char* what) {
    const int error = errno;
    ::unlink(fresh.c_str());
    return EnvironmentError(fmt::format("cannot {} {}: {}", what, fresh, ErrnoText(error)));
  };
  if (::mkdir(state_folder_.c_str(), 0700) != 0 && errno != EEXIST) return failed("make");
  {
    OwnedFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file.valid()) return failed("open");
    errno = WriteFully(file.get(), text);
    if (errno != 0) return failed("write");
    if (::fsync(file.get()) != 0) return failed("sync");
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return failed("rename");
  OwnedFd folder(::open(state_folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || ::fsync(folder.get()) != 0) return failed("sync the folder of");
  return OkStatus();
}

// ---- Words ----

void LinuxSystem::Log(const std::string& line) {
  const std::string text = fmt::format("{}: {}\n", name_, line);
  (void)WriteFully(STDERR_FILENO, text);
}

void LinuxSystem::Alert(const std::string& line) {
  Log(line);
  if (alert_file_.empty()) return;
  OwnedFd file(::open(alert_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!file.valid() || WriteFully(file.get(), line + "\n") != 0 || ::fsync(file.get()) != 0) {
    Log("cannot write the alert to " + alert_file_);
  }
}

}  // namespace plugpull::agents
