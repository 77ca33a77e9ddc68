// SPDX-License-Identifier: Apache-2.0
#include "framework/report/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace plugpull::report {
namespace {

struct Character {
  char32_t value = 0;
  size_t bytes = 1;
  bool valid = false;  // false: one byte that is not part of well-formed UTF-8
};

// Well-formed UTF-8 only: no overlong forms, no surrogates, nothing above U+10FFFF.
Character CharacterAt(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1, true};
  size_t bytes = 0;
  char32_t value = 0;
  char32_t smallest = 0;
  if ((first & 0xe0) == 0xc0) {
    bytes = 2, value = first & 0x1f, smallest = 0x80;
  } else if ((first & 0xf0) == 0xe0) {
    bytes = 3, value = first & 0x0f, smallest = 0x800;
  } else if ((first & 0xf8) == 0xf0) {
    bytes = 4, value = first & 0x07, smallest = 0x10000;
  } else {
    return {first, 1, false};
  }
  if (text.size() - at < bytes) return {first, 1, false};
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {first, 1, false};
    value = (value << 6) | (byte(i) & 0x3f);
  }
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < smallest || value > 0x10ffff || surrogate) return {first, 1, false};
  return {value, bytes, true};
}

struct Range {
  char32_t first;
  char32_t last;
};

template <size_t N>
bool Among(const Range (&ranges)[N], char32_t value) {
  const auto* range = std::upper_bound(std::begin(ranges), std::end(ranges), value,
                                       [](char32_t v, const Range& r) { return v < r.first; });
  return range != std::begin(ranges) && value <= std::prev(range)->last;
}

// Control characters, and those that are not seen but change what is seen around them.
constexpr Range kDeceiving[] = {
    {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},   {0x200b, 0x200f},
    {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};

constexpr Range kZeroWidth[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},
                                {0x610, 0x61a},   {0x64b, 0x65f},   {0x900, 0x902},
                                {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff},
                                {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef}};

constexpr Range kWide[] = {
    {0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},  {0xa960, 0xa97f}, {0xac00, 0xd7a3},
    {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},  {0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
    {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};

int WidthOf(const Character& character) {
  if (!character.valid) return 1;
  if (Among(kZeroWidth, character.value)) return 0;
  return Among(kWide, character.value) ? 2 : 1;
}

// Bytes of the longest beginning that fits into `width` columns.
size_t BytesThatFit(std::string_view text, int width) {
  int used = 0;
  size_t at = 0;
  while (at < text.size()) {
    const Character character = CharacterAt(text, at);
    used += WidthOf(character);
    if (used > width) break;
    at += character.bytes;
  }
  return at;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Character character = CharacterAt(text, at);
    if (character.value == '\n' || character.value == '\t' || character.value == '\r') {
      out += ' ';
    } else if (!character.valid || (Among(kDeceiving, character.value) && character.bytes == 1)) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(character.value));
    } else if (Among(kDeceiving, character.value)) {
      out += fmt::format("\\u{{{:04x}}}", static_cast<uint32_t>(character.value));
    } else {
      out += text.substr(at, character.bytes);
    }
    at += character.bytes;
  }
  return out;
}

std::string XmlText(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Character character = CharacterAt(text, at);
    const char32_t c = character.value;
    if (!character.valid) {
      out += "\xef\xbf\xbd";
    } else if (c == '\n' || c == '\t' ||
               (c >= 0x20 && !(c >= 0x7f && c <= 0x9f) && c != 0xfffe && c != 0xffff)) {
      out += text.substr(at, character.bytes);
    }
    at += character.bytes;
  }
  return out;
}

int DisplayWidth(std::string_view text) {
  int width = 0;
  for (size_t at = 0; at < text.size();) {
    const Character character = CharacterAt(text, at);
    width += WidthOf(character);
    at += character.bytes;
  }
  return width;
}

std::string CutToWidth(std::string_view text, int width, std::string_view ellipsis) {
  if (DisplayWidth(text) <= width) return std::string(text);
  const int room = width - DisplayWidth(ellipsis);
  if (room <= 0) return std::string(text.substr(0, BytesThatFit(text, width)));
  return std::string(text.substr(0, BytesThatFit(text, room))) + std::string(ellipsis);
}

std::vector<std::string> WrapToWidth(std::string_view text, int width) {
  std::vector<std::string> lines;
  std::string line;
  for (size_t at = 0; at < text.size();) {
    const size_t space = std::min(text.find(' ', at), text.size());
    std::string_view word = text.substr(at, space - at);
    at = space + 1;
    if (word.empty()) continue;
    if (!line.empty() && DisplayWidth(line) + 1 + DisplayWidth(word) > width) {
      lines.push_back(std::move(line));
      line.clear();
    }
    for (size_t fits; line.empty() && (fits = BytesThatFit(word, width)) < word.size();) {
      const size_t piece = std::max(fits, CharacterAt(word, 0).bytes);
      lines.emplace_back(word.substr(0, piece));
      word.remove_prefix(piece);
    }
    if (!line.empty() && !word.empty()) line += ' ';
    line += word;
  }
  if (!line.empty() || lines.empty()) lines.push_back(std::move(line));
  return lines;
}

std::string MarkdownEscaped(std::string_view text) {
  std::string out;
  for (const char c : Printable(text)) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      if (std::string_view("\\`*_[]|#~").find(c) != std::string_view::npos) out += '\\';
      out += c;
    }
  }
  return out;
}

std::string MarkdownCode(std::string_view text) {
  std::string inside = Printable(text);
  std::replace(inside.begin(), inside.end(), '`', '\'');
  return "`" + inside + "`";
}

}  // namespace plugpull::report
