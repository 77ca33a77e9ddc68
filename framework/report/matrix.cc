// SPDX-License-Identifier: Apache-2.0
#include "framework/report/matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "framework/report/summary.h"
#include "framework/report/table.h"
#include "framework/report/text.h"

namespace plugpull::report {
namespace {

constexpr size_t kEvidenceBytesMax = 300;  // in the document

struct Column {
  GuaranteeReport::Guarantee guarantee;
  std::string_view title;  // at most 5 columns
  std::string_view name;
  std::string_view meaning;
};

constexpr Column kColumns[] = {
    {GuaranteeReport::METADATA_CONSISTENT, "meta", "metadata consistent",
     "the journal is accepted, and e2fsck finds nothing"},
    {GuaranteeReport::FSYNC_NAME, "name", "fsync: name",
     "what a sync made durable is under its names"},
    {GuaranteeReport::FSYNC_SIZE, "size", "fsync: size", "and has its size"},
    {GuaranteeReport::FSYNC_DATA, "data", "fsync: data", "and its bytes"},
    {GuaranteeReport::RENAME_SYNCED, "mv+s", "rename atomic, new file synced",
     "a name that was renamed over shows the old file or the new one, whole"},
    {GuaranteeReport::RENAME_UNSYNCED, "mv", "rename atomic, new file not synced",
     "the same, where the new file was not synced before the rename"},
    {GuaranteeReport::APPEND_SOUND, "app", "append atomic: size and bytes agree",
     "behind the old end there is nothing but what was appended, maybe not all of it"},
    {GuaranteeReport::APPEND_WHOLE, "app=", "append atomic: all or nothing",
     "all that one write appended, or nothing"},
    {GuaranteeReport::OVERWRITE_WHOLE, "over", "overwrite not torn",
     "the bytes that one write replaced are all old or all new"},
    {GuaranteeReport::NO_STALE_DATA, "stale", "no stale data",
     "no file shows what was never written to it"},
};

// Why a row has no cells; empty when it has some.
std::string WhyEmpty(const RunReport& run) {
  if (run.skipped()) return "skipped: " + run.skip_reason();
  if (OutcomeOf(run) == Outcome::kUserError || OutcomeOf(run) == Outcome::kFailure) {
    return ErrorText(run);
  }
  if (!run.has_mount_errno()) return {};
  return fmt::format("the kernel refuses this mount: {}", run.mount_errno());
}

// What all disks and boots of a run say of a guarantee together, with the example that lost fewest
// writes. Nothing where the row has no cells.
std::optional<GuaranteeReport> Find(const RunReport& run, GuaranteeReport::Guarantee guarantee) {
  if (!WhyEmpty(run).empty()) return std::nullopt;
  std::optional<GuaranteeReport> all;
  for (const DiskReport& disk : run.disk()) {
    for (const GuaranteeReport& report : disk.guarantee()) {
      if (report.guarantee() != guarantee) continue;
      if (!all) {
        all = report;
        continue;
      }
      GuaranteeReport sum = *all;
      const bool better =
          report.broken() > 0 && (all->broken() == 0 || report.lost_writes() < all->lost_writes());
      if (better) sum = report;
      sum.set_asked(all->asked() + report.asked());
      sum.set_broken(all->broken() + report.broken());
      sum.set_shown(all->shown() + report.shown());
      sum.set_unknown(all->unknown() + report.unknown());
      all = sum;
    }
  }
  return all;
}

bool Asked(const std::optional<GuaranteeReport>& report) {
  return report && report->asked() + report->unknown() > 0;
}

bool Broken(const RunReport& run, GuaranteeReport::Guarantee guarantee) {
  const auto report = Find(run, guarantee);
  return report && report->broken() > 0;
}

std::string RowName(const RunReport& run) {
  return run.variant().empty() ? run.name() : run.variant();
}

bool HasGuarantees(const RunReport& run) {
  return std::any_of(run.disk().begin(), run.disk().end(),
                     [](const DiskReport& disk) { return !disk.guarantee().empty(); });
}

// Runs that have nothing to show belong to it, too, when others of their scenario have.
std::vector<const RunReport*> RowsOf(const ReportList& reports) {
  std::set<std::string> scenarios;
  for (const RunReport& run : reports.run()) {
    if (HasGuarantees(run)) scenarios.insert(run.name());
  }
  std::vector<const RunReport*> rows;
  for (const RunReport& run : reports.run()) {
    if (scenarios.contains(run.name())) rows.push_back(&run);
  }
  return rows;
}

// ---- the terminal

Cell TerminalCell(const std::optional<GuaranteeReport>& report) {
  if (!Asked(report)) return {"-", Tone::kDim};
  if (report->broken() > 0) return {fmt::format("{}", report->broken()), Tone::kBad};
  if (report->asked() == 0) return {"?", Tone::kWarn};
  if (report->shown() == 0) return {"weak", Tone::kWarn};
  if (report->unknown() > 0) return {"held?", Tone::kWarn};
  return {"held", Tone::kGood};
}

std::string TerminalTable(const Style& style, const std::vector<const RunReport*>& rows) {
  Table table;
  table.AddColumn("mounted with", Table::Kind::kText);
  for (const Column& column : kColumns) {
    table.AddColumn(std::string(column.title), Table::Kind::kNumber);
  }
  for (const RunReport* run : rows) {
    std::vector<Cell> cells = {{RowName(*run)}};
    for (const Column& column : kColumns) {
      cells.push_back(TerminalCell(Find(*run, column.guarantee)));
    }
    const std::string why = WhyEmpty(*run);
    std::vector<std::string> below;
    if (!why.empty()) {
      for (const std::string& line : WrapToWidth(Printable(why), style.width - 4)) {
        below.push_back("    " + line);
      }
    }
    table.AddRow(cells, std::move(below));
  }
  std::string out = table.Render(style, 0) + "\n";
  for (const Column& column : kColumns) {
    const std::string words = fmt::format("{}: {}", column.name, column.meaning);
    std::string_view title = column.title;
    for (const std::string& line : WrapToWidth(words, style.width - 8)) {
      out += fmt::format("  {:<6}{}\n", std::exchange(title, ""), line);
    }
  }
  return out + "\n";
}

std::string BrokenLines(const std::vector<const RunReport*>& rows) {
  std::string out;
  for (const RunReport* run : rows) {
    for (const Column& column : kColumns) {
      const auto report = Find(*run, column.guarantee);
      if (!report || report->broken() == 0) continue;
      out +=
          Printable(fmt::format("  {}, {}: {} of {} states, e.g. {}", RowName(*run), column.title,
                                report->broken(), report->asked(), report->example())) +
          "\n";
    }
  }
  return out;
}

// ---- the document

std::string MarkdownCell(const std::optional<GuaranteeReport>& report) {
  if (!Asked(report)) return "not asked";
  if (report->broken() > 0) {
    return fmt::format("**broken** in {} of {}", report->broken(), report->asked());
  }
  if (report->asked() == 0) return fmt::format("unknown in {}", report->unknown());
  const std::string unknown =
      report->unknown() > 0 ? fmt::format(", unknown in {}", report->unknown()) : "";
  if (report->shown() == 0) return fmt::format("weak: not seen in {}{}", report->asked(), unknown);
  return fmt::format("held in {}{}", report->asked(), unknown);
}

std::string MarkdownTable(const std::vector<const RunReport*>& rows) {
  std::string out = "| row |";
  std::string rule = "|---|";
  for (const Column& column : kColumns) {
    out += fmt::format(" {} |", column.name);
    rule += "---|";
  }
  out += "\n" + rule + "\n";
  for (const RunReport* run : rows) {
    out += fmt::format("| {} |", MarkdownEscaped(RowName(*run)));
    const std::string why = WhyEmpty(*run);
    for (size_t i = 0; i < std::size(kColumns); ++i) {
      if (why.empty()) {
        out += fmt::format(" {} |", MarkdownCell(Find(*run, kColumns[i].guarantee)));
      } else {
        out += i == 0 ? fmt::format(" {} |", MarkdownEscaped(why)) : " - |";
      }
    }
    out += "\n";
  }
  return out + "\n";
}

std::string Legend() {
  std::string out;
  for (const Column& column : kColumns) {
    out += fmt::format("- **{}**: {}\n", column.name, column.meaning);
  }
  return out + "\n";
}

// "breaks what ROW keeps: ..."; nothing for the first row itself.
std::string Difference(const RunReport& run, const RunReport& first) {
  if (&run == &first || !WhyEmpty(run).empty()) return {};
  std::string lost;
  std::string kept;
  bool comparable = true;
  const auto compare = [&](const Column& column) {
    const bool here = Broken(run, column.guarantee);
    const bool there = Broken(first, column.guarantee);
    if (here == there) return;
    // What one of the two was not asked about is no difference between them.
    if (!Asked(Find(run, column.guarantee)) || !Asked(Find(first, column.guarantee))) {
      comparable = false;
      return;
    }
    std::string& list = here ? lost : kept;
    list += fmt::format("{}{}", list.empty() ? "" : "; ", column.name);
  };
  for (const Column& column : kColumns) compare(column);
  std::string out;
  const std::string name = MarkdownEscaped(RowName(first));
  if (!lost.empty()) out += fmt::format("Breaks what {} does not: {}.\n\n", name, lost);
  if (!kept.empty()) out += fmt::format("Not seen to break what {} breaks: {}.\n\n", name, kept);
  if (out.empty() && comparable)
    out = fmt::format("Breaks what {} breaks, and nothing else.\n\n", name);
  return out;
}

std::string EvidenceLine(const Column& column, const GuaranteeReport& report) {
  std::string evidence = report.evidence().substr(0, report.evidence().find('\n'));
  if (evidence.size() > kEvidenceBytesMax) evidence = evidence.substr(0, kEvidenceBytesMax) + "...";
  return fmt::format("- {}: {} of {} states, such as {} ({} write{} lost). {}\n", column.name,
                     report.broken(), report.asked(), MarkdownCode(report.example()),
                     report.lost_writes(), report.lost_writes() == 1 ? "" : "s",
                     MarkdownEscaped(evidence));
}

std::string RowSection(const RunReport& run, const RunReport& first) {
  std::string out = fmt::format("### {}\n\n", MarkdownEscaped(RowName(run)));
  std::string options;
  for (const std::string& option : run.mount_option()) {
    options += (options.empty() ? "" : ",") + option;
  }
  out += fmt::format("Mount options: {}.", options.empty() ? "none" : MarkdownCode(options));
  out += "\n\n";
  if (const std::string why = WhyEmpty(run); !why.empty()) out += MarkdownEscaped(why) + "\n\n";
  out += Difference(run, first);
  std::string lines;
  const auto add = [&](const Column& column) {
    const auto report = Find(run, column.guarantee);
    if (report && report->broken() > 0) lines += EvidenceLine(column, *report);
  };
  for (const Column& column : kColumns) add(column);
  if (!lines.empty()) out += lines + "\n";
  if (!run.command().empty()) out += fmt::format("Again: {}\n\n", MarkdownCode(run.command()));
  return out;
}

constexpr std::string_view kDocumentHead =
    "# What files promise after a power cut\n\n"
    "Generated; do not edit. Each row is one run: a workload in a guest, every write to the disk "
    "recorded, then states that a power cut could have left, each recovered and looked at.\n\n";

constexpr std::string_view kCellWords =
    "A cell says in how many of the states the question was open, and what was seen in them: "
    "*held* is an observation in so many states, not a proof. *broken* has a state as evidence "
    "below. *weak*: never broken, but in no state had the change in question left a trace.\n\n";

constexpr std::string_view kTimestampWords =
    "Timestamps are not asked about: no cell says what becomes of atime, mtime and ctime, so rows "
    "of "
    "lazytime, noatime and nodiratime say nothing of what these options are for.\n\n";

}  // namespace

bool HasGuarantees(const ReportList& reports) { return !RowsOf(reports).empty(); }

std::string RenderMatrix(const ReportList& reports, const TerminalOptions& options) {
  const Style style{.colour = options.colour, .width = std::max(60, options.width)};
  const std::vector<const RunReport*> rows = RowsOf(reports);
  if (rows.empty()) return "no run asked the GUARANTEES oracle\n";
  std::string out = TerminalTable(style, rows);
  const std::string broken = BrokenLines(rows);
  out +=
      "A number: broken in so many states. weak: never broken, but no state shows the change.\n"
      "held?: never broken, but some states could not be judged.\n";
  out += "Timestamps are not asked about.\n";
  if (!broken.empty()) out += "\n" + broken;
  return out;
}

std::string RenderMatrixMarkdown(const ReportList& reports) {
  const std::vector<const RunReport*> rows = RowsOf(reports);
  std::string out(kDocumentHead);
  if (rows.empty()) return out + "No run asked the GUARANTEES oracle.\n";
  std::map<std::string, uint64_t> kernels;
  for (const RunReport* run : rows) ++kernels[run->kernel_release()];
  for (const auto& [kernel, count] : kernels) {
    out += fmt::format("Kernel {}: {} row{}.\n",
                       MarkdownEscaped(kernel.empty() ? "not known" : kernel), count,
                       count == 1 ? "" : "s");
  }
  const std::string command = rows.front()->command();
  if (!command.empty()) {
    out +=
        fmt::format("\n    {} --out OUT\n    ./plugpull report --matrix --format markdown OUT\n\n",
                    Printable(command.substr(0, command.find(" --filter "))));
  }
  out += kCellWords;
  out += MarkdownTable(rows) + Legend();
  out += kTimestampWords;
  out += "## Evidence\n\n`./plugpull explain OUT/" + rows.front()->name() +
         "/ROW/recording STATE` says what was lost in a state, `./plugpull materialize` writes its "
         "image.\n\n";
  for (const RunReport* run : rows) out += RowSection(*run, *rows.front());
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

}  // namespace plugpull::report
