// SPDX-License-Identifier: Apache-2.0
// An interactive shell on the guest's console. Guest only; one thread.
#pragma once

#include <string>

#include "framework/base/result.h"

namespace plugpull::guest {

// Prints `greeting`, starts a shell in a session of its own with the console as its controlling
// terminal, and waits for it to exit. An environment error when there is no shell or no console.
Status RunConsoleShell(const std::string& greeting);

}  // namespace plugpull::guest
