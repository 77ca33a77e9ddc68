// SPDX-License-Identifier: Apache-2.0
#include "dm-targets/table/mapping.h"

#include <fmt/format.h>

#include "dm-targets/table/line.h"

namespace plugpull::dm {
namespace {

std::string LegWords(const Delay::Leg& leg) {
  return fmt::format("{} {} {}", leg.device.ToString(), leg.offset.value, leg.delay_ms);
}

// The leg whose words begin at `at`.
Result<Delay::Leg> ParseLeg(const SplitTableLine& split, size_t at) {
  PP_ASSIGN_OR_RETURN(const DeviceAndOffset place,
                      ParseDeviceAndOffset(split.parameters[at], split.parameters[at + 1]));
  PP_ASSIGN_OR_RETURN(const uint64_t delay_ms,
                      ParseNumber(split.parameters[at + 2], Delay::kDelayMsMax, "delay in ms"));
  return Delay::Leg{place.device, place.offset, static_cast<uint32_t>(delay_ms)};
}

template <typename T>
Result<T> ParseBare(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const SplitTableLine split, SplitLineOf(line, T::kType, 0, 0));
  return T{split.start, split.length};
}

}  // namespace

std::string Linear::Parameters() const {
  return fmt::format("{} {}", device.ToString(), offset.value);
}

std::string Linear::Line() const { return LineOfTarget(*this); }

Result<Linear> Linear::Parse(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const SplitTableLine split, SplitLineOf(line, kType, 2, 2));
  PP_ASSIGN_OR_RETURN(const DeviceAndOffset place,
                      ParseDeviceAndOffset(split.parameters[0], split.parameters[1]));
  return Linear{split.start, split.length, place.device, place.offset};
}

std::string Striped::Parameters() const {
  std::string words = fmt::format("{} {}", stripes.size(), chunk.value);
  for (const Stripe& stripe : stripes) {
    words += fmt::format(" {} {}", stripe.device.ToString(), stripe.offset.value);
  }
  return words;
}

std::string Striped::Line() const { return LineOfTarget(*this); }

Result<Striped> Striped::Parse(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const SplitTableLine split, SplitLineOf(line, kType, 4, 2 + 2 * kStripesMax));
  PP_ASSIGN_OR_RETURN(const uint64_t count,
                      ParseNumber(split.parameters[0], kStripesMax, "number of stripes"));
  PP_ASSIGN_OR_RETURN(const uint64_t chunk,
                      ParseNumber(split.parameters[1], kSectorsMax, "chunk size in sectors"));
  if (split.parameters.size() != 2 + 2 * count) {
    return UserError(fmt::format("\"{}\" says {} stripes and has {} parameters, {} are needed",
                                 line, count, split.parameters.size(), 2 + 2 * count));
  }
  Striped target{split.start, split.length, Sectors(chunk), {}};
  for (size_t at = 2; at < split.parameters.size(); at += 2) {
    PP_ASSIGN_OR_RETURN(const DeviceAndOffset place,
                        ParseDeviceAndOffset(split.parameters[at], split.parameters[at + 1]));
    target.stripes.push_back({place.device, place.offset});
  }
  return target;
}

std::string Delay::Parameters() const {
  std::string words = LegWords(read);
  if (write) words += " " + LegWords(*write);
  if (write && flush) words += " " + LegWords(*flush);
  return words;
}

std::string Delay::Line() const { return LineOfTarget(*this); }

Result<Delay> Delay::Parse(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const SplitTableLine split, SplitLineOf(line, kType, 3, 9));
  const size_t count = split.parameters.size();
  if (count % 3 != 0) {
    return UserError(
        fmt::format("\"{}\" has {} parameters, a delay target has 3, 6 or 9", line, count));
  }
  Delay target{split.start, split.length, {}, {}, {}};
  PP_ASSIGN_OR_RETURN(target.read, ParseLeg(split, 0));
  if (count > 3) {
    PP_ASSIGN_OR_RETURN(target.write, ParseLeg(split, 3));
  }
  if (count > 6) {
    PP_ASSIGN_OR_RETURN(target.flush, ParseLeg(split, 6));
  }
  return target;
}

std::string ErrorTarget::Line() const { return LineOfTarget(*this); }

Result<ErrorTarget> ErrorTarget::Parse(std::string_view line) {
  return ParseBare<ErrorTarget>(line);
}

std::string Zero::Line() const { return LineOfTarget(*this); }

Result<Zero> Zero::Parse(std::string_view line) { return ParseBare<Zero>(line); }

}  // namespace plugpull::dm
