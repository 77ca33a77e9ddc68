// SPDX-License-Identifier: Apache-2.0
#include "dm-targets/table/support.h"

#include <fmt/format.h>

#include <charconv>

namespace plugpull::dm {
namespace {

// "dm flakey: introduce random_read_corrupt and random_write_corrupt options" and its series.
constexpr KernelRelease kFlakeyOfReads{6, 5};

}  // namespace

std::string KernelRelease::ToString() const { return fmt::format("{}.{}", major, minor); }

Result<KernelRelease> KernelRelease::Parse(std::string_view text) {
  KernelRelease release;
  const char* const end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), end, release.major);
  if (major.ec == std::errc() && major.ptr != end && *major.ptr == '.') {
    const auto minor = std::from_chars(major.ptr + 1, end, release.minor);
    if (minor.ec == std::errc()) return release;
  }
  return UserError(
      fmt::format("\"{}\" is no release of a kernel: MAJOR.MINOR is expected at its start", text));
}

std::vector<Requirement> RequirementsOf(const Target& target) {
  std::vector<Requirement> requirements;
  const auto* flakey = std::get_if<Flakey>(&target);
  if (flakey == nullptr) return requirements;
  if (flakey->error_reads) requirements.push_back({"flakey error_reads", kFlakeyOfReads});
  if (flakey->random_read_corrupt != 0) {
    requirements.push_back({"flakey random_read_corrupt", kFlakeyOfReads});
  }
  if (flakey->random_write_corrupt != 0) {
    requirements.push_back({"flakey random_write_corrupt", kFlakeyOfReads});
  }
  return requirements;
}

std::string Unsupported(const Target& target, const KernelRelease& kernel) {
  std::string lacking;
  for (const Requirement& requirement : RequirementsOf(target)) {
    if (kernel >= requirement.since) continue;
    lacking += fmt::format("{}{} needs >= {}", lacking.empty() ? "" : ", ", requirement.feature,
                           requirement.since.ToString());
  }
  if (lacking.empty()) return lacking;
  return fmt::format("not supported by this kernel: {}, this is {}", lacking, kernel.ToString());
}

}  // namespace plugpull::dm
