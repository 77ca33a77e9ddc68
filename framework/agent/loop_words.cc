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

}  // namespace

std::string LoopWords(const Story& story, const DiskStory& disk, const Episode& episode) {
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
