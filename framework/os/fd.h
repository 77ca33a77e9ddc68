// SPDX-License-Identifier: Apache-2.0
// Owned file descriptors and what is made of them. All descriptors are close-on-exec.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::os {

// Owns one descriptor; closes it once. Not thread-safe.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset();

 private:
  int fd_ = -1;
};

// A point on the monotonic clock by which something must have happened.
class Deadline {
 public:
  static Deadline After(Millis duration) { return Deadline(Clock::now() + duration); }
  // Time left, never negative.
  Millis Left() const;
  bool Passed() const { return Clock::now() >= at_; }

 private:
  using Clock = std::chrono::steady_clock;
  explicit Deadline(Clock::time_point at) : at_(at) {}
  Clock::time_point at_;
};

// "strerror text (errno N)" for messages.
std::string ErrnoText(int error_number);

// Writes or reads all of it, at an offset or at the file position. A short read is an
// environment error that says how much was there.
Status WriteAll(int fd, std::span<const uint8_t> data);
Status PwriteAll(int fd, std::span<const uint8_t> data, Bytes offset);
Status PreadAll(int fd, std::span<uint8_t> data, Bytes offset);

// A connected pair of stream sockets.
struct SocketPair {
  Fd ours;
  Fd theirs;
};
Result<SocketPair> MakeSocketPair();

// Waits until `fd` can be read (or is at its end). False when the deadline passes first.
Result<bool> WaitReadable(int fd, const Deadline& deadline);

// An exclusive advisory lock on a file (created when missing), waited for until the deadline. The
// kernel drops it when the holder dies, so it is never stale.
Result<Fd> LockFile(const std::string& path, const Deadline& deadline);

// A file in memory without a name, `size` bytes of zeroes.
Result<Fd> MakeMemFile(const std::string& label, Bytes size);

// A file in `folder` without a name, `size` bytes of zeroes and sparse: it is gone when the last
// holder is, also after SIGKILL.
Result<Fd> MakeScratchFile(const std::string& folder, Bytes size);

// A memory mapping of a descriptor. Addresses stay valid for the life of the object.
class Mapping {
 public:
  enum class Mode { kReadOnly, kReadWriteShared };
  static Result<Mapping> Map(int fd, Bytes size, Mode mode);
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  std::span<uint8_t> mutable_bytes() { return {data_, size_}; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace plugpull::os
