// SPDX-License-Identifier: Apache-2.0
#include "framework/report/baseline.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tuple>

#include "framework/report/summary.h"

namespace plugpull::report {
namespace {

using Json = nlohmann::json;
// Scenario, variant, disk (empty: any), boot (0: of none), oracle, class, step (0: of no step).
using Key =
    std::tuple<std::string, std::string, std::string, uint64_t, std::string, std::string, uint64_t>;

constexpr const char* kNextStep = "give a file that --json of an older run made";

// A text of an object; where it is optional, a missing one is empty.
Result<std::string> Text(const Json& object, const char* key, bool required,
                         const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() && !required) return std::string();
  if (found == object.end() || !found->is_string()) {
    return UserError(
        fmt::format("the baseline's {} has no text \"{}\"; {}", where, key, kNextStep));
  }
  return found->get<std::string>();
}

// A number of an object; 0 when it is missing.
uint64_t Number(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

Status CollectRun(const Json& run, const std::string& where, std::set<Key>& known) {
  if (!run.is_object()) {
    return UserError(fmt::format("the baseline's {} is no object; {}", where, kNextStep));
  }
  PP_ASSIGN_OR_RETURN(const std::string name, Text(run, "name", true, where));
  PP_ASSIGN_OR_RETURN(const std::string variant, Text(run, "variant", true, where));
  const auto verdicts = run.find("verdicts");
  if (verdicts == run.end() || !verdicts->is_array()) {
    return UserError(
        fmt::format("the baseline's {} has no list \"verdicts\"; {}", where, kNextStep));
  }
  for (size_t i = 0; i < verdicts->size(); ++i) {
    const Json& verdict = (*verdicts)[i];
    const std::string verdict_where = fmt::format("{}, verdict {}", where, i + 1);
    if (!verdict.is_object()) {
      return UserError(fmt::format("the baseline's {} is no object; {}", verdict_where, kNextStep));
    }
    PP_ASSIGN_OR_RETURN(const std::string disk, Text(verdict, "disk", false, verdict_where));
    PP_ASSIGN_OR_RETURN(const std::string oracle, Text(verdict, "oracle", true, verdict_where));
    PP_ASSIGN_OR_RETURN(const std::string found, Text(verdict, "class", true, verdict_where));
    known.emplace(name, variant, disk, Number(verdict, "boot"), oracle, found,
                  Number(verdict, "step"));
  }
  return OkStatus();
}

Result<std::set<Key>> KnownFindings(std::string_view text) {
  if (text.size() > kBaselineSizeMax.value) {
    return UserError(fmt::format("the baseline has {} bytes, more than the {} that are read; {}",
                                 text.size(), kBaselineSizeMax.value, kNextStep));
  }
  const Json list = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (list.is_discarded()) {
    return UserError(
        fmt::format("the baseline ({} bytes) is not JSON; {}", text.size(), kNextStep));
  }
  if (!list.is_array()) {
    return UserError(fmt::format("the baseline is JSON, but no list of runs; {}", kNextStep));
  }
  std::set<Key> known;
  for (size_t i = 0; i < list.size(); ++i) {
    PP_RETURN_IF_ERROR(CollectRun(list[i], fmt::format("run {}", i + 1), known));
  }
  return known;
}

bool IsExpected(const Finding& finding) {
  return finding.expected() && finding.kind() != Finding::UNKNOWN;
}

// What is left of a run's reasons to fail, findings of the baseline aside.
bool NothingNew(const RunReport& run) {
  const auto excused = [](const Finding& finding) {
    return IsExpected(finding) || finding.in_baseline();
  };
  return run.missed_size() == 0 &&
         std::all_of(run.finding().begin(), run.finding().end(), excused) &&
         std::all_of(run.disk().begin(), run.disk().end(), [&](const DiskReport& disk) {
           return std::all_of(disk.finding().begin(), disk.finding().end(), excused);
         });
}

}  // namespace

Result<size_t> FilterAgainstBaseline(ReportList& now, std::string_view baseline_json) {
  PP_ASSIGN_OR_RETURN(const std::set<Key> known, KnownFindings(baseline_json));
  size_t marked = 0;
  for (RunReport& run : *now.mutable_run()) {
    size_t marked_in_run = 0;
    const auto mark = [&](const DiskReport& disk, Finding& finding) {
      if (IsExpected(finding)) return;
      const auto knows = [&](const std::string& on, uint64_t boot) {
        return known.contains({run.name(), run.variant(), on, boot, OracleWord(finding),
                               ClassWord(finding), finding.step()});
      };
      if (!knows(disk.disk(), disk.boot()) && !knows("", disk.boot()) && !knows("", 0)) return;
      finding.set_in_baseline(true);
      ++marked_in_run;
    };
    for (Finding& finding : *run.mutable_finding()) mark(DiskReport(), finding);
    for (DiskReport& disk : *run.mutable_disk()) {
      for (Finding& finding : *disk.mutable_finding()) mark(disk, finding);
    }
    if (marked_in_run > 0 && OutcomeOf(run) == Outcome::kDiffers) {
      run.set_as_expected(NothingNew(run));
    }
    marked += marked_in_run;
  }
  return marked;
}

}  // namespace plugpull::report
