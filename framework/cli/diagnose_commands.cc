// SPDX-License-Identifier: Apache-2.0
// minimize and explain: one crash state, made small and put into words.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "framework/cli/commands.h"
#include "framework/cli/progress.h"
#include "framework/report/text.h"
#include "framework/run/minimize_state.h"

namespace plugpull::cli {
namespace {

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

const char* NameOf(Oracle oracle) { return oracle == CONTENT ? "content" : "fsck"; }

nlohmann::json JsonOf(const run::MinimizedState& state) {
  return {{"from", state.from},
          {"id", state.id},
          {"class", FindingClass_Name(state.finding_class)},
          {"oracle", NameOf(state.oracle)},
          {"evidence", state.evidence},
          {"lost_before", state.lost_before},
          {"lost", state.lost},
          {"states_judged", state.states_judged},
          {"max_states", state.states_max},
          {"one_minimal", state.one_minimal},
          {"cut_minimal", state.cut_minimal},
          {"command", state.command}};
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

int ExplainState(const DiagnoseArguments&) { return 0; }

}  // namespace plugpull::cli
