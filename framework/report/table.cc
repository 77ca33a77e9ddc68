// SPDX-License-Identifier: Apache-2.0
#include "framework/report/table.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "framework/base/check.h"
#include "framework/report/text.h"

namespace plugpull::report {
namespace {

constexpr int kGap = 2;             // columns between two columns
constexpr int kTextWidthLeast = 6;  // a text column is never narrower, unless its text is

const char* SgrOf(Tone tone) {
  switch (tone) {
    case Tone::kPlain:
      return "";
    case Tone::kStrong:
      return "\x1b[1m";
    case Tone::kGood:
      return "\x1b[32m";
    case Tone::kBad:
      return "\x1b[1;31m";
    case Tone::kWarn:
      return "\x1b[33m";
    case Tone::kDim:
      return "\x1b[2m";
  }
  return "";
}

std::vector<std::string> PrintableLines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0;;) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(Printable(std::string_view(text).substr(at, end - at)));
    if (end == text.size()) return lines;
    at = end + 1;
  }
}

}  // namespace

std::string Style::Paint(Tone tone, std::string_view text) const {
  if (!colour || tone == Tone::kPlain || text.empty()) return std::string(text);
  return std::string(SgrOf(tone)) + std::string(text) + "\x1b[0m";
}

std::string Style::Rule(int count) const {
  std::string line;
  for (int i = 0; i < count; ++i) line += colour ? "─" : "-";
  return line;
}

void Table::AddColumn(std::string title, Kind kind) {
  PP_CHECK(rows_.empty());
  columns_.push_back({std::move(title), kind});
}

void Table::AddRow(const std::vector<Cell>& cells, std::vector<std::string> below) {
  PP_CHECK(cells.size() == columns_.size());
  Row row;
  for (const Cell& cell : cells) {
    row.cells.push_back(PrintableLines(cell.text));
    row.tones.push_back(cell.tone);
  }
  row.below = std::move(below);
  rows_.push_back(std::move(row));
}

std::vector<int> Table::FittedWidths(const Style& style, int indent) const {
  std::vector<int> widths;
  int total = indent;
  for (size_t i = 0; i < columns_.size(); ++i) {
    int width = DisplayWidth(columns_[i].title);
    for (const Row& row : rows_) {
      for (const std::string& line : row.cells[i]) width = std::max(width, DisplayWidth(line));
    }
    widths.push_back(width);
    total += width + (i > 0 ? kGap : 0);
  }
  for (; total > style.width; --total) {
    int* widest = nullptr;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i].kind == Kind::kNumber || widths[i] <= kTextWidthLeast) continue;
      if (widest == nullptr || widths[i] > *widest) widest = &widths[i];
    }
    if (widest == nullptr) break;
    --*widest;
  }
  return widths;
}

std::string Table::RenderLine(const Style& style, int indent, const std::vector<int>& widths,
                              const Row& row, size_t line) const {
  std::string out(static_cast<size_t>(indent), ' ');
  size_t end = 0;  // of the last visible character; what follows is padding
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (i > 0) out.append(kGap, ' ');
    const std::string text = line < row.cells[i].size()
                                 ? CutToWidth(row.cells[i][line], widths[i], style.Ellipsis())
                                 : std::string();
    const auto padding = static_cast<size_t>(std::max(0, widths[i] - DisplayWidth(text)));
    if (columns_[i].kind == Kind::kNumber) out.append(padding, ' ');
    out += style.Paint(row.tones[i], text);
    if (!text.empty()) end = out.size();
    if (columns_[i].kind == Kind::kText) out.append(padding, ' ');
  }
  out.resize(end);
  return out + "\n";
}

std::string Table::Render(const Style& style, int indent) const {
  const std::vector<int> widths = FittedWidths(style, indent);
  Row titles;
  Row rules;
  for (size_t i = 0; i < columns_.size(); ++i) {
    titles.cells.push_back({columns_[i].title});
    titles.tones.push_back(Tone::kStrong);
    rules.cells.push_back({style.Rule(widths[i])});
    rules.tones.push_back(Tone::kDim);
  }
  std::string out = RenderLine(style, indent, widths, titles, 0);
  out += RenderLine(style, indent, widths, rules, 0);
  for (const Row& row : rows_) {
    size_t lines = 0;
    for (const auto& cell : row.cells) lines = std::max(lines, cell.size());
    for (size_t line = 0; line < lines; ++line) {
      out += RenderLine(style, indent, widths, row, line);
    }
    for (const std::string& below : row.below) out += below + "\n";
  }
  return out;
}

}  // namespace plugpull::report
