// SPDX-License-Identifier: Apache-2.0
// The log that a guest left on its log disk.
#pragma once

#include "framework/base/result.h"
#include "framework/blocklog/log_reader.h"
#include "framework/os/fd.h"

namespace plugpull::run {

struct ReadBack {
  os::Mapping mapping;
  blocklog::BlockLog log;  // points into it
};

// Reads the log in a scratch file, which was zeroes before, to its last entry. `device_size`: of
// what is logged, marks included.
Result<ReadBack> ReadLogBack(int fd, Bytes device_size);

}  // namespace plugpull::run
