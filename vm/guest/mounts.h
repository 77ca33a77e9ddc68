// SPDX-License-Identifier: Apache-2.0
// Mounting and unmounting by system call: no helper programs, no fstab, no mtab, no retries.
// One thread.
#pragma once

#include <string>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::guest {

// What the kernel said to a request that reached it.
struct KernelReply {
  int error_number = 0;  // 0: done
};

// Mounts `source` on `at`, which is made when it is missing. Options are as for mount -o, one or
// more to a string. The kernel's refusal is a value; an environment error when it was never asked
// (the mount point cannot be made, or an option cannot be parsed). A write-protected source is
// refused, not mounted read-only behind the caller's back.
Result<KernelReply> Mount(const std::string& source, const std::string& at, const std::string& type,
                          const std::vector<std::string>& options);

KernelReply Unmount(const std::string& at);

}  // namespace plugpull::guest
