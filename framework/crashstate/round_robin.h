// SPDX-License-Identifier: Apache-2.0
// Takes states from several kinds of candidates in turn, so that however small the budget, each
// kind has its share, and within a kind each group (a transaction, a write) before any comes again.
// The order is a pure function of the candidates and the seed.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "framework/crashstate/enumerate.h"

namespace plugpull::crashstate {

class RoundRobin {
 public:
  struct Candidate {
    uint64_t group = 0;
    uint64_t subject = 0;  // what makes it another than those of its group
    auto operator<=>(const Candidate&) const = default;
  };
  // The state of a candidate; nothing when the model does not allow it.
  using Make = std::function<std::optional<StateSpec>(size_t kind, const Candidate& candidate)>;

  RoundRobin(size_t kinds, uint64_t seed);

  void Add(size_t kind, Candidate candidate) { kinds_[kind].push_back(candidate); }

  // Appends at most `budget` states, none twice; true when there is no other. Once only.
  bool Take(size_t budget, const Make& make, std::vector<StateSpec>& out);

 private:
  void Arrange(size_t kind);

  std::vector<std::vector<Candidate>> kinds_;
  uint64_t seed_;
};

}  // namespace plugpull::crashstate
