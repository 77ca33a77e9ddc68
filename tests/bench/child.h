// SPDX-License-Identifier: Apache-2.0
// Parts of a measurement in processes of their own, so that one's memory is not the other's.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "framework/base/result.h"

namespace plugpull::bench {

// Runs `work` in a process of its own; what it returns comes back through a pipe. An error of the
// work, or an internal one when the process ends otherwise. No other thread runs meanwhile.
Result<nlohmann::json> InChild(const std::function<Result<nlohmann::json>()>& work);

}  // namespace plugpull::bench
