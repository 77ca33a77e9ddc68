// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/workload_runner.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>
#include <vector>

#include "framework/os/fd.h"
#include "framework/workload/content.h"
#include "framework/workload/history.h"

namespace plugpull::guest {
namespace {

constexpr size_t kChunkBytes = 1 << 20;  // of content in memory at a time
constexpr Millis kProgressInterval{250};
constexpr mode_t kFileMode = 0644;
constexpr mode_t kFolderMode = 0755;
// Two ticks of 100 Hz, the longest that kernels have.
constexpr Millis kTwoTicks{20};

uint64_t MonotonicNanoseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// In one piece: a warped clock then jumps from timer to timer. 0 or an errno.
int Sleep(Millis length) {
  timespec left{};
  left.tv_sec = length.count() / 1000;
  left.tv_nsec = length.count() % 1000 * 1'000'000;
  for (;;) {
    const int error = ::clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left);
    if (error != EINTR) return error;
  }
}

bool HasSecondPath(Operation::Kind kind) {
  return kind == Operation::RENAME || kind == Operation::LINK;
}

// The folder that a path lies in, open, and the last component.
struct Place {
  os::Fd folder;
  std::string name;
};

// One workload at one mount point. Every operation returns 0 or the errno that it failed with.
class OperationRunner {
 public:
  OperationRunner(os::Fd root, std::function<int()> evict)
      : root_(std::move(root)), evict_(std::move(evict)), chunk_(kChunkBytes) {}

  int Run(const Operation& operation, uint64_t version);
  // False when they cannot be read.
  bool LookAtTimes(const std::string& path, Times& times) const;

 private:
  // Opens below the root; neither "..", symbolic links nor other mounts lead out of it.
  int Open(const std::string& path, int flags, mode_t mode, os::Fd& fd) const;
  int Locate(const std::string& path, Place& place) const;
  int Write(const Operation& operation, uint64_t version);
  int Truncate(const Operation& operation) const;
  int Sync(const Operation& operation) const;
  int SyncAll(bool everywhere);
  int Read(const Operation& operation);
  int List(const Operation& operation) const;
  int ChangeMode(const Operation& operation) const;
  int Move(const Operation& operation) const;

  os::Fd root_;
  std::function<int()> evict_;
  std::vector<uint8_t> chunk_;
  int sync_error_ = 0;  // of the first sync(2) that could not do what it says
};

int OperationRunner::Open(const std::string& path, int flags, mode_t mode, os::Fd& fd) const {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  const char* name = path.empty() ? "." : path.c_str();
  fd = os::Fd(static_cast<int>(::syscall(SYS_openat2, root_.get(), name, &how, sizeof how)));
  return fd.valid() ? 0 : errno;
}

int OperationRunner::Locate(const std::string& path, Place& place) const {
  const size_t slash = path.rfind('/');
  place.name = slash == std::string::npos ? path : path.substr(slash + 1);
  return Open(slash == std::string::npos ? "" : path.substr(0, slash), O_PATH | O_DIRECTORY, 0,
              place.folder);
}

int OperationRunner::Write(const Operation& operation, uint64_t version) {
  os::Fd fd;
  const int error = Open(operation.path(), O_WRONLY | (operation.o_sync() ? O_SYNC : 0), 0, fd);
  if (error != 0) return error;
  uint64_t offset = operation.offset();
  const uint64_t end = offset + operation.length();
  while (offset < end) {
    const size_t size = std::min<uint64_t>(end - offset, chunk_.size());
    workload::FillContent(operation.file(), version, offset, {chunk_.data(), size});
    for (size_t done = 0; done < size;) {
      const ssize_t n =
          ::pwrite(fd.get(), chunk_.data() + done, size - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno;
      done += static_cast<size_t>(n);
    }
    offset += size;
  }
  return 0;
}

int OperationRunner::Truncate(const Operation& operation) const {
  os::Fd fd;
  const int error = Open(operation.path(), O_WRONLY, 0, fd);
  if (error != 0) return error;
  return ::ftruncate(fd.get(), static_cast<off_t>(operation.length())) == 0 ? 0 : errno;
}

int OperationRunner::Sync(const Operation& operation) const {
  os::Fd fd;
  const int error = Open(operation.path(), O_RDONLY, 0, fd);
  if (error != 0) return error;
  const bool data_only = operation.kind() == Operation::FDATASYNC;
  return (data_only ? ::fdatasync(fd.get()) : ::fsync(fd.get())) == 0 ? 0 : errno;
}

// sync(2) has no way to say that it failed, and a mark must not say for it that it did not. What
// the kernel knows of failed writes it tells each descriptor once (errseq_t, in fs/sync.c), and
// nothing of what a file system that has become read-only still holds back.
int OperationRunner::SyncAll(bool everywhere) {
  if (everywhere) ::sync();
  struct statvfs state {};
  if (sync_error_ == 0 && ::syncfs(root_.get()) != 0) sync_error_ = errno;
  if (sync_error_ == 0 && ::fstatvfs(root_.get(), &state) != 0) sync_error_ = errno;
  if (sync_error_ == 0 && (state.f_flag & ST_RDONLY) != 0) sync_error_ = EROFS;
  return sync_error_;
}

int OperationRunner::Read(const Operation& operation) {
  os::Fd fd;
  const int error = Open(operation.path(), O_RDONLY, 0, fd);
  if (error != 0) return error;
  for (uint64_t offset = 0; offset < operation.length();) {
    const size_t size = std::min<uint64_t>(operation.length() - offset, chunk_.size());
    const ssize_t n = ::pread(fd.get(), chunk_.data(), size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    offset += static_cast<uint64_t>(n);
  }
  return 0;
}

int OperationRunner::List(const Operation& operation) const {
  os::Fd fd;
  const int error = Open(operation.path(), O_RDONLY | O_DIRECTORY, 0, fd);
  if (error != 0) return error;
  DIR* const folder = ::fdopendir(fd.get());
  if (folder == nullptr) return errno;
  (void)fd.Release();  // closedir does it
  errno = 0;
  while (::readdir(folder) != nullptr) {
  }
  const int read = errno;
  ::closedir(folder);
  return read;
}

int OperationRunner::ChangeMode(const Operation& operation) const {
  os::Fd fd;
  const int error = Open(operation.path(), O_RDONLY, 0, fd);
  if (error != 0) return error;
  return ::fchmod(fd.get(), operation.mode()) == 0 ? 0 : errno;
}

bool OperationRunner::LookAtTimes(const std::string& path, Times& times) const {
  os::Fd fd;
  struct stat state {};
  if (Open(path, O_PATH, 0, fd) != 0 || ::fstat(fd.get(), &state) != 0) return false;
  const auto ns = [](const timespec& time) {
    return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  times.set_atime_ns(ns(state.st_atim));
  times.set_mtime_ns(ns(state.st_mtim));
  times.set_ctime_ns(ns(state.st_ctim));
  return true;
}

int OperationRunner::Move(const Operation& operation) const {
  Place from;
  Place to;
  if (const int error = Locate(operation.path(), from); error != 0) return error;
  if (const int error = Locate(operation.path2(), to); error != 0) return error;
  const int result =
      operation.kind() == Operation::RENAME
          ? ::renameat(from.folder.get(), from.name.c_str(), to.folder.get(), to.name.c_str())
          : ::linkat(from.folder.get(), from.name.c_str(), to.folder.get(), to.name.c_str(), 0);
  return result == 0 ? 0 : errno;
}

int OperationRunner::Run(const Operation& operation, uint64_t version) {
  Place place;
  os::Fd fd;
  switch (operation.kind()) {
    case Operation::MKDIR:
      if (const int error = Locate(operation.path(), place); error != 0) return error;
      return ::mkdirat(place.folder.get(), place.name.c_str(), kFolderMode) == 0 ? 0 : errno;
    case Operation::UNLINK:
    case Operation::RMDIR:
      if (const int error = Locate(operation.path(), place); error != 0) return error;
      return ::unlinkat(place.folder.get(), place.name.c_str(),
                        operation.kind() == Operation::RMDIR ? AT_REMOVEDIR : 0) == 0
                 ? 0
                 : errno;
    case Operation::CREATE:
      return Open(operation.path(), O_CREAT | O_EXCL | O_WRONLY, kFileMode, fd);
    case Operation::WRITE:
      return Write(operation, version);
    case Operation::TRUNCATE:
      return Truncate(operation);
    case Operation::RENAME:
    case Operation::LINK:
      return Move(operation);
    case Operation::FSYNC:
    case Operation::FDATASYNC:
      return Sync(operation);
    case Operation::SYNC:
    case Operation::SYNCFS:
      return SyncAll(operation.kind() == Operation::SYNC);
    case Operation::READ:
      return Read(operation);
    case Operation::LIST:
      return List(operation);
    case Operation::CHMOD:
      return ChangeMode(operation);
    case Operation::EVICT:
      return evict_ ? evict_() : ENOSYS;
    case Operation::WAIT:
      return Sleep(Millis(operation.wait_ms()));
    default:
      return EINVAL;  // ValidateWorkload has refused it
  }
}

// Collects results and sends them when a batch is full or old.
class ProgressSender {
 public:
  ProgressSender(const RunWorkload& request, const WorkloadHooks& hooks)
      : hooks_(hooks), due_(os::Deadline::After(kProgressInterval)) {
    progress_.set_workload(request.workload());
  }

  OperationResult& Add() { return *progress_.add_result(); }

  Status SendIfDue() {
    const bool full = static_cast<size_t>(progress_.result_size()) >= kResultsPerProgressMax;
    return full || due_.Passed() ? Send() : OkStatus();
  }

  Status Send() {
    due_ = os::Deadline::After(kProgressInterval);
    if (progress_.result_size() == 0) return OkStatus();
    Status sent = hooks_.send_progress(progress_);
    progress_.clear_result();
    return sent;
  }

 private:
  const WorkloadHooks& hooks_;
  Progress progress_;
  os::Deadline due_;
};

Status RunAll(const RunWorkload& request, const WorkloadHooks& hooks, OperationRunner& runner,
              ProgressSender& progress) {
  for (int index = 0; index < request.operation_size(); ++index) {
    const Operation& operation = request.operation(index);
    const uint64_t version = static_cast<uint64_t>(index) + 1;
    const bool look = operation.look_at_times();
    OperationResult& result = progress.Add();
    if (look) (void)Sleep(kTwoTicks);
    if (look && !runner.LookAtTimes(operation.path(), *result.mutable_before())) {
      result.clear_before();
    }
    result.set_index(static_cast<uint64_t>(index));
    result.set_started_ns(MonotonicNanoseconds());
    result.set_error(runner.Run(operation, version));
    result.set_ended_ns(MonotonicNanoseconds());
    if (look && !runner.LookAtTimes(operation.path(), *result.mutable_after())) {
      result.clear_after();
    }
    if (workload::IsAcknowledged(operation) && result.error() == 0 && hooks.write_mark) {
      PP_RETURN_IF_ERROR(
          hooks.write_mark({"ack", fmt::format("{}.{}", request.workload(), index)}));
    }
    PP_RETURN_IF_ERROR(progress.SendIfDue());
    if (hooks.after_operation) PP_RETURN_IF_ERROR(hooks.after_operation());
    if (hooks.stop && hooks.stop()) return OkStatus();
  }
  return OkStatus();
}

}  // namespace

Status ValidateRelativePath(std::string_view path, bool root_allowed) {
  if (path.empty()) {
    return root_allowed ? OkStatus() : Status(UserError("an empty path, where a name is needed"));
  }
  const auto refuse = [&](std::string_view why) {
    return UserError(
        fmt::format("the path \"{}\" {}; paths are relative to the mount point and stay "
                    "below it",
                    path.substr(0, 100), why));
  };
  if (path.size() >= PATH_MAX)
    return refuse(fmt::format("has {} bytes, the limit is {}", path.size(), PATH_MAX - 1));
  if (path.find('\0') != std::string_view::npos) return refuse("holds a NUL");
  for (std::string_view rest = path;;) {
    const size_t end = std::min(rest.find('/'), rest.size());
    const std::string_view name = rest.substr(0, end);
    if (name.empty()) return refuse("begins or ends in a slash, or has two in a row");
    if (name == "." || name == "..") return refuse(fmt::format("has the component \"{}\"", name));
    if (name.size() > NAME_MAX)
      return refuse(fmt::format("has a name of {} bytes, the limit is {}", name.size(), NAME_MAX));
    if (end == rest.size()) return OkStatus();
    rest.remove_prefix(end + 1);
  }
}

namespace {

Status ValidateOperation(const Operation& operation) {
  if (operation.kind() <= Operation::UNSPECIFIED || !Operation::Kind_IsValid(operation.kind())) {
    return UserError(fmt::format("the kind {} is unknown", static_cast<int>(operation.kind())));
  }
  if (!workload::NeedsNoPath(operation.kind())) {
    PP_RETURN_IF_ERROR(
        ValidateRelativePath(operation.path(), operation.kind() == Operation::FSYNC));
  }
  if (operation.wait_ms() > static_cast<uint64_t>(kWaitMax.count())) {
    return UserError(fmt::format("a wait of {} ms is above the limit of {}", operation.wait_ms(),
                                 kWaitMax.count()));
  }
  if (HasSecondPath(operation.kind())) {
    PP_RETURN_IF_ERROR(ValidateRelativePath(operation.path2(), false));
  }
  const bool writes = operation.kind() == Operation::WRITE;
  if (writes && operation.length() > kWriteBytesMax.value) {
    return UserError(fmt::format("a write of {} bytes is above the limit of {}", operation.length(),
                                 kWriteBytesMax.value));
  }
  if ((writes && operation.offset() > kFileEndMax.value) ||
      (operation.kind() == Operation::TRUNCATE && operation.length() > kFileEndMax.value)) {
    return UserError(
        fmt::format("offset {} and length {} lead beyond {}, the end of the largest file",
                    operation.offset(), operation.length(), kFileEndMax.value));
  }
  return OkStatus();
}

}  // namespace

Status ValidateWorkload(const RunWorkload& request) {
  if (request.operation_size() > kOperationsMax) {
    return UserError(fmt::format("a workload of {} operations is above the limit of {}",
                                 request.operation_size(), kOperationsMax));
  }
  for (int i = 0; i < request.operation_size(); ++i) {
    const Status valid = ValidateOperation(request.operation(i));
    if (!valid.ok()) return WithContext(valid.error(), fmt::format("operation {}", i));
  }
  return OkStatus();
}

Status RunOperations(const RunWorkload& request, const WorkloadHooks& hooks) {
  PP_RETURN_IF_ERROR(ValidateWorkload(request));
  os::Fd root(::open(request.at().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) {
    return EnvironmentError(
        fmt::format("cannot open the folder {}: {}", request.at(), os::ErrnoText(errno)));
  }
  OperationRunner runner(std::move(root), hooks.evict);
  ProgressSender progress(request, hooks);
  const Status ran = RunAll(request, hooks, runner, progress);
  const Status sent = progress.Send();
  return ran.ok() ? sent : ran;
}

}  // namespace plugpull::guest
