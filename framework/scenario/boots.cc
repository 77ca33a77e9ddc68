// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/boots.h"

namespace plugpull::scenario {

bool EndsInPowerCut(const Scenario& scenario, int step) {
  const Step& here = scenario.step(step);
  if (here.has_power_cut()) return !here.has_when() || step + 1 == scenario.step_size();
  return step > 0 && scenario.step(step - 1).has_power_cut() && scenario.step(step - 1).has_when();
}

std::vector<BootSteps> BootsOf(const Scenario& scenario) {
  std::vector<BootSteps> boots(1);
  for (int i = 0; i < scenario.step_size(); ++i) {
    boots.back().end = i + 1;
    if (!EndsInPowerCut(scenario, i)) continue;
    boots.back().power_cut = scenario.step(i).has_power_cut() ? i : i - 1;
    if (i + 1 < scenario.step_size()) boots.push_back({i + 1, i + 1, -1});
  }
  return boots;
}

}  // namespace plugpull::scenario
