// SPDX-License-Identifier: Apache-2.0
// The contract of agents: what a program that mounts volumes must keep, judged from outside. Pure:
// a timeline and thresholds in, verdicts with evidence in words out; the same for the same input.
//
// A property that was not kept is VIOLATED, with the first violation as evidence. One that nothing
// spoke for or against is NOT_EXERCISED, which is no success. With lost events all are UNKNOWN:
// what was not seen may have happened. What each property looks at is in README.md.
#pragma once

#include <string>
#include <vector>

#include "framework/proto/agent.pb.h"
#include "framework/proto/scenario.pb.h"
#include "framework/proto/verdict.pb.h"

namespace plugpull::agent {

// All properties, in the order of their numbers.
const std::vector<FindingClass>& AllProperties();

// True for classes of findings that are properties of agents.
bool IsProperty(FindingClass found);

// One agent of the timeline, by name. Properties in contract.without() are left out.
AgentReport JudgeAgent(const Timeline& timeline, const std::string& agent,
                       const Contract& contract);

// All of them, in the timeline's order.
std::vector<AgentReport> JudgeTimeline(const Timeline& timeline, const Contract& contract);

}  // namespace plugpull::agent
