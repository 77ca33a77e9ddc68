// SPDX-License-Identifier: Apache-2.0
// Where power_cut steps divide a scenario into boots.
#pragma once

#include <vector>

#include "framework/proto/scenario.pb.h"

namespace plugpull::scenario {

// Steps of one boot: [first, end), the power_cut that ends it included.
struct BootSteps {
  int first = 0;
  int end = 0;
  // The position of that power_cut; -1: the guest is shut down behind the last step.
  int power_cut = -1;
};

// Whether the guest loses its power behind this step: a power_cut, or the workload behind one with
// `when`.
bool EndsInPowerCut(const Scenario& scenario, int step);

// At least one, in order. Pure.
std::vector<BootSteps> BootsOf(const Scenario& scenario);

}  // namespace plugpull::scenario
