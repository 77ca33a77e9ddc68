// SPDX-License-Identifier: Apache-2.0
// Records what e2fsck writes while it recovers an image: its calls are watched by a shared object
// that is preloaded into it (framework/preload). What the calls do not show, the images do: the
// state with all recorded writes must be, byte by byte, what e2fsck left; where it is not (e2fsck
// is linked statically, or writes in a way that is not watched), nothing is recorded.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/blocklog/log_writer.h"
#include "framework/ext4/journal.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/work_image.h"

namespace plugpull::oracle {

// One call that returned.
struct RecordedCall {
  enum class Kind : uint8_t { kWrite, kFlush, kZeroes };
  Kind kind = Kind::kWrite;
  uint64_t offset = 0;            // bytes
  uint64_t length = 0;            // bytes; 0 for a flush
  std::span<const uint8_t> data;  // of a write
};

// The calls of a record (framework/preload/write_record.h) of a file of so many bytes. They point
// into the record. An environment error when it ends within a call, or says what cannot be.
Result<std::vector<RecordedCall>> ParseWriteRecord(std::span<const uint8_t> record,
                                                   uint64_t file_bytes);

// Applies the calls to `image` and appends to the log what a disk below a page cache sees of them:
// each page of 4096 bytes that a call touches is one write of the whole page as it is then, for the
// buffers of a block device that nobody has mounted are as large (set_init_blocksize in
// block/bdev.c). Calls within one and the same page, with no other call between them, are one
// write: libext2fs writes the superblock in several pieces, its checksum last
// (write_primary_superblock in lib/ext2fs/closefs.c), and a page that is written back just between
// two of them is torn, which no model names unless it is asked to. `image` is whole sectors.
// Without `flushes` they are left out.
void AddCallsToLog(const std::vector<RecordedCall>& calls, bool flushes, std::span<uint8_t> image,
                   blocklog::LogWriter& log);

class RecoveryRecorder {
 public:
  // The shared object lies in $PLUGPULL_GUEST_DIR, else beside the running program; an environment
  // error when it does not.
  static Result<RecoveryRecorder> Find();

  // Recovers the state that `image` holds and appends what was written to the log. Whatever is not
  // a whole recording of a recovery that came to its end is an environment error: e2fsck was
  // killed, would not recover the state, or wrote what was not seen.
  Status Record(Fsck& fsck, const ext4::JournalLayout& journal, bool flushes, WorkImage& image,
                blocklog::LogWriter& log) const;

 private:
  explicit RecoveryRecorder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace plugpull::oracle
