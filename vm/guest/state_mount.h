// SPDX-License-Identifier: Apache-2.0
// Carries out MountState. Guest only; one thread.
#pragma once

#include "framework/base/result.h"
#include "framework/proto/guest.pb.h"

namespace plugpull::guest {

// What the kernel and the program said is in the report, refusals too. An environment error when
// the state could not be put before them, or not be taken down again; then the guest is of no more
// use.
Result<StateReport> MountAndReport(const MountState& request);

}  // namespace plugpull::guest
