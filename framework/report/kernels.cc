// SPDX-License-Identifier: Apache-2.0
#include "framework/report/kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "framework/report/summary.h"

namespace plugpull::report {
namespace {

using Key = std::tuple<std::string, std::string, uint64_t>;

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string OutcomeInWords(const RunReport& run) {
  switch (OutcomeOf(run)) {
    case Outcome::kAsExpected:
      return "as expected";
    case Outcome::kDiffers:
      return "not as expected";
    case Outcome::kUserError:
    case Outcome::kFailure:
      return "not judged: " + FirstLine(ErrorText(run));
    case Outcome::kSkipped:
      return "skipped";
  }
  return {};
}

// What was found and where, without how often; and the same in words, with how often.
std::map<std::string, std::string> Found(const RunReport& run) {
  std::map<std::string, std::string> found;
  for (const Finding& finding : run.finding()) {
    const std::string what = fmt::format("{} in {}", ClassWord(finding), StepPlace(finding));
    // What came instead is part of the finding: two kernels may refuse one mount in two ways.
    const size_t came = finding.evidence().find("\nbut: ");
    const std::string but = came == std::string::npos
                                ? std::string()
                                : " (" + FirstLine(finding.evidence().substr(came + 6)) + ")";
    found.emplace(what + but, what + but);
  }
  for (const DiskReport& disk : run.disk()) {
    const std::string where = run.disk_size() > 1 ? " on disk " + DiskWord(disk) : "";
    for (const Finding& finding : disk.finding()) {
      const std::string what =
          fmt::format("{} by {}{}", ClassWord(finding), OracleWord(finding), where);
      found.emplace(what, fmt::format("{} ({} of {} states)", what, finding.count(),
                                      disk.states().enumerated()));
    }
  }
  return found;
}

std::vector<std::string> DifferencesFrom(const RunReport& reference, const RunReport& run) {
  std::vector<std::string> differences;
  const std::string before = OutcomeInWords(reference);
  const std::string now = OutcomeInWords(run);
  if (before != now) {
    differences.push_back(
        fmt::format("{} with {}, {} with {}", before, reference.kernel(), now, run.kernel()));
  }
  const auto judged = [](const RunReport& one) {
    const Outcome outcome = OutcomeOf(one);
    return outcome == Outcome::kAsExpected || outcome == Outcome::kDiffers;
  };
  if (!judged(reference) || !judged(run)) return differences;
  const auto only_in = [&](const RunReport& one, const RunReport& other) {
    const auto not_there = Found(other);
    for (const auto& [key, words] : Found(one)) {
      if (not_there.contains(key)) continue;
      differences.push_back(
          fmt::format("{} with {}, not with {}", words, one.kernel(), other.kernel()));
    }
  };
  only_in(reference, run);
  only_in(run, reference);
  return differences;
}

}  // namespace

KernelComparison CompareKernels(const ReportList& reports) {
  std::vector<Key> keys;  // in the order of the runs
  std::map<Key, std::vector<const RunReport*>> runs;
  for (const RunReport& run : reports.run()) {
    if (run.kernel().empty()) continue;
    const Key key(run.name(), run.variant(), run.seed());
    std::vector<const RunReport*>& same = runs[key];
    if (same.empty()) keys.push_back(key);
    const bool there = std::any_of(same.begin(), same.end(), [&](const RunReport* other) {
      return other->kernel() == run.kernel();
    });
    if (!there) same.push_back(&run);
  }
  KernelComparison comparison;
  for (const Key& key : keys) {
    if (runs[key].size() < 2) continue;
    for (const RunReport* run : runs[key]) {
      if (std::count(comparison.kernels.begin(), comparison.kernels.end(), run->kernel()) == 0) {
        comparison.kernels.push_back(run->kernel());
      }
    }
  }
  for (const Key& key : keys) {
    if (runs[key].size() < 2) continue;
    KernelRow row{std::get<0>(key), std::get<1>(key), std::get<2>(key), 0, {}};
    row.cells.resize(comparison.kernels.size());
    for (const RunReport* run : runs[key]) {
      const auto column =
          std::find(comparison.kernels.begin(), comparison.kernels.end(), run->kernel());
      row.cells[static_cast<size_t>(column - comparison.kernels.begin())].run = run;
    }
    while (row.cells[row.reference].run == nullptr) ++row.reference;
    for (KernelCell& cell : row.cells) {
      if (cell.run == nullptr || &cell == &row.cells[row.reference]) continue;
      cell.differences = DifferencesFrom(*row.cells[row.reference].run, *cell.run);
    }
    comparison.rows.push_back(std::move(row));
  }
  return comparison;
}

const KernelRow* RowOf(const KernelComparison& comparison, const RunReport& run) {
  for (const KernelRow& row : comparison.rows) {
    if (row.name == run.name() && row.variant == run.variant() && row.seed == run.seed()) {
      return &row;
    }
  }
  return nullptr;
}

const KernelCell* CellOf(const KernelComparison& comparison, const RunReport& run) {
  const KernelRow* row = RowOf(comparison, run);
  if (row == nullptr) return nullptr;
  const auto cell = std::find_if(row->cells.begin(), row->cells.end(),
                                 [&](const KernelCell& one) { return one.run == &run; });
  return cell == row->cells.end() ? nullptr : &*cell;
}

std::vector<std::string> KernelDifferences(const KernelComparison& comparison) {
  std::vector<std::string> all;
  for (const KernelRow& row : comparison.rows) {
    for (const KernelCell& cell : row.cells) {
      for (const std::string& difference : cell.differences) {
        all.push_back(fmt::format("{}: {}", RunWord(*cell.run), difference));
      }
    }
  }
  return all;
}

}  // namespace plugpull::report
