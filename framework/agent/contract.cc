// SPDX-License-Identifier: Apache-2.0
#include "framework/agent/contract.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/agent/story.h"

namespace plugpull::agent {
namespace {

constexpr uint64_t kMillisecondNs = 1'000'000;

void CountMounts(const Story& story, AgentReport& report) {
  uint64_t mounts = 0;
  uint64_t failed = 0;
  for (const auto& [name, disk] : story.disks) {
    for (const Episode& episode : disk.episodes) {
      mounts += episode.attempts.size();
      failed += episode.Failures();
    }
  }
  report.set_mounts(mounts);
  report.set_mounts_failed(failed);
  report.set_restarts(story.restarts);
}

CsiReport& ReportOf(AgentReport& report, const CsiCall& call) {
  for (CsiReport& one : *report.mutable_csi()) {
    if (one.volume() == call.volume() && one.method() == call.method()) return one;
  }
  CsiReport& added = *report.add_csi();
  added.set_volume(call.volume());
  added.set_method(call.method());
  return added;
}

void CountCalls(const Timeline& timeline, const std::string& agent, AgentReport& report) {
  for (const TimelineEvent& event : timeline.event()) {
    if (!event.has_csi() || event.agent() != agent) continue;
    CsiReport& to = ReportOf(report, event.csi());
    to.set_last_message(event.csi().message());
    auto& codes = *to.mutable_code();
    const auto known = std::find_if(codes.begin(), codes.end(), [&](const CsiCodeCount& count) {
      return count.code() == event.csi().code();
    });
    CsiCodeCount& count = known == codes.end() ? *codes.Add() : *known;
    count.set_code(event.csi().code());
    count.set_calls(count.calls() + 1);
  }
}

}  // namespace

const std::vector<FindingClass>& AllProperties() {
  static const std::vector<FindingClass> kProperties = [] {
    std::vector<FindingClass> properties;
    for (int value = BOUNDED_ATTEMPTS; value <= PERMANENT_NOT_RETRIED; ++value) {
      properties.push_back(static_cast<FindingClass>(value));
    }
    return properties;
  }();
  return kProperties;
}

bool IsProperty(FindingClass found) {
  return found >= BOUNDED_ATTEMPTS && found <= PERMANENT_NOT_RETRIED;
}

AgentReport JudgeAgent(const Timeline& timeline, const std::string& agent,
                       const Contract& contract) {
  AgentReport report;
  report.set_agent(agent);
  report.set_watched_ms((timeline.end_ns() - std::min(timeline.begin_ns(), timeline.end_ns())) /
                        kMillisecondNs);
  const TimelineAgent* told = nullptr;
  for (const TimelineAgent& one : timeline.agent()) {
    if (one.name() == agent) told = &one;
  }
  std::string unknown;
  if (told == nullptr) unknown = "the timeline does not have the agent";
  if (timeline.lost_events() > 0) {
    unknown = fmt::format("{} events were lost{}", timeline.lost_events(),
                          timeline.has_lost_reason() ? ": " + timeline.lost_reason() : "");
  }
  std::vector<PropertyReport> judged;
  if (told != nullptr) {
    const Story story = Tell(timeline, *told, contract);
    CountMounts(story, report);
    CountCalls(timeline, agent, report);
    JudgeAttempts(story, judged);
    JudgeAlerts(story, judged);
    JudgeData(story, judged);
    JudgeMounts(story, judged);
  }
  for (const FindingClass property : AllProperties()) {
    if (std::count(contract.without().begin(), contract.without().end(), property) > 0) continue;
    PropertyReport& to = *report.add_property();
    const auto found = std::find_if(judged.begin(), judged.end(), [&](const PropertyReport& one) {
      return one.property() == property;
    });
    if (found != judged.end()) to = *found;
    to.set_property(property);
    to.set_verdict(found == judged.end() ? PropertyReport::NOT_EXERCISED : found->verdict());
    if (unknown.empty()) continue;
    to.set_verdict(PropertyReport::UNKNOWN);
    to.set_evidence(unknown);
  }
  return report;
}

std::vector<AgentReport> JudgeTimeline(const Timeline& timeline, const Contract& contract) {
  std::vector<AgentReport> reports;
  for (const TimelineAgent& agent : timeline.agent()) {
    reports.push_back(JudgeAgent(timeline, agent.name(), contract));
  }
  return reports;
}

}  // namespace plugpull::agent
