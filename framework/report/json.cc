// SPDX-License-Identifier: Apache-2.0
#include "framework/report/json.h"

#include <nlohmann/json.hpp>

#include "framework/base/rpc_code.h"
#include "framework/report/kernels.h"
#include "framework/report/summary.h"

namespace plugpull::report {
namespace {

using Json = nlohmann::ordered_json;  // keys in the order in which they are written

Json StatesJson(const StateCounts& states) {
  return {{"enumerated", states.enumerated()},
          {"distinct", states.distinct()},
          {"holds", states.holds()},
          {"violated", states.violated()},
          {"unknown", states.unknown()}};
}

Json VerdictJson(const DiskReport& disk, const Finding& finding) {
  Json verdict = {{"oracle", OracleWord(finding)},
                  {"class", ClassWord(finding)},
                  {"count", finding.count()},
                  {"example", finding.example()},
                  {"expected", finding.expected()},
                  {"command", finding.command()},
                  {"disk", disk.disk()},
                  {"in_baseline", finding.in_baseline()},
                  {"evidence", finding.evidence()},
                  {"lost_writes", finding.lost_writes()},
                  {"lost", Json::array()}};
  for (const std::string& lost : finding.lost()) verdict["lost"].push_back(lost);
  if (disk.has_boot()) verdict["boot"] = disk.boot();
  return verdict;
}

// Of a demand that was not met. The keys that every verdict has come first.
Json DemandJson(const Finding& finding) {
  Json verdict = VerdictJson(DiskReport(), finding);
  verdict["step"] = finding.step();
  verdict["line"] = finding.has_line() ? Json(finding.line()) : Json(nullptr);
  return verdict;
}

template <typename Classes>
Json ClassesJson(const Classes& classes) {
  Json list = Json::array();
  for (const int value : classes) {
    list.push_back(FindingClass_Name(static_cast<FindingClass>(value)));
  }
  return list;
}

Json CoverageJson(const CoverageReport& coverage) {
  return {{"log_entries", coverage.log_entries()},
          {"writes", coverage.writes()},
          {"flushes", coverage.flushes()},
          {"fua_writes", coverage.fua_writes()},
          {"discards", coverage.discards()},
          {"marks", coverage.marks()},
          {"commits", coverage.commits()},
          {"tail_moves", coverage.tail_moves()},
          {"checkpoints", coverage.checkpoints()},
          {"revokes", coverage.revokes()},
          {"wraps", coverage.wraps()},
          {"orphan_cuts", coverage.orphan_cuts()},
          {"weak", coverage.weak()},
          {"order_unknown", coverage.order_unknown()},
          {"dropped_bytes", coverage.dropped_bytes()},
          {"dropped_reason", coverage.dropped_reason()},
          {"blind_spot", coverage.blind_spot()}};
}

template <typename Texts>
Json TextsJson(const Texts& texts) {
  Json list = Json::array();
  for (const std::string& text : texts) list.push_back(text);
  return list;
}

Json CrossCheckJson(const CrossCheckReport& report) {
  if (report.has_not_done()) return {{"not_done", report.not_done()}};
  return {{"flush_points", report.flush_points()},
          {"flush_points_agree", report.flush_points_agree()},
          {"mark_points", report.mark_points()},
          {"mark_points_agree", report.mark_points_agree()},
          {"writes", report.writes()},
          {"writes_found", report.writes_found()},
          {"host_writes", report.host_writes()},
          {"host_flushes", report.host_flushes()},
          {"contradictions", report.contradictions()},
          {"contradiction", TextsJson(report.contradiction())},
          {"host_states", StatesJson(report.host_states())},
          {"host_found", ClassesJson(report.host_found())},
          {"verdict_contradiction", TextsJson(report.verdict_contradiction())},
          {"notes", TextsJson(report.note())},
          {"commands", TextsJson(report.command())}};
}

Json GuaranteeJson(const GuaranteeReport& report) {
  return {{"guarantee", GuaranteeReport::Guarantee_Name(report.guarantee())},
          {"asked", report.asked()},
          {"broken", report.broken()},
          {"shown", report.shown()},
          {"unknown", report.unknown()},
          {"example", report.example()},
          {"evidence", report.evidence()},
          {"command", report.command()},
          {"lost_writes", report.lost_writes()}};
}

Json DiskJson(const DiskReport& disk) {
  Json json = {{"disk", disk.disk()},
               {"model", disk.model()},
               {"states", StatesJson(disk.states())},
               {"enumerators", Json::array()},
               {"coverage", nullptr},
               {"judges", Json::array()},
               {"notes", Json::array()}};
  if (disk.has_boot()) json["boot"] = disk.boot();
  for (const GuaranteeReport& guarantee : disk.guarantee()) {
    json["guarantees"].push_back(GuaranteeJson(guarantee));
  }
  if (disk.has_nested()) json["nested"] = StatesJson(disk.nested());
  for (const EnumeratorReport& enumerator : disk.enumerator()) {
    json["enumerators"].push_back({{"name", enumerator.name()},
                                   {"states", StatesJson(enumerator.states())},
                                   {"found", ClassesJson(enumerator.found())},
                                   {"exhaustive", enumerator.exhaustive()}});
  }
  if (disk.has_coverage()) json["coverage"] = CoverageJson(disk.coverage());
  for (const JudgeCount& judge : disk.judge()) {
    json["judges"].push_back({{"judge", judge.judge()}, {"runs", judge.runs()}});
  }
  for (const std::string& note : disk.note()) json["notes"].push_back(note);
  if (disk.has_cross_check()) json["cross_check"] = CrossCheckJson(disk.cross_check());
  return json;
}

Json AgentJson(const AgentReport& agent) {
  Json json = {{"agent", agent.agent()},
               {"mounts", agent.mounts()},
               {"mounts_failed", agent.mounts_failed()},
               {"restarts", agent.restarts()},
               {"watched_ms", agent.watched_ms()},
               {"properties", Json::array()}};
  for (const PropertyReport& property : agent.property()) {
    json["properties"].push_back({{"property", FindingClass_Name(property.property())},
                                  {"verdict", PropertyReport::Verdict_Name(property.verdict())},
                                  {"expected", property.expected()},
                                  {"in_baseline", property.in_baseline()},
                                  {"disk", property.disk()},
                                  {"evidence", property.evidence()}});
  }
  for (const CsiReport& csi : agent.csi()) {
    Json codes = Json::object();
    for (const CsiCodeCount& count : csi.code()) codes[RpcCodeName(count.code())] = count.calls();
    json["csi"].push_back({{"volume", csi.volume()},
                           {"method", csi.method()},
                           {"codes", codes},
                           {"last_message", csi.last_message()}});
  }
  return json;
}

const char* OutcomeWord(Outcome outcome) {
  switch (outcome) {
    case Outcome::kAsExpected:
      return "as_expected";
    case Outcome::kDiffers:
      return "differs";
    case Outcome::kUserError:
    case Outcome::kFailure:
      return "error";
    case Outcome::kSkipped:
      return "skipped";
  }
  return "error";
}

// How a run under one of several kernels differs from the reference, the first of them.
Json KernelsJson(const KernelRow& row, const KernelCell& cell) {
  return {{"reference", row.cells[row.reference].run->kernel()},
          {"differences", TextsJson(cell.differences)}};
}

Json RunJson(const RunReport& run, const KernelComparison& comparison) {
  Json json = {{"name", run.name()},
               {"variant", run.variant()},
               {"seed", run.seed()},
               {"kernel", run.kernel()},
               {"states", StatesJson(SumStates(run))},
               {"verdicts", Json::array()}};
  for (const Finding& finding : run.finding()) json["verdicts"].push_back(DemandJson(finding));
  for (const DiskReport& disk : run.disk()) {
    for (const Finding& finding : disk.finding()) {
      json["verdicts"].push_back(VerdictJson(disk, finding));
    }
  }
  const Outcome outcome = OutcomeOf(run);
  json["outcome"] = OutcomeWord(outcome);
  json["as_expected"] = outcome == Outcome::kAsExpected;
  json["expected"] = ClassesJson(run.expected());
  json["missed"] = ClassesJson(run.missed());
  json["error"] = run.error();
  json["error_kind"] = run.error_kind();
  json["incomplete_reason"] = run.incomplete_reason();
  json["skipped"] = run.skipped();
  json["skip_reason"] = run.skip_reason();
  json["command"] = run.command();
  json["summary"] = run.summary();
  json["kernel_release"] = run.kernel_release();
  json["accelerator"] = run.accelerator();
  json["recording"] = run.recording();
  json["guest_wall_ms"] = run.guest_wall_ms();
  json["check_wall_ms"] = run.check_wall_ms();
  if (run.has_steps()) json["steps"] = {{"planned", run.steps()}, {"run", run.steps_run()}};
  if (run.note_size() > 0) json["notes"] = TextsJson(run.note());
  if (const KernelCell* cell = CellOf(comparison, run)) {
    json["kernel_comparison"] = KernelsJson(*RowOf(comparison, run), *cell);
  }
  if (!run.mount_option().empty()) json["mount_options"] = TextsJson(run.mount_option());
  if (run.has_mount_errno()) json["mount_errno"] = run.mount_errno();
  json["disks"] = Json::array();
  for (const DiskReport& disk : run.disk()) json["disks"].push_back(DiskJson(disk));
  if (!run.agent().empty()) {
    json["guest_clock_ms"] = run.guest_clock_ms();
    json["agents"] = Json::array();
    for (const AgentReport& agent : run.agent()) json["agents"].push_back(AgentJson(agent));
  }
  return json;
}

}  // namespace

std::string RenderJson(const ReportList& reports) {
  Json list = Json::array();
  const KernelComparison comparison = CompareKernels(reports);
  for (const RunReport& run : reports.run()) list.push_back(RunJson(run, comparison));
  return list.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace plugpull::report
