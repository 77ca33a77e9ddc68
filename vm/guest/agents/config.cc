// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/agents/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>

namespace plugpull::agents {
namespace {

constexpr size_t kSerialMax = 64;
constexpr uint64_t kMillisMax = 86'400'000;  // a day

Status ReadNumber(std::string_view text, uint64_t min, uint64_t max, uint64_t& out) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < min || value > max) {
    return UserError(fmt::format("\"{}\" is no number from {} to {}", text, min, max));
  }
  out = value;
  return OkStatus();
}

Status ReadCount(std::string_view text, uint64_t min, uint64_t max, uint32_t& out) {
  uint64_t value = 0;
  PP_RETURN_IF_ERROR(ReadNumber(text, min, max, value));
  out = static_cast<uint32_t>(value);
  return OkStatus();
}

Status ReadMillis(std::string_view text, uint64_t min, Millis& out) {
  uint64_t value = 0;
  PP_RETURN_IF_ERROR(ReadNumber(text, min, kMillisMax, value));
  out = Millis(value);
  return OkStatus();
}

Status ReadFlag(std::string_view text, bool& out) {
  if (text != "yes" && text != "no") {
    return UserError(fmt::format("\"{}\" is neither yes nor no", text));
  }
  out = text == "yes";
  return OkStatus();
}

// Such a path is what the mount table says of it, letter by letter.
Status ReadPath(std::string_view text, std::string& out) {
  const bool plain = text.size() > 1 && text.size() <= 1024 && text.front() == '/' &&
                     text.back() != '/' && text.find("//") == text.npos &&
                     (std::string(text) + "/").find("/./") == std::string::npos &&
                     (std::string(text) + "/").find("/../") == std::string::npos;
  if (!plain) {
    return UserError(
        fmt::format("\"{}\" is no absolute path without \".\", \"..\", \"//\" and a last /", text));
  }
  out = text;
  return OkStatus();
}

bool IsSerial(std::string_view text) {
  return !text.empty() && text.size() <= kSerialMax &&
         std::ranges::all_of(text, [](unsigned char c) { return c > ' ' && c < 0x7f && c != '='; });
}

bool Inside(std::string_view path, std::string_view folder) {
  return path.starts_with(folder) && path.size() > folder.size() && path[folder.size()] == '/';
}

// Reads one line after the other. A volume begins with the limits that stand before the first.
class Parser {
 public:
  Status Take(std::string_view key, std::string_view value) {
    const auto known = keys_.find(key);
    if (known == keys_.end()) return UserError(fmt::format("the key \"{}\" is unknown", key));
    return known->second(value);
  }

  Result<Config> Finish() {
    if (config_.state_folder.empty()) return UserError("state_folder is missing");
    if (config_.volumes.empty()) return UserError("there is no volume");
    for (const Volume& volume : config_.volumes) {
      const auto wrong = [&](std::string_view what) {
        return UserError(fmt::format("volume {}: {}", volume.serial, what));
      };
      if (volume.target.empty()) return wrong("target is missing");
      if (volume.limits.delay_max < volume.limits.delay_first) {
        return wrong("delay_max_ms is less than delay_first_ms");
      }
      if (!volume.workspace.empty() && Inside(config_.state_folder, volume.workspace)) {
        return wrong("the workspace holds the agent's own state");
      }
      for (const Volume& other : config_.volumes) {
        if (&other == &volume) break;
        if (other.serial == volume.serial) return wrong("is there twice");
        if (other.target == volume.target) return wrong("has the target of another volume");
      }
    }
    return std::move(config_);
  }

 private:
  using Reader = std::function<Status(std::string_view)>;

  Status AddVolume(std::string_view serial) {
    if (!IsSerial(serial)) {
      return UserError(fmt::format("\"{}\" is no serial: 1 to {} visible ASCII letters but \"=\"",
                                   serial, kSerialMax));
    }
    if (config_.volumes.size() == kVolumesMax) {
      return UserError(fmt::format("there are more than {} volumes", kVolumesMax));
    }
    config_.volumes.push_back(defaults_);
    config_.volumes.back().serial = serial;
    return OkStatus();
  }

  Volume& Current() { return config_.volumes.empty() ? defaults_ : config_.volumes.back(); }

  // Of one volume only, not of all.
  Result<Volume*> Only() {
    if (config_.volumes.empty()) return UserError("stands before the first volume");
    return &config_.volumes.back();
  }

  Status AddOption(std::string_view text) {
    PP_ASSIGN_OR_RETURN(Volume * volume, Only());
    if (text.find(',') != text.npos || text.find(' ') != text.npos) {
      return UserError(fmt::format("\"{}\" is more than one option; write one a line", text));
    }
    if (volume->options.size() == kOptionsMax) {
      return UserError(fmt::format("there are more than {} options", kOptionsMax));
    }
    volume->options.emplace_back(text);
    return OkStatus();
  }

  Status SetType(std::string_view text) {
    if (text != "ext2" && text != "ext3" && text != "ext4") {
      return UserError(fmt::format("\"{}\" is none of ext2, ext3 and ext4", text));
    }
    Current().type = text;
    return OkStatus();
  }

  Config config_;
  Volume defaults_;
  const std::map<std::string, Reader, std::less<>> keys_ = {
      {"state_folder", [this](auto v) { return ReadPath(v, config_.state_folder); }},
      {"alert_file", [this](auto v) { return ReadPath(v, config_.alert_file); }},
      {"poll_ms", [this](auto v) { return ReadMillis(v, 10, config_.poll); }},
      {"settle_ms", [this](auto v) { return ReadMillis(v, 0, config_.settle); }},
      {"seed", [this](auto v) { return ReadNumber(v, 0, UINT64_MAX, config_.seed); }},
      {"volume", [this](auto v) { return AddVolume(v); }},
      {"target",
       [this](auto v) -> Status {
         PP_ASSIGN_OR_RETURN(Volume * volume, Only());
         return ReadPath(v, volume->target);
       }},
      {"workspace",
       [this](auto v) -> Status {
         PP_ASSIGN_OR_RETURN(Volume * volume, Only());
         return ReadPath(v, volume->workspace);
       }},
      {"option", [this](auto v) { return AddOption(v); }},
      {"type", [this](auto v) { return SetType(v); }},
      {"may_format", [this](auto v) { return ReadFlag(v, Current().may_format); }},
      {"scan_mib_max",
       [this](auto v) { return ReadNumber(v, 1, 1ull << 30, Current().scan_mib_max); }},
      {"attempts_max",
       [this](auto v) { return ReadCount(v, 1, 100, Current().limits.attempts_max); }},
      {"delay_first_ms", [this](auto v) { return ReadMillis(v, 1, Current().limits.delay_first); }},
      {"delay_max_ms", [this](auto v) { return ReadMillis(v, 1, Current().limits.delay_max); }},
      {"jitter_permille",
       [this](auto v) { return ReadCount(v, 0, 400, Current().limits.jitter_permille); }},
      {"stable_ms", [this](auto v) { return ReadMillis(v, 0, Current().limits.stable); }},
      {"unmount_tries",
       [this](auto v) { return ReadCount(v, 1, 100, Current().limits.unmount_tries); }},
      {"unmount_delay_first_ms",
       [this](auto v) { return ReadMillis(v, 1, Current().limits.unmount_delay_first); }},
      {"unmount_delay_max_ms",
       [this](auto v) { return ReadMillis(v, 1, Current().limits.unmount_delay_max); }},
  };
};

}  // namespace

Result<Config> ParseConfig(std::string_view text) {
  if (text.size() > kConfigBytesMax) {
    return UserError(fmt::format("the configuration has {} bytes; at most {} are allowed",
                                 text.size(), kConfigBytesMax));
  }
  Parser parser;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = line.substr(0, line.find('#'));
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == line.npos) continue;
    line = line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
    const size_t space = std::min(line.find_first_of(" \t"), line.size());
    const std::string_view rest = line.substr(space);
    const size_t value = std::min(rest.find_first_not_of(" \t"), rest.size());
    Status taken = parser.Take(line.substr(0, space), rest.substr(value));
    if (!taken.ok()) {
      return WithContext(std::move(taken).error(),
                         fmt::format("line {}, {}", number, line.substr(0, space)));
    }
  }
  return parser.Finish();
}

}  // namespace plugpull::agents
