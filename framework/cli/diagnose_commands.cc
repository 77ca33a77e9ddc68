// SPDX-License-Identifier: Apache-2.0
// minimize and explain: one crash state, made small and put into words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "framework/cli/commands.h"
#include "framework/cli/progress.h"
#include "framework/report/text.h"
#include "framework/run/explain_state.h"

namespace plugpull::cli {
namespace {

constexpr int kColumns = 100;
constexpr size_t kLostShown = 20;
constexpr size_t kRulesShown = 6;
constexpr size_t kEvidenceLines = 8;

run::MinimizeRequest RequestOf(const DiagnoseArguments& arguments, Progress& progress) {
  run::MinimizeRequest request;
  request.state.recording = arguments.recording;
  request.state.log = arguments.log;
  request.state.base = arguments.base;
  request.state.scan_past_end = arguments.scan_past_end;
  request.state.id = arguments.id;
  request.state.jobs =
      arguments.jobs != 0 ? arguments.jobs : std::max(1U, std::thread::hardware_concurrency());
  if (!arguments.finding.empty()) {
    PP_CHECK(FindingClass_Parse(arguments.finding, &request.finding_class));
  }
  if (arguments.max_states != 0) request.states_max = arguments.max_states;
  request.progress = [&progress](uint64_t judged, uint64_t) {
    progress.Show("minimize", "judging states", judged, 0);
  };
  return request;
}

// Line by line as a terminal shows it: names of files and what e2fsck said may hold anything.
void PrintText(const std::string& text) {
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    fmt::print("{}\n", report::Printable(std::string_view(text).substr(start, end - start)));
    start = end + 1;
  }
}

void PrintJson(const nlohmann::json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

nlohmann::json JsonOf(const run::MinimizedState& state) {
  return {{"from", state.from},
          {"id", state.id},
          {"class", FindingClass_Name(state.finding_class)},
          {"oracle", run::InWords(state.oracle)},
          {"evidence", state.evidence},
          {"lost_before", state.lost_before},
          {"lost", state.lost},
          {"torn_units_before", state.torn_units_before},
          {"torn_units", state.state.torn_units()},
          {"torn", state.torn},
          {"states_judged", state.states_judged},
          {"max_states", state.states_max},
          {"one_minimal", state.one_minimal},
          {"cut_minimal", state.cut_minimal},
          {"command", state.command}};
}

// Text in indented lines of at most kColumns.
std::string Wrapped(std::string_view text, int indent) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    for (const std::string& line : report::WrapToWidth(text.substr(0, end), kColumns - indent)) {
      out += fmt::format("{:{}}{}\n", "", indent, line);
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// The same behind a bullet.
std::string Item(std::string_view text) {
  std::string lines = Wrapped(text, 4);
  lines[2] = '-';
  return lines;
}

std::string FirstLines(const std::string& text) {
  size_t end = 0;
  for (size_t line = 0; line < kEvidenceLines; ++line) {
    end = text.find('\n', end);
    if (end == std::string::npos) return text;
    ++end;
  }
  return text.substr(0, end) + "... (--json has more)";
}

std::string VerdictText(const run::StateExplanation& said) {
  std::string text = "Verdict\n";
  for (const auto& verdict : said.verdicts) {
    text += fmt::format("  {:<9}{}", run::InWords(verdict.oracle), verdict.outcome);
    if (verdict.finding_class != FINDING_UNSPECIFIED) {
      text += ": " + FindingClass_Name(verdict.finding_class);
      if (said.torn) text += ", by a write that tore (TORN_WRITE)";
    }
    text += "\n" + Wrapped(FirstLines(verdict.evidence), 11);
  }
  return text;
}

std::string LostText(const run::StateExplanation& said) {
  const auto& lost = said.explanation.lost;
  std::string text = fmt::format("Lost ({})\n", said.lost_count);
  for (size_t i = 0; i < std::min(lost.size(), kLostShown); ++i) text += Wrapped(lost[i].words, 2);
  if (said.lost_count > kLostShown) {
    text += fmt::format("  and {} more\n", said.lost_count - kLostShown);
  }
  if (said.torn) text += "Arrived in part\n";
  for (const auto& torn : said.explanation.torn) text += Wrapped(torn.words, 2);
  return text;
}

std::string ReasonText(const run::StateExplanation& said) {
  std::string text = "Why\n";
  const auto& reasons = said.explanation;
  for (size_t i = 0; i < std::min(reasons.rules.size(), kRulesShown); ++i) {
    text += Item(reasons.rules[i].sentence);
  }
  if (reasons.rules.size() > kRulesShown) {
    text += fmt::format("  and {} more broken rules\n", reasons.rules.size() - kRulesShown);
  }
  const auto& without = reasons.without_rule;
  if (!reasons.rules.empty() && !without.empty() && without.size() <= kRulesShown) {
    text +=
        Wrapped(fmt::format("- losing entry {} alone breaks no rule", fmt::join(without, ", ")), 2);
  }
  for (size_t i = 0; i < std::min(reasons.remarks.size(), kRulesShown); ++i) {
    text += Item(reasons.remarks[i]);
  }
  return text + Wrapped(reasons.verdict, 2);
}

std::string TextOf(const run::StateExplanation& said) {
  std::string text = said.id + "\n";
  if (said.minimized) {
    const std::string torn =
        said.minimized->torn_units_before == 0
            ? ""
            : fmt::format(" and {} of {} torn units", said.minimized->state.torn_units(),
                          said.minimized->torn_units_before);
    text += Wrapped(fmt::format("minimised from {} ({} of {} writes lost{}; {} states judged{})",
                                said.minimized->from, said.lost_count, said.minimized->lost_before,
                                torn, said.minimized->states_judged,
                                said.minimized->one_minimal ? "" : ", until the budget ended"),
                    2);
  }
  text += Wrapped(
      fmt::format("power cut before log entry {}; disk: {}", said.cut_entry, said.model), 2);
  text += VerdictText(said) + "Cut\n";
  if (!said.explanation.cut_after.empty()) {
    text += Wrapped("behind " + said.explanation.cut_after, 2);
  }
  for (const std::string& line : said.under_way) text += Wrapped(line, 2);
  text += LostText(said) + ReasonText(said);
  if (!said.advice.empty()) text += Wrapped(said.advice, 2);
  return text + "  $ " + said.command + "\n";
}

nlohmann::json JsonOf(const run::StateExplanation& said) {
  nlohmann::json json = {{"id", said.id},
                         {"model", said.model},
                         {"cut_entry", said.cut_entry},
                         {"cut_after", said.explanation.cut_after},
                         {"under_way", said.under_way},
                         {"lost_writes", said.lost_count},
                         {"verdict", said.explanation.verdict},
                         {"without_rule", said.explanation.without_rule},
                         {"remarks", said.explanation.remarks},
                         {"torn_write", said.torn},
                         {"advice", said.advice},
                         {"command", said.command}};
  if (said.minimized) json["minimized"] = JsonOf(*said.minimized);
  auto& verdicts = json["verdicts"] = nlohmann::json::array();
  for (const auto& verdict : said.verdicts) {
    verdicts.push_back({{"oracle", run::InWords(verdict.oracle)},
                        {"outcome", verdict.outcome},
                        {"class", verdict.finding_class == FINDING_UNSPECIFIED
                                      ? ""
                                      : FindingClass_Name(verdict.finding_class)},
                        {"evidence", verdict.evidence}});
  }
  auto& lost = json["lost"] = nlohmann::json::array();
  for (const auto& one : said.explanation.lost) {
    lost.push_back({{"entry", one.entry}, {"what", one.words}});
  }
  auto& torn = json["torn"] = nlohmann::json::array();
  for (const auto& one : said.explanation.torn) {
    torn.push_back({{"entry", one.entry}, {"what", one.words}});
  }
  auto& rules = json["broken_rules"] = nlohmann::json::array();
  for (const auto& rule : said.explanation.rules) {
    nlohmann::json one = {{"rule", rule.name},
                          {"sentence", rule.sentence},
                          {"lost_entry", rule.lost_entry},
                          {"arrived_entry", rule.arrived_entry}};
    if (rule.promised_entry) one["promised_entry"] = *rule.promised_entry;
    rules.push_back(std::move(one));
  }
  return json;
}

}  // namespace

int MinimizeState(const DiagnoseArguments& arguments) {
  const auto minimized = [&] {
    Progress progress;
    return run::MinimizeState(RequestOf(arguments, progress));
  }();
  if (!minimized.ok()) return Fail(minimized.error());
  if (arguments.json) {
    PrintJson(JsonOf(*minimized));
  } else {
    PrintText(run::InWords(*minimized));
  }
  return 0;
}

int ExplainState(const DiagnoseArguments& arguments) {
  const auto explained = [&] {
    Progress progress;
    run::ExplainRequest request;
    request.minimize = RequestOf(arguments, progress);
    request.minimize_first = arguments.minimize;
    return run::ExplainState(request);
  }();
  if (!explained.ok()) return Fail(explained.error());
  if (arguments.json) {
    PrintJson(JsonOf(*explained));
  } else {
    PrintText(TextOf(*explained));
  }
  return 0;
}

}  // namespace plugpull::cli
