// SPDX-License-Identifier: Apache-2.0
#include "dm-targets/table/log_writes.h"

#include <fmt/format.h>

#include "dm-targets/table/line.h"

namespace plugpull::dm {

std::string LogWrites::Parameters() const {
  return fmt::format("{} {}", device.ToString(), log_device.ToString());
}

std::string LogWrites::Line() const { return LineOfTarget(*this); }

Result<LogWrites> LogWrites::Parse(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const SplitTableLine split, SplitLineOf(line, kType, 2, 2));
  PP_ASSIGN_OR_RETURN(const DeviceNumber device, DeviceNumber::Parse(split.parameters[0]));
  PP_ASSIGN_OR_RETURN(const DeviceNumber log_device, DeviceNumber::Parse(split.parameters[1]));
  return LogWrites{split.start, split.length, device, log_device};
}

std::string LogWritesStatus::Line() const {
  return fmt::format("{} {}{}", logged_entries, highest_sector.value,
                     logging_disabled ? " logging_disabled" : "");
}

Result<LogWritesStatus> LogWritesStatus::Parse(std::string_view line) {
  const auto words = Words(line);
  if (words.size() != 2 && !(words.size() == 3 && words[2] == "logging_disabled")) {
    return UserError(fmt::format(
        "\"{}\" is no log-writes status: ENTRIES SECTOR [logging_disabled] is expected", line));
  }
  LogWritesStatus status;
  PP_ASSIGN_OR_RETURN(status.logged_entries, ParseNumber(words[0], UINT64_MAX, "count of entries"));
  PP_ASSIGN_OR_RETURN(const uint64_t sector, ParseNumber(words[1], UINT64_MAX, "log sector"));
  status.highest_sector = Sectors(sector);
  status.logging_disabled = words.size() == 3;
  return status;
}

}  // namespace plugpull::dm
