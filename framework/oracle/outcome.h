// SPDX-License-Identifier: Apache-2.0
// What an oracle says of a state.
#pragma once

#include <cstdint>

namespace plugpull::oracle {

// kUnknown: it could not be found out; never a kind of kHolds.
enum class Outcome : uint8_t { kHolds, kViolated, kUnknown };

}  // namespace plugpull::oracle
