// SPDX-License-Identifier: Apache-2.0
// Single crash states: their ids, and their images.
#pragma once

#include <functional>
#include <string>

#include "framework/base/result.h"

namespace plugpull::run {

// Calls `each` with every state that the recording's own checks look at, in their order, until it
// returns false.
Status ForEachState(
    const std::string& recording,
    const std::function<bool(const std::string& enumerator, const std::string& id)>& each);

struct StateImageRequest {
  std::string recording;  // folder; empty: `log`
  std::string log;
  std::string base;
  bool scan_past_end = false;
  std::string id;
  std::string image;       // where to write
  bool recovered = false;  // after recovery, as it is judged
};

// Writes the image and says what was written, in words: what was cut and what was lost.
Result<std::string> WriteStateImage(const StateImageRequest& request);

}  // namespace plugpull::run
