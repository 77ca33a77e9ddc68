// SPDX-License-Identifier: Apache-2.0
#include "framework/blocklog/history.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/blocklog/format.h"

namespace plugpull::blocklog {
namespace {

Event BlockEvent(const Entry& entry) {
  Event event;
  event.entry = entry.index;
  event.offset = entry.offset;
  event.length = entry.length;
  event.data = entry.data;
  if (entry.discard()) {
    event.kind = Event::Kind::kDiscard;
    event.flush_first = entry.flush();
  } else if (entry.length.value == 0) {
    event.kind = Event::Kind::kFlush;
    event.flush_twice = entry.fua();
  } else {
    event.kind = Event::Kind::kWrite;
    event.flush_first = entry.flush();
    event.fua = entry.fua();
  }
  return event;
}

Event MarkEvent(const Entry& entry, Mark mark) {
  Event event;
  event.entry = entry.index;
  event.kind = Event::Kind::kMark;
  event.mark = std::move(mark);
  return event;
}

// Takes what was written to the strip. mkfs and probes may write there too; that is no part of the
// disk. Returns whether the log is being drained from now on; `draining`: whether it was.
bool TakeStrip(const Entry& entry, std::span<const uint8_t> data, bool draining, History& history) {
  std::optional<Mark> mark = DecodeMark(data);
  if (!mark) return draining;
  const bool drains = mark->kind == "drain";
  history.ended |= mark->kind == "end";
  history.events.push_back(MarkEvent(entry, *std::move(mark)));
  history.events.back().in_band = true;
  if (history.events.back().mark.kind == "base" && history.base == 0) {
    history.base = history.events.size();
  }
  return drains;
}

// The part of a merged write that lies before `limit`.
Entry HeadOf(const Entry& entry, Bytes limit) {
  Entry head = entry;
  head.length = limit - entry.offset;
  head.data = entry.data.first(head.length.value);
  return head;
}

Bytes LastByte(const BlockLog& log) {
  Bytes last;
  for (const Entry& entry : log.entries) {
    if (!entry.discard()) last = std::max(last, entry.offset + entry.length);
  }
  return last;
}

}  // namespace

Result<History> MakeHistory(const BlockLog& log, const HistoryOptions& options) {
  History history;
  history.dropped = log.dropped;
  history.ended = log.torn_down;
  history.device_size = options.device_size.value != 0 ? options.device_size : LastByte(log);
  const Bytes limit = history.device_size;
  bool draining = false;
  for (const Entry& entry : log.entries) {
    if (entry.is_mark()) {
      history.events.push_back(MarkEvent(entry, {"note", entry.mark}));
      continue;
    }
    if (options.strip_bytes.value != 0 && entry.offset >= limit && entry.length.value != 0) {
      draining = TakeStrip(entry, entry.data, draining, history);
      continue;
    }
    if (options.merged && !entry.discard() && entry.offset < limit &&
        entry.offset + entry.length > limit) {
      const Entry head = HeadOf(entry, limit);
      history.events.push_back(BlockEvent(head));
      draining = TakeStrip(entry, entry.data.subspan(head.length.value), draining, history);
      continue;
    }
    Event event = BlockEvent(entry);
    // Where the size is a guess, from the writes alone, the disk goes on behind it.
    const bool guessed = options.device_size.value == 0;
    if (guessed && event.kind == Event::Kind::kDiscard && event.offset + event.length > limit) {
      if (event.offset >= limit) continue;
      event.length = limit - event.offset;
    }
    if (event.kind != Event::Kind::kFlush && event.offset + event.length > limit) {
      return UserError(fmt::format(
          "log entry {} {} bytes {} to {} of a disk of {} bytes; is it the log of another disk? "
          "`plugpull log show` lists its entries, and --base names the disk that it is of",
          entry.index, event.kind == Event::Kind::kDiscard ? "discards" : "writes",
          event.offset.value, (event.offset + event.length).value, limit.value));
    }
    if (event.kind == Event::Kind::kFlush && draining) {
      draining = false;
      continue;
    }
    history.events.push_back(std::move(event));
  }
  return history;
}

}  // namespace plugpull::blocklog
