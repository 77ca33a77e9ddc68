// SPDX-License-Identifier: Apache-2.0
// Fetches packages of any Debian suite through apt, without root and without touching the system's
// package state: everything apt writes is in a private folder. Signatures are checked by apt
// against Debian's own keyring.
#pragma once

#include <string>
#include <vector>

#include "framework/base/result.h"
#include "vm/kernels/apt_sources.h"

namespace plugpull::vm {

// The system's mirrors from /etc/apt, or $PLUGPULL_DEBIAN_MIRROR (and, for security updates,
// $PLUGPULL_DEBIAN_SECURITY_MIRROR). An environment error when there is none.
Result<DebianMirrors> SystemDebianMirrors();

struct AptSuite {
  std::string suite;           // "bookworm"
  bool with_security = false;  // also SUITE-security, where the mirror has it
};

struct FetchedPackages {
  std::string version;                // of the package that was asked for
  std::vector<std::string> packages;  // names of what was unpacked
};

// Fetches what the newest `package` of the suite, itself empty, depends on: those packages,
// transitively, whose names begin with one of `follow`. Unpacks them into `unpack_folder`. apt's
// files go to `apt_folder`, whose content is lost; it holds nothing worth keeping afterwards.
// Environment errors carry what apt said.
Result<FetchedPackages> FetchPackages(const DebianMirrors& mirrors, const AptSuite& suite,
                                      const std::string& package,
                                      const std::vector<std::string>& follow,
                                      const std::string& apt_folder,
                                      const std::string& unpack_folder);

}  // namespace plugpull::vm
