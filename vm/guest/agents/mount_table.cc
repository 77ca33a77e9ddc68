// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/agents/mount_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace plugpull::agents {
namespace {

constexpr size_t kLinesMax = 4096;

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// Blanks and backslashes are written as three octal digits.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && IsOctal(text[i + 1]) && IsOctal(text[i + 2]) &&
        IsOctal(text[i + 3])) {
      out +=
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool ReadDevice(std::string_view text, DeviceNumber& out) {
  const char* end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), end, out.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != ':') return false;
  const auto minor = std::from_chars(major.ptr + 1, end, out.minor);
  return minor.ec == std::errc() && minor.ptr == end;
}

bool ReadLine(std::string_view line, MountEntry& out) {
  const auto fields = Split(line, ' ');
  const auto dash = std::find(fields.begin(), fields.end(), "-");
  if (fields.size() < 9 || dash - fields.begin() < 6 || fields.end() - dash < 4) return false;
  if (!ReadDevice(fields[2], out.device)) return false;
  out.root = Unescape(fields[3]);
  out.target = Unescape(fields[4]);
  out.type = Unescape(dash[1]);
  out.source = Unescape(dash[2]);
  for (const auto list : {fields[5], dash[3]}) {
    for (const auto option : Split(list, ',')) out.options.push_back(Unescape(option));
  }
  return true;
}

// Options that are not printed when they are in force, and what is printed when they are not.
struct Silent {
  std::string_view option;
  std::vector<std::string_view> opposites;
};

const std::vector<Silent>& SilentOptions() {
  static const std::vector<Silent> options = {
      {"defaults", {}},
      {"rw", {"ro"}},
      {"dev", {"nodev"}},
      {"suid", {"nosuid"}},
      {"exec", {"noexec"}},
      {"atime", {"noatime"}},
      {"diratime", {"nodiratime"}},
      {"async", {"sync"}},
      {"nolazytime", {"lazytime"}},
      {"data=ordered", {"data=writeback", "data=journal"}},
      {"barrier", {"nobarrier"}},
      {"barrier=1", {"nobarrier"}},
      {"delalloc", {"nodelalloc"}},
      {"nodiscard", {"discard"}},
      {"auto_da_alloc", {"noauto_da_alloc"}},
      {"user_xattr", {"nouser_xattr"}},
      {"acl", {"noacl"}},
  };
  return options;
}

bool InForce(std::string_view option, const std::vector<std::string>& printed) {
  const auto is_printed = [&](std::string_view text) {
    return std::find(printed.begin(), printed.end(), text) != printed.end();
  };
  if (option == "barrier=0") option = "nobarrier";
  for (const Silent& silent : SilentOptions()) {
    if (silent.option == option) return std::ranges::none_of(silent.opposites, is_printed);
  }
  return is_printed(option);
}

}  // namespace

std::string DeviceNumber::ToString() const { return fmt::format("{}:{}", major, minor); }

Result<std::vector<MountEntry>> ParseMountInfo(std::string_view text) {
  std::vector<MountEntry> mounts;
  for (const auto line : Split(text, '\n')) {
    MountEntry mount;
    if (!ReadLine(line, mount)) {
      return EnvironmentError(fmt::format("\"{}\" is no line of a mount table", line));
    }
    if (mounts.size() == kLinesMax) {
      return EnvironmentError(fmt::format("the mount table has more than {} lines", kLinesMax));
    }
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

const MountEntry* MountedAt(const std::vector<MountEntry>& mounts, std::string_view target) {
  const auto found = std::find_if(mounts.rbegin(), mounts.rend(),
                                  [&](const MountEntry& mount) { return mount.target == target; });
  return found == mounts.rend() ? nullptr : &*found;
}

std::vector<std::string> OptionsNotInForce(const std::vector<std::string>& requested,
                                           const MountEntry& mount) {
  std::vector<std::string> missing;
  for (const auto& option : requested) {
    if (!InForce(option, mount.options)) missing.push_back(option);
  }
  return missing;
}

bool IsReadOnly(const MountEntry& mount) {
  return std::find(mount.options.begin(), mount.options.end(), "ro") != mount.options.end();
}

}  // namespace plugpull::agents
