// SPDX-License-Identifier: Apache-2.0
// Kernels for guests, by name. Those of Debian's suites are fetched once and kept in the cache;
// every use checks that what is kept is what was fetched.
#pragma once

#include <string>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::vm {

struct Kernel {
  std::string name;     // as asked for
  std::string image;    // path of the bzImage
  std::string modules;  // path of its modules folder, .../lib/modules/RELEASE
  std::string release;  // as uname -r says in the guest
};

// `name` is one of KernelNames() or "IMAGE:MODULES": paths of a bzImage and of its modules folder
// (or of a root that has lib/modules/RELEASE or usr/lib/modules/RELEASE). A name that is not in the
// cache is fetched: tens of megabytes, seconds to minutes; another process that wants the same one
// meanwhile waits. A user error for a name that is neither; an environment error when a kernel
// cannot be fetched.
Result<Kernel> ResolveKernel(const std::string& name);

struct KernelName {
  std::string name;   // "debian:6.1"
  std::string suite;  // "bookworm"
  bool cached = false;
  std::string release;  // of the cached one
};

// All names, oldest kernel first.
Result<std::vector<KernelName>> KernelNames();

}  // namespace plugpull::vm
