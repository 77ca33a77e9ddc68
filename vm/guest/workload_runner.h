// SPDX-License-Identifier: Apache-2.0
// Carries out the operations of a workload with plain system calls, one after the other.
//
// What the oracles stand on:
// - An operation's start is read before its first system call, its end after its last.
// - A mark "ack" is written after an operation that is acknowledged (workload/history.h) succeeded
// and before the next operation begins.
// - A time of an inode is as coarse as the kernel's tick (current_time in fs/inode.c), so an
//   operation that looks at times begins two ticks after what was before it.
// - An operation that fails is a result with its errno; the workload goes on.
// - Nothing is opened outside the mount point, also not through symbolic links or other mounts.
// Guest, and scratch folders in tests. One thread.
#pragma once

#include <functional>
#include <string_view>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/blocklog/mark.h"
#include "framework/proto/guest.pb.h"
#include "framework/proto/workload.pb.h"

namespace plugpull::guest {

inline constexpr size_t kResultsPerProgressMax = 256;
inline constexpr int kOperationsMax = 10'000'000;
// The longest single write, and the end of the largest file.
inline constexpr Bytes kWriteBytesMax = Mebibytes(1024);
inline constexpr Bytes kFileEndMax = Mebibytes(uint64_t{1} << 30);
inline constexpr Millis kWaitMax{48LL * 3600 * 1000};

// A user error unless `path` is relative, without empty components, "." and "..", without NULs,
// and short enough for the kernel. "" (the root folder) is valid where `root_allowed`.
Status ValidateRelativePath(std::string_view path, bool root_allowed);

// All operations, before any is carried out: kinds, paths, bounds. A user error names the
// operation's index.
Status ValidateWorkload(const RunWorkload& request);

// What the runner needs of the world around it. An error from a hook ends the workload.
struct WorkloadHooks {
  std::function<Status(const blocklog::Mark&)> write_mark;  // may be empty: no marks
  // Has the kernel drop names and inodes from memory; gives 0 or an errno. Empty: EVICT fails.
  std::function<int()> evict;
  std::function<Status()> after_operation;  // may be empty
  // Asked after every operation; true: no other one is begun. May be empty.
  std::function<bool()> stop;
  std::function<Status(const Progress&)> send_progress;
};

// Results are sent in batches of at most kResultsPerProgressMax and at least a few times a second,
// the last ones before it returns, also when it returns an error. A user error for a request that
// is not valid; an environment error when the mount point cannot be opened or a hook fails.
Status RunOperations(const RunWorkload& request, const WorkloadHooks& hooks);

}  // namespace plugpull::guest
