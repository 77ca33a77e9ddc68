// SPDX-License-Identifier: Apache-2.0
// Agents: whom steps name, what they are told, and what is expected of them.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "framework/scenario/validation.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {
namespace {

void CheckAgent(const Validation& v, const AgentStep& agent, const SourceNode& node) {
  if (agent.argv_size() > 0 && agent.argv(0).empty()) {
    v.reporter.Add(node.Locate(AgentStep::kArgvFieldNumber),
                   "the first argv is empty; the name or the path of a program is expected");
  }
  for (int i = 0; i < agent.volume_size(); ++i) {
    const SourceNode& volume = Sub(node, AgentStep::kVolumeFieldNumber, i);
    CheckDiskName(v, agent.volume(i).disk(), volume.Locate(AgentVolume::kDiskFieldNumber));
    if (agent.volume(i).at().empty() || agent.volume(i).at().starts_with('/')) continue;
    v.reporter.Add(
        volume.Locate(AgentVolume::kAtFieldNumber),
        fmt::format("at is {}; an absolute path is expected", Quoted(agent.volume(i).at())));
  }
}

void CheckStarted(const Validation& v, const std::string& name, const SourceLocation& at,
                  const std::vector<std::string>& started) {
  if (name.empty() || std::ranges::count(started, name) > 0) return;
  v.reporter.Add(at, fmt::format("no agent {} was started before; started were {}{}", Quoted(name),
                                 ListNames(started), DidYouMean(name, started)));
}

void CheckWait(const Validation& v, const Step& step, const SourceNode& node,
               const std::vector<std::string>& started) {
  const AgentWaitStep& wait = step.agent_wait();
  const SourceNode& sub = Sub(node, Step::kAgentWaitFieldNumber);
  if (wait.has_name()) {
    CheckStarted(v, wait.name(), sub.Locate(AgentWaitStep::kNameFieldNumber), started);
  } else if (wait.until_exit() || wait.has_quiet_ms()) {
    v.reporter.Add(sub.name, "until_exit and quiet_ms need the name of an agent");
  }
  const bool real = v.scenario.guest().clock() == Guest::REAL;
  if (real && wait.has_for_ms() && wait.for_ms() >= step.timeout_ms()) {
    v.reporter.Add(sub.Locate(AgentWaitStep::kForMsFieldNumber),
                   fmt::format("for_ms is {} ms, and the step ends after {} ms (timeout_ms); raise "
                               "that, or say `clock: WARPED` in guest",
                               wait.for_ms(), step.timeout_ms()));
  }
}

void CheckContract(const Validation& v) {
  const SourceNode& node = Sub(v.source, Scenario::kContractFieldNumber);
  for (int i = 0; i < v.scenario.contract().without_size(); ++i) {
    const FindingClass found = v.scenario.contract().without(i);
    if (IsAgentProperty(found)) continue;
    v.reporter.Add(node.Locate(Contract::kWithoutFieldNumber, i),
                   fmt::format("{} is no property of agents", FindingClass_Name(found)));
  }
}

}  // namespace

bool IsAgentProperty(FindingClass found) {
  return found >= BOUNDED_ATTEMPTS && found <= PERMANENT_NOT_RETRIED;
}

void CheckAgentExpected(const Validation& v, FindingClass found, const SourceLocation& at) {
  const bool any = std::any_of(v.scenario.step().begin(), v.scenario.step().end(),
                               [](const Step& step) { return step.has_agent(); });
  if (any || v.source.broken.contains(Scenario::kStepFieldNumber)) return;
  v.reporter.Add(
      at, fmt::format("{} is expected, but no step starts an agent", FindingClass_Name(found)));
}

void CheckAgents(const Validation& v) {
  CheckContract(v);
  const bool watches = std::any_of(v.scenario.step().begin(), v.scenario.step().end(),
                                   [](const Step& step) { return step.has_agent(); });
  std::vector<std::string> started;
  for (int i = 0; i < v.scenario.step_size(); ++i) {
    const Step& step = v.scenario.step(i);
    const SourceNode& node = Sub(v.source, Scenario::kStepFieldNumber, i);
    if (step.has_power_cut() && watches) {
      v.reporter.Add(
          Sub(node, Step::kPowerCutFieldNumber).name,
          "a scenario that starts agents cannot cut the power: what an agent did before "
          "the cut would be lost with the guest; agent_stop { signal: \"KILL\" } ends the "
          "agent alone");
    }
    if (step.has_agent()) {
      CheckAgent(v, step.agent(), Sub(node, Step::kAgentFieldNumber));
      started.push_back(step.agent().name());
    } else if (step.has_agent_wait()) {
      CheckWait(v, step, node, started);
    } else if (step.has_agent_stop()) {
      const SourceNode& sub = Sub(node, Step::kAgentStopFieldNumber);
      CheckStarted(v, step.agent_stop().name(), sub.Locate(AgentStopStep::kNameFieldNumber),
                   started);
    }
  }
}

}  // namespace plugpull::scenario
