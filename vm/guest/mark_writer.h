// SPDX-License-Identifier: Apache-2.0
// Writes marks (framework/blocklog/mark.h) to the mark strip of a disk. Used by PID 1 and by
// plugpull-mark, which is linked statically and so stands on nothing but framework/base.
#pragma once

#include <string>
#include <utility>

#include "framework/base/result.h"
#include "framework/blocklog/mark.h"

namespace plugpull::guest {

// A user error when the mark cannot be encoded: an empty kind, a space in the kind, a newline or a
// NUL, or more than blocklog::kMarkTextMax bytes together.
Status ValidateMark(const blocklog::Mark& mark);

// An open strip. One thread; several processes may have the same strip open and write at once,
// since each mark is one request to the device.
class MarkWriter {
 public:
  // A block device is opened with O_DIRECT. A regular file may stand in for one. An environment
  // error names the path and the reason.
  static Result<MarkWriter> Open(const std::string& path);

  MarkWriter(MarkWriter&& other) noexcept
      : path_(std::move(other.path_)),
        fd_(std::exchange(other.fd_, -1)),
        block_bytes_(other.block_bytes_) {}
  MarkWriter& operator=(MarkWriter&& other) noexcept;
  MarkWriter(const MarkWriter&) = delete;
  MarkWriter& operator=(const MarkWriter&) = delete;
  ~MarkWriter();

  // On return the device has completed the write, and so the log has its place for it. No flush
  // and no forced write is sent: they would be promises that the file system did not ask for.
  // Overwrites the mark before: only the log remembers them all.
  Status Write(const blocklog::Mark& mark);

 private:
  MarkWriter(std::string path, int fd, size_t block_bytes)
      : path_(std::move(path)), fd_(fd), block_bytes_(block_bytes) {}

  std::string path_;
  int fd_ = -1;
  size_t block_bytes_;  // smallest unit that the device writes
};

}  // namespace plugpull::guest
