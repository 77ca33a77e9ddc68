// SPDX-License-Identifier: Apache-2.0
#include "vm/qemu/console.h"

#include <algorithm>
#include <vector>

namespace plugpull::vm {
namespace {

std::string Printable(std::string_view line) {
  std::string shown(line);
  for (char& c : shown) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte == 0x7f) c = c == '\t' ? ' ' : '.';
  }
  return shown;
}

std::string_view WithoutLineEnd(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  return line;
}

}  // namespace

std::optional<std::string> FindPanic(std::string_view console) {
  const size_t start = console.find("Kernel panic - not syncing");
  if (start == std::string_view::npos) return std::nullopt;
  const size_t end = std::min(console.find('\n', start), console.size());
  return Printable(WithoutLineEnd(console.substr(start, end - start)));
}

std::string LastLines(std::string_view console, size_t count) {
  std::vector<std::string> lines;  // last first
  while (!console.empty() && lines.size() < count) {
    const size_t newline = console.find_last_of('\n');
    const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
    const std::string_view line = WithoutLineEnd(console.substr(start));
    console = console.substr(0, newline == std::string_view::npos ? 0 : newline);
    if (!line.empty()) lines.push_back("  " + Printable(line) + "\n");
  }
  std::string text;
  for (auto it = lines.rbegin(); it != lines.rend(); ++it) text += *it;
  return text;
}

}  // namespace plugpull::vm
