// SPDX-License-Identifier: Apache-2.0
#include "framework/report/junit.h"

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <pugixml.hpp>
#include <sstream>
#include <string_view>
#include <vector>

#include "framework/report/kernels.h"
#include "framework/report/summary.h"
#include "framework/report/text.h"

namespace plugpull::report {
namespace {

constexpr size_t kEvidenceBytesMax = 64 << 10;  // of one finding

// The variant, or the scenario where there is only one; and the kernel where there are several. The
// cases of a driver are called by their summaries, "[Driver: x] [Testpattern: y] should ...".
std::string CaseName(const RunReport& run, const KernelComparison& comparison) {
  std::string name = run.variant().empty() ? run.name() : run.variant();
  if (run.summary().starts_with("[Driver: ")) {
    name = run.summary() + (run.variant().empty() ? "" : " [" + run.variant() + "]");
  }
  return CellOf(comparison, run) == nullptr ? name : fmt::format("{} [{}]", name, run.kernel());
}

uint64_t WallMilliseconds(const RunReport& run) {
  return run.guest_wall_ms() + run.check_wall_ms();
}

std::string Seconds(uint64_t milliseconds) {
  return fmt::format("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
}

void Set(pugi::xml_node node, const char* name, std::string_view value) {
  node.append_attribute(name).set_value(XmlText(value).c_str());
}

void SetText(pugi::xml_node node, std::string_view text) {
  node.append_child(pugi::node_pcdata).set_value(XmlText(text).c_str());
}

// What a suite or the whole report counts.
struct Counts {
  size_t tests = 0;
  size_t failures = 0;
  size_t errors = 0;
  size_t skipped = 0;
  uint64_t wall_ms = 0;

  void Add(const RunReport& run) {
    const Outcome outcome = OutcomeOf(run);
    ++tests;
    failures += outcome == Outcome::kDiffers ? 1 : 0;
    errors += outcome == Outcome::kUserError || outcome == Outcome::kFailure ? 1 : 0;
    skipped += outcome == Outcome::kSkipped ? 1 : 0;
    wall_ms += WallMilliseconds(run);
  }

  void Write(pugi::xml_node node) const {
    Set(node, "tests", fmt::format("{}", tests));
    Set(node, "failures", fmt::format("{}", failures));
    Set(node, "errors", fmt::format("{}", errors));
    Set(node, "time", Seconds(wall_ms));
  }
};

std::string FindingText(const DiskReport& disk, const Finding& finding) {
  const char* expected = finding.in_baseline() ? "in baseline"
                         : finding.expected() && finding.kind() != Finding::UNKNOWN
                             ? "expected"
                             : "not expected";
  std::string text = fmt::format("{} ({}, disk {}, {}): {} state{}, example {}\n",
                                 ClassWord(finding), OracleWord(finding), DiskWord(disk), expected,
                                 finding.count(), finding.count() == 1 ? "" : "s",
                                 finding.example().empty() ? "none" : finding.example());
  for (const std::string& lost : finding.lost()) text += fmt::format("  lost: {}\n", lost);
  if (!finding.evidence().empty()) {
    text += fmt::format("  evidence: {}\n",
                        std::string_view(finding.evidence()).substr(0, kEvidenceBytesMax));
  }
  if (!finding.command().empty()) text += fmt::format("  $ {}\n", finding.command());
  return text;
}

std::string AgentText(const AgentReport& agent) {
  std::string text;
  for (const PropertyReport& property : agent.property()) {
    if (property.verdict() == PropertyReport::NOT_EXERCISED) continue;
    const bool violated = property.verdict() == PropertyReport::VIOLATED;
    const char* expected = !violated ? "" : property.expected() ? ", expected" : ", not expected";
    text += fmt::format("agent {}: {} {}{}: {}\n", agent.agent(),
                        FindingClass_Name(property.property()),
                        PropertyReport::Verdict_Name(property.verdict()), expected,
                        std::string_view(property.evidence()).substr(0, kEvidenceBytesMax));
  }
  return text;
}

std::string DemandText(const Finding& finding) {
  const char* expected = finding.in_baseline() ? "in baseline"
                         : finding.expected()  ? "expected"
                                               : "not expected";
  return fmt::format("{} ({}, {}, {})\n  evidence: {}\n", ClassWord(finding), OracleWord(finding),
                     StepPlace(finding), expected,
                     std::string_view(finding.evidence()).substr(0, kEvidenceBytesMax));
}

// All that was found in a run.
std::string FoundText(const RunReport& run) {
  std::string text;
  for (const Finding& finding : run.finding()) text += DemandText(finding);
  for (const std::string& note : run.note()) text += fmt::format("note: {}\n", note);
  for (const DiskReport& disk : run.disk()) {
    for (const Finding& finding : disk.finding()) text += FindingText(disk, finding);
  }
  for (const AgentReport& agent : run.agent()) text += AgentText(agent);
  return text;
}

void WriteFailure(pugi::xml_node testcase, const RunReport& run) {
  std::string message;
  for (const std::string& difference : Differences(run)) {
    message += (message.empty() ? "" : "; ") + difference;
  }
  std::string text = FoundText(run);
  if (!run.command().empty()) text += fmt::format("run it again: {}\n", run.command());
  pugi::xml_node failure = testcase.append_child("failure");
  Set(failure, "type", "verdict");
  Set(failure, "message", message);
  SetText(failure, text);
}

void WriteError(pugi::xml_node testcase, const RunReport& run) {
  const bool incomplete = run.error().empty() && run.error_kind().empty();
  pugi::xml_node error = testcase.append_child("error");
  Set(error, "type",
      incomplete                 ? "incomplete"
      : run.error_kind().empty() ? "internal"
                                 : run.error_kind());
  Set(error, "message", ErrorText(run));
  std::string text = ErrorText(run) + "\n" + FoundText(run);
  if (!run.command().empty()) text += fmt::format("run it again: {}\n", run.command());
  SetText(error, text);
}

// "" where the run is not compared with the same under another kernel.
std::string KernelText(const RunReport& run, const KernelComparison& comparison) {
  const KernelCell* cell = CellOf(comparison, run);
  if (cell == nullptr) return {};
  const KernelRow& row = *RowOf(comparison, run);
  const RunReport& reference = *row.cells[row.reference].run;
  if (&reference == &run) return {};
  if (cell->differences.empty()) return fmt::format("no difference from {}\n", reference.kernel());
  std::string text = fmt::format("differs from {}:\n", reference.kernel());
  for (const std::string& difference : cell->differences) text += "  " + difference + "\n";
  return text;
}

void WriteCase(pugi::xml_node suite, const RunReport& run, const KernelComparison& comparison) {
  pugi::xml_node testcase = suite.append_child("testcase");
  Set(testcase, "classname", run.name());
  Set(testcase, "name", CaseName(run, comparison));
  Set(testcase, "time", Seconds(WallMilliseconds(run)));
  switch (OutcomeOf(run)) {
    case Outcome::kAsExpected:
      break;
    case Outcome::kDiffers:
      WriteFailure(testcase, run);
      break;
    case Outcome::kUserError:
    case Outcome::kFailure:
      WriteError(testcase, run);
      break;
    case Outcome::kSkipped:
      Set(testcase.append_child("skipped"), "message", run.skip_reason());
      return;
  }
  const StateCounts states = SumStates(run);
  SetText(
      testcase.append_child("system-out"),
      fmt::format("seed {}, kernel {}; {} states, {} distinct: {} hold, {} violated, {} unknown\n",
                  run.seed(), run.kernel(), states.enumerated(), states.distinct(), states.holds(),
                  states.violated(), states.unknown()) +
          KernelText(run, comparison));
}

void WriteProperty(pugi::xml_node properties, const std::string& name, std::string_view value) {
  pugi::xml_node property = properties.append_child("property");
  Set(property, "name", name);
  Set(property, "value", value);
}

void WriteProperties(pugi::xml_node suite, const std::vector<const RunReport*>& runs,
                     const KernelComparison& comparison) {
  bool same_seed = true;
  bool same_kernel = true;
  for (const RunReport* run : runs) {
    same_seed = same_seed && run->seed() == runs.front()->seed();
    same_kernel = same_kernel && run->kernel() == runs.front()->kernel();
  }
  pugi::xml_node properties = suite.append_child("properties");
  for (const RunReport* run : runs) {
    const bool first = run == runs.front();
    if (!same_seed || first) {
      WriteProperty(properties, same_seed ? "seed" : "seed." + CaseName(*run, comparison),
                    fmt::format("{}", run->seed()));
    }
    if (!same_kernel || first) {
      WriteProperty(properties, same_kernel ? "kernel" : "kernel." + CaseName(*run, comparison),
                    run->kernel());
    }
  }
}

}  // namespace

std::string RenderJUnit(const ReportList& reports) {
  std::vector<std::vector<const RunReport*>> suites;  // in the order of their first run
  std::map<std::string, size_t> suite_of;
  Counts all;
  const KernelComparison comparison = CompareKernels(reports);
  for (const RunReport& run : reports.run()) {
    const auto [at, fresh] = suite_of.emplace(run.name(), suites.size());
    if (fresh) suites.emplace_back();
    suites[at->second].push_back(&run);
    all.Add(run);
  }
  pugi::xml_document document;
  pugi::xml_node declaration = document.append_child(pugi::node_declaration);
  Set(declaration, "version", "1.0");
  Set(declaration, "encoding", "UTF-8");
  pugi::xml_node root = document.append_child("testsuites");
  Set(root, "name", "plugpull");
  all.Write(root);
  for (const auto& runs : suites) {
    Counts counts;
    for (const RunReport* run : runs) counts.Add(*run);
    pugi::xml_node suite = root.append_child("testsuite");
    Set(suite, "name", runs.front()->name());
    counts.Write(suite);
    Set(suite, "skipped", fmt::format("{}", counts.skipped));
    WriteProperties(suite, runs, comparison);
    for (const RunReport* run : runs) WriteCase(suite, *run, comparison);
  }
  std::ostringstream out;
  document.save(out, "  ", pugi::format_default, pugi::encoding_utf8);
  return out.str();
}

}  // namespace plugpull::report
