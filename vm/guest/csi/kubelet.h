// SPDX-License-Identifier: Apache-2.0
// The caller of CSI node plugins: what CallPlan says, over gRPC, with every call told. It takes
// KubeletCommand and gives KubeletReport, framed as in vm/framing.h.
#pragma once

#include "framework/base/result.h"

namespace plugpull::csi {

// Serves until the end of `commands`, and then waits for the calls that are under way. The first
// command says whom to call. Waits until somebody listens there, at most as long as a call may
// take. A user error for a command that makes no sense, an environment error for a descriptor that
// fails.
Status RunKubelet(int commands, int reports);

}  // namespace plugpull::csi
