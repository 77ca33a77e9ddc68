// SPDX-License-Identifier: Apache-2.0
#include "dm-targets/table/flakey.h"

#include <fmt/format.h>

#include <cstdint>
#include <span>

#include "dm-targets/table/line.h"

namespace plugpull::dm {
namespace {

constexpr size_t kPlainParameters = 4;  // device, offset, up, down
// The count, and what all features together take.
constexpr size_t kFeatureParametersMax = 12;

// Takes the words of the features one after the other.
class FeatureWords {
 public:
  FeatureWords(std::string_view line, std::span<const std::string_view> words)
      : line_(line), words_(words) {}

  bool AtEnd() const { return words_.empty(); }
  // Only while not AtEnd.
  std::string_view Next() {
    const std::string_view word = words_.front();
    words_ = words_.subspan(1);
    return word;
  }
  Result<uint32_t> Number(uint64_t max, std::string_view what) {
    if (AtEnd()) return UserError(fmt::format("\"{}\" ends before its {}", line_, what));
    PP_ASSIGN_OR_RETURN(const uint64_t number, ParseNumber(Next(), max, what));
    return static_cast<uint32_t>(number);
  }
  Result<Flakey::CorruptByte> CorruptByte() {
    Flakey::CorruptByte corrupt;
    PP_ASSIGN_OR_RETURN(corrupt.nth, Number(UINT32_MAX, "number of a byte"));
    if (corrupt.nth == 0) return UserError(fmt::format("\"{}\" counts bytes from 1", line_));
    const std::string_view direction = AtEnd() ? std::string_view() : Next();
    if (direction != "r" && direction != "w") {
      return UserError(fmt::format("\"{}\" corrupts the direction \"{}\"; r or w is expected",
                                   line_, direction));
    }
    corrupt.direction = direction == "r" ? Flakey::Direction::kRead : Flakey::Direction::kWrite;
    PP_ASSIGN_OR_RETURN(const uint32_t value, Number(UINT8_MAX, "value of a byte"));
    corrupt.value = static_cast<uint8_t>(value);
    PP_ASSIGN_OR_RETURN(corrupt.flags, Number(UINT32_MAX, "mask of request flags"));
    return corrupt;
  }

 private:
  std::string_view line_;
  std::span<const std::string_view> words_;
};

// One feature whose name was taken.
Status ParseFeature(std::string_view line, std::string_view name, FeatureWords& words,
                    Flakey& target) {
  bool again = false;
  const auto set = [&again](bool& flag) {
    again = flag;
    flag = true;
    return OkStatus();
  };
  const auto chance = [&](uint32_t& value) -> Status {
    again = value != 0;
    PP_ASSIGN_OR_RETURN(value, words.Number(Flakey::kChanceMax, "chance in 1e9"));
    return OkStatus();
  };
  Status parsed;
  if (name == "error_reads") {
    parsed = set(target.error_reads);
  } else if (name == "drop_writes") {
    parsed = set(target.drop_writes);
  } else if (name == "error_writes") {
    parsed = set(target.error_writes);
  } else if (name == "random_read_corrupt") {
    parsed = chance(target.random_read_corrupt);
  } else if (name == "random_write_corrupt") {
    parsed = chance(target.random_write_corrupt);
  } else if (name == "corrupt_bio_byte") {
    again = target.corrupt_byte.has_value();
    PP_ASSIGN_OR_RETURN(target.corrupt_byte, words.CorruptByte());
  } else {
    return UserError(fmt::format(
        "\"{}\" has the unknown feature \"{}\"; known are error_reads, drop_writes, error_writes, "
        "corrupt_bio_byte, random_read_corrupt, random_write_corrupt",
        line, name));
  }
  if (again) return UserError(fmt::format("\"{}\" has the feature {} twice", line, name));
  return parsed;
}

}  // namespace

bool Flakey::HasFeatures() const {
  return error_reads || drop_writes || error_writes || corrupt_byte || random_read_corrupt != 0 ||
         random_write_corrupt != 0;
}

std::string Flakey::Parameters() const {
  std::string words;
  size_t count = 0;
  const auto add = [&](const std::string& text, size_t words_of_it) {
    words += " " + text;
    count += words_of_it;
  };
  if (error_reads) add("error_reads", 1);
  if (drop_writes) add("drop_writes", 1);
  if (error_writes) add("error_writes", 1);
  if (corrupt_byte) {
    add(fmt::format("corrupt_bio_byte {} {} {} {}", corrupt_byte->nth,
                    corrupt_byte->direction == Direction::kRead ? 'r' : 'w', corrupt_byte->value,
                    corrupt_byte->flags),
        5);
  }
  if (random_read_corrupt != 0) add(fmt::format("random_read_corrupt {}", random_read_corrupt), 2);
  if (random_write_corrupt != 0) {
    add(fmt::format("random_write_corrupt {}", random_write_corrupt), 2);
  }
  return fmt::format("{} {} {} {} {}{}", device.ToString(), offset.value, up_s, down_s, count,
                     words);
}

std::string Flakey::Line() const { return LineOfTarget(*this); }

Result<Flakey> Flakey::Parse(std::string_view line) {
  PP_ASSIGN_OR_RETURN(
      const SplitTableLine split,
      SplitLineOf(line, kType, kPlainParameters, kPlainParameters + kFeatureParametersMax));
  Flakey target{.start = split.start, .length = split.length};
  PP_ASSIGN_OR_RETURN(const DeviceAndOffset place,
                      ParseDeviceAndOffset(split.parameters[0], split.parameters[1]));
  target.device = place.device;
  target.offset = place.offset;
  PP_ASSIGN_OR_RETURN(const uint64_t up,
                      ParseNumber(split.parameters[2], UINT32_MAX, "up interval in seconds"));
  PP_ASSIGN_OR_RETURN(const uint64_t down,
                      ParseNumber(split.parameters[3], UINT32_MAX, "down interval in seconds"));
  target.up_s = static_cast<uint32_t>(up);
  target.down_s = static_cast<uint32_t>(down);
  FeatureWords words(line, std::span(split.parameters).subspan(kPlainParameters));
  if (words.AtEnd()) return target;
  PP_ASSIGN_OR_RETURN(const uint32_t count,
                      words.Number(kFeatureParametersMax, "number of feature words"));
  if (count != split.parameters.size() - kPlainParameters - 1) {
    return UserError(fmt::format("\"{}\" says {} feature words and has {}", line, count,
                                 split.parameters.size() - kPlainParameters - 1));
  }
  while (!words.AtEnd()) {
    const std::string_view name = words.Next();
    PP_RETURN_IF_ERROR(ParseFeature(line, name, words, target));
  }
  return target;
}

Status Flakey::Check() const {
  const auto refuse = [this](std::string_view why) {
    return UserError(fmt::format("\"{}\" is refused by every kernel: {}", Line(), why));
  };
  if (up_s == 0 && down_s == 0) return refuse("up and down are both 0 seconds");
  if (uint64_t{up_s} + down_s > UINT32_MAX) return refuse("up and down together overflow 32 bits");
  const auto corrupts = [this](Direction direction) {
    return corrupt_byte && corrupt_byte->direction == direction;
  };
  if (drop_writes && error_writes) return refuse("drop_writes and error_writes contradict");
  if ((drop_writes || error_writes) && (corrupts(Direction::kWrite) || random_write_corrupt != 0)) {
    return refuse("writes that are dropped or fail cannot be corrupted");
  }
  if (error_reads && (corrupts(Direction::kRead) || random_read_corrupt != 0)) {
    return refuse("reads that fail cannot be corrupted");
  }
  return OkStatus();
}

Flakey Flakey::Canonical() const {
  Flakey target = *this;
  if (!HasFeatures()) target.error_reads = target.error_writes = true;
  return target;
}

}  // namespace plugpull::dm
