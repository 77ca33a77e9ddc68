// SPDX-License-Identifier: Apache-2.0
// Questions about the times of files and folders that a trace puts: at which cuts one is open, and
// which times the inode had in the guest. Only operations that look at times (workload.proto) put
// any. What is promised, and what a question is about:
//
//   TIMES_AFTER_SYNC          fsync(2) also flushes "the metadata information associated with the
//                             file (see inode(7))". Of fsync of the file, syncfs and sync(2).
//   TIMES_AFTER_FDATASYNC     fdatasync(2) "does not flush modified metadata unless that metadata
//                             is needed in order to allow a subsequent data retrieval": st_atime
//                             and st_mtime "do not require flushing".
//   TIMES_WITHOUT_TRIGGER     Nothing is promised. The change of a time is in the transaction that
//                             runs, without lazytime (generic_update_time in fs/inode.c,
//                             ext4_dirty_inode in fs/ext4/inode.c); a sync of another inode commits
//                             it (jbd2 has one running transaction). Under lazytime the time is in
//                             memory alone.
//   TIMES_AFTER_OTHER_CHANGE  mount(8), lazytime: "the inode needs to be updated for some change
//                             unrelated to file timestamps".
//   TIMES_AFTER_EVICTION      "an undeleted inode is evicted from memory" (iput in fs/inode.c).
//   TIMES_AFTER_A_DAY         "more than 24 hours have passed since the inode was written to disk".
//                             Linux 6.1 looks every dirtytime_expire_interval, 12 hours, and writes
//                             what is as old as that (wakeup_dirtytime_writeback, queue_io and
//                             __writeback_single_inode in fs/fs-writeback.c): after 12 to 24 hours.
//   ATIME_OF_FILE and others  mount(8), relatime: atime is updated "if the previous access time was
//                             earlier than or equal to the current modify or change time", or
//                             "more than 1 day old" (relatime_need_update in fs/inode.c).
//
// A question is open from the end of an operation that the log knows to have ended:
//   a sync, fdatasync, or a wait of more than a day: these are what it is about
//   for the three between them, which promise nothing at a moment of their own: the next fsync of
//   another file that had grown since. That has committed what the journal had until then.
// It is open until another operation on the inode, or, for these three, one that would also write
// its times: sync(2), syncfs, eviction, a wait; TIMES_WITHOUT_TRIGGER also half a day after the
// change, for then it has a trigger; TIMES_AFTER_FDATASYNC until the next operation that the log
// knows to have ended, for that may commit it. Derived up to the first operation that failed or has
// no result.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/base/inode_times.h"
#include "framework/base/result.h"
#include "framework/proto/verdict.pb.h"
#include "framework/proto/workload.pb.h"
#include "framework/workload/history.h"

namespace plugpull::workload {

struct TimesQuestion {
  GuaranteeReport::Guarantee guarantee = GuaranteeReport::UNSPECIFIED;
  std::string path = {};      // as in Operation.path
  uint64_t change = 0;        // last operation that changed times
  uint64_t open_from = 0;     // operation with whose end it opens
  uint64_t ends_at = kNever;  // operation with whose beginning it closes
  // As the guest saw them. Asked is about the times that `change` and those before it have set.
  InodeTimes before = {};
  InodeTimes after = {};
  bool atime = false;
  bool mtime = false;
  bool ctime = false;

  bool IsOpen(const ObligationKey& key) const {
    return open_from < key.ended_count && ends_at >= key.begun_count;
  }
};

// In the order in which they open. A user error when the trace is damaged.
Result<std::vector<TimesQuestion>> TimesQuestionsOf(const WorkloadTrace& trace);

}  // namespace plugpull::workload
