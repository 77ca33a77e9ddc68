// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace plugpull {

// Of an inode, in nanoseconds since 1970.
struct InodeTimes {
  int64_t atime_ns = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  bool operator==(const InodeTimes&) const = default;
};

}  // namespace plugpull
