// SPDX-License-Identifier: Apache-2.0
#include "dm-targets/table/line.h"

#include <charconv>

namespace plugpull::dm {

Result<uint64_t> ParseNumber(std::string_view text, uint64_t max, std::string_view what) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > max) {
    return UserError(fmt::format("\"{}\" is no {}: a decimal number of at most {} is expected",
                                 text, what, max));
  }
  return value;
}

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const size_t end = std::min(line.find(' '), line.size());
    if (end > 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

Result<SplitTableLine> SplitLine(std::string_view line) {
  const auto words = Words(line);
  if (words.size() < 3) {
    return UserError(
        fmt::format("\"{}\" is no table line: START LENGTH TYPE PARAMETERS is expected", line));
  }
  SplitTableLine split;
  PP_ASSIGN_OR_RETURN(const uint64_t start, ParseNumber(words[0], kSectorsMax, "start sector"));
  PP_ASSIGN_OR_RETURN(const uint64_t length,
                      ParseNumber(words[1], kSectorsMax, "length in sectors"));
  split.start = Sectors(start);
  split.length = Sectors(length);
  split.type = words[2];
  split.parameters.assign(words.begin() + 3, words.end());
  return split;
}

Result<SplitTableLine> SplitLineOf(std::string_view line, std::string_view type,
                                   size_t parameters_min, size_t parameters_max) {
  PP_ASSIGN_OR_RETURN(SplitTableLine split, SplitLine(line));
  if (split.type != type) {
    return UserError(fmt::format("\"{}\" is of type {}, expected is {}", line, split.type, type));
  }
  const size_t count = split.parameters.size();
  if (count < parameters_min || count > parameters_max) {
    return UserError(fmt::format("\"{}\" has {} parameters, a {} target has {}", line, count, type,
                                 parameters_min == parameters_max
                                     ? std::to_string(parameters_min)
                                     : fmt::format("{} to {}", parameters_min, parameters_max)));
  }
  return split;
}

Result<DeviceAndOffset> ParseDeviceAndOffset(std::string_view device, std::string_view offset) {
  DeviceAndOffset parsed;
  PP_ASSIGN_OR_RETURN(parsed.device, DeviceNumber::Parse(device));
  PP_ASSIGN_OR_RETURN(const uint64_t sectors,
                      ParseNumber(offset, kSectorsMax, "offset in sectors"));
  parsed.offset = Sectors(sectors);
  return parsed;
}

}  // namespace plugpull::dm
