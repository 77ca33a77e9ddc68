// SPDX-License-Identifier: Apache-2.0
#include "framework/report/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <limits>
#include <string_view>

namespace plugpull::report {
namespace {

uint64_t SaturatingSum(uint64_t a, uint64_t b) {
  const uint64_t most = std::numeric_limits<uint64_t>::max();
  return a > most - b ? most : a + b;
}

std::string Counted(uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace

Outcome OutcomeOf(const RunReport& run) {
  if (run.skipped()) return Outcome::kSkipped;
  if (!run.error().empty() || !run.error_kind().empty()) {
    return run.error_kind() == "user" ? Outcome::kUserError : Outcome::kFailure;
  }
  if (!run.incomplete_reason().empty()) return Outcome::kFailure;
  return run.as_expected() ? Outcome::kAsExpected : Outcome::kDiffers;
}

int ExitStatus(const ReportList& reports) {
  std::set<Outcome> outcomes;
  for (const RunReport& run : reports.run()) outcomes.insert(OutcomeOf(run));
  if (outcomes.contains(Outcome::kUserError)) return 2;
  if (outcomes.contains(Outcome::kFailure)) return 3;
  if (outcomes.contains(Outcome::kDiffers)) return 1;
  return outcomes.contains(Outcome::kAsExpected) ? 0 : 4;
}

std::vector<std::string> Differences(const RunReport& run) {
  std::vector<std::string> violated;
  std::vector<std::string> unknown;
  for (const Finding& finding : run.finding()) {
    if (finding.in_baseline() || finding.expected()) continue;
    const std::string& evidence = finding.evidence();
    violated.push_back(fmt::format("not expected: {} in {}, {}", ClassWord(finding),
                                   StepPlace(finding), evidence.substr(0, evidence.find('\n'))));
  }
  for (const DiskReport& disk : run.disk()) {
    const std::string where = run.disk_size() > 1 ? fmt::format(", disk {}", DiskWord(disk)) : "";
    for (const Finding& finding : disk.finding()) {
      if (finding.in_baseline()) continue;
      const std::string who = OracleWord(finding) + where;
      if (finding.kind() == Finding::UNKNOWN) {
        unknown.push_back(
            fmt::format("{} could not be judged ({})", Counted(finding.count(), "state"), who));
      } else if (!finding.expected()) {
        violated.push_back(fmt::format("not expected: {} in {} ({})", ClassWord(finding),
                                       Counted(finding.count(), "state"), who));
      }
    }
  }
  for (const AgentReport& agent : run.agent()) {
    uint64_t not_judged = 0;
    for (const PropertyReport& property : agent.property()) {
      if (property.in_baseline()) continue;
      not_judged += property.verdict() == PropertyReport::UNKNOWN ? 1 : 0;
      if (property.verdict() != PropertyReport::VIOLATED || property.expected()) continue;
      violated.push_back(fmt::format("not expected: {} (agent {}): {}",
                                     FindingClass_Name(property.property()), agent.agent(),
                                     property.evidence()));
    }
    if (not_judged > 0) {
      unknown.push_back(fmt::format("{} of agent {} could not be judged: {}",
                                    Counted(not_judged, "property"), agent.agent(),
                                    agent.property(0).evidence()));
    }
  }
  for (const int missed : run.missed()) {
    violated.push_back(fmt::format("expected and not found: {}",
                                   FindingClass_Name(static_cast<FindingClass>(missed))));
  }
  violated.insert(violated.end(), unknown.begin(), unknown.end());
  if (violated.empty())
    violated.emplace_back("the run is marked as not as expected, without a finding");
  return violated;
}

std::string ErrorText(const RunReport& run) {
  if (run.error().empty() && run.error_kind().empty()) {
    return fmt::format("the recording is incomplete, so no verdict can be relied on: {}",
                       run.incomplete_reason());
  }
  const std::string kind = run.error_kind().empty() ? "internal" : run.error_kind();
  return fmt::format("{} error: {}", kind, run.error().empty() ? "(no message)" : run.error());
}

std::string OracleWord(const Finding& finding) {
  std::string word = Oracle_Name(finding.oracle());
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return word;
}

std::string DiskWord(const DiskReport& disk) {
  return disk.has_boot() ? fmt::format("{}, boot {}", disk.disk(), disk.boot()) : disk.disk();
}

std::string ClassWord(const Finding& finding) {
  return finding.kind() == Finding::UNKNOWN ? "UNKNOWN" : FindingClass_Name(finding.class_());
}

std::string RunWord(const RunReport& run) {
  return run.variant().empty() ? run.name() : fmt::format("{}/{}", run.name(), run.variant());
}

std::string StepPlace(const Finding& finding) {
  return finding.has_line() ? fmt::format("step {} (line {})", finding.step(), finding.line())
                            : fmt::format("step {}", finding.step());
}

StateCounts SumStates(const RunReport& run) {
  StateCounts sum;
  for (const DiskReport& disk : run.disk()) {
    const StateCounts& states = disk.states();
    sum.set_enumerated(SaturatingSum(sum.enumerated(), states.enumerated()));
    sum.set_distinct(SaturatingSum(sum.distinct(), states.distinct()));
    sum.set_holds(SaturatingSum(sum.holds(), states.holds()));
    sum.set_violated(SaturatingSum(sum.violated(), states.violated()));
    sum.set_unknown(SaturatingSum(sum.unknown(), states.unknown()));
  }
  return sum;
}

bool HoldsWeakly(const DiskReport& disk) {
  const StateCounts& states = disk.states();
  return disk.coverage().weak() && states.holds() > 0 && states.violated() == 0;
}

bool IsPrefix(const EnumeratorReport& enumerator) {
  return enumerator.name().starts_with("prefix");
}

std::map<int, uint64_t> ClassesOfBothLogs(const DiskReport& disk) {
  std::map<int, uint64_t> classes;
  for (const Finding& finding : disk.finding()) {
    const bool of_guest_alone = finding.oracle() == KERNEL_MOUNT || finding.oracle() == COMMAND ||
                                finding.oracle() == SAME_RECOVERY;
    if (finding.kind() == Finding::VIOLATED && !of_guest_alone) {
      classes[finding.class_()] += finding.count();
    }
  }
  return classes;
}

}  // namespace plugpull::report
