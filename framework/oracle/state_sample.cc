// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/state_sample.h"

#include <algorithm>
#include <map>
#include <set>

#include "framework/base/prng.h"

namespace plugpull::oracle {

std::vector<size_t> SampleStates(const std::vector<SampleCandidate>& candidates, size_t states_max,
                                 uint64_t seed) {
  std::map<int, std::vector<size_t>> kinds;
  std::set<std::pair<int, std::string>> seen;
  for (const SampleCandidate& candidate : candidates) {
    if (seen.emplace(candidate.kind, candidate.key).second) {
      kinds[candidate.kind].push_back(candidate.state);
    }
  }
  for (auto& [kind, states] : kinds) {
    Prng prng(DeriveSeed(seed, "state_sample", static_cast<uint64_t>(kind)));
    for (size_t i = states.size(); i > 1; --i) std::swap(states[i - 1], states[prng.Below(i)]);
  }
  std::vector<size_t> sample;
  for (size_t turn = 0; sample.size() < states_max; ++turn) {
    const size_t before = sample.size();
    for (const auto& [kind, states] : kinds) {
      if (turn < states.size() && sample.size() < states_max) sample.push_back(states[turn]);
    }
    if (sample.size() == before) break;
  }
  std::sort(sample.begin(), sample.end());
  return sample;
}

}  // namespace plugpull::oracle
