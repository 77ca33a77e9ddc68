// SPDX-License-Identifier: Apache-2.0
// When PID 1 itself crashes, the host is told before the kernel panics: a line on the console, and
// an answer to the request that was being carried out.
#pragma once

#include <cstdint>

namespace plugpull::guest {

// Installs handlers for fatal signals and std::terminate. `port_fd` must stay open.
void InstallCrashNotice(int port_fd);

// The request that a crash from now on answers; prepared here, because a signal handler must not
// allocate.
void SetCrashAnswer(uint64_t request_id);
// No request is being carried out.
void ClearCrashAnswer();

}  // namespace plugpull::guest
