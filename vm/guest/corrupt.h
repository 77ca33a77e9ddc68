// SPDX-License-Identifier: Apache-2.0
// Carries out a corrupt step on a block device. Guest only, but for tests with files; one thread.
#pragma once

#include <string>

#include "framework/base/result.h"
#include "framework/proto/damage.pb.h"

namespace plugpull::guest {

// Damages what is at `path` and has it flushed. Evidence without its step. A user error when the
// step asks for what is not there, or somebody has the device (a mount, for one); an environment
// error when it cannot be opened, read or written.
Result<DamageEvidence> CorruptDevice(const std::string& path, const CorruptStep& step);

}  // namespace plugpull::guest
