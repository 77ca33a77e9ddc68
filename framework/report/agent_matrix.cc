// SPDX-License-Identifier: Apache-2.0
#include "framework/report/agent_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "framework/report/summary.h"
#include "framework/report/table.h"
#include "framework/report/text.h"

namespace plugpull::report {
namespace {

constexpr size_t kEvidenceBytesMax = 400;  // in the document

struct Row {
  const RunReport* run = nullptr;
  const AgentReport* agent = nullptr;  // null: the run has nothing to show
};

// Why a run has no cells; empty when it has some.
std::string WhyEmpty(const RunReport& run) {
  if (run.skipped()) return "skipped: " + run.skip_reason();
  const Outcome outcome = OutcomeOf(run);
  return outcome == Outcome::kUserError || outcome == Outcome::kFailure ? ErrorText(run)
                                                                        : std::string();
}

std::vector<Row> RowsOf(const ReportList& reports) {
  std::set<std::string> scenarios;
  for (const RunReport& run : reports.run()) {
    if (!run.agent().empty()) scenarios.insert(run.name());
  }
  std::vector<Row> rows;
  for (const RunReport& run : reports.run()) {
    if (!scenarios.contains(run.name())) continue;
    if (run.agent().empty() || !WhyEmpty(run).empty()) {
      rows.push_back({&run, nullptr});
      continue;
    }
    for (const AgentReport& agent : run.agent()) rows.push_back({&run, &agent});
  }
  return rows;
}

const PropertyReport* Find(const Row& row, FindingClass property) {
  if (row.agent == nullptr) return nullptr;
  for (const PropertyReport& report : row.agent->property()) {
    if (report.property() == property) return &report;
  }
  return nullptr;
}

bool Is(const PropertyReport* report, PropertyReport::Verdict verdict) {
  return report != nullptr && report->verdict() == verdict;
}

bool Exercised(const PropertyReport* report) {
  return report != nullptr && report->verdict() != PropertyReport::NOT_EXERCISED;
}

// Every property that a row was judged by, in the order of their numbers.
struct Columns {
  std::vector<FindingClass> shown;
  std::vector<FindingClass> not_exercised;
};
Columns ColumnsOf(const std::vector<Row>& rows) {
  std::map<int, bool> exercised;
  for (const Row& row : rows) {
    if (row.agent == nullptr) continue;
    for (const PropertyReport& report : row.agent->property()) {
      exercised[report.property()] |= Exercised(&report);
    }
  }
  Columns columns;
  for (const auto& [number, yes] : exercised) {
    (yes ? columns.shown : columns.not_exercised).push_back(static_cast<FindingClass>(number));
  }
  return columns;
}

std::string Name(FindingClass property) { return FindingClass_Name(property); }

std::string Names(const std::vector<FindingClass>& properties) {
  std::string names;
  for (const FindingClass property : properties) {
    names += (names.empty() ? "" : ", ") + Name(property);
  }
  return names;
}

std::string RowName(const Row& row) { return RunWord(*row.run); }

// What the scenario lists and no agent of the run did.
std::string Missed(const RunReport& run) {
  std::string names;
  for (const int number : run.missed()) {
    names += (names.empty() ? "" : ", ") + Name(static_cast<FindingClass>(number));
  }
  return names;
}

std::string OutcomeWord(const RunReport& run) {
  switch (OutcomeOf(run)) {
    case Outcome::kAsExpected:
      return "yes";
    case Outcome::kDiffers:
      return "NO";
    case Outcome::kSkipped:
      return "skipped";
    case Outcome::kUserError:
    case Outcome::kFailure:
      break;
  }
  return "error";
}

std::string MountsWords(const AgentReport& agent) {
  return fmt::format("{} ({})", agent.mounts(), agent.mounts_failed());
}

// ---- the terminal

Cell TerminalCell(const PropertyReport* report) {
  if (!Exercised(report)) return {"-", Tone::kDim};
  if (report->verdict() == PropertyReport::HOLDS) return {"+", Tone::kGood};
  if (report->verdict() == PropertyReport::UNKNOWN) return {"?", Tone::kWarn};
  return {report->expected() ? "X" : "X!", report->expected() ? Tone::kWarn : Tone::kBad};
}

std::vector<std::string> Indented(const Style& style, const std::string& text) {
  std::vector<std::string> lines;
  for (const std::string& line : WrapToWidth(Printable(text), style.width - 4)) {
    lines.push_back("    " + line);
  }
  return lines;
}

// ---- the document

std::string MarkdownCell(const PropertyReport* report) {
  if (!Exercised(report)) return "-";
  if (report->verdict() == PropertyReport::HOLDS) return "holds";
  if (report->verdict() == PropertyReport::UNKNOWN) return "unknown";
  return report->expected() ? "**VIOLATED**" : "**VIOLATED (!)**";
}

// "BOUNDED\_<br>ATTEMPTS": narrow columns.
std::string Title(FindingClass property) {
  std::string title;
  for (const char c : Name(property)) title += c == '_' ? "\\_<br>" : std::string(1, c);
  return title;
}

std::string MarkdownTable(const std::vector<Row>& rows, const Columns& columns) {
  std::string out = "| run | agent | mounts (failed) | as expected |";
  std::string rule = "|---|---|---|---|";
  for (const FindingClass property : columns.shown) {
    out += fmt::format(" {} |", Title(property));
    rule += "---|";
  }
  out += "\n" + rule + "\n";
  for (const Row& row : rows) {
    const bool empty = row.agent == nullptr;
    out += fmt::format("| {} | {} | {} | {} |", MarkdownEscaped(RowName(row)),
                       empty ? "-" : MarkdownEscaped(row.agent->agent()),
                       empty ? "-" : MountsWords(*row.agent), OutcomeWord(*row.run));
    for (const FindingClass property : columns.shown) {
      out += fmt::format(" {} |", MarkdownCell(Find(row, property)));
    }
    out += "\n";
  }
  return out + "\n";
}

// What was seen of one agent in all its runs.
struct AgentSum {
  uint64_t runs = 0;
  std::map<int, std::set<std::string>> violated;  // property: where
  std::set<int> unknown;
  std::set<int> held;
  std::set<int> judged;
};

std::string SumRow(const std::string& agent, const AgentSum& sum) {
  std::string held;
  std::string violated;
  std::string rest;
  const auto add = [](std::string& list, const std::string& word) {
    list += (list.empty() ? "" : "<br>") + word;
  };
  for (const int number : sum.judged) {
    const std::string name = MarkdownEscaped(Name(static_cast<FindingClass>(number)));
    if (const auto where = sum.violated.find(number); where != sum.violated.end()) {
      std::string words;
      for (const std::string& run : where->second) words += (words.empty() ? "" : ", ") + run;
      add(violated, fmt::format("{} ({})", name, MarkdownEscaped(words)));
    } else if (sum.unknown.contains(number)) {
      add(rest, name + ": unknown");
    } else if (sum.held.contains(number)) {
      add(held, name);
    } else {
      add(rest, name);
    }
  }
  const auto shown = [](const std::string& list) { return list.empty() ? "nothing" : list; };
  return fmt::format("| {} | {} | {} | {} | {} |\n", MarkdownEscaped(agent), sum.runs, shown(held),
                     shown(violated), shown(rest));
}

std::string AgentsTable(const std::vector<Row>& rows) {
  std::vector<std::string> order;
  std::map<std::string, AgentSum> sums;
  for (const Row& row : rows) {
    if (row.agent == nullptr) continue;
    const std::string& name = row.agent->agent();
    if (!sums.contains(name)) order.push_back(name);
    AgentSum& sum = sums[name];
    ++sum.runs;
    const std::string where = row.run->variant().empty() ? row.run->name() : row.run->variant();
    for (const PropertyReport& report : row.agent->property()) {
      sum.judged.insert(report.property());
      if (Is(&report, PropertyReport::VIOLATED)) sum.violated[report.property()].insert(where);
      if (Is(&report, PropertyReport::UNKNOWN)) sum.unknown.insert(report.property());
      if (Is(&report, PropertyReport::HOLDS)) sum.held.insert(report.property());
    }
  }
  std::string out =
      "## Agents\n\n| agent | runs | kept wherever it was put to the test | violated (in) | not "
      "put "
      "to the test |\n|---|---|---|---|---|\n";
  for (const std::string& name : order) out += SumRow(name, sums[name]);
  return out + "\n";
}

std::string EvidenceOf(const Row& row) {
  std::string out;
  if (row.agent == nullptr) return out;
  for (const PropertyReport& report : row.agent->property()) {
    if (!Is(&report, PropertyReport::VIOLATED) && !Is(&report, PropertyReport::UNKNOWN)) continue;
    std::string evidence = report.evidence();
    if (evidence.size() > kEvidenceBytesMax) {
      evidence = evidence.substr(0, kEvidenceBytesMax) + "...";
    }
    out += fmt::format("- {}{}: {}\n", MarkdownEscaped(Name(report.property())),
                       Is(&report, PropertyReport::UNKNOWN) ? " (unknown)"
                       : report.expected()                  ? ""
                                                            : " (not expected)",
                       MarkdownEscaped(evidence));
  }
  return out;
}

std::string RowSection(const Row& row, bool several_agents) {
  std::string title = RowName(row);
  if (several_agents && row.agent != nullptr) title += ", agent " + row.agent->agent();
  std::string out = fmt::format("### {}\n\n", MarkdownEscaped(title));
  if (!row.run->summary().empty()) out += MarkdownEscaped(row.run->summary()) + "\n\n";
  if (row.agent != nullptr) {
    out += fmt::format("Watched for {} s of the guest's time in {} s; {} mounts, {} failed.\n\n",
                       row.agent->watched_ms() / 1000, (row.run->guest_wall_ms() + 999) / 1000,
                       row.agent->mounts(), row.agent->mounts_failed());
  }
  if (const std::string why = WhyEmpty(*row.run); !why.empty()) {
    out += MarkdownEscaped(why) + "\n\n";
  }
  if (const std::string evidence = EvidenceOf(row); !evidence.empty()) out += evidence + "\n";
  if (const std::string missed = Missed(*row.run); !missed.empty()) {
    out += fmt::format("Expected, and not seen: {}.\n\n", MarkdownEscaped(missed));
  }
  if (!row.run->command().empty()) {
    out += fmt::format("Again: {}\n\n", MarkdownCode(row.run->command()));
  }
  return out;
}

// What ran all of it, from what runs each row again.
std::string Commands(const std::vector<Row>& rows) {
  constexpr std::string_view kRun = "./plugpull run ";
  std::vector<std::string> scenarios;
  for (const Row& row : rows) {
    std::string command = row.run->command();
    if (!command.starts_with(kRun)) continue;
    command = command.substr(kRun.size(), command.find(" --") - kRun.size());
    if (std::count(scenarios.begin(), scenarios.end(), command) == 0) {
      scenarios.push_back(command);
    }
  }
  if (scenarios.empty()) return {};
  std::string out = "\n    " + std::string(kRun);
  for (const std::string& scenario : scenarios) out += Printable(scenario) + " ";
  return out + "--out OUT\n    ./plugpull report --matrix --format markdown OUT\n\n";
}

constexpr std::string_view kDocumentHead =
    "# What mount agents keep\n\n"
    "Generated; do not edit. Each row is one agent in one run: a real guest, everything that the "
    "agent does to disks and mounts recorded, then held against the properties of the contract "
    "(`framework/agent/README.md` says what each looks at).\n\n";

constexpr std::string_view kCellWords =
    "*holds*: something happened that the property speaks of, and it was kept: an observation, not "
    "a proof. *VIOLATED*: it was not, with the evidence below; with (!) the scenario does not list "
    "it. -: nothing happened that the property speaks of, which is no success.\n\n";

}  // namespace

bool HasAgents(const ReportList& reports) { return !RowsOf(reports).empty(); }

std::string RenderAgentMatrix(const ReportList& reports, const TerminalOptions& options) {
  const Style style{.colour = options.colour, .width = std::max(60, options.width)};
  const std::vector<Row> rows = RowsOf(reports);
  if (rows.empty()) return "no run has an agent\n";
  const Columns columns = ColumnsOf(rows);
  Table table;
  table.AddColumn("run", Table::Kind::kText);
  table.AddColumn("agent", Table::Kind::kText);
  for (size_t i = 0; i < columns.shown.size(); ++i) {
    table.AddColumn(std::to_string(i + 1), Table::Kind::kNumber);
  }
  for (const Row& row : rows) {
    std::vector<Cell> cells = {{RowName(row)}, {row.agent == nullptr ? "-" : row.agent->agent()}};
    for (const FindingClass property : columns.shown) {
      cells.push_back(TerminalCell(Find(row, property)));
    }
    std::vector<std::string> below;
    if (const std::string why = WhyEmpty(*row.run); !why.empty()) below = Indented(style, why);
    if (const std::string missed = Missed(*row.run); !missed.empty()) {
      for (std::string& line : Indented(style, "expected, and not seen: " + missed)) {
        below.push_back(std::move(line));
      }
    }
    table.AddRow(cells, std::move(below));
  }
  std::string out = table.Render(style, 0) + "\n";
  for (size_t i = 0; i < columns.shown.size(); ++i) {
    out += fmt::format("  {:>2} {}\n", i + 1, Name(columns.shown[i]));
  }
  out += "\n+ holds, X violated, X! violated and not expected, ? unknown, - not put to the test\n";
  if (columns.not_exercised.empty()) return out;
  for (const std::string& line :
       WrapToWidth("In no row put to the test: " + Names(columns.not_exercised), style.width)) {
    out += line + "\n";
  }
  return out;
}

std::string RenderAgentMatrixMarkdown(const ReportList& reports) {
  const std::vector<Row> rows = RowsOf(reports);
  std::string out(kDocumentHead);
  if (rows.empty()) return out + "No run has an agent.\n";
  std::map<std::string, uint64_t> kernels;
  for (const Row& row : rows) ++kernels[row.run->kernel_release()];
  for (const auto& [kernel, count] : kernels) {
    out += fmt::format("Kernel {}: {} row{}.\n",
                       MarkdownEscaped(kernel.empty() ? "not known" : kernel), count,
                       count == 1 ? "" : "s");
  }
  out += Commands(rows);
  out += kCellWords;
  const Columns columns = ColumnsOf(rows);
  out += MarkdownTable(rows, columns);
  if (!columns.not_exercised.empty()) {
    out += fmt::format("In no row put to the test: {}.\n\n",
                       MarkdownEscaped(Names(columns.not_exercised)));
  }
  out += AgentsTable(rows) + "## Evidence\n\n";
  for (const Row& row : rows) out += RowSection(row, row.run->agent_size() > 1);
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

}  // namespace plugpull::report
