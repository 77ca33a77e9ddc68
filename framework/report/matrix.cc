// SPDX-License-Identifier: Apache-2.0
#include "framework/report/matrix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <span>
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

constexpr Column kFileColumns[] = {
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

constexpr Column kTimesColumns[] = {
    {GuaranteeReport::TIMES_AFTER_SYNC, "sync", "times: fsync, syncfs, sync",
     "the times that a write in place and a read gave an inode, after a sync of it"},
    {GuaranteeReport::TIMES_AFTER_FDATASYNC, "fdata", "times: fdatasync",
     "after fdatasync, which promises none"},
    {GuaranteeReport::TIMES_WITHOUT_TRIGGER, "none", "times: next commit",
     "after nothing but the journal's next commit, for another file's sake"},
    {GuaranteeReport::TIMES_AFTER_OTHER_CHANGE, "other", "times: other change of the inode",
     "after such a commit, when the inode had been changed for another reason (chmod)"},
    {GuaranteeReport::TIMES_AFTER_EVICTION, "evict", "times: eviction",
     "after such a commit, when inodes had been dropped from memory (vm.drop_caches)"},
    {GuaranteeReport::TIMES_AFTER_A_DAY, "day", "times: a day",
     "after 36 hours in which nothing was done, without a sync"},
    {GuaranteeReport::ATIME_OF_FILE, "read", "atime: first read",
     "a synced atime shows the first read of a file since it was changed"},
    {GuaranteeReport::ATIME_OF_FILE_AGAIN, "again", "atime: next read",
     "and the read after that one"},
    {GuaranteeReport::ATIME_OF_FILE_NEXT_DAY, "later", "atime: next read, a day later",
     "and one that comes more than a day later"},
    {GuaranteeReport::ATIME_OF_FOLDER, "list", "atime: folder listed",
     "the same of the first listing of a folder since a name was made in it"},
};

struct Part {
  std::span<const Column> columns;
  std::string_view heading;
  std::string_view held;  // in cells
  std::string_view broken;
  std::string_view breaks;  // of a row, in sentences
  std::string_view to_break;
};

constexpr Part kFiles = {kFileColumns, "Files", "held", "broken", "breaks", "break"};
constexpr Part kTimes = {kTimesColumns, "Times", "kept", "lost", "loses", "lose"};

// A table of the matrix.
struct Sheet {
  const Part* part = nullptr;
  std::vector<const RunReport*> rows;
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

bool Asks(const RunReport& run, const Part& part) {
  const auto in_part = [&](const GuaranteeReport& report) {
    return std::any_of(part.columns.begin(), part.columns.end(), [&](const Column& column) {
      return column.guarantee == report.guarantee();
    });
  };
  return std::any_of(run.disk().begin(), run.disk().end(), [&](const DiskReport& disk) {
    return std::any_of(disk.guarantee().begin(), disk.guarantee().end(), in_part);
  });
}

// Runs that have nothing to show belong to it, too, when others of their scenario have. A scenario
// that asks about times is in their table alone.
std::vector<Sheet> SheetsOf(const ReportList& reports) {
  std::map<std::string, const Part*> parts;  // by scenario
  for (const RunReport& run : reports.run()) {
    const Part*& part = parts[run.name()];
    if (Asks(run, kTimes)) {
      part = &kTimes;
    } else if (part == nullptr && Asks(run, kFiles)) {
      part = &kFiles;
    }
  }
  std::vector<Sheet> sheets = {{&kFiles, {}}, {&kTimes, {}}};
  for (const RunReport& run : reports.run()) {
    for (Sheet& sheet : sheets) {
      if (parts.at(run.name()) == sheet.part) sheet.rows.push_back(&run);
    }
  }
  std::erase_if(sheets, [](const Sheet& sheet) { return sheet.rows.empty(); });
  return sheets;
}

// ---- the terminal

Cell TerminalCell(const Part& part, const std::optional<GuaranteeReport>& report) {
  if (!Asked(report)) return {"-", Tone::kDim};
  const char* unknown = report->unknown() > 0 ? "?" : "";
  if (report->broken() > 0) return {fmt::format("{}{}", report->broken(), unknown), Tone::kBad};
  if (report->asked() == 0) return {"?", Tone::kWarn};
  if (report->shown() == 0) return {fmt::format("weak{}", unknown), Tone::kWarn};
  if (report->unknown() > 0) return {std::string(part.held) + "?", Tone::kWarn};
  return {std::string(part.held), Tone::kGood};
}

// ", 3 unknown".
std::string UnknownWords(const GuaranteeReport& report) {
  return report.unknown() > 0 ? fmt::format(", {} unknown", report.unknown()) : std::string();
}

std::string TerminalTable(const Style& style, const Sheet& sheet) {
  const std::span<const Column> columns = sheet.part->columns;
  Table table;
  table.AddColumn("mounted with", Table::Kind::kText);
  for (const Column& column : columns) {
    table.AddColumn(std::string(column.title), Table::Kind::kNumber);
  }
  for (const RunReport* run : sheet.rows) {
    std::vector<Cell> cells = {{RowName(*run)}};
    for (const Column& column : columns) {
      cells.push_back(TerminalCell(*sheet.part, Find(*run, column.guarantee)));
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
  for (const Column& column : columns) {
    const std::string words = fmt::format("{}: {}", column.name, column.meaning);
    std::string_view title = column.title;
    for (const std::string& line : WrapToWidth(words, style.width - 8)) {
      out += fmt::format("  {:<6}{}\n", std::exchange(title, ""), line);
    }
  }
  return out + "\n";
}

std::string BrokenLines(const Sheet& sheet) {
  std::string out;
  for (const RunReport* run : sheet.rows) {
    for (const Column& column : sheet.part->columns) {
      const auto report = Find(*run, column.guarantee);
      if (!report || report->broken() == 0) continue;
      out += Printable(fmt::format("  {}, {}: {} of {} states{}, e.g. {}", RowName(*run),
                                   column.title, report->broken(), report->asked(),
                                   UnknownWords(*report), report->example())) +
             "\n";
    }
  }
  return out;
}

// ---- the document

std::string MarkdownCell(const Part& part, const std::optional<GuaranteeReport>& report) {
  if (!Asked(report)) return "not asked";
  if (report->asked() == 0) return fmt::format("unknown in {}", report->unknown());
  const std::string unknown =
      report->unknown() > 0 ? fmt::format(", unknown in {}", report->unknown()) : "";
  if (report->broken() > 0) {
    return fmt::format("**{}** in {} of {}{}", part.broken, report->broken(), report->asked(),
                       unknown);
  }
  if (report->shown() == 0) return fmt::format("weak: not seen in {}{}", report->asked(), unknown);
  return fmt::format("{} in {}{}", part.held, report->asked(), unknown);
}

std::string MarkdownTable(const Sheet& sheet) {
  const std::span<const Column> columns = sheet.part->columns;
  std::string out = "| row |";
  std::string rule = "|---|";
  for (const Column& column : columns) {
    out += fmt::format(" {} |", column.name);
    rule += "---|";
  }
  out += "\n" + rule + "\n";
  for (const RunReport* run : sheet.rows) {
    out += fmt::format("| {} |", MarkdownEscaped(RowName(*run)));
    const std::string why = WhyEmpty(*run);
    for (size_t i = 0; i < columns.size(); ++i) {
      if (why.empty()) {
        out += fmt::format(" {} |", MarkdownCell(*sheet.part, Find(*run, columns[i].guarantee)));
      } else {
        out += i == 0 ? fmt::format(" {} |", MarkdownEscaped(why)) : " - |";
      }
    }
    out += "\n";
  }
  return out + "\n";
}

std::string Legend(const Part& part) {
  std::string out;
  for (const Column& column : part.columns) {
    out += fmt::format("- **{}**: {}\n", column.name, column.meaning);
  }
  return out + "\n";
}

// "breaks what ROW keeps: ..."; nothing for the first row itself.
std::string Difference(const Part& part, const RunReport& run, const RunReport& first) {
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
  for (const Column& column : part.columns) compare(column);
  std::string out;
  const std::string name = MarkdownEscaped(RowName(first));
  std::string begins(part.breaks);
  begins[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(begins[0])));
  if (!lost.empty()) out += fmt::format("{} what {} does not: {}.\n\n", begins, name, lost);
  if (!kept.empty()) {
    out +=
        fmt::format("Not seen to {} what {} {}: {}.\n\n", part.to_break, name, part.breaks, kept);
  }
  if (out.empty() && comparable) {
    out = fmt::format("{} what {} {}, and nothing else.\n\n", begins, name, part.breaks);
  }
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

std::string RowSection(const Part& part, const RunReport& run, const RunReport& first) {
  std::string out = fmt::format("### {}\n\n", MarkdownEscaped(RowName(run)));
  std::string options;
  for (const std::string& option : run.mount_option()) {
    options += (options.empty() ? "" : ",") + option;
  }
  out += fmt::format("Mount options: {}.", options.empty() ? "none" : MarkdownCode(options));
  out += "\n\n";
  if (const std::string why = WhyEmpty(run); !why.empty()) out += MarkdownEscaped(why) + "\n\n";
  out += Difference(part, run, first);
  std::string lines;
  const auto add = [&](const Column& column) {
    const auto report = Find(run, column.guarantee);
    if (report && report->broken() > 0) lines += EvidenceLine(column, *report);
  };
  for (const Column& column : part.columns) add(column);
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
    "below. *weak*: never broken, but in no state had the change in question left a trace. "
    "*unknown*: so many more states, in which the question was open and nobody could answer "
    "it. How many states broke hangs on the guest's timing, and so is no rate: one and the same "
    "cell was seen to differ seventyfold between two machines' loads. What was broken can happen; "
    "what held, held in this run.\n\n";

// The same in the table of times, and what its columns stand on.
constexpr std::string_view kTimesWords =
    "A cell says in how many of the states the question was open, and whether each time was found "
    "that the guest's kernel had shown, to the nanosecond: *kept*, or *lost* in so many, with a "
    "state as evidence below. A time that an option does not note at all is lost here, too, and "
    "the evidence says so (\"was left at\"): a read under `noatime`, the listing of a folder under "
    "`nodiratime`, the next read of a file that nobody changed under `relatime`. That is what "
    "these "
    "options are for.\n\n";

constexpr std::string_view kTriggerWords =
    "`lazytime` promises its times after a sync, another change of the inode, eviction and a day "
    "(mount(8)). The last three promise nothing at a moment of their own: another change and "
    "eviction put the times into the running transaction of the journal, and the question is open "
    "from the next fsync of another file that had grown since, which has committed it. For a day "
    "it is open from the end of the 36 hours. Linux 6.1 looks every 12 hours "
    "(`dirtytime_expire_interval`) for times that are as old, so they are written after 12 to 24 "
    "hours (`wakeup_dirtytime_writeback`, `queue_io` and `__writeback_single_inode` in "
    "fs/fs-writeback.c), and the journal commits within 5 seconds. No two files that are asked "
    "about share a block of the inode table: ext4 writes lazy times of an inode's neighbours "
    "along with it (`ext4_update_other_inodes_time` in fs/ext4/inode.c), so outside of such a test "
    "fewer are lost.\n\n";

// The command that made all rows, as far as their runs say how they were made.
std::string CommandOf(const std::vector<Sheet>& sheets) {
  constexpr std::string_view kRun = "./plugpull run ";
  std::vector<std::string> scenarios;
  for (const Sheet& sheet : sheets) {
    for (const RunReport* run : sheet.rows) {
      const std::string command = run->command().substr(0, run->command().find(" --filter "));
      if (!command.starts_with(kRun)) continue;
      const std::string scenario = command.substr(kRun.size());
      if (std::find(scenarios.begin(), scenarios.end(), scenario) == scenarios.end()) {
        scenarios.push_back(scenario);
      }
    }
  }
  std::string all;
  for (const std::string& scenario : scenarios) all += scenario + " ";
  return all.empty() ? all : fmt::format("{}{}--out OUT", kRun, Printable(all));
}

// As a shell would read it where there are several.
std::string ScenariosOf(const Sheet& sheet) {
  std::vector<std::string> names;
  for (const RunReport* run : sheet.rows) {
    if (std::find(names.begin(), names.end(), run->name()) == names.end()) {
      names.push_back(run->name());
    }
  }
  return names.size() == 1 ? names.front() : fmt::format("{{{}}}", fmt::join(names, ","));
}

std::string SheetInMarkdown(const Sheet& sheet, bool headed) {
  std::string out;
  if (headed) out += fmt::format("## {}\n\n", sheet.part->heading);
  out += sheet.part == &kTimes ? kTimesWords : kCellWords;
  out += MarkdownTable(sheet) + Legend(*sheet.part);
  if (sheet.part == &kTimes) out += kTriggerWords;
  return out;
}

}  // namespace

bool HasGuarantees(const ReportList& reports) { return !SheetsOf(reports).empty(); }

std::string RenderMatrix(const ReportList& reports, const TerminalOptions& options) {
  const Style style{.colour = options.colour, .width = std::max(60, options.width)};
  const std::vector<Sheet> sheets = SheetsOf(reports);
  if (sheets.empty()) return "no run asked the GUARANTEES oracle\n";
  std::string out;
  std::string broken;
  for (const Sheet& sheet : sheets) {
    out += TerminalTable(style, sheet);
    broken += BrokenLines(sheet);
  }
  out +=
      "A number: broken (a time: lost) in so many states. weak: never broken, but no state shows\n"
      "the change. ?: some states could not be judged, and may be broken or not.\n";
  if (!broken.empty()) out += "\n" + broken;
  return out;
}

std::string RenderMatrixMarkdown(const ReportList& reports) {
  const std::vector<Sheet> sheets = SheetsOf(reports);
  std::string out(kDocumentHead);
  if (sheets.empty()) return out + "No run asked the GUARANTEES oracle.\n";
  std::map<std::string, uint64_t> kernels;
  for (const Sheet& sheet : sheets) {
    for (const RunReport* run : sheet.rows) ++kernels[run->kernel_release()];
  }
  for (const auto& [kernel, count] : kernels) {
    out += fmt::format("Kernel {}: {} row{}.\n",
                       MarkdownEscaped(kernel.empty() ? "not known" : kernel), count,
                       count == 1 ? "" : "s");
  }
  if (const std::string command = CommandOf(sheets); !command.empty()) {
    out +=
        fmt::format("\n    {}\n    ./plugpull report --matrix --format markdown OUT\n\n", command);
  }
  for (const Sheet& sheet : sheets) out += SheetInMarkdown(sheet, sheets.size() > 1);
  for (const Sheet& sheet : sheets) {
    out += sheets.size() > 1 ? fmt::format("## Evidence: {}\n\n", sheet.part->heading)
                             : std::string("## Evidence\n\n");
    out += "`./plugpull explain OUT/" + ScenariosOf(sheet) +
           "/ROW/recording STATE` says what was lost in a state, `./plugpull materialize` writes "
           "its image.\n\n";
    for (const RunReport* run : sheet.rows) {
      out += RowSection(*sheet.part, *run, *sheet.rows.front());
    }
  }
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

}  // namespace plugpull::report
