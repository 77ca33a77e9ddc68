// SPDX-License-Identifier: Apache-2.0
// Numbers of block devices, as device-mapper tables name them. Pure, thread-safe.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "framework/base/result.h"

namespace plugpull::dm {

// A block device's number. The kernel has 12 bits of major and 20 of minor.
struct DeviceNumber {
  static constexpr uint32_t kMajorMax = (1u << 12) - 1;
  static constexpr uint32_t kMinorMax = (1u << 20) - 1;

  uint32_t major = 0;
  uint32_t minor = 0;

  auto operator<=>(const DeviceNumber&) const = default;
  std::string ToString() const;  // "254:3"
  // A user error when `text` is not MAJOR:MINOR in decimal and within the bounds.
  static Result<DeviceNumber> Parse(std::string_view text);
};

}  // namespace plugpull::dm
