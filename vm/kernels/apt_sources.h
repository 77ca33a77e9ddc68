// SPDX-License-Identifier: Apache-2.0
// Where this machine gets its Debian packages from. Pure: text in, mirrors out.
// Formats: sources.list(5), one-line style and deb822 style.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::vm {

// One enabled source of binary packages.
struct AptSource {
  std::vector<std::string> uris;
  std::vector<std::string> suites;
  std::vector<std::string> components;
  bool operator==(const AptSource&) const = default;
};

// Lines that are no binary source ("deb-src", comments, lines that make no sense) are skipped: the
// file is the system's, and apt is the one to complain.
std::vector<AptSource> ParseOneLineSources(std::string_view text);
std::vector<AptSource> ParseDeb822Sources(std::string_view text);

struct DebianMirrors {
  std::string main;      // serves bookworm, trixie, sid ...
  std::string security;  // serves bookworm-security ...; may be empty
};

// The first mirrors that serve a Debian suite with the component main; `main` is empty when there
// is none (as on Ubuntu).
DebianMirrors ChooseDebianMirrors(const std::vector<AptSource>& sources);

// A record of `apt-cache show`: version, and names of the packages that it depends on (of
// alternatives the first; without version bounds).
struct PackageRecord {
  std::string version;
  std::vector<std::string> depends;
};
// An environment error when the text has no Version.
Result<PackageRecord> ParsePackageRecord(std::string_view text);

}  // namespace plugpull::vm
