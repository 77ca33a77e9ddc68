// SPDX-License-Identifier: Apache-2.0
#include "framework/os/fd.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

namespace plugpull::os {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    Reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Fd::Reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Millis Deadline::Left() const {
  const auto left = std::chrono::duration_cast<Millis>(at_ - Clock::now());
  return left.count() > 0 ? left : Millis(0);
}

std::string ErrnoText(int error_number) {
  return fmt::format("{} (errno {})", std::strerror(error_number), error_number);
}

Status WriteAll(int fd, std::span<const uint8_t> data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return EnvironmentError("write failed: " + ErrnoText(errno));
    data = data.subspan(static_cast<size_t>(n));
  }
  return OkStatus();
}

Status PwriteAll(int fd, std::span<const uint8_t> data, Bytes offset) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset.value));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return EnvironmentError(
          fmt::format("write at byte {} failed: {}", offset.value, ErrnoText(errno)));
    }
    data = data.subspan(static_cast<size_t>(n));
    offset += Bytes(static_cast<uint64_t>(n));
  }
  return OkStatus();
}

Status PreadAll(int fd, std::span<uint8_t> data, Bytes offset) {
  while (!data.empty()) {
    const ssize_t n = ::pread(fd, data.data(), data.size(), static_cast<off_t>(offset.value));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return EnvironmentError(
          fmt::format("read at byte {} failed: {}", offset.value, ErrnoText(errno)));
    }
    if (n == 0) {
      return EnvironmentError(
          fmt::format("file ends at byte {}, {} bytes short", offset.value, data.size()));
    }
    data = data.subspan(static_cast<size_t>(n));
    offset += Bytes(static_cast<uint64_t>(n));
  }
  return OkStatus();
}

Result<SocketPair> MakeSocketPair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    return EnvironmentError("socketpair failed: " + ErrnoText(errno));
  }
  return SocketPair{Fd(fds[0]), Fd(fds[1])};
}

Result<bool> WaitReadable(int fd, const Deadline& deadline) {
  for (;;) {
    pollfd poll_fd{fd, POLLIN, 0};
    const int n = ::poll(&poll_fd, 1, static_cast<int>(deadline.Left().count()));
    if (n > 0) return true;
    if (n == 0) return false;
    if (errno != EINTR) return EnvironmentError("poll failed: " + ErrnoText(errno));
  }
}

Result<Fd> LockFile(const std::string& path, const Deadline& deadline) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd.valid())
    return EnvironmentError(fmt::format("cannot open lock {}: {}", path, ErrnoText(errno)));
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return EnvironmentError(fmt::format("cannot lock {}: {}", path, ErrnoText(errno)));
    }
    if (deadline.Passed()) {
      return EnvironmentError(fmt::format(
          "another plugpull holds {}; wait for it to end, or see who holds it with: fuser {}", path,
          path));
    }
    std::this_thread::sleep_for(Millis(50));  // flock has no wait with a deadline
  }
  return fd;
}

namespace {

Result<Fd> Sized(Fd fd, Bytes size, const std::string& what) {
  if (::ftruncate(fd.get(), static_cast<off_t>(size.value)) != 0) {
    return EnvironmentError(
        fmt::format("cannot make {} of {} bytes: {}", what, size.value, ErrnoText(errno)));
  }
  return fd;
}

}  // namespace

Result<Fd> MakeMemFile(const std::string& label, Bytes size) {
  Fd fd(::memfd_create(label.c_str(), MFD_CLOEXEC));
  if (!fd.valid()) return EnvironmentError("memfd_create failed: " + ErrnoText(errno));
  return Sized(std::move(fd), size, "a memory file");
}

Result<Fd> MakeScratchFile(const std::string& folder, Bytes size) {
  Fd fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd.valid()) {  // not every file system has O_TMPFILE
    std::string name = folder + "/scratch.XXXXXX";
    fd = Fd(::mkostemp(name.data(), O_CLOEXEC));
    if (!fd.valid()) {
      return EnvironmentError(
          fmt::format("cannot make a scratch file in {}: {}", folder, ErrnoText(errno)));
    }
    ::unlink(name.c_str());
  }
  return Sized(std::move(fd), size, "a scratch file in " + folder);
}

Result<Mapping> Mapping::Map(int fd, Bytes size, Mode mode) {
  Mapping mapping;
  if (size.value == 0) return mapping;
  const bool writable = mode == Mode::kReadWriteShared;
  void* data = ::mmap(nullptr, size.value, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                      writable ? MAP_SHARED : MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) {
    return EnvironmentError(fmt::format("cannot map {} bytes: {}", size.value, ErrnoText(errno)));
  }
  mapping.data_ = static_cast<uint8_t*>(data);
  mapping.size_ = size.value;
  return mapping;
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    if (data_ != nullptr) ::munmap(data_, size_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace plugpull::os
