// SPDX-License-Identifier: Apache-2.0
// Giving up is said once, so that somebody can act on it.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "framework/agent/story.h"

namespace plugpull::agent {
namespace {

constexpr int kErrnoMax = 133;  // of Linux: EHWPOISON

bool IsWordByte(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

// Whether `word` stands in `text` with no letter or digit at its ends.
bool HasWord(const std::string& text, const std::string& word) {
  if (word.empty()) return false;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || !IsWordByte(text[at - 1])) && (end == text.size() || !IsWordByte(text[end]))) {
      return true;
    }
  }
  return false;
}

bool NamesDevice(const std::string& text, const DiskStory& disk) {
  return std::any_of(disk.devices.begin(), disk.devices.end(), [&](const std::string& device) {
    return device.starts_with("/dev/") && HasWord(text, device.substr(device.rfind('/') + 1));
  });
}

// Where a mount succeeded, what the agent found wrong behind it is not in the timeline: then the
// name of any errno will do.
bool NamesErrno(const std::string& text, const Episode& episode) {
  const bool succeeded = episode.Failures() < episode.attempts.size();
  for (int error = 1; succeeded && error <= kErrnoMax; ++error) {
    const char* name = ::strerrorname_np(error);
    if (name != nullptr && HasWord(text, name)) return true;
  }
  return std::any_of(episode.attempts.begin(), episode.attempts.end(), [&](const Attempt& attempt) {
    if (attempt.error_number == 0) return false;
    return HasWord(text, ErrnoWord(attempt.error_number)) ||
           HasWord(text, std::to_string(attempt.error_number)) ||
           text.find(::strerrordesc_np(attempt.error_number)) != std::string::npos;
  });
}

// What an alert does not name, in words; empty: nothing.
std::string Lacking(const std::string& text, const DiskStory& disk, const Episode& episode) {
  std::string lacking;
  const auto add = [&lacking](const char* what) {
    lacking += (lacking.empty() ? "" : ", ") + std::string(what);
  };
  if (!NamesDevice(text, disk)) add("the device");
  if (!disk.serial.empty() && !HasWord(text, disk.serial)) add("the serial");
  if (!NamesErrno(text, episode)) add("the errno");
  return lacking;
}

}  // namespace

void JudgeAlerts(const Story& story, std::vector<PropertyReport>& reports) {
  Judgement judgement(ONE_ALERT);
  for (const auto& [name, disk] : story.disks) {
    for (size_t i = 0; i < disk.episodes.size(); ++i) {
      const Episode& episode = disk.episodes[i];
      if (episode.end != Episode::End::kGaveUp) continue;
      // Who was silent for long and then went on had not given up: SILENT_AFTER_GIVING_UP.
      const bool went_on = i + 1 < disk.episodes.size() && disk.episodes[i + 1].after_giving_up;
      if (!episode.alert_ns && went_on) continue;
      const uint64_t from = episode.attempts.front().at_ns;
      std::vector<const TimelineEvent*> alerts;
      for (const TimelineEvent* alert : disk.alerts) {
        if (alert->at_ns() >= from && alert->at_ns() < std::max(episode.next_ns, from + 1)) {
          alerts.push_back(alert);
        }
      }
      if (alerts.size() != 1) {
        judgement.Violated(
            fmt::format("gave up on {} after {} attempts, with {} alerts; one is due", disk.Name(),
                        episode.attempts.size(), alerts.size()),
            name);
        continue;
      }
      const std::string& text = alerts.front()->alert().text();
      const std::string lacking = Lacking(text, disk, episode);
      if (!lacking.empty()) {
        judgement.Violated(
            fmt::format("the alert on {} does not name {}: \"{}\"", disk.Name(), lacking, text),
            name);
      } else {
        judgement.Holds(fmt::format("\"{}\"", text), name);
      }
    }
  }
  reports.push_back(judgement.report());
}

}  // namespace plugpull::agent
