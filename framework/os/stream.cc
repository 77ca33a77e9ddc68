// SPDX-License-Identifier: Apache-2.0
#include "framework/os/stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

namespace plugpull::os {

Result<std::optional<size_t>> ReadSome(int fd, std::span<uint8_t> buffer,
                                       const Deadline& deadline) {
  for (;;) {
    PP_ASSIGN_OR_RETURN(const bool readable, WaitReadable(fd, deadline));
    if (!readable) return std::optional<size_t>();
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n >= 0) return std::optional<size_t>(static_cast<size_t>(n));
    if (errno == ECONNRESET || errno == EPIPE) return std::optional<size_t>(0);
    if (errno != EINTR && errno != EAGAIN) {
      return EnvironmentError("read failed: " + ErrnoText(errno));
    }
  }
}

Result<size_t> ReadNext(int fd, std::span<uint8_t> data) {
  for (;;) {
    const ssize_t n = ::read(fd, data.data(), data.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return EnvironmentError("read failed: " + ErrnoText(errno));
  }
}

Result<SendEnd> SendAll(int socket, std::span<const uint8_t> data, Millis stall_max) {
  while (!data.empty()) {
    const ssize_t n = ::send(socket, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      data = data.subspan(static_cast<size_t>(n));
      continue;
    }
    if (errno == EPIPE || errno == ECONNRESET) return SendEnd::kPeerGone;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      return EnvironmentError("send failed: " + ErrnoText(errno));
    }
    pollfd poll_fd{socket, POLLOUT, 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(stall_max.count()));
    if (ready == 0) return SendEnd::kTimedOut;
    if (ready < 0 && errno != EINTR) {
      return EnvironmentError("poll failed: " + ErrnoText(errno));
    }
  }
  return SendEnd::kSent;
}

Result<Fd> OpenForAppending(const std::string& path) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644));
  if (!fd.valid()) {
    return EnvironmentError(fmt::format("cannot write {}: {}", path, ErrnoText(errno)));
  }
  return fd;
}

TerminalGuard::TerminalGuard(int fd) : fd_(fd) {
  auto settings = std::make_unique<termios>();
  if (::tcgetattr(fd, settings.get()) == 0) saved_ = std::move(settings);
}

TerminalGuard::~TerminalGuard() {
  if (saved_) ::tcsetattr(fd_, TCSANOW, saved_.get());
}

}  // namespace plugpull::os
