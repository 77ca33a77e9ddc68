// SPDX-License-Identifier: Apache-2.0
// The same recovery oracle: a recovery was recorded and cut by a second loss of power; recovered
// again, the disk must be what one recovery that nobody interrupted makes of the same state. Both
// are recovered here, by the same means (replay, then orphans), and compared.
//
// Compared as images (but with mmp and fast_commit) is what must be equal to the byte:
//   - e2fsck's recovery, at every cut. It writes no time but E2FSCK_TIME and draws nothing by
//     chance, so doing any part of it twice writes the same bytes.
//   - the kernel's, as long as it replays. jbd2_journal_recover (fs/jbd2/recovery.c) writes blocks
//     home, flushes, and only then is the journal superblock written (journal_reset and
//     jbd2_journal_update_sb_log_tail in fs/jbd2/journal.c; ext4_load_journal has written nothing
//     before). Until that write the whole log is replayed again, over whatever part of it was
//     written home; with that write and nothing else, nothing is left to replay.
// Not compared, for they may differ: the superblock's time and mount counters with the checksum
// that follows from them (CounterRanges), the log blocks of an emptied journal, and in the journal
// superblock s_sequence (each recovery that finds a log counts on), s_head and the checksum.
//
// Behind the replay the kernel goes on in its own way: it clears orphans in new transactions, with
// the time of day as ctime and dtime, and in another order than e2fsck; it counts the mount and
// resets s_state. There the images may differ, and what users see must not: names, types,
// permissions, owners, links, sizes and contents (framework/tree). Extended attributes and times
// are not looked at. That nothing leaked or is shared is for e2fsck to say, of either.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/blocklog/history.h"
#include "framework/ext4/journal.h"
#include "framework/ext4/superblock.h"
#include "framework/oracle/outcome.h"
#include "framework/oracle/work_image.h"
#include "framework/proto/guest.pb.h"

namespace plugpull::oracle {

struct SameRecoveryVerdict {
  Outcome outcome = Outcome::kUnknown;
  std::string evidence;
};

// Const methods are thread-safe.
class SameRecovery {
 public:
  enum class Who : uint8_t { kKernel, kE2fsck };

  // `uninterrupted`: the state that was recovered, recovered in one piece. `history`: what the
  // recorded recovery wrote. An environment error when memory is missing; a user error when no
  // file system can be opened there.
  static Result<SameRecovery> Make(const WorkImage& uninterrupted,
                                   const ext4::JournalLayout& journal,
                                   const blocklog::History& history, Who who);

  // Whether a state at this cut is compared as an image.
  bool ComparesImages(size_t cut) const { return cut <= images_until_; }
  SameRecoveryVerdict CompareImage(const WorkImage& recovered) const;
  SameRecoveryVerdict CompareTree(const WorkImage& recovered) const;

 private:
  SameRecovery() = default;
  bool Masked(uint64_t offset) const;

  os::Fd fd_;
  os::Mapping image_;
  std::vector<os::Extent> extents_;  // of it
  uint32_t block_bytes_ = 0;
  std::vector<ext4::ByteRange> masked_;  // ascending and apart
  FileTree tree_;
  size_t images_until_ = 0;
};

// The last cut whose states hold nothing of a kernel's recovery but its replay and the write of the
// journal superblock that ends it; 0 when it never wrote that.
size_t LastCutOfReplay(const blocklog::History& history, const ext4::JournalLayout& journal);

}  // namespace plugpull::oracle
