// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "framework/report/kernels.h"
#include "framework/report/summary.h"
#include "framework/report/terminal_parts.h"

namespace plugpull::report {
namespace {

Cell OutcomeCell(const RunReport& run) {
  switch (OutcomeOf(run)) {
    case Outcome::kAsExpected: {
      const bool weak = std::any_of(run.disk().begin(), run.disk().end(), [](const auto& disk) {
        return HoldsWeakly(disk) || disk.states().enumerated() == 0;
      });
      return weak ? Cell{"yes (weak)", Tone::kWarn} : Cell{"yes", Tone::kGood};
    }
    case Outcome::kDiffers:
      return {"NO", Tone::kBad};
    case Outcome::kUserError:
    case Outcome::kFailure:
      return {"error", Tone::kBad};
    case Outcome::kSkipped:
      return {"skipped", Tone::kWarn};
  }
  return {};
}

// What replaying prefixes alone found in a run, beside everything that was found.
struct Comparison {
  uint64_t prefix_states = 0;
  uint64_t prefix_violated = 0;
  std::set<int> prefix_found;
  uint64_t all_states = 0;
  uint64_t all_violated = 0;
  std::set<int> all_found;
  bool comparable = false;  // prefix and something else ran on the same disk
};

Comparison Compare(const RunReport& run) {
  Comparison result;
  for (const DiskReport& disk : run.disk()) {
    const auto prefixes =
        std::count_if(disk.enumerator().begin(), disk.enumerator().end(), IsPrefix);
    if (prefixes == 0 || prefixes == disk.enumerator_size()) continue;
    result.comparable = true;
    result.all_states += disk.states().enumerated();
    result.all_violated += disk.states().violated();
    for (const EnumeratorReport& enumerator : disk.enumerator()) {
      result.all_found.insert(enumerator.found().begin(), enumerator.found().end());
      if (!IsPrefix(enumerator)) continue;
      result.prefix_states += enumerator.states().enumerated();
      result.prefix_violated += enumerator.states().violated();
      result.prefix_found.insert(enumerator.found().begin(), enumerator.found().end());
    }
  }
  return result;
}

// How a run ended and what it found; a star before what differs from the reference. Short lines,
// for there may be many columns.
Cell KernelCellOf(const KernelCell& cell) {
  if (cell.run == nullptr) return {"not run", Tone::kDim};
  const RunReport& run = *cell.run;
  const Cell outcome = OutcomeCell(run);
  std::string text = (cell.differences.empty() ? "" : "* ") + outcome.text;
  for (const Finding& finding : run.finding()) {
    text += fmt::format("\n{}\n  in step {}", ClassWord(finding), finding.step());
  }
  for (const DiskReport& disk : run.disk()) {
    for (const Finding& finding : disk.finding()) {
      text += fmt::format("\n{}\n  {} of {}", ClassWord(finding), finding.count(),
                          disk.states().enumerated());
    }
  }
  return {text, cell.differences.empty() ? outcome.tone : Tone::kWarn};
}

}  // namespace

std::string SummaryTable(const Style& style, const ReportList& reports) {
  Table table;
  const bool kernels = !CompareKernels(reports).empty();
  table.AddColumn("scenario", kText);
  table.AddColumn("variant", kText);
  if (kernels) table.AddColumn("kernel", kText);
  for (const char* title : {"states", "distinct", "holds", "violated", "unknown"}) {
    table.AddColumn(title, kNumber);
  }
  table.AddColumn("as expected", kText);
  for (const RunReport& run : reports.run()) {
    const StateCounts states = SumStates(run);
    std::vector<Cell> cells = {{run.name()}, {run.variant().empty() ? "-" : run.variant()}};
    if (kernels) cells.push_back({run.kernel()});
    for (const uint64_t count : {states.enumerated(), states.distinct(), states.holds(),
                                 states.violated(), states.unknown()}) {
      cells.push_back({Number(count)});
    }
    cells.push_back(OutcomeCell(run));
    table.AddRow(cells);
  }
  return style.Paint(Tone::kStrong, "Summary") + "\n" + table.Render(style, kIndent);
}

std::string AgentMatrix(const Style& style, const ReportList& reports) {
  Table table;
  for (const char* title : {"agent", "scenario", "violated", "not expected"}) {
    table.AddColumn(title, kText);
  }
  table.AddColumn("holds", kNumber);
  int rows = 0;
  for (const RunReport& run : reports.run()) {
    for (const AgentReport& agent : run.agent()) {
      std::string violated;
      std::string surprise;
      uint64_t holds = 0;
      for (const PropertyReport& property : agent.property()) {
        holds += property.verdict() == PropertyReport::HOLDS ? 1 : 0;
        if (property.verdict() != PropertyReport::VIOLATED) continue;
        std::string& list = property.expected() ? violated : surprise;
        list += (list.empty() ? "" : "\n") + FindingClass_Name(property.property());
      }
      ++rows;
      table.AddRow(
          {{agent.agent()},
           {RunWord(run)},
           {violated.empty() ? "nothing" : violated},
           {surprise.empty() ? "nothing" : surprise, surprise.empty() ? Tone::kPlain : Tone::kBad},
           {Number(holds)}});
    }
  }
  if (rows < 2) return {};
  return "\n" + style.Paint(Tone::kStrong, "Agents") + "\n" + table.Render(style, kIndent);
}

std::string ComparisonTable(const Style& style, const ReportList& reports) {
  Table table;
  table.AddColumn("scenario", kText);
  table.AddColumn("variant", kText);
  table.AddColumn("prefix: violated", kText);
  table.AddColumn("found", kText);
  table.AddColumn("model: violated", kText);
  table.AddColumn("found", kText);
  for (const RunReport& run : reports.run()) {
    const Comparison c = Compare(run);
    if (!c.comparable) continue;
    const bool more = c.all_found.size() > c.prefix_found.size();
    table.AddRow({{run.name()},
                  {run.variant().empty() ? "-" : run.variant()},
                  {fmt::format("{} of {}", c.prefix_violated, c.prefix_states)},
                  {ClassLines({c.prefix_found.begin(), c.prefix_found.end()})},
                  {fmt::format("{} of {}", c.all_violated, c.all_states)},
                  {ClassLines({c.all_found.begin(), c.all_found.end()}),
                   more ? Tone::kWarn : Tone::kPlain}});
  }
  if (table.empty()) return {};
  std::string out = "\n";
  for (const std::string& line :
       WrapToWidth("What prefix replay alone would have found, beside what the device model found",
                   style.width)) {
    out += style.Paint(Tone::kStrong, line) + "\n";
  }
  return out + table.Render(style, kIndent);
}

std::string KernelTable(const Style& style, const ReportList& reports) {
  const KernelComparison comparison = CompareKernels(reports);
  if (comparison.empty()) return {};
  Table table;
  table.AddColumn("scenario", kText);
  for (const std::string& kernel : comparison.kernels) table.AddColumn(kernel, kText);
  for (const KernelRow& row : comparison.rows) {
    std::vector<Cell> cells = {{row.variant.empty() ? row.name : row.name + "\n  " + row.variant}};
    for (const KernelCell& cell : row.cells) cells.push_back(KernelCellOf(cell));
    table.AddRow(cells);
  }
  std::string out = "\n" + style.Paint(Tone::kStrong, "Kernels side by side") + "\n";
  for (const std::string& line :
       WrapToWidth("as expected or not, and what was found, in how many states; * differs from the "
                   "row's first kernel",
                   style.width - kIndent)) {
    out += Spaces(kIndent) + style.Paint(Tone::kDim, line) + "\n";
  }
  out += table.Render(style, kIndent);
  const std::vector<std::string> differences = KernelDifferences(comparison);
  if (differences.empty()) return out + Fact(style, "differences", "none");
  for (size_t i = 0; i < differences.size(); ++i) {
    out += Fact(style, i == 0 ? "differences" : "", "* " + differences[i], Tone::kWarn);
  }
  return out;
}

std::string BlindSpots(const Style& style, const ReportList& reports) {
  std::set<std::string> seen;
  std::string out;
  for (const RunReport& run : reports.run()) {
    for (const DiskReport& disk : run.disk()) {
      const std::string& blind_spot = disk.coverage().blind_spot();
      if (blind_spot.empty() || !seen.insert(blind_spot).second) continue;
      out += "\n" + Fact(style, "blind spot", blind_spot);
    }
  }
  return out;
}

}  // namespace plugpull::report
