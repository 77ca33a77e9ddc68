// SPDX-License-Identifier: Apache-2.0
// Which kernels have what a target asks for, so that a scenario is refused before a guest is
// started. The release decides, not the version of the target: flakey says 1.5.0 in 5.10, 6.1, 6.12
// and 7.2, and has error_reads only in the last two of these (measured). Distributions move
// features to other releases, so a guest tries each table again before its first step.
// Pure, thread-safe.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dm-targets/table/table.h"
#include "framework/base/result.h"

namespace plugpull::dm {

struct KernelRelease {
  uint32_t major = 0;
  uint32_t minor = 0;

  auto operator<=>(const KernelRelease&) const = default;
  std::string ToString() const;  // "6.1"
  // The first two numbers of "6.1", "6.1.0-9-cloud-amd64", "6.12+deb13". A user error for others.
  static Result<KernelRelease> Parse(std::string_view text);
};

// One thing that a target needs and that not every kernel from 5.10 on has.
struct Requirement {
  std::string feature;  // "flakey error_reads"
  KernelRelease since;
};
std::vector<Requirement> RequirementsOf(const Target& target);

// What of them the kernel lacks: "not supported by this kernel: flakey error_reads needs >= 6.5,
// this is 6.1"; empty when it lacks nothing.
std::string Unsupported(const Target& target, const KernelRelease& kernel);

}  // namespace plugpull::dm
