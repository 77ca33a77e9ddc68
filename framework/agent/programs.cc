// SPDX-License-Identifier: Apache-2.0
#include "framework/agent/programs.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace plugpull::agent {
namespace {

std::string_view BaseName(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

bool HasWord(const ProgramRun& run, std::string_view word) {
  return std::count(run.argv().begin(), run.argv().end(), word) > 0;
}

// A letter in a cluster of short options, such as the n of "-fn".
bool HasLetter(const ProgramRun& run, char letter) {
  for (int i = 1; i < run.argv_size(); ++i) {
    const std::string& word = run.argv(i);
    if (word.size() > 1 && word[0] == '-' && word[1] != '-' &&
        word.find(letter) != std::string::npos) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool Overwrites(const ProgramRun& run) {
  const std::string_view name = BaseName(run.path());
  if (name.starts_with("mkfs") || name == "mke2fs")
    return !HasWord(run, "-n") && !HasWord(run, "-V");
  if (name == "wipefs") {
    const bool all = HasLetter(run, 'a') || HasWord(run, "--all") || HasLetter(run, 'o');
    return all && !HasLetter(run, 'n') && !HasWord(run, "--no-act");
  }
  static constexpr std::array<std::string_view, 6> kOthers = {"blkdiscard", "mkswap", "dd",
                                                              "sgdisk",     "sfdisk", "shred"};
  return std::count(kOthers.begin(), kOthers.end(), name) > 0;
}

bool Repairs(const ProgramRun& run) {
  const std::string_view name = BaseName(run.path());
  if (name == "fsck" && HasLetter(run, 'N')) return false;
  const bool checker = name == "fsck" || name.starts_with("fsck.") || name == "e2fsck";
  return checker && !HasLetter(run, 'n') && !HasLetter(run, 'V');
}

bool Checks(const ProgramRun& run) {
  const std::string_view name = BaseName(run.path());
  return name.starts_with("fsck") || name == "e2fsck";
}

std::string AttemptName(const ProgramRun& run) {
  if (Checks(run)) return "fsck";
  if (!Overwrites(run)) return {};
  const std::string_view name = BaseName(run.path());
  return name == "mke2fs" || name.starts_with("mkfs") ? "mkfs" : std::string(name);
}

std::string ProgramName(const ProgramRun& run) { return std::string(BaseName(run.path())); }

}  // namespace plugpull::agent
