// SPDX-License-Identifier: Apache-2.0
// Which crash states an expensive oracle looks at. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plugpull::oracle {

struct SampleCandidate {
  size_t state = 0;
  int kind = 0;     // kinds get equal shares of the sample, as far as they go
  std::string key;  // of states that the oracle cannot tell apart; one of them is taken
};

// At most `states_max` states, ascending, no two of one kind and key: drawn with the seed, one of
// each kind in turn.
std::vector<size_t> SampleStates(const std::vector<SampleCandidate>& candidates, size_t states_max,
                                 uint64_t seed);

}  // namespace plugpull::oracle
