// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/journal_entry.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/incident/scan.h"

namespace plugpull::incident {
namespace {

using Json = nlohmann::json;

constexpr size_t kBootIdMax = 64;
constexpr size_t kLengthBytes = 8;
// The longest value that journald keeps (DATA_SIZE_MAX, such as a core dump).
constexpr uint64_t kFieldBytesMax = uint64_t{768} << 20;
// Where the key of the document of `dmesg -J` is.
constexpr size_t kDocumentMarkBytes = 64;

std::optional<int64_t> Number(std::string_view text) {
  Scan scan(text);
  const auto value = scan.TakeNumber(1, 18);
  return value && scan.empty() ? value : std::nullopt;
}

// Collects the fields of one entry that matter.
class EntryBuilder {
 public:
  void Field(std::string_view name, std::string_view value) {
    any_ = true;
    if (name == "MESSAGE") {
      entry_.message = value.substr(0, kEntryBytesMax);
      has_message_ = true;
    } else if (name == "_BOOT_ID") {
      entry_.boot_id = value.substr(0, kBootIdMax);
    } else if (name == "PRIORITY") {
      const auto number = Number(value);
      if (number && *number <= 7) entry_.priority = static_cast<int>(*number);
    } else if (name == "_TRANSPORT") {
      transport_ = value == "kernel" ? kKernel : kOther;
    } else if (name == "SYSLOG_IDENTIFIER") {
      identifier_ = value == "kernel" ? kKernel : kOther;
    } else if (name == "_SOURCE_MONOTONIC_TIMESTAMP") {
      SetTime(3, Stamp::Clock::kBoot, value);
    } else if (name == "__MONOTONIC_TIMESTAMP") {
      SetTime(2, Stamp::Clock::kBoot, value);
    } else if (name == "__REALTIME_TIMESTAMP") {
      SetTime(1, Stamp::Clock::kWall, value);
    }
  }
  bool any() const { return any_; }
  void Finish(const EntrySink& sink) {
    if (!any_) return;
    entry_.kernel = transport_ != kUnknown ? transport_ == kKernel : identifier_ != kOther;
    sink(has_message_ ? &entry_ : nullptr);
    *this = EntryBuilder();
  }

 private:
  enum Origin { kUnknown, kKernel, kOther };
  // The kernel's own time is the best, what journald saw the next.
  void SetTime(int rank, Stamp::Clock clock, std::string_view value) {
    const auto us = Number(value);
    if (!us || rank <= time_rank_) return;
    time_rank_ = rank;
    entry_.at = {clock, *us};
  }

  JournalEntry entry_;
  Origin transport_ = kUnknown;
  Origin identifier_ = kUnknown;
  int time_rank_ = 0;
  bool has_message_ = false;
  bool any_ = false;
};

// A field's value as text: JSON has strings, and lists of bytes where they are no UTF-8.
std::string TextOf(const Json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>();
  if (value.is_number_unsigned()) return std::to_string(value.get<uint64_t>());
  std::string text;
  if (!value.is_array()) return text;
  for (const Json& byte : value) {
    // A field that an entry has more than once is a list, too.
    if (byte.is_string()) return byte.get_ref<const std::string&>();
    if (!byte.is_number_unsigned() || byte.get<uint64_t>() > 255) return "";
    text += static_cast<char>(byte.get<uint64_t>());
  }
  return text;
}

bool IsFieldName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || IsDigit(c) || c == '_';
  });
}

void DmesgDocument(const Json& document, const EntrySink& sink) {
  for (const Json& one : document["dmesg"]) {
    JournalEntry entry;
    if (!one.is_object() || !one.contains("msg") || !one["msg"].is_string()) {
      sink(nullptr);
      continue;
    }
    entry.message = one["msg"].get<std::string>();
    const Json& priority = one.contains("pri") ? one["pri"] : Json();
    if (priority.is_number_unsigned()) {
      entry.kernel = priority.get<uint64_t>() < 8;
      entry.priority = static_cast<int>(priority.get<uint64_t>() & 7);
    }
    const Json& time = one.contains("time") ? one["time"] : Json();
    if (time.is_number() && time.get<double>() >= 0 && time.get<double>() < 1e12) {
      entry.at = {Stamp::Clock::kBoot, std::llround(time.get<double>() * 1e6)};
    }
    sink(&entry);
  }
}

// A field that may hold anything: its length in 8 bytes, little-endian, then the value. A length
// that cannot be is none: the log is damaged here, and what follows is read as lines.
void BinaryField(const std::string& name, LogInput& input, EntryBuilder& entry) {
  const std::string_view head = input.Peek(kLengthBytes);
  if (head.size() < kLengthBytes) return;
  uint64_t length = 0;
  for (size_t i = kLengthBytes; i-- > 0;) length = length << 8 | static_cast<uint8_t>(head[i]);
  if (length > kFieldBytesMax) return;
  const size_t kept = std::min<uint64_t>(length, kEntryBytesMax);
  const std::string_view value = input.Peek(kLengthBytes + kept);
  if (value.size() < kLengthBytes + kept) return;
  entry.Field(name, value.substr(kLengthBytes));
  input.Skip(kLengthBytes + length + 1);
}

// One entry; nothing could be used of an empty line.
void JsonLine(std::string_view line, const EntrySink& sink) {
  const Json object = Json::parse(line.begin(), line.end(), nullptr, false);
  EntryBuilder entry;
  if (object.is_object()) {
    for (const auto& [name, value] : object.items()) {
      if (!value.is_null()) entry.Field(name, TextOf(value));
    }
  }
  if (entry.any()) {
    entry.Finish(sink);
  } else {
    sink(nullptr);
  }
}

}  // namespace

bool LooksLikeExport(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, std::min<size_t>(bytes.find('\n'), 256));
  return line.starts_with("__") && line.find('=') != std::string_view::npos &&
         IsFieldName(line.substr(0, line.find('=')));
}

bool LooksLikeJson(std::string_view bytes) {
  const size_t first = bytes.find_first_not_of(" \t\r\n\x1e");
  if (first == std::string_view::npos) return false;
  return bytes[first] == '{' || bytes.substr(first).starts_with("data: {");
}

void ReadExport(LogInput& input, const EntrySink& sink) {
  EntryBuilder entry;
  std::string_view line;
  uint64_t length = 0;
  while (input.NextLine(kEntryBytesMax, line, length)) {
    if (line.empty() || line == "\r") {
      entry.Finish(sink);
      continue;
    }
    const size_t equals = line.find('=');
    if (equals != std::string_view::npos) {
      std::string_view value = line.substr(equals + 1);
      if (value.ends_with('\r')) value.remove_suffix(1);
      entry.Field(line.substr(0, equals), value);
    } else if (IsFieldName(line)) {
      BinaryField(std::string(line), input, entry);
    }
  }
  entry.Finish(sink);
}

void ReadJson(LogInput& input, const EntrySink& sink) {
  if (input.Peek(kDocumentMarkBytes).find("\"dmesg\"") != std::string_view::npos) {
    const std::string_view whole = input.Peek(kDocumentBytesMax + 1);
    if (whole.size() <= kDocumentBytesMax) {
      const Json document = Json::parse(whole.begin(), whole.end(), nullptr, false);
      if (document.is_object() && document.contains("dmesg") && document["dmesg"].is_array()) {
        return DmesgDocument(document, sink);
      }
    }
  }
  std::string_view line;
  uint64_t length = 0;
  while (input.NextLine(kEntryBytesMax, line, length)) {
    while (!line.empty() && (line.front() == '\x1e' || line.front() == ' ')) line.remove_prefix(1);
    if (line.starts_with("data: ")) line.remove_prefix(6);
    if (line.empty() || line == "\r") continue;
    JsonLine(length > kEntryBytesMax ? std::string_view() : line, sink);
  }
}

}  // namespace plugpull::incident
