// SPDX-License-Identifier: Apache-2.0
// An episode as framework/incident sees volumes, so that a loop is the same thing in a field log
// and in a timeline.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "framework/agent/story.h"
#include "framework/incident/retry_loop.h"
#include "framework/incident/words.h"

namespace plugpull::agent {
namespace {

// A gap that is shorter than half of the one before has no jitter as its reason.
constexpr double kResetMax = 0.5;
// Shorter gaps are those of a program that tries again at once, not of a back-off.
constexpr double kResetFromS = 1;

using incident::Event;
using incident::Failure;

// What mount(2) says of each kind of damage; the table of ext4's answers is the source.
Failure FailureOf(int error_number) {
  switch (error_number) {
    case 0:
      return Failure::kNone;
    case EINVAL:
      return Failure::kNotRecognised;
    case EBADMSG:
      return Failure::kChecksum;
    case EIO:
      return Failure::kReadError;
    case EUCLEAN:
      return Failure::kDescriptors;
    default:
      return Failure::kOther;
  }
}

incident::Stamp StampOf(uint64_t ns) {
  return {incident::Stamp::Clock::kBoot, static_cast<int64_t>(ns / 1000)};
}

Event EventAt(uint64_t ns, Event::Kind kind, uint64_t number) {
  Event event;
  event.kind = kind;
  event.at = StampOf(ns);
  event.record = number;
  event.line = number;
  return event;
}

// Of mounts that all succeed.
std::string FlapWords(const Episode& episode) {
  std::vector<double> periods;
  for (size_t i = 1; i < episode.attempts.size(); ++i) {
    periods.push_back(Seconds(episode.attempts[i].at_ns - episode.attempts[i - 1].at_ns));
  }
  if (periods.empty()) return {};
  return fmt::format("cycle: mounted, unmounted; {} times, every {}", episode.attempts.size(),
                     incident::DurationWords(Median(periods)));
}

}  // namespace

std::string ResetWords(const Story& story, const Episode& episode) {
  const auto gaps = episode.GapsSeconds();
  std::vector<double> resets;
  uint64_t by_restart = 0;
  for (size_t i = 1; i < gaps.size(); ++i) {
    if (gaps[i - 1] < kResetFromS || gaps[i] >= kResetMax * gaps[i - 1]) continue;
    resets.push_back(Seconds(episode.attempts[i].at_ns));
    // The agent may have died before the attempt that the shorter gap follows, or of it.
    const uint64_t from = episode.attempts[i - 1].at_ns;
    const uint64_t to = episode.attempts[i + 1].at_ns;
    by_restart += std::any_of(story.timeline.event().begin(), story.timeline.event().end(),
                              [&](const TimelineEvent& event) {
                                return event.has_life() && event.agent() == story.agent &&
                                       event.at_ns() >= from && event.at_ns() <= to &&
                                       (event.life().kind() == AgentLife::STARTED ||
                                        event.life().kind() == AgentLife::RESTARTED);
                              });
  }
  if (resets.empty()) return {};
  std::string words = "back-off begun anew " + incident::Plural(resets.size(), "time", "times");
  std::vector<double> periods;
  for (size_t i = 1; i < resets.size(); ++i) periods.push_back(resets[i] - resets[i - 1]);
  if (!periods.empty()) words += ", every " + incident::DurationWords(Median(periods));
  if (by_restart > 0) words += fmt::format(", {} of them by a restart", by_restart);
  return words;
}

std::string LoopWords(const Story& story, const DiskStory& disk, const Episode& episode) {
  if (episode.Failures() == 0) return FlapWords(episode);
  incident::VolumeHistory history;
  history.names = {disk.Name()};
  const uint64_t begin = episode.attempts.front().at_ns;
  const uint64_t end = episode.attempts.back().end_ns;
  uint64_t number = 0;
  for (const TimelineEvent& event : story.timeline.event()) {
    if (event.at_ns() < begin || event.at_ns() > end) continue;
    ++number;
    if (event.has_disk() && event.disk().disk() == disk.disk &&
        event.disk().kind() != DiskChange::CONTENT) {
      const bool came = event.disk().kind() == DiskChange::ATTACHED;
      history.events.push_back(
          EventAt(event.at_ns(), came ? Event::Kind::kAttached : Event::Kind::kDetached, number));
    }
    if (event.agent() != story.agent) continue;
    if (event.has_mount() && event.mount().disk() == disk.disk && !event.mount().bind_or_move() &&
        !event.mount().remount()) {
      const int error = event.mount().error_number();
      history.events.push_back(EventAt(
          event.at_ns(), error == 0 ? Event::Kind::kMounted : Event::Kind::kMountFailed, number));
      history.events.back().failure = FailureOf(error);
    } else if (event.has_unmount() && event.unmount().disk() == disk.disk &&
               event.unmount().error_number() == 0) {
      history.events.push_back(EventAt(event.at_ns(), Event::Kind::kUnmounted, number));
    }
  }
  incident::LogEnd log_end;
  log_end.at = StampOf(end);
  log_end.records = number;
  const auto verdict = incident::FindLoop(history, log_end);
  if (!verdict.loop) return {};
  std::string steps;
  for (const auto& step : verdict.loop->steps) {
    steps += (steps.empty() ? "" : ", ") + incident::StepWords(step);
  }
  std::string words =
      fmt::format("cycle: {}; {}{}", steps,
                  incident::Plural(verdict.loop->whole, "whole cycle", "whole cycles"),
                  verdict.loop->cut_off ? " and one cut off" : "");
  if (verdict.loop->period) {
    words += ", every " + incident::DurationWords(verdict.loop->period->median_s);
  }
  return words;
}

}  // namespace plugpull::agent
