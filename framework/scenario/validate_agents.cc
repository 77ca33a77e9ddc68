// SPDX-License-Identifier: Apache-2.0
// Agents: whom steps name, what they are told, and what is expected of them.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "framework/base/rpc_code.h"
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

void CheckCsiNode(const Validation& v, const AgentStep& agent, const SourceNode& node) {
  if (!agent.has_csi()) return;
  const SourceNode& csi = Sub(node, AgentStep::kCsiFieldNumber);
  if (agent.volume_size() == 0) {
    v.reporter.Add(csi.name,
                   "a CSI node plugin is called for the volumes that the step lists; there "
                   "is none");
  }
  if (agent.own_mount_namespace()) {
    v.reporter.Add(node.Locate(AgentStep::kOwnMountNamespaceFieldNumber),
                   "what a CSI node plugin mounts must be seen by the kubelet: it cannot have a "
                   "mount namespace of its own");
  }
  const auto check = [&](const auto& pairs, int field) {
    for (int i = 0; i < pairs.size(); ++i) {
      const size_t equals = pairs.Get(i).find('=');
      if (equals != std::string::npos && equals > 0) continue;
      v.reporter.Add(csi.Locate(field, i),
                     fmt::format("{} is not KEY=VALUE", Quoted(pairs.Get(i))));
    }
  };
  check(agent.csi().publish_context(), CsiNode::kPublishContextFieldNumber);
  check(agent.csi().volume_context(), CsiNode::kVolumeContextFieldNumber);
  if (agent.csi().backoff_first_ms() > agent.csi().backoff_max_ms()) {
    v.reporter.Add(csi.Locate(CsiNode::kBackoffFirstMsFieldNumber),
                   fmt::format("the first pause of {} ms is longer than the longest, {} ms",
                               agent.csi().backoff_first_ms(), agent.csi().backoff_max_ms()));
  }
}

void CheckCsiStep(const Validation& v, const CsiStep& step, const SourceNode& node,
                  const std::vector<const AgentStep*>& agents) {
  const AgentStep* agent = nullptr;
  for (const AgentStep* one : agents) {
    if (one->name() == step.agent()) agent = one;
  }
  if (agent != nullptr && !agent->has_csi()) {
    v.reporter.Add(
        node.Locate(CsiStep::kAgentFieldNumber),
        fmt::format("agent {} has no csi: it is no CSI node plugin", Quoted(step.agent())));
  }
  if (step.has_disk()) CheckDiskName(v, step.disk(), node.Locate(CsiStep::kDiskFieldNumber));
  if (agent != nullptr && step.has_disk() &&
      std::none_of(agent->volume().begin(), agent->volume().end(),
                   [&](const AgentVolume& volume) { return volume.disk() == step.disk(); })) {
    v.reporter.Add(node.Locate(CsiStep::kDiskFieldNumber),
                   fmt::format("agent {} was told of no volume {}", Quoted(step.agent()),
                               Quoted(step.disk())));
  }
  if (step.action_case() == CsiStep::ACTION_NOT_SET) {
    v.reporter.Add(node.name,
                   "what is to be done is missing: publish, unpublish, repeat, expand, "
                   "stats, restart or force_detach");
  }
  if (!step.has_expect_code() || RpcCodeOf(step.expect_code())) return;
  if (step.expect_code() == "ABNORMAL" && step.has_stats()) return;
  std::vector<std::string> names(kRpcCodeNames.begin(), kRpcCodeNames.end());
  v.reporter.Add(node.Locate(CsiStep::kExpectCodeFieldNumber),
                 fmt::format("{} is no status of gRPC{}, and ABNORMAL is for stats alone",
                             Quoted(step.expect_code()), DidYouMean(step.expect_code(), names)));
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
  std::vector<const AgentStep*> agents;
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
      CheckCsiNode(v, step.agent(), Sub(node, Step::kAgentFieldNumber));
      agents.push_back(&step.agent());
      started.push_back(step.agent().name());
    } else if (step.has_agent_wait()) {
      CheckWait(v, step, node, started);
    } else if (step.has_csi()) {
      const SourceNode& sub = Sub(node, Step::kCsiFieldNumber);
      CheckStarted(v, step.csi().agent(), sub.Locate(CsiStep::kAgentFieldNumber), started);
      CheckCsiStep(v, step.csi(), sub, agents);
    } else if (step.has_agent_stop()) {
      const SourceNode& sub = Sub(node, Step::kAgentStopFieldNumber);
      CheckStarted(v, step.agent_stop().name(), sub.Locate(AgentStopStep::kNameFieldNumber),
                   started);
    }
  }
}

}  // namespace plugpull::scenario
