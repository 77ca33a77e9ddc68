// SPDX-License-Identifier: Apache-2.0
// Where oracles that need a kernel put crash states before one. The oracles see no machine: run
// implements this.
#pragma once

#include <string>
#include <vector>

#include "framework/crashstate/enumerate.h"
#include "framework/proto/guest.pb.h"

namespace plugpull::oracle {

struct StateToMount {
  crashstate::StateSpec spec;
  std::string label;               // its id, one line
  std::vector<MountState> mounts;  // one after the other, each of the state as it is given
  bool recovered = false;          // given as the host recovered it, not as the cut left it
};

// What came of one mount.
struct MountSeen {
  enum class End : uint8_t {
    kReported,  // `report` is what the guest said
    kPanicked,  // the kernel panicked meanwhile
    kLost,  // nothing is known: the guest hung or ended, could not do its part, or there is none
  };
  End end = End::kLost;
  StateReport report;
  std::string words;  // of the other two: what happened, with the kernel's lines
};

class StateMounter {
 public:
  virtual ~StateMounter() = default;
  // For each state, what came of each of its mounts. Never fails: what could not be done is kLost.
  virtual std::vector<std::vector<MountSeen>> Mount(const std::vector<StateToMount>& states) = 0;
};

}  // namespace plugpull::oracle
