// SPDX-License-Identifier: Apache-2.0
// In-band marks. The logged device is longer than the file system on it: behind the file
// system's last sector lies a strip that only marks are written to. A mark is one 512-byte sector
// written there with O_DIRECT, so it takes its place in the block log as any other write does,
// also where nobody sends flushes (marks sent through the log-writes target's own message all
// land at the front of such a log).
//
// A sector holds the text "plugpull-mark 1 KIND TEXT\n" and zeroes. Kinds:
//   base   the first mount begins after this: what is before it is durable
//   drain  the executor syncs the log-writes device next: the first flush after it is not the
//          file system's
//   ack    "W.N": operation N of workload W was a sync, and the caller was told that it succeeded
//   start  "NAME", from plugpull-mark: a program began something
//   done   "NAME", from plugpull-mark: a program was told that it is durable
//   note   any text, from the scenario
//   end    the last one: nothing is recorded after it
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "framework/base/check.h"

namespace plugpull::blocklog {

inline constexpr size_t kMarkBytes = 512;
inline constexpr size_t kMarkTextMax = 400;  // bytes
inline constexpr std::string_view kMarkMagic = "plugpull-mark 1 ";

struct Mark {
  std::string kind;
  std::string text;
  bool operator==(const Mark&) const = default;
};

// `kind` has no spaces; kind and text have no newline and together at most kMarkTextMax bytes.
inline std::array<uint8_t, kMarkBytes> EncodeMark(const Mark& mark) {
  const std::string line = std::string(kMarkMagic) + mark.kind + " " + mark.text + "\n";
  PP_CHECK(mark.kind.size() + mark.text.size() <= kMarkTextMax &&
           line.find('\n') == line.size() - 1 && mark.kind.find(' ') == std::string::npos);
  std::array<uint8_t, kMarkBytes> sector{};
  std::memcpy(sector.data(), line.data(), line.size());
  return sector;
}

// Nothing when the sector does not hold a mark.
inline std::optional<Mark> DecodeMark(std::span<const uint8_t> sector) {
  const std::string_view text(reinterpret_cast<const char*>(sector.data()),
                              std::min(sector.size(), kMarkBytes));
  if (!text.starts_with(kMarkMagic)) return std::nullopt;
  const size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view rest = text.substr(kMarkMagic.size(), end - kMarkMagic.size());
  const size_t space = rest.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  return Mark{std::string(rest.substr(0, space)), std::string(rest.substr(space + 1))};
}

}  // namespace plugpull::blocklog
