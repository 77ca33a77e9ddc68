// SPDX-License-Identifier: Apache-2.0
// Agents that are wrong in one way each: the reference agent with one decision replaced. They are
// there to be caught, each by the one property that it breaks.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "vm/guest/agents/decisions.h"

namespace plugpull::agents {

struct Defect {
  std::string_view name;
  std::string_view summary;   // what it does, in one line
  std::string_view decision;  // the function of Decisions that it replaces
  std::unique_ptr<Decisions> (*make)();
};

// All of them, in the order of README.md.
const std::vector<Defect>& Defects();
// nullptr: there is none of that name.
const Defect* FindDefect(std::string_view name);

}  // namespace plugpull::agents
