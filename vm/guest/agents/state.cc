// SPDX-License-Identifier: Apache-2.0
// The file: a line that names the format, a line of NAME=VALUE for each volume, and a last line
// with the FNV-1a checksum of what stands before it.
#include "vm/guest/agents/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace plugpull::agents {
namespace {

constexpr std::string_view kHead = "plugpull-agent-state 1\n";
constexpr std::string_view kEnd = "end ";
constexpr Phase kPhases[] = {Phase::kIdle, Phase::kTrying, Phase::kWaiting, Phase::kMounted,
                             Phase::kGivenUp};

// Fowler, Noll and Vo, 64 bits: against torn and edited files, not against malice.
uint64_t Checksum(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
  return hash;
}

// A reason is the last field of its line.
std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() > 512) text.resize(512);
  return text;
}

// Takes "NAME=VALUE" off the front of a line. The last field has no blank behind it.
bool TakeText(std::string_view& line, std::string_view name, char behind, std::string& out) {
  if (!line.starts_with(name) || line.size() == name.size() || line[name.size()] != '=') {
    return false;
  }
  line.remove_prefix(name.size() + 1);
  const size_t end = behind == '\0' ? line.size() : line.find(behind);
  if (end == line.npos) return false;
  out = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return true;
}

template <typename Number>
bool TakeNumber(std::string_view& line, std::string_view name, Number& out) {
  std::string text;
  if (!TakeText(line, name, ' ', text)) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool TakeFlag(std::string_view& line, std::string_view name, bool& out) {
  int number = 0;
  if (!TakeNumber(line, name, number) || number < 0 || number > 1) return false;
  out = number == 1;
  return true;
}

bool TakePhase(std::string_view& line, Phase& out) {
  std::string name;
  if (!TakeText(line, "phase", ' ', name)) return false;
  const auto found = std::ranges::find(kPhases, name, PhaseName);
  if (found == std::end(kPhases)) return false;
  out = *found;
  return true;
}

bool ParseRecord(std::string_view line, std::string& serial, Record& record) {
  return TakeText(line, "serial", ' ', serial) && TakePhase(line, record.phase) &&
         TakeNumber(line, "failures", record.failures) &&
         TakeNumber(line, "next_ms", record.next_ms) &&
         TakeNumber(line, "delay_ms", record.delay_ms) &&
         TakeNumber(line, "mounted_ms", record.mounted_ms) &&
         TakeNumber(line, "errno", record.error_number) &&
         TakeNumber(line, "major", record.device.major) &&
         TakeNumber(line, "minor", record.device.minor) &&
         TakeText(line, "disk", ' ', record.disk) && TakeFlag(line, "alerted", record.alerted) &&
         TakeFlag(line, "formatted", record.formatted) &&
         TakeFlag(line, "released", record.released) &&
         TakeText(line, "reason", '\0', record.reason);
}

Error Damaged(std::string_view what) {
  return EnvironmentError(fmt::format(
      "the state file {}; look at the volumes, then remove the file to begin anew", what));
}

}  // namespace

const char* PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kIdle:
      return "idle";
    case Phase::kTrying:
      return "trying";
    case Phase::kWaiting:
      return "waiting";
    case Phase::kMounted:
      return "mounted";
    case Phase::kGivenUp:
      return "given-up";
  }
  return "";
}

std::string FormatState(const State& state) {
  std::string text(kHead);
  for (const auto& [serial, record] : state) {
    text += fmt::format(
        "serial={} phase={} failures={} next_ms={} delay_ms={} mounted_ms={} errno={} major={} "
        "minor={} disk={} alerted={:d} formatted={:d} released={:d} reason={}\n",
        serial, PhaseName(record.phase), record.failures, record.next_ms, record.delay_ms,
        record.mounted_ms, record.error_number, record.device.major, record.device.minor,
        record.disk, record.alerted, record.formatted, record.released, OneLine(record.reason));
  }
  return text + fmt::format("{}{:016x}\n", kEnd, Checksum(text));
}

Result<State> ParseState(std::string_view text) {
  if (text.size() > kStateBytesMax) return Damaged("is too long");
  if (!text.starts_with(kHead)) return Damaged("is of another format");
  const size_t last = text.rfind('\n', text.size() - 2) + 1;
  const std::string_view body = text.substr(0, last);
  if (text.substr(last) != fmt::format("{}{:016x}\n", kEnd, Checksum(body))) {
    return Damaged("is damaged");
  }
  State state;
  for (std::string_view rest = body.substr(kHead.size()); !rest.empty();) {
    const size_t end = rest.find('\n');
    std::string serial;
    Record record;
    if (!ParseRecord(rest.substr(0, end), serial, record) || state.size() == kRecordsMax ||
        !state.emplace(serial, record).second) {
      return Damaged(fmt::format("has a line \"{}\" that makes no sense", rest.substr(0, end)));
    }
    rest.remove_prefix(end + 1);
  }
  return state;
}

}  // namespace plugpull::agents
