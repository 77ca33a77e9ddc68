// SPDX-License-Identifier: Apache-2.0
#include "klog_forms.h"

#include <fmt/format.h>

#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>

namespace plugpull {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr time_t kFirstMessage = 1'795'478'280;  // 2026-11-23 23:58:00 UTC
constexpr const char* kLevels[] = {"emerg", "alert",  "crit", "err",
                                   "warn",  "notice", "info", "debug"};

std::string Date(const char* format, int64_t wall_us) {
  const time_t seconds = wall_us / kSecond;
  struct tm parts {};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  return {text, std::strftime(text, sizeof text, format, &parts)};
}

std::string Boot(int64_t us) { return fmt::format("{:5}.{:06}", us / kSecond, us % kSecond); }

// A field of the export form, as text or with its length.
std::string Field(const std::string& name, const std::string& value, bool binary) {
  if (!binary) return name + "=" + value + "\n";
  std::string text = name + "\n";
  for (int i = 0; i < 8; ++i) text += static_cast<char>(value.size() >> (8 * i) & 0xff);
  return text + value + "\n";
}

std::string Export(const KernelMessage& one, int64_t wall, bool binary) {
  return Field("__CURSOR", "s=1;i=2", false) +
         Field("__REALTIME_TIMESTAMP", std::to_string(wall), false) +
         Field("_BOOT_ID", "0123456789abcdef0123456789abcdef", false) +
         Field("PRIORITY", std::to_string(one.priority), false) +
         Field("_TRANSPORT", "kernel", false) + Field("SYSLOG_IDENTIFIER", "kernel", false) +
         Field("_SOURCE_MONOTONIC_TIMESTAMP", std::to_string(one.us), false) +
         Field("MESSAGE", one.text, binary) + "\n";
}

std::string JournalJson(const KernelMessage& one, int64_t wall, bool bytes) {
  nlohmann::json json = {{"__REALTIME_TIMESTAMP", std::to_string(wall)},
                         {"_BOOT_ID", "0123456789abcdef0123456789abcdef"},
                         {"PRIORITY", std::to_string(one.priority)},
                         {"_TRANSPORT", "kernel"},
                         {"MESSAGE", one.text}};
  if (bytes) json["MESSAGE"] = std::vector<uint8_t>(one.text.begin(), one.text.end());
  return json.dump();
}

// dmesg -H: the minute when it is a new one, else the time since the message before.
std::string Human(const std::vector<KernelMessage>& messages, int64_t start) {
  std::string log;
  std::string minute;
  int64_t before = 0;
  for (const KernelMessage& one : messages) {
    const std::string now = Date("%b%d %H:%M", start + one.us);
    const int64_t step = one.us - before;
    log += now != minute
               ? fmt::format("[{}] {}\n", now, one.text)
               : fmt::format("[{:>+4}.{:06}] {}\n", step / kSecond, step % kSecond, one.text);
    minute = now;
    before = one.us;
  }
  return log;
}

std::string DmesgJson(const std::vector<KernelMessage>& messages) {
  std::string log = "{\n   \"dmesg\": [";
  const char* comma = "";
  for (const KernelMessage& one : messages) {
    log += fmt::format(
        "{}{{\n         \"pri\": {},\n         \"time\": {},\n         \"msg\": {}\n"
        "      }}",
        comma, one.priority, Boot(one.us), nlohmann::json(one.text).dump());
    comma = ",";
  }
  return log + "\n   ]\n}\n";
}

}  // namespace

std::vector<KernelMessage> WithTimes(const std::string& plain, int64_t step_us) {
  std::vector<KernelMessage> messages;
  size_t begin = 0;
  while (begin < plain.size()) {
    const size_t end = std::min(plain.find('\n', begin), plain.size());
    KernelMessage message;
    message.us = 100 * kSecond + static_cast<int64_t>(messages.size()) * step_us;
    message.priority = static_cast<int>(3 + messages.size() % 4);
    message.text = plain.substr(begin, end - begin);
    messages.push_back(message);
    begin = end + 1;
  }
  return messages;
}

std::map<std::string, std::string> AllForms(const std::vector<KernelMessage>& messages) {
  const int64_t start = kFirstMessage * kSecond - (messages.empty() ? 0 : messages.front().us);
  using Format = std::function<std::string(const KernelMessage&, int64_t)>;
  const std::map<std::string, Format> lines = {
      {"dmesg", [](auto& m, int64_t) { return "[" + Boot(m.us) + "] " + m.text; }},
      {"dmesg, callers", [](auto& m, int64_t) { return "[" + Boot(m.us) + "][   T17] " + m.text; }},
      {"dmesg, callers apart",
       [](auto& m, int64_t) { return "[" + Boot(m.us) + "] [    C0] " + m.text; }},
      {"dmesg -d",
       [](auto& m, int64_t) { return "[" + Boot(m.us) + " <    0.000000>] " + m.text; }},
      {"dmesg -r",
       [](auto& m, int64_t) { return fmt::format("<{}>[{}] {}", m.priority, Boot(m.us), m.text); }},
      {"dmesg -x",
       [](auto& m, int64_t) {
         return fmt::format("kern  :{:<6}: [{}] {}", kLevels[m.priority], Boot(m.us), m.text);
       }},
      {"dmesg -T", [](auto& m, int64_t w) { return Date("[%a %b %e %H:%M:%S %Y] ", w) + m.text; }},
      {"dmesg -x -T",
       [](auto& m, int64_t w) {
         return fmt::format("kern  :{:<6}: ", kLevels[m.priority]) +
                Date("[%a %b %e %H:%M:%S %Y] ", w) + m.text;
       }},
      {"dmesg, colours",
       [](auto& m, int64_t) {
         return "\x1b[32m[" + Boot(m.us) + "] \x1b[0m\x1b[33m" + m.text + "\x1b[0m";
       }},
      {"dmesg, CRLF", [](auto& m, int64_t) { return "[" + Boot(m.us) + "] " + m.text + "\r"; }},
      {"iso, dmesg",
       [](auto& m, int64_t w) { return Date("%Y-%m-%dT%H:%M:%S,000000+00:00 ", w) + m.text; }},
      {"iso, another zone",
       [](auto& m, int64_t w) {
         return Date("%Y-%m-%dT%H:%M:%S,000000-05:30 ", w - 19800 * kSecond) + m.text;
       }},
      {"kmsg",
       [](auto& m, int64_t) {
         return fmt::format("{},{},{},-;{}\n SUBSYSTEM=block\n DEVICE=b254:16", m.priority, m.us,
                            m.us, m.text);
       }},
      {"journal short",
       [](auto& m, int64_t w) { return Date("%b %d %H:%M:%S node kernel: ", w) + m.text; }},
      {"journal short-precise",
       [](auto& m, int64_t w) { return Date("%b %d %H:%M:%S.000000 node kernel: ", w) + m.text; }},
      {"journal short-iso",
       [](auto& m, int64_t w) { return Date("%Y-%m-%dT%H:%M:%S+0000 node kernel: ", w) + m.text; }},
      {"journal short-iso-precise",
       [](auto& m, int64_t w) {
         return Date("%Y-%m-%dT%H:%M:%S.000000+00:00 node kernel: ", w) + m.text;
       }},
      {"journal short-full",
       [](auto& m, int64_t w) {
         return Date("%a %Y-%m-%d %H:%M:%S UTC node kernel: ", w) + m.text;
       }},
      {"journal short-monotonic",
       [](auto& m, int64_t) { return "[" + Boot(m.us) + "] node kernel: " + m.text; }},
      {"journal short-unix",
       [](auto& m, int64_t w) {
         return fmt::format("{}.000000 node kernel: {}", w / kSecond, m.text);
       }},
      {"journal json", [](auto& m, int64_t w) { return JournalJson(m, w, false); }},
      {"journal json, bytes", [](auto& m, int64_t w) { return JournalJson(m, w, true); }},
      {"journal json-seq", [](auto& m, int64_t w) { return "\x1e" + JournalJson(m, w, false); }},
      {"journal json-sse",
       [](auto& m, int64_t w) { return "data: " + JournalJson(m, w, false) + "\n"; }},
      {"syslog 3164",
       [](auto& m, int64_t w) {
         return fmt::format("<{}>", m.priority) + Date("%b %e %H:%M:%S node kernel: ", w) + m.text;
       }},
      {"syslog 3164, both times",
       [](auto& m, int64_t w) {
         return Date("%b %e %H:%M:%S node kernel: ", w) + "[" + Boot(m.us) + "] " + m.text;
       }},
      {"syslog 5424",
       [](auto& m, int64_t w) {
         return fmt::format("<{}>1 ", m.priority) +
                Date("%Y-%m-%dT%H:%M:%S.000000Z node kernel - - - ", w) + m.text;
       }},
      {"syslog 5424, structured data",
       [](auto& m, int64_t w) {
         return fmt::format("<{}>1 ", m.priority) +
                Date("%Y-%m-%dT%H:%M:%S+00:00 node kernel - - ", w) +
                "[a@1 x=\"]\" y=\"\\\"\"][b@2] " + m.text;
       }},
      {"syslog, busybox",
       [](auto& m, int64_t w) {
         return Date("%b %e %H:%M:%S node kern.info kernel: ", w) + m.text;
       }},
  };
  std::map<std::string, std::string> forms;
  for (const auto& [name, format] : lines) {
    std::string& log = forms[name];
    for (const KernelMessage& one : messages) log += format(one, start + one.us) + "\n";
  }
  for (const KernelMessage& one : messages) {
    forms["journal export"] += Export(one, start + one.us, false);
    forms["journal export, binary"] += Export(one, start + one.us, true);
  }
  forms["dmesg -H"] = Human(messages, start);
  forms["dmesg -J"] = DmesgJson(messages);
  return forms;
}

}  // namespace plugpull
