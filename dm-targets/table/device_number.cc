// SPDX-License-Identifier: Apache-2.0
#include "dm-targets/table/device_number.h"

#include <fmt/format.h>

#include "dm-targets/table/line.h"

namespace plugpull::dm {

std::string DeviceNumber::ToString() const { return fmt::format("{}:{}", major, minor); }

Result<DeviceNumber> DeviceNumber::Parse(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    return UserError(fmt::format("\"{}\" is no device number: MAJOR:MINOR is expected", text));
  }
  PP_ASSIGN_OR_RETURN(const uint64_t major,
                      ParseNumber(text.substr(0, colon), kMajorMax, "major number"));
  PP_ASSIGN_OR_RETURN(const uint64_t minor,
                      ParseNumber(text.substr(colon + 1), kMinorMax, "minor number"));
  return DeviceNumber{static_cast<uint32_t>(major), static_cast<uint32_t>(minor)};
}

}  // namespace plugpull::dm
