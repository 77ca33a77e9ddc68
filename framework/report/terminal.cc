// SPDX-License-Identifier: Apache-2.0
#include "framework/report/terminal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>
#include <vector>

#include "framework/base/rpc_code.h"
#include "framework/report/summary.h"
#include "framework/report/table.h"
#include "framework/report/terminal_parts.h"
#include "framework/report/text.h"

namespace plugpull::report {
namespace {

constexpr int kWidthLeast = 60;
constexpr size_t kEvidenceLinesMax = 4;
constexpr size_t kEvidenceBytesMax = 4096;
constexpr int kLostMax = 4;  // lost writes that are named

std::string Seconds(uint64_t milliseconds) {
  return fmt::format("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100);
}

// The same for a text of several lines, such as the end of a console: each keeps its own.
std::string LinesOfFact(const Style& style, std::string_view label, std::string_view text,
                        Tone tone) {
  std::string out;
  while (true) {
    const size_t end = text.find('\n');
    out += Fact(style, out.empty() ? label : "", text.substr(0, end), tone);
    if (end == std::string_view::npos || end + 1 == text.size()) return out;
    text.remove_prefix(end + 1);
  }
}

// A command on a line of its own, whole, so that it can be copied.
std::string Command(const Style& style, std::string_view label, const std::string& command) {
  if (command.empty()) return {};
  return Spaces(kIndent) + style.Paint(Tone::kDim, label) +
         Spaces(std::max(1, kLabelWidth - static_cast<int>(label.size()))) + Printable(command) +
         "\n";
}

// ---- one finding

Cell ExpectedCell(const Finding& finding) {
  if (finding.in_baseline()) return {"baseline", Tone::kWarn};
  if (finding.kind() == Finding::UNKNOWN || !finding.expected()) return {"no", Tone::kBad};
  return {"yes", Tone::kGood};
}

// At most kEvidenceLinesMax lines of a text that may be long and have lines of its own.
std::vector<std::string> ShortLines(const Style& style, int left, std::string_view text) {
  text = text.substr(0, kEvidenceBytesMax);
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    for (const std::string& line :
         WrapToWidth(Printable(text.substr(0, end)), style.width - left)) {
      if (line.empty()) continue;
      if (lines.size() == kEvidenceLinesMax) {
        lines.back() = Spaces(left) + std::string(style.Ellipsis());
        return lines;
      }
      lines.push_back(Spaces(left) + line);
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string LostWords(const Finding& finding) {
  if (finding.lost_writes() == 0) return {};
  std::string lost =
      fmt::format("lost {} write{}", finding.lost_writes(), finding.lost_writes() == 1 ? "" : "s");
  const int named = std::min(finding.lost_size(), kLostMax);
  for (int i = 0; i < named; ++i) lost += (i == 0 ? ": " : "; ") + finding.lost(i);
  if (named > 0 && finding.lost_writes() > static_cast<uint32_t>(named)) {
    lost += fmt::format("; and {} more", finding.lost_writes() - static_cast<uint32_t>(named));
  }
  return lost;
}

// What stands below a finding's row: lost writes, evidence, and the command, which is never cut.
std::vector<std::string> BelowFinding(const Style& style, const Finding& finding) {
  const int left = kIndent + 4;
  std::vector<std::string> lines = ShortLines(style, left, LostWords(finding));
  const std::vector<std::string> evidence = ShortLines(style, left, finding.evidence());
  lines.insert(lines.end(), evidence.begin(), evidence.end());
  if (!finding.command().empty()) {
    lines.push_back(Spaces(left) + "$ " + Printable(finding.command()));
  }
  return lines;
}

std::string FindingsTable(const Style& style, const DiskReport& disk) {
  if (disk.finding().empty()) return {};
  Table table;
  table.AddColumn("finding", kText);
  table.AddColumn("oracle", kText);
  table.AddColumn("states", kNumber);
  table.AddColumn("expected", kText);
  table.AddColumn("example", kText);
  for (const Finding& finding : disk.finding()) {
    const Tone tone = finding.kind() == Finding::UNKNOWN ? Tone::kWarn : Tone::kPlain;
    table.AddRow({{ClassWord(finding), tone},
                  {OracleWord(finding)},
                  {Number(finding.count())},
                  ExpectedCell(finding),
                  {finding.example()}},
                 BelowFinding(style, finding));
  }
  return table.Render(style, kIndent);
}

// ---- the steps

// Demands that were not met, and how far the steps came.
std::string StepFacts(const Style& style, const RunReport& run) {
  std::string out;
  if (!run.finding().empty()) {
    Table table;
    table.AddColumn("finding", kText);
    table.AddColumn("oracle", kText);
    table.AddColumn("at", kText);
    table.AddColumn("expected", kText);
    for (const Finding& finding : run.finding()) {
      table.AddRow({{ClassWord(finding)},
                    {OracleWord(finding)},
                    {StepPlace(finding)},
                    ExpectedCell(finding)},
                   BelowFinding(style, finding));
    }
    out += table.Render(style, kIndent);
  }
  if (run.steps_run() < run.steps()) {
    out += Fact(style, "steps",
                fmt::format("{} of {} carried out; those behind them did not run", run.steps_run(),
                            run.steps()),
                Tone::kWarn);
  } else if (run.has_steps() && run.disk().empty()) {
    out += Fact(style, "steps",
                fmt::format("all {} carried out{}", run.steps(),
                            run.finding().empty() ? ", every demand met" : ""));
  }
  for (const std::string& note : run.note()) out += Fact(style, "note", note);
  return out;
}

// ---- one disk

std::string VerdictFact(const Style& style, const RunReport& run, const DiskReport& disk) {
  const StateCounts& states = disk.states();
  const char* weak = disk.coverage().weak() ? " (weak: nothing was checkpointed)" : "";
  const std::string nested =
      disk.nested().violated() + disk.nested().unknown() == 0
          ? ""
          : fmt::format("; of {} states of cut recoveries {} violated, {} unknown",
                        disk.nested().enumerated(), disk.nested().violated(),
                        disk.nested().unknown());
  if (states.violated() > 0 || states.unknown() > 0) {
    return Fact(
        style, "verdict",
        fmt::format("{} violated, {} unknown, {} hold{}{}", states.violated(), states.unknown(),
                    states.holds(), states.holds() > 0 ? weak : "", nested),
        Tone::kStrong);
  }
  if (states.holds() == 0) return Fact(style, "verdict", "none: no state was judged", Tone::kWarn);
  if (!run.incomplete_reason().empty()) {
    return Fact(style, "verdict", "none: the recording is incomplete", Tone::kWarn);
  }
  if (!nested.empty()) {
    return Fact(style, "verdict", fmt::format("all {} hold{}{}", states.holds(), weak, nested),
                Tone::kStrong);
  }
  return Fact(style, "verdict", fmt::format("holds{}", weak),
              HoldsWeakly(disk) ? Tone::kWarn : Tone::kGood);
}

std::string EnumeratorTable(const Style& style, const DiskReport& disk) {
  if (disk.enumerator().empty()) return {};
  Table table;
  table.AddColumn("enumerator", kText);
  table.AddColumn("states", kNumber);
  table.AddColumn("distinct", kNumber);
  table.AddColumn("violated", kNumber);
  table.AddColumn("unknown", kNumber);
  table.AddColumn("how", kText);
  table.AddColumn("found", kText);
  for (const EnumeratorReport& enumerator : disk.enumerator()) {
    const StateCounts& states = enumerator.states();
    table.AddRow({{enumerator.name()},
                  {Number(states.enumerated())},
                  {Number(states.distinct())},
                  {Number(states.violated())},
                  {Number(states.unknown())},
                  {enumerator.exhaustive() ? "exhaustive" : "sampled"},
                  {ClassLines({enumerator.found().begin(), enumerator.found().end()})}});
  }
  return table.Render(style, kIndent);
}

std::string CoverageFacts(const Style& style, const DiskReport& disk) {
  if (!disk.has_coverage()) return Fact(style, "coverage", "not measured", Tone::kWarn);
  const CoverageReport& c = disk.coverage();
  std::string out =
      Fact(style, "log",
           fmt::format("{} entries: writes {}, flushes {}, forced writes {}, discards {}, marks {}",
                       c.log_entries(), c.writes(), c.flushes(), c.fua_writes(), c.discards(),
                       c.marks()));
  out += Fact(style, "coverage",
              fmt::format("commits {}, tail moves {}, checkpoints {}, revokes {}, wraps {}, "
                          "cuts with orphans {}, states of unknown order {}",
                          c.commits(), c.tail_moves(), c.checkpoints(), c.revokes(), c.wraps(),
                          c.orphan_cuts(), c.order_unknown()));
  if (c.dropped_bytes() > 0 || !c.dropped_reason().empty()) {
    out += Fact(style, "dropped",
                fmt::format("{} bytes of the log were not read: {}", c.dropped_bytes(),
                            c.dropped_reason().empty() ? "no reason given" : c.dropped_reason()),
                Tone::kWarn);
  }
  return out;
}

// "214 flush points compared, 214 agree"; at the rest requests were in flight.
std::string PointWords(uint64_t compared, uint64_t agree, std::string_view what) {
  std::string words = fmt::format("{} {} compared, {} agree", compared, what, agree);
  if (agree < compared) words += fmt::format(", {} but for requests in flight", compared - agree);
  return words;
}

// Whether both logs show the same classes, of the oracles that both were judged by.
bool SameClasses(const DiskReport& disk, const CrossCheckReport& report) {
  std::set<int> guest;
  for (const auto& [found, count] : ClassesOfBothLogs(disk)) guest.insert(found);
  return guest == std::set<int>(report.host_found().begin(), report.host_found().end());
}

std::string CrossCheckFacts(const Style& style, const DiskReport& disk) {
  if (!disk.has_cross_check()) return {};
  const CrossCheckReport& c = disk.cross_check();
  if (c.has_not_done()) return Fact(style, "cross-check", "not done: " + c.not_done(), Tone::kBad);
  const bool agree = c.contradiction().empty() && c.verdict_contradiction().empty();
  std::string out = Fact(
      style, "cross-check",
      fmt::format("{}; {}; {} of {} writes found in the host's log ({} writes, {} flushes); {}",
                  PointWords(c.flush_points(), c.flush_points_agree(), "flush points"),
                  PointWords(c.mark_points(), c.mark_points_agree(), "marks"), c.writes_found(),
                  c.writes(), c.host_writes(), c.host_flushes(),
                  c.verdict_contradiction().empty()
                      ? fmt::format("verdicts {} ({} of {} states of the host's log violated)",
                                    SameClasses(disk, c) ? "agree" : "do not contradict each other",
                                    c.host_states().violated(), c.host_states().enumerated())
                      : std::string("verdicts DIFFER")),
      agree ? Tone::kGood : Tone::kBad);
  for (const std::string& words : c.contradiction()) out += Fact(style, "", words, Tone::kBad);
  if (c.contradictions() > static_cast<uint64_t>(c.contradiction_size())) {
    out += Fact(style, "", fmt::format("{} contradictions in all", c.contradictions()), Tone::kBad);
  }
  for (const std::string& words : c.verdict_contradiction()) {
    out += Fact(style, "", words, Tone::kBad);
  }
  for (const std::string& note : c.note()) out += Fact(style, "", note, Tone::kDim);
  return out;
}

std::string DiskText(const Style& style, const RunReport& run, const DiskReport& disk) {
  std::string out = Fact(style, "disk",
                         fmt::format("{}, model: {}", DiskWord(disk),
                                     disk.model().empty() ? "not named" : disk.model()));
  out += Fact(style, "states",
              fmt::format("{} enumerated, {} distinct after recovery", disk.states().enumerated(),
                          disk.states().distinct()));
  out += VerdictFact(style, run, disk);
  out += FindingsTable(style, disk);
  out += EnumeratorTable(style, disk);
  out += CoverageFacts(style, disk);
  std::string judges;
  for (const JudgeCount& judge : disk.judge()) {
    if (!judges.empty()) judges += ", ";
    judges += fmt::format("{} {} run{}", judge.judge(), judge.runs(), judge.runs() == 1 ? "" : "s");
  }
  if (!judges.empty()) out += Fact(style, "judges", judges);
  out += CrossCheckFacts(style, disk);
  for (const std::string& note : disk.note()) out += Fact(style, "note", note);
  return out;
}

// ---- one agent

Cell PropertyCell(const PropertyReport& property) {
  switch (property.verdict()) {
    case PropertyReport::HOLDS:
      return {"holds", Tone::kGood};
    case PropertyReport::VIOLATED:
      return {"VIOLATED", Tone::kBad};
    case PropertyReport::UNKNOWN:
      return {"unknown", Tone::kWarn};
    case PropertyReport::NOT_EXERCISED:
      break;
  }
  return {"-", Tone::kDim};
}

constexpr size_t kCsiMessageMax = 70;

// What a CSI node plugin answered.
std::string CsiText(const Style& style, const AgentReport& agent) {
  Table table;
  for (const char* title : {"volume", "call", "answers", "the last one"}) {
    table.AddColumn(title, kText);
  }
  for (const CsiReport& csi : agent.csi()) {
    std::string answers;
    for (const CsiCodeCount& count : csi.code()) {
      answers += fmt::format("{}{} {}", answers.empty() ? "" : ", ", count.calls(),
                             RpcCodeName(count.code()));
    }
    std::string last = csi.last_message();
    if (last.size() > kCsiMessageMax) last = last.substr(0, kCsiMessageMax - 3) + "...";
    table.AddRow({{csi.volume().empty() ? "-" : csi.volume()}, {csi.method()}, {answers}, {last}});
  }
  return table.empty() ? std::string() : table.Render(style, kIndent);
}

std::string AgentText(const Style& style, const AgentReport& agent) {
  std::string out =
      Fact(style, "agent",
           fmt::format("{}: {} mounts, {} failed, {} restarts, watched for {} of the guest's time",
                       agent.agent(), agent.mounts(), agent.mounts_failed(), agent.restarts(),
                       Seconds(agent.watched_ms())));
  Table table;
  table.AddColumn("property", kText);
  table.AddColumn("verdict", kText);
  table.AddColumn("expected", kText);
  std::string quiet;
  for (const PropertyReport& property : agent.property()) {
    const std::string name = FindingClass_Name(property.property());
    if (property.verdict() == PropertyReport::NOT_EXERCISED && property.evidence().empty()) {
      quiet += (quiet.empty() ? "" : ", ") + name;
      continue;
    }
    const bool violated = property.verdict() == PropertyReport::VIOLATED;
    table.AddRow({{name},
                  PropertyCell(property),
                  {violated ? (property.expected() ? "yes" : "no") : "",
                   property.expected() ? Tone::kGood : Tone::kBad}},
                 ShortLines(style, kIndent + 4, property.evidence()));
  }
  if (!table.empty()) out += table.Render(style, kIndent);
  if (!quiet.empty()) out += Fact(style, "not touched", quiet, Tone::kDim);
  return out + CsiText(style, agent);
}

// ---- one run

std::string ResultFacts(const Style& style, const RunReport& run) {
  switch (OutcomeOf(run)) {
    case Outcome::kAsExpected:
      return Fact(style, "result", "as expected", Tone::kGood);
    case Outcome::kSkipped:
      return Fact(style, "result",
                  fmt::format("skipped: {}",
                              run.skip_reason().empty() ? "no reason given" : run.skip_reason()),
                  Tone::kWarn);
    case Outcome::kUserError:
    case Outcome::kFailure:
      return LinesOfFact(style, "result", ErrorText(run), Tone::kBad);
    case Outcome::kDiffers:
      break;
  }
  std::string out = Fact(style, "result", "NOT as expected", Tone::kBad);
  for (const std::string& reason : Differences(run)) out += Fact(style, "", reason, Tone::kBad);
  return out;
}

// "--- scenario/variant", and what it ran with.
std::string RunTitle(const Style& style, const RunReport& run) {
  std::string ran = fmt::format("seed {}, kernel {}", run.seed(),
                                run.kernel().empty() ? "not known" : run.kernel());
  if (!run.kernel_release().empty()) ran += fmt::format(" ({})", run.kernel_release());
  if (!run.accelerator().empty()) ran += fmt::format(", {}", run.accelerator());
  const std::string name = Printable(RunWord(run));
  ran = Printable(ran);
  std::string out = style.Paint(Tone::kDim, style.Rule(3));
  const bool one_line = 4 + DisplayWidth(name) + 2 + DisplayWidth(ran) <= style.width;
  if (one_line) return out + " " + style.Paint(Tone::kStrong, name) + ": " + ran + "\n";
  const std::vector<std::string> lines = WrapToWidth(name, style.width - 4);
  for (size_t i = 0; i < lines.size(); ++i) {
    out += (i == 0 ? " " : "    ") + style.Paint(Tone::kStrong, lines[i]) + "\n";
  }
  return out + Fact(style, "run", ran);
}

std::string RunText(const Style& style, const RunReport& run) {
  std::string out = RunTitle(style, run);
  if (!run.summary().empty()) out += Fact(style, "about", run.summary());
  if (run.guest_wall_ms() > 0 || run.check_wall_ms() > 0) {
    out += Fact(style, "time",
                fmt::format("guest {}{}, check {}", Seconds(run.guest_wall_ms()),
                            run.agent().empty() ? std::string()
                                                : fmt::format(" ({} by its own clock)",
                                                              Seconds(run.guest_clock_ms())),
                            Seconds(run.check_wall_ms())));
  }
  if (!run.recording().empty()) out += Fact(style, "recording", run.recording());
  out += StepFacts(style, run);
  for (const DiskReport& disk : run.disk()) out += DiskText(style, run, disk);
  for (const AgentReport& agent : run.agent()) out += AgentText(style, agent);
  out += ResultFacts(style, run);
  out += Command(style, "run it again", run.command());
  return out + "\n";
}

}  // namespace

std::string RenderTerminal(const ReportList& reports, const TerminalOptions& options) {
  const Style style{options.colour, std::max(options.width, kWidthLeast)};
  if (reports.run().empty()) return style.Paint(Tone::kWarn, "Nothing ran.") + "\n";
  std::string out;
  for (const RunReport& run : reports.run()) out += RunText(style, run);
  out += SummaryTable(style, reports);
  out += AgentMatrix(style, reports);
  out += ComparisonTable(style, reports);
  out += KernelTable(style, reports);
  out += BlindSpots(style, reports);
  return out;
}

}  // namespace plugpull::report
