// SPDX-License-Identifier: Apache-2.0
// Aligned columns for a terminal, in plain ASCII or with colours and box-drawing lines.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace plugpull::report {

enum class Tone { kPlain, kStrong, kGood, kBad, kWarn, kDim };

// How text is put on the terminal.
struct Style {
  bool colour = false;  // colours, box-drawing lines and a one-column ellipsis
  int width = 100;      // columns

  // `text` in the tone's colour (ECMA-48 SGR), or as it is without colour.
  std::string Paint(Tone tone, std::string_view text) const;
  std::string_view Ellipsis() const { return colour ? "…" : "..."; }
  // `count` columns of a horizontal line.
  std::string Rule(int count) const;
};

struct Cell {
  std::string text;  // may hold several lines; each is cut at the column's width
  Tone tone = Tone::kPlain;
};

// A table of text columns and columns of numbers. Text columns become narrower, the widest first,
// until the table fits the width; numbers are never cut.
class Table {
 public:
  enum class Kind { kText, kNumber };

  void AddColumn(std::string title, Kind kind);
  // One cell for each column. `below` are whole lines that follow the row.
  void AddRow(const std::vector<Cell>& cells, std::vector<std::string> below = {});
  bool empty() const { return rows_.empty(); }

  // Lines that each end in a newline, `indent` columns in from the left, without trailing spaces.
  std::string Render(const Style& style, int indent) const;

 private:
  struct Column {
    std::string title;
    Kind kind;
  };
  struct Row {
    std::vector<std::vector<std::string>> cells;  // printable lines of each cell
    std::vector<Tone> tones;
    std::vector<std::string> below;
  };

  std::vector<int> FittedWidths(const Style& style, int indent) const;
  std::string RenderLine(const Style& style, int indent, const std::vector<int>& widths,
                         const Row& row, size_t line) const;

  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

}  // namespace plugpull::report
