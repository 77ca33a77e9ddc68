// SPDX-License-Identifier: Apache-2.0
#include "framework/run/minimize_state.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/run/check.h"

namespace plugpull::run {
namespace {

using diagnose::CutAndLost;
using oracle::Outcome;

const StateFinding* Find(const std::vector<StateFinding>& findings, FindingClass finding_class) {
  for (const StateFinding& finding : findings) {
    if (finding.finding_class == finding_class) return &finding;
  }
  return nullptr;
}

// The finding of `verdict` to keep.
Result<FindingClass> Choose(const StateVerdict& verdict, FindingClass wanted, bool torn,
                            const std::string& id) {
  const auto findings = FindingsOf(verdict);
  if (findings.empty()) {
    if (verdict.Worst() == Outcome::kHolds) {
      return UserError(fmt::format("nothing to minimise: the state holds ({})", id));
    }
    return UserError(fmt::format(
        "nothing to minimise: the verdict on {} is unknown ({}); minimise one that is violated", id,
        verdict.order_decides                 ? "it hangs on the order of two overlapping writes"
        : verdict.evidence != nullptr         ? *verdict.evidence
        : verdict.content_evidence != nullptr ? *verdict.content_evidence
                                              : "no reason was given"));
  }
  if (wanted == FINDING_UNSPECIFIED || (wanted == TORN_WRITE && torn)) {
    return findings[0].finding_class;
  }
  if (Find(findings, wanted) != nullptr) return wanted;
  std::string has;
  for (const StateFinding& finding : findings) {
    has += " " + FindingClass_Name(finding.finding_class);
  }
  return UserError(
      fmt::format("{} does not show {}; it shows:{}", id, FindingClass_Name(wanted), has));
}

}  // namespace

Result<MinimizedState> MinimizeState(StateJudge& judge, const MinimizeRequest& request) {
  MinimizedState minimized;
  minimized.from = judge.id().ToString();
  minimized.states_max = request.states_max;
  minimized.lost_before = judge.state().lost.size();
  minimized.torn_units_before = judge.state().torn_units();
  PP_ASSIGN_OR_RETURN(const auto first, judge.Run({judge.state()}));
  PP_ASSIGN_OR_RETURN(minimized.finding_class, Choose(first[0], request.finding_class,
                                                      !judge.state().torn.empty(), minimized.from));
  uint64_t judged = 1;
  const auto fails = [&](const std::vector<CutAndLost>& states) -> Result<std::vector<bool>> {
    PP_ASSIGN_OR_RETURN(const auto verdicts, judge.Run(states));
    std::vector<bool> answers;
    for (const StateVerdict& verdict : verdicts) {
      answers.push_back(Find(FindingsOf(verdict), minimized.finding_class) != nullptr);
    }
    judged += states.size();
    if (request.progress) request.progress(judged, request.states_max);
    return answers;
  };
  PP_ASSIGN_OR_RETURN(
      const auto result,
      diagnose::Minimize(judge.state(),
                         {judge.source().space().first_cut(), request.states_max, judged}, fails));
  PP_ASSIGN_OR_RETURN(const auto last, judge.Run({result.state}));
  const auto findings = FindingsOf(last[0]);
  const StateFinding* finding = Find(findings, minimized.finding_class);
  if (finding == nullptr) {
    return EnvironmentError(fmt::format(
        "{} was judged twice, with two verdicts; a judge may have run out of time or memory: try "
        "again with fewer --jobs",
        judge.IdOf(result.state)));
  }
  minimized.oracle = finding->oracle;
  if (finding->evidence != nullptr) minimized.evidence = *finding->evidence;
  minimized.state = result.state;
  // An id that names thousands of entries would be no better than the one that was asked about.
  minimized.id = result.state == judge.state() ? minimized.from : judge.IdOf(result.state);
  minimized.states_judged = result.states_judged;
  minimized.one_minimal = result.one_minimal;
  minimized.cut_minimal = result.cut_minimal;
  minimized.command = MaterializeCommand(judge.source_words(), minimized.id);
  const diagnose::WriteNames& names = judge.source().names();
  for (const size_t event : result.state.lost) minimized.lost.push_back(names.EventInWords(event));
  for (const diagnose::TornUnits& torn : result.state.torn) {
    minimized.torn.push_back(
        names.EventInWords(torn.event) + "; " +
        names.UnitsInWords(torn.event, torn.missing, judge.id().model.atomic_unit));
  }
  return minimized;
}

Result<MinimizedState> MinimizeState(const MinimizeRequest& request) {
  PP_ASSIGN_OR_RETURN(const auto judge, StateJudge::Open(request.state));
  return MinimizeState(*judge, request);
}

const char* InWords(Oracle oracle) {
  switch (oracle) {
    case CONTENT:
      return "content";
    case STALE_DATA:
      return "stale data";
    case SAME_RECOVERY:
      return "same recovery";
    case GUARANTEES:
      return "guarantees";
    default:
      return "fsck";
  }
}

std::string InWords(const MinimizedState& state) {
  constexpr size_t kShownMax = 20;
  const size_t torn_units = state.state.torn_units();
  std::string text =
      fmt::format("{}\n  shows {} ({}), as {} does\n", state.id,
                  FindingClass_Name(state.finding_class), InWords(state.oracle), state.from);
  text += fmt::format("  lost: {} of {} writes", state.lost.size(), state.lost_before);
  if (state.torn_units_before > 0) {
    text += fmt::format(" and {} of {} torn units", torn_units, state.torn_units_before);
  }
  text += fmt::format("; {} states judged\n", state.states_judged);
  for (size_t i = 0; i < std::min(state.lost.size(), kShownMax); ++i) {
    text += fmt::format("    {}\n", state.lost[i]);
  }
  if (state.lost.size() > kShownMax) {
    text += fmt::format("    and {} more\n", state.lost.size() - kShownMax);
  }
  for (const std::string& torn : state.torn) text += fmt::format("    torn: {}\n", torn);
  if (!state.torn.empty()) {
    text += "  a write has to tear for it: reports call it TORN_WRITE\n";
  } else if (state.torn_units_before > 0) {
    text += "  no write has to tear for it\n";
  }
  if (!state.one_minimal) {
    text += fmt::format(
        "  perhaps not minimal: the budget of {} states ended; try a larger --max-states\n",
        state.states_max);
  } else {
    text += state.lost.empty() && state.torn.empty()
                ? "  nothing has to be lost for it\n"
                : "  minimal: with any one of them given back it is not shown\n";
  }
  if (state.cut_minimal) text += "  cut one log entry earlier, it is not shown\n";
  return text + fmt::format("  $ {}\n", state.command);
}

}  // namespace plugpull::run
