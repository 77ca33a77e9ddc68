// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/incident.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "framework/incident/words.h"

namespace plugpull::incident {
namespace {

constexpr size_t kHeadBytes = 64;

// The options of most mounts; of equally many, the later ones.
std::vector<std::string> UsualOptions(const VolumeHistory& history) {
  std::vector<uint64_t> counts(history.option_sets.size());
  size_t best = 0;
  uint64_t most = 0;
  for (const Event& event : history.events) {
    if (event.kind != Event::Kind::kMounted) continue;
    if (++counts[event.options] >= most) {
      most = counts[event.options];
      best = event.options;
    }
  }
  return most == 0 ? std::vector<std::string>() : history.option_sets[best];
}

void CountEvents(const std::vector<Event>& events, DeviceReport& report) {
  bool known = false;
  for (const Event& event : events) {
    switch (event.kind) {
      case Event::Kind::kAttached:
        ++report.attachments;
        report.re_attachments += known;
        break;
      case Event::Kind::kDetached:
        ++report.detachments;
        break;
      case Event::Kind::kMounted:
        ++report.mounts;
        break;
      case Event::Kind::kMountFailed:
        ++report.failures[static_cast<size_t>(event.failure)];
        break;
      case Event::Kind::kUnmounted:
        ++report.unmounts;
        break;
    }
    known = true;
  }
  report.attempts = report.mounts;
  for (const uint64_t count : report.failures) report.attempts += count;
}

// Not recognised when it came first (mount(8) may try three types), and mounted ever since.
bool IsFirstFormat(const std::vector<Event>& events) {
  uint64_t failures = 0;
  bool mounted = false;
  for (const Event& event : events) {
    if (event.kind == Event::Kind::kMountFailed) {
      if (mounted || event.failure != Failure::kNotRecognised || ++failures > 3) return false;
    }
    mounted |= event.kind == Event::Kind::kMounted;
  }
  return mounted && failures > 0;
}

DeviceReport ReportOf(const VolumeHistory& history, const LogEnd& end) {
  DeviceReport report;
  report.names = history.names;
  report.device =
      history.events.empty() ? history.names.back() : history.names[history.events.back().name];
  report.fs = history.fs;
  report.options = UsualOptions(history);
  report.size_bytes = history.size_bytes;
  report.uuids = history.uuids;
  CountEvents(history.events, report);
  report.file_system_errors = history.file_system_errors;
  report.journal_errors = history.journal_errors;
  report.io_errors = history.io_errors;
  report.recoveries = history.recoveries;
  report.orphan_cleanups = history.orphan_cleanups;
  report.read_only = history.read_only;
  report.first_line = history.first_line;
  report.first_format = IsFirstFormat(history.events);
  report.verdict = FindLoop(history, end);
  return report;
}

// The higher, the worse.
int Badness(const DeviceReport& report) {
  if (report.verdict.loop) return 7;
  if (report.read_only || report.journal_errors > 0) return 6;
  if (report.verdict.end == AttemptsEnd::kOpen) return 5;
  if (report.gave_up()) return 4;
  if (report.file_system_errors + report.io_errors > 0) return 3;
  if (report.verdict.blank_each_time >= kCyclesMin) return 2;
  return report.attempts > 0 ? 1 : 0;
}

bool Worse(const DeviceReport& a, const DeviceReport& b) {
  const auto rank = [](const DeviceReport& one) { return std::pair(Badness(one), one.attempts); };
  return rank(a) != rank(b) ? rank(a) > rank(b) : a.first_line < b.first_line;
}

// A disk of which the log shows only that it came, while its partitions were mounted.
bool OnlyCarries(const DeviceReport& report, const std::vector<DeviceReport>& all) {
  if (report.attempts > 0 || Badness(report) > 0) return false;
  return std::any_of(all.begin(), all.end(), [&](const DeviceReport& other) {
    return &other != &report && DiskOf(other.device) == report.device;
  });
}

std::vector<std::string> NotesOf(const Incident& incident, const HistoryResult& history) {
  std::vector<std::string> notes;
  const KlogSummary& log = incident.log;
  const auto note = [&](uint64_t count, const std::string& text) {
    if (count > 0) notes.push_back(fmt::format("{} {}", count, text));
  };
  note(log.missed, "kernel messages were lost before they were stored, so the log has gaps");
  for (const auto& [fs, count] : history.suppressed) {
    note(count, fmt::format("messages of {} were not printed (the kernel's rate limit): counts "
                            "are lower bounds",
                            FileSystemName(fs)));
  }
  note(log.cut_lines, fmt::format("lines were longer than {} bytes and cut", kLineBytesMax));
  note(log.broken_entries, "journal entries could not be read");
  note(log.time_went_back, "times that go back: no period is taken across them");
  note(log.boots - 1, "restarts of the machine: no loop is followed across them");
  note(history.dropped_events,
       fmt::format("events were left out: at most {} are kept", kEventsMax));
  note(history.dropped_volumes,
       fmt::format("messages on more than {} disks were left out", kVolumesMax));
  return notes;
}

// What is no text is told by how it begins.
Status CheckHead(std::string_view head) {
  if (head.starts_with("\x1f\x8b") || head.starts_with("\x28\xb5\x2f\xfd") ||
      head.starts_with("\xfd"
                       "7zXZ")) {
    return UserError("the log is compressed; unpack it first (zcat, zstdcat, xzcat)");
  }
  if (head.starts_with("LPKSHHRH")) {
    return UserError(
        "this is a journal in systemd's own format; export it first: journalctl --file FILE -k "
        "-o export");
  }
  return OkStatus();
}

}  // namespace

std::vector<std::string> EventWords(const Loop& loop) {
  std::vector<std::string> words;
  for (const CycleStep& step : loop.steps) words.push_back(StepWords(step));
  return words;
}

Result<Incident> ReadIncident(std::string_view klog) {
  LogInput input(klog);
  return ReadIncident(input);
}

Result<Incident> ReadIncident(LogInput& input) {
  PP_RETURN_IF_ERROR(CheckHead(input.Peek(kHeadBytes)));
  Incident incident;
  HistoryBuilder builder;
  LogEnd end;
  incident.log = ReadKlog(input, [&](const KlogRecord& record) {
    builder.Take(record);
    // The last time that is known; a stray line without one does not end the log's time.
    if (record.at.clock != Stamp::Clock::kNone || end.at.clock == Stamp::Clock::kNone ||
        record.boot != end.boot) {
      end.at = record.at;
    }
    end.boot = record.boot;
    ++end.records;
  });
  HistoryResult history = builder.Finish();
  std::vector<DeviceReport> all;
  for (const VolumeHistory& volume : history.volumes) all.push_back(ReportOf(volume, end));
  for (const DeviceReport& report : all) {
    if (!OnlyCarries(report, all)) incident.devices.push_back(report);
  }
  if (incident.devices.empty() && (incident.log.records == 0 || incident.log.binary)) {
    return UserError(
        incident.log.foreign > 0
            ? "the log has lines of other programs, and none of the kernel; import the kernel's "
              "log (dmesg, journalctl -k)"
            : "the log holds no kernel messages; import the output of dmesg, of journalctl -k, or "
              "a syslog file");
  }
  incident.dropped_events = history.dropped_events + history.dropped_volumes;
  incident.notes = NotesOf(incident, history);
  for (DeviceReport& report : incident.devices) {
    const auto suppressed = history.suppressed.find(report.fs);
    if (suppressed != history.suppressed.end()) report.suppressed = suppressed->second;
    report.kernel = incident.log.kernel;
    DescribeInWords(incident.log, report);
  }
  std::stable_sort(incident.devices.begin(), incident.devices.end(), Worse);
  return incident;
}

}  // namespace plugpull::incident
