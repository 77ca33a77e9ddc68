// SPDX-License-Identifier: Apache-2.0
// Sockets and terminals of child processes: every wait has a deadline, and a peer that dies is a
// value, not a signal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "framework/base/result.h"
#include "framework/os/fd.h"

struct termios;

namespace plugpull::os {

// Reads what is there, at most `buffer`. 0 when the other end is closed or gone; nothing when the
// deadline passes first.
Result<std::optional<size_t>> ReadSome(int fd, std::span<uint8_t> buffer, const Deadline& deadline);

// What read(2) gives at the file position, at most `data`; 0 at the end of a file or pipe.
Result<size_t> ReadNext(int fd, std::span<uint8_t> data);

enum class SendEnd {
  kSent,
  kPeerGone,  // some of it may have been sent
  kTimedOut,  // the other end took nothing for too long; some of it may have been sent
};

// Sends all of it over a socket. `stall_max` is the longest time in which nothing may be taken.
Result<SendEnd> SendAll(int socket, std::span<const uint8_t> data, Millis stall_max);

// Opens for appending, made new (an older file of that name loses its content).
Result<Fd> OpenForAppending(const std::string& path);

// The settings of a terminal, put back at the end of the object's life: for children that change
// them and may be killed. Does nothing for a descriptor that is no terminal.
class TerminalGuard {
 public:
  explicit TerminalGuard(int fd);
  ~TerminalGuard();
  TerminalGuard(const TerminalGuard&) = delete;
  TerminalGuard& operator=(const TerminalGuard&) = delete;

 private:
  int fd_;
  std::unique_ptr<termios> saved_;
};

}  // namespace plugpull::os
