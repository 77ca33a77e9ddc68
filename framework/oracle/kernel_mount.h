// SPDX-License-Identifier: Apache-2.0
// The kernel mount oracle: what the kernel makes of a crash state, as the cut left it and as the
// host recovered it, held against what the host made of it by e2fsck. Each of these is a
// disagreement:
//   - the kernel panics, or faults (BUG, Oops), whatever the host says of the state
//   - the host holds the recovered state to be clean, and the kernel refuses to mount it, reports
//     corruption, cannot read something in it, or shows another tree than the host recovered
//   - the host calls the journal refused, and the kernel mounts the file system
//   - the host finds a journal that replays to its end, and the kernel refuses the journal
// These are known and are none:
//   - the kernel mounts what e2fsck condemns, with or without complaint: a mount looks at little of
//     the metadata (no bitmap, no inode that nobody asks for); the tree is then not compared either
//   - the kernel refuses to mount what e2fsck condemns
//   - lines about errors that were recorded before the cut, and about a journal that is emptied
//     unread because the file system does not ask for recovery
// What says nothing is unknown: another tree than e2fsck made of fast commits, a guest that hung or
// ended without a panic (a slow machine looks the same), a kernel without memory, an I/O error of
// the disks below.
#pragma once

#include <optional>
#include <string>

#include "framework/oracle/outcome.h"
#include "framework/oracle/state_mounter.h"

namespace plugpull::oracle {

// What the host made of a state.
struct HostView {
  Outcome recovery = Outcome::kUnknown;  // kViolated: the journal is refused
  bool replays = false;                  // the journal holds transactions, up to a normal end
  bool orphans = false;                  // recovery cleared some
  // e2fsck replayed fast commits, which it cannot be relied on for (kFastCommitDoubt): what it
  // shows is then no measure of what the kernel shows.
  bool fast_commits = false;
  Outcome structure = Outcome::kUnknown;  // of the recovered image; when recovery holds
  std::string evidence;                   // of what is not kHolds
  std::optional<FileTree> tree;           // of a recovered image that is clean
};

struct KernelVerdict {
  Outcome outcome = Outcome::kUnknown;
  std::string evidence;
  // The kernel mounted, without a complaint, what e2fsck condemns.
  bool mounts_condemned = false;
};

KernelVerdict CompareKernel(const HostView& host, const MountSeen& read_only,
                            const MountSeen& read_write);
// The same of a state that the host has recovered and found clean before the kernel saw it: the
// kernel must have nothing to complain of, and see what the host sees.
KernelVerdict CompareRecovered(const HostView& host, const MountSeen& read_only,
                               const MountSeen& read_write);

// The guest's errno, "EUCLEAN", or a number.
std::string ErrnoName(int error_number);
// The last lines that the kernel logged, at most `lines_max`, each indented.
std::string KernelLines(const StateReport& report, size_t lines_max);
// A line that says that a disk below failed, or that memory was short; nothing otherwise.
std::optional<std::string> GuestTrouble(const StateReport& report);

}  // namespace plugpull::oracle
