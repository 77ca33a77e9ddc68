// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/words.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace plugpull::incident {
namespace {

// Collects what speaks for and against a verdict.
class Evidence {
 public:
  explicit Evidence(double start) : value_(start) {}
  void Add(bool holds, double weight, const std::string& reason) {
    if (!holds) return;
    value_ += weight;
    reasons_.push_back(fmt::format("{} ({:+.2f})", reason, weight));
  }
  void Finish(DeviceReport& report) const {
    const double bounded = std::clamp(value_, 0.05, 0.99);
    report.confidence = static_cast<double>(static_cast<int>(bounded * 100 + 0.5)) / 100;
    report.reasons = reasons_;
  }

 private:
  double value_;
  std::vector<std::string> reasons_;
};

std::string Head(const DeviceReport& report) {
  std::string what = FileSystemName(report.fs);
  if (what.empty()) what = "no file system was seen on it";
  if (!report.options.empty()) what += fmt::format(", {}", fmt::join(report.options, ","));
  return fmt::format("{} ({})", report.device, what);
}

std::string CycleWords(const Loop& loop) {
  std::vector<std::string> words;
  for (const CycleStep& step : loop.steps) {
    std::string word = StepWords(step);
    if (step.repeats_max > 1) {
      word += step.repeats_min == step.repeats_max
                  ? fmt::format(" ({} times)", step.repeats_max)
                  : fmt::format(" ({} to {} times)", step.repeats_min, step.repeats_max);
    }
    words.push_back(word);
  }
  return fmt::format("{}", fmt::join(words, " -> "));
}

// "5 attempts found no file system on it, 10 mounts succeeded, it was re-attached 4 times".
std::string CountsWords(const DeviceReport& report) {
  std::vector<std::string> parts;
  for (int i = 1; i < kFailures; ++i) {
    const uint64_t count = report.failures[static_cast<size_t>(i)];
    if (count == 0) continue;
    const auto failure = static_cast<Failure>(i);
    const char* fs = FileSystemName(report.fs);
    parts.push_back(failure == Failure::kNotRecognised
                        ? fmt::format("{} found no {} file system on it",
                                      Plural(count, "attempt", "attempts"), fs)
                        : fmt::format("{} failed ({})", Plural(count, "attempt", "attempts"),
                                      FailureWords(failure)));
  }
  if (report.mounts > 0) parts.push_back(Plural(report.mounts, "mount", "mounts") + " succeeded");
  if (report.re_attachments > 0) {
    parts.push_back("it was re-attached " + TimesWords(report.re_attachments));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string ErrorWords(const DeviceReport& report) {
  std::vector<std::string> parts;
  if (report.io_errors > 0) parts.push_back(Plural(report.io_errors, "I/O error", "I/O errors"));
  if (report.journal_errors > 0) {
    parts.push_back(Plural(report.journal_errors, "journal error", "journal errors"));
  }
  if (report.file_system_errors > 0) {
    parts.push_back(Plural(report.file_system_errors, "file system error", "file system errors"));
  }
  if (report.read_only) parts.push_back("the file system stopped writing");
  if (report.recoveries > 0) {
    parts.push_back(Plural(report.recoveries, "journal recovery", "journal recoveries"));
  }
  return parts.empty() ? "" : fmt::format(" Also: {}.", fmt::join(parts, ", "));
}

std::string PeriodWords(const Loop& loop) {
  if (!loop.period) return " The log has no times that say how long a cycle takes.";
  const Period& period = *loop.period;
  if (period.Regular()) {
    return fmt::format(" A cycle takes about {}.", DurationWords(period.median_s));
  }
  return fmt::format(" A cycle takes {} to {}, half of them at most {}.",
                     DurationWords(period.min_s), DurationWords(period.max_s),
                     DurationWords(period.median_s));
}

void DescribeLoop(const KlogSummary& log, DeviceReport& report) {
  const Loop& loop = *report.verdict.loop;
  const bool over = report.verdict.end != AttemptsEnd::kOpen;
  const std::string cycles =
      Plural(loop.whole, "whole cycle", "whole cycles") + (loop.cut_off ? " and one cut off" : "");
  report.summary = fmt::format("{}: a retry loop, {}: {}, {}. {}.", Head(report),
                               over ? "which ended in the end" : "without an end", CycleWords(loop),
                               cycles, CountsWords(report));
  report.summary += PeriodWords(loop);
  const bool unordered = std::count(report.options.begin(), report.options.end(), "nobarrier") > 0;
  if (unordered) {
    report.summary +=
        " Barriers were off: each time the disk goes, it may lose what it had only cached.";
  }
  Evidence evidence(0.6);
  evidence.Add(loop.closed > kCyclesMin, 0.1, "more cycles than a loop needs");
  evidence.Add(loop.closed >= 2 * kCyclesMin, 0.1, "twice as many as it needs");
  evidence.Add(loop.alike == loop.closed, 0.15, "all closed cycles have the same events");
  evidence.Add(loop.alike * 2 < loop.closed, -0.15, "most cycles differ from one another");
  evidence.Add(loop.period && loop.period->Regular(), 0.1, "they take about equally long");
  evidence.Add(!loop.period, -0.05, "the log has no times");
  evidence.Add(report.verdict.identity_known, 0.1, "the same file system UUID each time");
  evidence.Add(report.suppressed > 0, -0.1, "messages were not printed (rate limit)");
  evidence.Add(log.missed > 0, -0.05, "messages were lost");
  evidence.Add(over, -0.2, "it ended before the log does");
  evidence.Add(report.names.size() > 1 && !report.verdict.identity_known, -0.15,
               "the disk changed its name");
  evidence.Finish(report);
}

// What is said of a device without a loop, up to the semicolon.
std::string Story(const DeviceReport& report) {
  const uint64_t failed = report.attempts - report.mounts;
  if (report.attempts == 0) {
    return report.attachments > 0 ? "attached, and never mounted" : "never mounted";
  }
  if (report.verdict.blank_each_time >= kCyclesMin) {
    return fmt::format(
        "{} times a blank disk came, was mounted and went; these may be other disks, formatted "
        "for the first time, or one that is formatted again and again, which this log cannot tell",
        report.verdict.blank_each_time + 1);
  }
  if (report.gave_up() && report.attempts == 1) {
    return "the only mount failed, and was not tried again";
  }
  if (report.gave_up()) {
    return report.mounts > 0 ? "mounts began to fail, and were given up"
                             : "mounts failed, and were given up";
  }
  if (report.verdict.end == AttemptsEnd::kOpen) {
    return "the last mount failed, and the log ends soon after";
  }
  std::string story = report.first_format ? "first format" : "mounted";
  if (!report.first_format && failed > 0) story = "mounts failed for a time, then succeeded";
  if (report.re_attachments > 0) story += ", unplug, re-plug";
  return story;
}

void DescribeRest(const KlogSummary& log, DeviceReport& report) {
  const std::string counts = CountsWords(report);
  report.summary = fmt::format("{}: {}; no loop.", Head(report), Story(report));
  if (!counts.empty()) {
    report.summary += fmt::format(" {}.", counts);
    if (report.first_format) {
      report.summary += " A failure before the first format is what a blank disk gives.";
    }
  }
  Evidence evidence(0.9);
  const uint64_t failed = report.attempts - report.mounts;
  evidence.Add(failed == 0 && report.attempts > 0, 0.05, "no mount failed");
  evidence.Add(report.verdict.end == AttemptsEnd::kOpen, -0.3, "it may go on where the log ends");
  evidence.Add(report.verdict.closed_cycles > 0 && !report.first_format, -0.1,
               "mounts began to fail more than once");
  evidence.Add(report.verdict.blank_each_time >= kCyclesMin, -0.4,
               "whether it was one disk is not known");
  evidence.Add(report.suppressed > 0, -0.2, "messages were not printed (rate limit)");
  evidence.Add(log.missed > 0, -0.1, "messages were lost");
  evidence.Finish(report);
}

}  // namespace

std::string Plural(uint64_t count, const std::string& one, const std::string& many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string TimesWords(uint64_t count) {
  return count == 1 ? "once" : fmt::format("{} times", count);
}

std::string DurationWords(double seconds) {
  if (seconds < 10) return fmt::format("{:.2g} s", seconds);
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.0f} h", seconds / 3600);
}

void DescribeInWords(const KlogSummary& log, DeviceReport& report) {
  if (report.verdict.loop) {
    DescribeLoop(log, report);
  } else {
    DescribeRest(log, report);
  }
  report.summary += ErrorWords(report);
}

}  // namespace plugpull::incident
