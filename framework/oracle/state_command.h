// SPDX-License-Identifier: Apache-2.0
// The command oracle: the user's own checker on the mounted recovered state.
#pragma once

#include <string>

#include "framework/oracle/outcome.h"
#include "framework/oracle/state_mounter.h"

namespace plugpull::oracle {

struct CommandVerdict {
  Outcome outcome = Outcome::kUnknown;
  std::string evidence;
};

// Holds for exit status 0. Violated for others, and for a state that the kernel does not mount or
// panics at: what a program needs is not there. Unknown where the checker could not run: it could
// not be started, ended with 126 or 127 (as a shell does that cannot run a program), or did not end
// in time; and where the guest hung or failed.
CommandVerdict JudgeCommand(const MountSeen& seen);

}  // namespace plugpull::oracle
