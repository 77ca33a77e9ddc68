// SPDX-License-Identifier: Apache-2.0
// Logs of any length without a guest: a fresh ext4 on which files and folders are made, written,
// renamed and removed by libext2fs, in transactions that jbd2_writer.h logs. What the log holds is
// what a mounted ext4 (data=ordered, barriers, journal checksums v3) would have written for the
// same operations, one fsync after the other; so every power cut that an honest disk allows
// recovers to a consistent file system. Some files have the flag for journaled data.
#pragma once

#include <cstdint>
#include <string>

#include "framework/base/result.h"
#include "tests/bench/jbd2_writer.h"

namespace plugpull::bench {

struct WorkloadShape {
  uint64_t writes = 1000;  // log entries that write, at least; the last transaction is whole
  uint64_t disk_mib = 128;
  uint32_t block_bytes = 4096;  // 1024, 2048 or 4096
  uint32_t journal_mib = 4;
  uint64_t seed = 1;
};

// Makes `base_path`, a sparse image by mke2fs, and `log_path`, a dm-log-writes log of what happened
// to it from its first mount on. The same shape and e2fsprogs give the same bytes. An environment
// error when mke2fs fails or a file cannot be written.
Result<JournalActivity> MakeJournalWorkload(const WorkloadShape& shape,
                                            const std::string& base_path,
                                            const std::string& log_path);

}  // namespace plugpull::bench
