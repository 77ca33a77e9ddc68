// SPDX-License-Identifier: Apache-2.0
// The smallest set of lost writes that still breaks a state in the same way.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "framework/run/state_judge.h"

namespace plugpull::run {

inline constexpr uint64_t kMinimizeStatesMax = 2000;  // unless asked otherwise

struct MinimizeRequest {
  StateRequest state;
  // Which finding to keep; unspecified: the worst that the state has. TORN_WRITE, the class that
  // reports give to what states with torn writes show: the worst, too, of such a state.
  FindingClass finding_class = FINDING_UNSPECIFIED;
  uint64_t states_max = kMinimizeStatesMax;  // judged at most
  std::function<void(uint64_t judged, uint64_t states_max)> progress;
};

struct MinimizedState {
  std::string from;  // id
  std::string id;
  diagnose::CutAndLost state;
  FindingClass finding_class = FINDING_UNSPECIFIED;
  Oracle oracle = FSCK;
  std::string evidence;  // of the minimised state
  size_t lost_before = 0;
  size_t torn_units_before = 0;   // units that did not arrive of writes that did in part
  std::vector<std::string> lost;  // in words
  std::vector<std::string> torn;  // in words
  uint64_t states_judged = 0;
  uint64_t states_max = 0;
  bool one_minimal = false;  // no single lost write or torn unit can be given back
  bool cut_minimal = false;  // the same state, cut one entry earlier, does not show it
  std::string command;       // writes its image
};

// A user error when the state holds, when it does not show the finding that is asked for, or when
// its verdict is unknown.
Result<MinimizedState> MinimizeState(const MinimizeRequest& request);

// The same for a state that is open already.
Result<MinimizedState> MinimizeState(StateJudge& judge, const MinimizeRequest& request);

// The state as text for people, several lines.
std::string InWords(const MinimizedState& state);

// "fsck", "content" and so on.
const char* InWords(Oracle oracle);

}  // namespace plugpull::run
