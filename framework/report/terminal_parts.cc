// SPDX-License-Identifier: Apache-2.0
#include "framework/report/terminal_parts.h"

#include <fmt/format.h>

#include <algorithm>

namespace plugpull::report {

std::string Number(uint64_t value) { return fmt::format("{}", value); }

std::string Spaces(int count) { return std::string(static_cast<size_t>(count), ' '); }

std::string Fact(const Style& style, std::string_view label, std::string_view text, Tone tone) {
  std::string out;
  const int left = kIndent + kLabelWidth;
  for (const std::string& line : WrapToWidth(Printable(text), style.width - left)) {
    const std::string shown = out.empty() ? std::string(label) : std::string();
    out += Spaces(kIndent) + style.Paint(Tone::kDim, shown) +
           Spaces(std::max(1, kLabelWidth - static_cast<int>(shown.size()))) +
           style.Paint(tone, line) + "\n";
  }
  return out;
}

std::string ClassLines(const std::vector<int>& classes) {
  std::string out;
  for (const int value : classes) {
    if (!out.empty()) out += '\n';
    out += FindingClass_Name(static_cast<FindingClass>(value));
  }
  return out.empty() ? "nothing" : out;
}

}  // namespace plugpull::report
