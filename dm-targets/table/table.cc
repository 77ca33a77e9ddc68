// SPDX-License-Identifier: Apache-2.0
#include "dm-targets/table/table.h"

#include <fmt/format.h>

#include <charconv>

namespace plugpull::dm {
namespace {

// The kernel counts bytes in a loff_t.
constexpr uint64_t kSectorsMax = (uint64_t{1} << 63) / kSectorBytes;

Result<uint64_t> ParseNumber(std::string_view text, uint64_t max, std::string_view what) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > max) {
    return UserError(fmt::format("\"{}\" is no {}: a decimal number of at most {} is expected",
                                 text, what, max));
  }
  return value;
}

// Words between single or repeated spaces; the kernel ends some lines in a space.
std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const size_t end = std::min(line.find(' '), line.size());
    if (end > 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

// START LENGTH TYPE and the parameters behind them.
struct Split {
  Sectors start;
  Sectors length;
  std::string_view type;
  std::vector<std::string_view> parameters;
};

Result<Split> SplitLine(std::string_view line) {
  const auto words = Words(line);
  if (words.size() < 3) {
    return UserError(
        fmt::format("\"{}\" is no table line: START LENGTH TYPE PARAMETERS is expected", line));
  }
  Split split;
  PP_ASSIGN_OR_RETURN(const uint64_t start, ParseNumber(words[0], kSectorsMax, "start sector"));
  PP_ASSIGN_OR_RETURN(const uint64_t length,
                      ParseNumber(words[1], kSectorsMax, "length in sectors"));
  split.start = Sectors(start);
  split.length = Sectors(length);
  split.type = words[2];
  split.parameters.assign(words.begin() + 3, words.end());
  return split;
}

Result<Split> SplitLineOf(std::string_view line, std::string_view type, size_t parameters) {
  PP_ASSIGN_OR_RETURN(Split split, SplitLine(line));
  if (split.type != type) {
    return UserError(fmt::format("\"{}\" is of type {}, expected is {}", line, split.type, type));
  }
  if (split.parameters.size() != parameters) {
    return UserError(fmt::format("\"{}\" has {} parameters, a {} target has {}", line,
                                 split.parameters.size(), type, parameters));
  }
  return split;
}

template <typename T>
std::string LineOfTarget(const T& target) {
  return fmt::format("{} {} {} {}", target.start.value, target.length.value, T::kType,
                     target.Parameters());
}

}  // namespace

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

std::string Linear::Parameters() const {
  return fmt::format("{} {}", device.ToString(), offset.value);
}

std::string Linear::Line() const { return LineOfTarget(*this); }

Result<Linear> Linear::Parse(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const Split split, SplitLineOf(line, kType, 2));
  PP_ASSIGN_OR_RETURN(const DeviceNumber device, DeviceNumber::Parse(split.parameters[0]));
  PP_ASSIGN_OR_RETURN(const uint64_t offset,
                      ParseNumber(split.parameters[1], kSectorsMax, "offset in sectors"));
  return Linear{split.start, split.length, device, Sectors(offset)};
}

std::string LogWrites::Parameters() const {
  return fmt::format("{} {}", device.ToString(), log_device.ToString());
}

std::string LogWrites::Line() const { return LineOfTarget(*this); }

Result<LogWrites> LogWrites::Parse(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const Split split, SplitLineOf(line, kType, 2));
  PP_ASSIGN_OR_RETURN(const DeviceNumber device, DeviceNumber::Parse(split.parameters[0]));
  PP_ASSIGN_OR_RETURN(const DeviceNumber log_device, DeviceNumber::Parse(split.parameters[1]));
  return LogWrites{split.start, split.length, device, log_device};
}

std::string Snapshot::Parameters() const {
  return fmt::format("{} {} N {}", origin.ToString(), scratch.ToString(), chunk.value);
}

std::string Snapshot::Line() const { return LineOfTarget(*this); }

Result<Snapshot> Snapshot::Parse(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const Split split, SplitLineOf(line, kType, 4));
  PP_ASSIGN_OR_RETURN(const DeviceNumber origin, DeviceNumber::Parse(split.parameters[0]));
  PP_ASSIGN_OR_RETURN(const DeviceNumber scratch, DeviceNumber::Parse(split.parameters[1]));
  if (split.parameters[2] != "N") {
    return UserError(
        fmt::format("\"{}\" is a snapshot of kind {}; only N, a transient one, is known", line,
                    split.parameters[2]));
  }
  PP_ASSIGN_OR_RETURN(const uint64_t chunk,
                      ParseNumber(split.parameters[3], kSectorsMax, "chunk size in sectors"));
  return Snapshot{split.start, split.length, origin, scratch, Sectors(chunk)};
}

std::string_view TypeOf(const Target& target) {
  return std::visit([](const auto& t) { return std::string_view(t.kType); }, target);
}

Sectors StartOf(const Target& target) {
  return std::visit([](const auto& t) { return t.start; }, target);
}

Sectors LengthOf(const Target& target) {
  return std::visit([](const auto& t) { return t.length; }, target);
}

std::string ParametersOf(const Target& target) {
  return std::visit([](const auto& t) { return t.Parameters(); }, target);
}

std::string LineOf(const Target& target) {
  return std::visit([](const auto& t) { return t.Line(); }, target);
}

Result<Target> ParseLine(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const Split split, SplitLine(line));
  if (split.type == Linear::kType) {
    PP_ASSIGN_OR_RETURN(const Linear target, Linear::Parse(line));
    return Target(target);
  }
  if (split.type == LogWrites::kType) {
    PP_ASSIGN_OR_RETURN(const LogWrites target, LogWrites::Parse(line));
    return Target(target);
  }
  if (split.type == Snapshot::kType) {
    PP_ASSIGN_OR_RETURN(const Snapshot target, Snapshot::Parse(line));
    return Target(target);
  }
  return UserError(fmt::format("\"{}\" has the unknown target type {}: {}, {} and {} are known",
                               line, split.type, Linear::kType, LogWrites::kType, Snapshot::kType));
}

Status Validate(const Table& table) {
  if (table.empty() || table.size() > kTargetsMax) {
    return UserError(
        fmt::format("a table has 1 to {} targets, this one {}", kTargetsMax, table.size()));
  }
  Sectors expected_start;
  for (const auto& target : table) {
    const Sectors length = LengthOf(target);
    if (StartOf(target) != expected_start) {
      return UserError(fmt::format("\"{}\" must begin at sector {}, where the one before it ends",
                                   LineOf(target), expected_start.value));
    }
    if (length.value == 0 || length.value > kSectorsMax - expected_start.value) {
      return UserError(fmt::format("\"{}\" has a length of {} sectors; 1 to {} are possible there",
                                   LineOf(target), length.value,
                                   kSectorsMax - expected_start.value));
    }
    if (const auto* linear = std::get_if<Linear>(&target);
        linear != nullptr && linear->offset.value > kSectorsMax - length.value) {
      return UserError(fmt::format("\"{}\" ends beyond the largest sector of a device, {}",
                                   linear->Line(), kSectorsMax));
    }
    expected_start += length;
  }
  return OkStatus();
}

std::string ToString(const Table& table) {
  std::string text;
  for (const auto& target : table) {
    if (!text.empty()) text += '\n';
    text += LineOf(target);
  }
  return text;
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
