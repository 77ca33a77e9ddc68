// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/log_matching.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "framework/crashstate/crash_space.h"
#include "framework/crashstate/log_agreement.h"
#include "framework/image/fingerprint.h"

namespace plugpull::crashstate {

using blocklog::Event;
using blocklog::History;

size_t IndexedLog::FlushesBefore(size_t position) const {
  return static_cast<size_t>(std::ranges::upper_bound(flushes, position) - flushes.begin());
}

namespace {

constexpr uint64_t kDiscarded = 0;  // as a content; no fingerprint of bytes is likely to be it

using Piece = LogPiece;

Result<IndexedLog> IndexLog(const History& history, uint32_t block_bytes, const char* name) {
  IndexedLog log;
  log.history = &history;
  log.end = kNowhere;
  const auto& events = history.events;
  uint64_t pieces = 0;
  for (size_t i = 0; i < events.size(); ++i) {
    if (events[i].HasFlush()) log.flushes.push_back(i);
    if (events[i].kind == Event::Kind::kMark && events[i].mark.kind == "end") log.end = i;
    if (events[i].ChangesBlocks()) pieces += events[i].length.value / block_bytes;
  }
  if (log.end == kNowhere) return UserError(fmt::format("the {}'s log lacks its last mark", name));
  if (pieces > kPiecesMax || events.size() >= UINT32_MAX) {
    return UserError(
        fmt::format("the {}'s log writes {} blocks of {} bytes; at most {} are compared", name,
                    pieces, block_bytes, kPiecesMax));
  }
  log.pieces.reserve(pieces);
  for (size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    if (!event.ChangesBlocks()) continue;
    for (uint64_t at = 0; at < event.length.value; at += block_bytes) {
      const uint64_t content = event.kind == Event::Kind::kDiscard
                                   ? kDiscarded
                                   : image::FingerprintOf(event.data.subspan(at, block_bytes)).low;
      log.pieces.push_back(
          {(event.offset.value + at) / block_bytes, content, static_cast<uint32_t>(i)});
    }
  }
  std::ranges::stable_sort(log.pieces, {}, &Piece::block);
  log.matched.assign(events.size(), 0);
  return log;
}

// The pieces of one block, taken off the front.
std::span<const Piece> TakeBlock(std::span<const Piece>& left, uint64_t block) {
  size_t n = 0;
  while (n < left.size() && left[n].block == block) ++n;
  const auto taken = left.first(n);
  left = left.subspan(n);
  return taken;
}

class Matcher {
 public:
  Matcher(LogMatching& matching, const MatchCallbacks& callbacks)
      : guest_(matching.guest),
        host_(matching.host),
        block_bytes_(matching.block_bytes),
        host_last_(matching.host_last),
        callbacks_(callbacks) {}

  void Run() {
    MatchPieces();
    MatchMarks();
  }

 private:
  std::string Sectors(uint64_t block) const {
    const uint64_t per_block = block_bytes_ / kSectorBytes;
    return fmt::format("sectors {} to {}", block * per_block, (block + 1) * per_block - 1);
  }
  void Join(const Piece& guest, const Piece& host) {
    ++guest_.matched[guest.event];
    ++host_.matched[host.event];
    size_t& last = host_last_[guest.event];
    last = last == kNowhere ? host.event : std::max<size_t>(last, host.event);
    if (callbacks_.found) callbacks_.found(guest, host);
  }

  // Rule 1, block by block.
  void MatchPieces() {
    std::span<const Piece> guest = guest_.pieces;
    std::span<const Piece> host = host_.pieces;
    while (!guest.empty() || !host.empty()) {
      const uint64_t block = guest.empty()  ? host[0].block
                             : host.empty() ? guest[0].block
                                            : std::min(guest[0].block, host[0].block);
      const auto ours = TakeBlock(guest, block);
      MatchBlock(ours, TakeBlock(host, block));
    }
    for (IndexedLog* log : {&guest_, &host_}) {
      log->matched_before.assign(1, 0);
      for (const uint32_t n : log->matched) {
        log->matched_before.push_back(log->matched_before.back() + n);
      }
    }
  }

  void MatchBlock(std::span<const Piece> guest, std::span<const Piece> host) {
    size_t same = 0;
    while (same < guest.size() && same < host.size() && guest[same].content == host[same].content) {
      Join(guest[same], host[same]);
      ++same;
    }
    guest = guest.subspan(same);
    host = host.subspan(same);
    // The rest may be what happened behind the end.
    if ((guest.empty() || guest[0].event > guest_.end) &&
        (host.empty() || host[0].event > host_.end)) {
      return;
    }
    while (!guest.empty() && !host.empty() && guest.back().content == host.back().content) {
      Join(guest.back(), host.back());
      guest = guest.first(guest.size() - 1);
      host = host.first(host.size() - 1);
    }
    MatchReordered(guest, host);
  }

  void MatchReordered(std::span<const Piece> guest, std::span<const Piece> host) {
    std::map<uint64_t, std::vector<size_t>>
        places;  // of a content in `host`, the first at the back
    for (size_t i = host.size(); i-- > 0;) places[host[i].content].push_back(i);
    std::vector<bool> taken(host.size());
    size_t before = kNowhere;  // the piece in front, and its place in the host's log
    size_t before_at = 0;
    for (size_t i = 0; i < guest.size(); ++i) {
      auto& left = places[guest[i].content];
      if (left.empty()) {
        if (guest[i].event < guest_.end) ReportLost(guest[i]);
        continue;
      }
      const size_t at = left.back();
      left.pop_back();
      taken[at] = true;
      Join(guest[i], host[at]);
      if (before != kNowhere && at < before_at) CheckSwap(guest[before], guest[i], host[at]);
      before = i;
      before_at = at;
    }
    for (size_t i = 0; i < host.size(); ++i) {
      if (!taken[i] && host[i].event < host_.end) ReportInvented(host[i]);
    }
  }

  void ReportLost(const Piece& piece) {
    Report(Mismatch::kLost,
           fmt::format("entry {} of the guest's log writes {}, and the host's log has no such "
                       "write{}",
                       guest_.entry(piece.event), Sectors(piece.block),
                       guest_.at(piece.event).fua ? " (a forced one)" : ""),
           piece.event, kNowhere);
  }

  void ReportInvented(const Piece& piece) {
    Report(Mismatch::kInvented,
           fmt::format("entry {} of the host's log writes {}, and the guest's log has no such "
                       "write",
                       host_.entry(piece.event), Sectors(piece.block)),
           kNowhere, piece.event);
  }

  // Two versions of a block, first and second in the guest's log, the other way round in the
  // host's.
  void CheckSwap(const Piece& first, const Piece& second, const Piece& host) {
    const size_t flushes = guest_.FlushesBefore(first.event);
    if (flushes == guest_.FlushesBefore(second.event) && Forced(first.block, flushes)) return;
    Report(Mismatch::kReordered,
           fmt::format("{} are written by entry {} and then by entry {} of the guest's log; the "
                       "host's log has them the other way round",
                       Sectors(first.block), guest_.entry(first.event), guest_.entry(second.event)),
           first.event, host.event);
  }

  // Whether a forced write is among those of a block behind so many flushes. Not only the two that
  // were taken for swapped: equal contents may have been taken for each other.
  bool Forced(uint64_t block, size_t flushes) const {
    return std::ranges::any_of(
        std::ranges::equal_range(guest_.pieces, block, {}, &Piece::block), [&](const Piece& piece) {
          return guest_.at(piece.event).fua && guest_.FlushesBefore(piece.event) == flushes;
        });
  }

  // Marks are told by what they say; of equal ones the first is the first.
  void MatchMarks() {
    std::map<std::pair<std::string_view, std::string_view>, std::vector<size_t>> places;
    for (size_t i = host_.history->events.size(); i-- > 0;) {
      const Event& event = host_.at(i);
      if (IsOurs(event)) places[{event.mark.kind, event.mark.text}].push_back(i);
    }
    for (size_t i = 0; i < guest_.history->events.size(); ++i) {
      const Event& event = guest_.at(i);
      if (!IsOurs(event)) continue;
      auto& left = places[{event.mark.kind, event.mark.text}];
      if (!left.empty()) {
        host_last_[i] = left.back();
        left.pop_back();
      } else if (i <= guest_.end) {
        Report(Mismatch::kNoMark,
               fmt::format("the mark \"{} {}\", entry {} of the guest's log, is not in the "
                           "host's",
                           event.mark.kind, event.mark.text, event.entry),
               i, kNowhere);
      }
    }
    for (const auto& [mark, left] : places) {
      if (left.empty() || left.back() > host_.end) continue;
      Report(Mismatch::kNoMark,
             fmt::format("the mark \"{} {}\", entry {} of the host's log, is not in the guest's",
                         mark.first, mark.second, host_.entry(left.back())),
             kNowhere, left.back());
    }
  }

  // The target's own marks go to its log alone.
  static bool IsOurs(const Event& event) {
    return event.kind == Event::Kind::kMark && event.in_band;
  }

  void Report(Mismatch kind, std::string words, size_t guest, size_t host) {
    if (callbacks_.mismatch) callbacks_.mismatch(kind, std::move(words), guest, host);
  }

  IndexedLog& guest_;
  IndexedLog& host_;
  const uint32_t block_bytes_;
  std::vector<size_t>& host_last_;
  const MatchCallbacks& callbacks_;
};

}  // namespace

Result<LogMatching> MatchLogs(const History& guest, const History& host,
                              const MatchCallbacks& callbacks) {
  if (guest.device_size != host.device_size) {
    return UserError(
        fmt::format("the guest's log is of a disk of {} bytes, the host's of one of {}",
                    guest.device_size.value, host.device_size.value));
  }
  LogMatching matching;
  matching.block_bytes = std::min(CommonBlockBytes(guest), CommonBlockBytes(host));
  PP_ASSIGN_OR_RETURN(matching.guest, IndexLog(guest, matching.block_bytes, "guest"));
  PP_ASSIGN_OR_RETURN(matching.host, IndexLog(host, matching.block_bytes, "host"));
  matching.host_last.assign(guest.events.size(), kNowhere);
  Matcher(matching, callbacks).Run();
  return matching;
}

}  // namespace plugpull::crashstate
