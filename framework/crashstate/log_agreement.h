// SPDX-License-Identifier: Apache-2.0
// Whether two logs of one disk can be of one run: the guest's, recorded by dm-log-writes above the
// block layer's request queue, and the host's, recorded by QEMU below it (vm/qemu/command_line.h
// says what that one holds).
//
// What either log says of a request r that was submitted at s(r), carried out by the host at h(r),
// and seen complete by the guest at c(r), s < h < c (drivers/md/dm-log-writes.c of Linux):
//   guest  a plain write waits for a flush f that was submitted after it was complete, c(w) < s(f),
//          and is logged before it; so what is logged behind f has c(w) > s(f). Flushes and forced
//          writes are logged when complete: those are in the order of c.
//   host   everything is in the order of h. A forced write is a write and a flush behind it.
//
// What must be so, whatever was in flight:
//   1. At every block the same contents arrive in the same order, however requests were merged and
//      split; but for a forced write and a plain one with no flush between them in the guest's
//      log, whose order that log does not know. Writes to one block are not in flight together: the
//      page cache locks it.
//   2. A write that the guest's log has before flush f is in the host's log before the flush that
//      is f: h(w) < c(w) < s(f) < h(f). So f is looked for behind the last of them: the first flush
//      there is the earliest that f can be, and everything that f made durable is durable at it.
//   3. Every flush of the host's log is a flush or a forced write of the guest's. A flush that is
//      marked forced can be two of them: device-mapper sends one in front of a commit block, and
//      block/blk-flush.c flushes before and behind it (seen where a write came between).
// That the guest's block layer runs one flush of a queue at a time and merges all that wait for the
// next (block/blk-flush.c), and that the guest sees completions in the order of the host's log,
// bounds how far the two may lie apart:
//   4. A flush that could be the host's number n (2.) is one of n to n + 3. QEMU drops flushes of
//      nothing new, so number n + 2 passed on something that came when n + 1 had begun, behind n
//      and so behind all that f covers; f was submitted before that was complete, and is the next
//      at the latest.
//   5. Where the host has a write before its flush n, and the guest has it behind flush f, f was
//      submitted before n was complete, and is n + 1 at the latest.
// One thing breaks the guest's order: a flush that is marked forced ends behind its second flush,
// and flushes that were submitted between the two end with that one, in front of it. So they and
// what they flush stand in the guest's log before older writes. 4. and 5. make room for it. Where
// an older and a newer write of one block are in that order, dm-log-writes has recorded what never
// was, replaying its log gives stale bytes, and 1. says so.
// What 1 to 5 rule out is a contradiction. A write that was complete on the host while a flush was
// under way may be on either side of it (the model's blind spot: crash_space.h). So a flush point
// agrees when the sets of versions of blocks that are durable there are equal, which is stronger
// than equal images; where the host has more, requests were in flight, and that is counted. The
// guest's log never has more (2.). At a mark the same is compared; there, the flush behind a forced
// write makes more durable in the host's log than a forced write promises, and a forced write may
// stand before a mark that it came behind.
//
// Writes in flight are rare. Where a share of the flush points above kInFlightShareMax, for each of
// the disk's queues, differs, that is taken for a flush that one of the logs has misplaced: a
// judgement, not a proof (12 % were seen with four processors that write and sync all the time).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/blocklog/history.h"

namespace plugpull::crashstate {

// Blocks written, over all events of one log; more are not compared.
inline constexpr uint64_t kPiecesMax = 16ULL << 20;
inline constexpr size_t kContradictionsMax = 5;  // that are described
// Flush points that may differ by requests in flight, whatever their share.
inline constexpr uint64_t kInFlightFree = 3;
inline constexpr double kInFlightShareMax = 0.1;

// What two logs of one run cannot show.
struct Contradiction {
  std::string words;  // names entries and sectors
  // Entries to look at; nothing where a log lacks one.
  std::optional<uint64_t> guest_entry;
  std::optional<uint64_t> host_entry;
};

struct PointCounts {
  uint64_t compared = 0;
  uint64_t agree = 0;  // the others differ by what may have been in flight
};

struct LogAgreement {
  uint64_t guest_writes = 0;  // that change blocks, up to the mark "end"
  uint64_t host_writes = 0;
  uint64_t found = 0;  // of the guest's, in the host's
  uint64_t host_flushes = 0;
  PointCounts flushes;
  PointCounts marks;
  std::vector<Contradiction> contradictions;  // the first of each kind
  uint64_t contradiction_count = 0;
  // The first flush point or mark that differs by requests in flight, in words; empty: none.
  std::string first_in_flight;
};

struct AgreementOptions {
  unsigned queues = 1;  // of the virtual disk: its request queues, each with flushes of its own
  double in_flight_share_max = kInFlightShareMax;  // for each queue; 1: any
};

// What is behind the mark "end" may be in one log only. A user error when the logs are of disks of
// other sizes, lack the mark "end", or are longer than is compared. Thread-safe.
Result<LogAgreement> CompareLogs(const blocklog::History& guest, const blocklog::History& host,
                                 const AgreementOptions& options);

// The host's log with its requests cut where the guest's writes in them begin and end, so that what
// can be lost is the same in both: a disk need not keep a request whole that only the guest's block
// layer has put together, and a check of whole requests would find less. Entries are numbered anew.
// Where the logs cannot be compared, the host's log as it is.
blocklog::History SplitAsWritten(const blocklog::History& guest, const blocklog::History& host);

}  // namespace plugpull::crashstate
