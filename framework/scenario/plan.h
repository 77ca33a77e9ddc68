// SPDX-License-Identifier: Apache-2.0
// A plan is one run: a scenario with everything decided.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/scenario.pb.h"

namespace plugpull::scenario {

// From the command line; they win over what the scenario and its variants say.
struct PlanOverrides {
  std::optional<uint64_t> seed;
  std::optional<std::string> kernel;
};

// Immutable.
class Plan {
 public:
  // Valid on its own, and expanding it gives the same plan again:
  //  - variants, axes and cells are gone, their settings applied;
  //  - fields that have a default in scenario.proto are all set, so that a recording keeps its
  //    meaning when a default changes;
  //  - every disk has a serial, every workload and every flip_bit a seed
  //    other than 0, mkfs options are single words, and a command has its mark_disk and a search
  //    its disk when only one disk has a log;
  //  - the checks are written out, with their enumerators and oracles;
  //  - expect is this plan's, with `nothing` set when nothing is listed.
  const Scenario& scenario() const { return scenario_; }
  // "", the name of a variant, or "axis=value,axis=value".
  const std::string& variant() const { return variant_; }
  const Expect& expect() const { return scenario_.expect(); }
  // "name", or "name/variant".
  std::string FullName() const;

 private:
  friend class PlanMaker;
  Plan(Scenario scenario, std::string variant)
      : scenario_(std::move(scenario)), variant_(std::move(variant)) {}

  Scenario scenario_;
  std::string variant_;
};

// The plans of a scenario in the order of its text; of a matrix with the last axis changing
// fastest. At least one. A user error when the scenario is not valid (with every diagnostic), or
// an override is not.
Result<std::vector<Plan>> ExpandPlans(const Scenario& scenario,
                                      const PlanOverrides& overrides = {});

}  // namespace plugpull::scenario
