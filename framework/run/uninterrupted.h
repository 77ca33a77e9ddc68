// SPDX-License-Identifier: Apache-2.0
// What the recovery of a recorded recovery's own state comes to when nobody cuts it.
#pragma once

#include "framework/base/result.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/same_recovery.h"
#include "framework/proto/recording.pb.h"
#include "framework/run/disk_source.h"

namespace plugpull::run {

// Recovers the base of a recording of a recovery. A user error when that does not hold or e2fsck
// condemns it: then there is nothing to compare with.
Result<oracle::SameRecovery> UninterruptedRecovery(const DiskSource& source,
                                                   const RecordedRecovery& recovery,
                                                   oracle::Fsck& fsck);

}  // namespace plugpull::run
