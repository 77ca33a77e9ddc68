// SPDX-License-Identifier: Apache-2.0
// What the kernel logs between two points in time, and lines of ours among it (/dev/kmsg, see
// Documentation/ABI/testing/dev-kmsg of the kernel). Guest only but for ParseKernelRecord; one
// thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/os/fd.h"
#include "framework/proto/guest.pb.h"

namespace plugpull::guest {

// One record as /dev/kmsg gives it, "PRIORITY,SEQUENCE,TIME,FLAGS;TEXT\n" and lines that begin
// with a space. Nothing for records that programs wrote, and for what is no record.
std::optional<KernelLine> ParseKernelRecord(std::string_view record);

class KernelLog {
 public:
  // From now on, or from the oldest record that the kernel still has.
  enum class From { kNow, kStart };
  static Result<KernelLog> Open(From from = From::kNow);

  // A line of ours: where it stands among the kernel's says what those are about.
  Status Write(const std::string& line);
  // What the kernel has logged since the last call, at most `lines_max` of it; `cut` is set when
  // there was more, or when records were overwritten before they were read.
  std::vector<KernelLine> Take(size_t lines_max, bool& cut);

 private:
  explicit KernelLog(os::Fd fd) : fd_(std::move(fd)) {}
  os::Fd fd_;
};

}  // namespace plugpull::guest
