// SPDX-License-Identifier: Apache-2.0
// What all targets share: the words of a table line, "START LENGTH TYPE PARAMETERS" (source:
// dmsetup(8), TABLE FORMAT). Pure, thread-safe. Errors are user errors.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dm-targets/table/device_number.h"
#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::dm {

// The kernel counts the bytes of a device in a loff_t.
inline constexpr uint64_t kSectorsMax = (uint64_t{1} << 63) / kSectorBytes;

// A decimal number of at most `max`; `what` names it in the error.
Result<uint64_t> ParseNumber(std::string_view text, uint64_t max, std::string_view what);

// Words between single or repeated spaces; the kernel ends some lines in a space.
std::vector<std::string_view> Words(std::string_view line);

// A line, taken apart. Views into it.
struct SplitTableLine {
  Sectors start;
  Sectors length;
  std::string_view type;
  std::vector<std::string_view> parameters;
};

Result<SplitTableLine> SplitLine(std::string_view line);
// The same; an error unless it is of this type and has so many parameters.
Result<SplitTableLine> SplitLineOf(std::string_view line, std::string_view type,
                                   size_t parameters_min, size_t parameters_max);

// "254:0 2048" at two words of a line.
struct DeviceAndOffset {
  DeviceNumber device;
  Sectors offset;
};
Result<DeviceAndOffset> ParseDeviceAndOffset(std::string_view device, std::string_view offset);

template <typename T>
std::string LineOfTarget(const T& target) {
  const std::string parameters = target.Parameters();
  return fmt::format("{} {} {}{}{}", target.start.value, target.length.value, T::kType,
                     parameters.empty() ? "" : " ", parameters);
}

}  // namespace plugpull::dm
