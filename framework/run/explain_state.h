// SPDX-License-Identifier: Apache-2.0
// One crash state, explained: the verdicts, what was cut and lost, and the rule that broke.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/diagnose/explain.h"
#include "framework/run/minimize_state.h"

namespace plugpull::run {

struct StateExplanation {
  struct Verdict {
    Oracle oracle = FSCK;
    std::string outcome;  // "holds", "violated", "unknown", "not judged"
    FindingClass finding_class = FINDING_UNSPECIFIED;  // of violated
    std::string evidence;
  };
  std::string id;
  std::string model;       // in words
  uint64_t cut_entry = 0;  // what is before it happened
  std::optional<MinimizedState> minimized;
  std::vector<Verdict> verdicts;       // one for each oracle
  std::vector<std::string> under_way;  // what the workload had done, and was doing
  uint64_t lost_count = 0;
  bool torn = false;  // a write arrived in part: reports call what is violated TORN_WRITE
  diagnose::Explanation explanation;
  std::string advice;   // empty: none
  std::string command;  // writes the image
};

struct ExplainRequest {
  MinimizeRequest minimize;  // its state is the one to explain
  bool minimize_first = false;
};

// A user error when recording, log or id are wrong, or when a state that holds is to be minimised.
Result<StateExplanation> ExplainState(const ExplainRequest& request);

}  // namespace plugpull::run
