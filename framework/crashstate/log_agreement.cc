// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/log_agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "framework/crashstate/crash_space.h"
#include "framework/image/fingerprint.h"

namespace plugpull::crashstate {
namespace {

using blocklog::Event;
using blocklog::History;

constexpr size_t kNowhere = SIZE_MAX;
constexpr uint64_t kDiscarded = 0;  // as a content; no fingerprint of bytes is likely to be it

// One version of one block.
struct Piece {
  uint64_t block;
  uint64_t content;
  uint32_t event;
};

// A log, indexed. Positions are numbers of events.
struct IndexedLog {
  const History* history = nullptr;
  size_t end = 0;                 // of the mark "end"
  std::vector<Piece> pieces;      // by block, those of one block in the order of the log
  std::vector<size_t> flushes;    // positions of all flushes; one of a write comes before the write
  std::vector<uint32_t> matched;  // by event: its pieces that the other log has
  std::vector<uint64_t> matched_before;  // by position: sum of `matched`

  const Event& at(size_t position) const { return history->events[position]; }
  uint64_t entry(size_t position) const { return at(position).entry; }
  // Flushes in front of an event.
  size_t FlushesBefore(size_t position) const {
    return static_cast<size_t>(std::ranges::upper_bound(flushes, position) - flushes.begin());
  }
};

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

class Comparison {
 public:
  Comparison(IndexedLog guest, IndexedLog host, uint32_t block_bytes,
             const AgreementOptions& options)
      : guest_(std::move(guest)),
        host_(std::move(host)),
        block_bytes_(block_bytes),
        queues_(options.queues),
        in_flight_share_max_(options.in_flight_share_max),
        host_last_(guest_.history->events.size(), kNowhere) {}

  LogAgreement Run() {
    MatchPieces();
    MatchMarks();
    CountWrites();
    FindFlushes();
    CompareFlushes();
    CompareMarks();
    CheckHostFlushes();
    CheckOrder();
    JudgeInFlight();
    return std::move(result_);
  }

 private:
  enum Kind {
    kLost,
    kInvented,
    kReordered,
    kNoMark,
    kNoFlush,
    kExtraFlush,
    kTooLate,
    kDrain,
    kMany
  };

  void Contradict(Kind kind, std::string words, size_t guest, size_t host) {
    ++result_.contradiction_count;
    if (!described_.insert(kind).second || result_.contradictions.size() >= kContradictionsMax) {
      return;
    }
    Contradiction& one = result_.contradictions.emplace_back();
    one.words = std::move(words);
    if (guest != kNowhere) one.guest_entry = guest_.entry(guest);
    if (host != kNowhere) one.host_entry = host_.entry(host);
  }

  std::string Sectors(uint64_t block) const {
    const uint64_t per_block = block_bytes_ / kSectorBytes;
    return fmt::format("sectors {} to {}", block * per_block, (block + 1) * per_block - 1);
  }
  std::string SectorsOf(const Event& event) const {
    return fmt::format("sectors {} to {}", event.offset.value / kSectorBytes,
                       (event.offset.value + event.length.value) / kSectorBytes - 1);
  }

  void Join(const Piece& guest, const Piece& host) {
    ++guest_.matched[guest.event];
    ++host_.matched[host.event];
    size_t& last = host_last_[guest.event];
    last = last == kNowhere ? host.event : std::max<size_t>(last, host.event);
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
    Contradict(kLost,
               fmt::format("entry {} of the guest's log writes {}, and the host's log has no such "
                           "write{}",
                           guest_.entry(piece.event), Sectors(piece.block),
                           guest_.at(piece.event).fua ? " (a forced one)" : ""),
               piece.event, kNowhere);
  }

  void ReportInvented(const Piece& piece) {
    Contradict(kInvented,
               fmt::format("entry {} of the host's log writes {}, and the guest's log has no such "
                           "write",
                           host_.entry(piece.event), Sectors(piece.block)),
               kNowhere, piece.event);
  }

  // Two versions of a block, first and second in the guest's log, the other way round in the
  // host's.
  void CheckSwap(const Piece& first, const Piece& second, const Piece& host) {
    const bool forced = guest_.at(first.event).fua || guest_.at(second.event).fua;
    if (forced && guest_.FlushesBefore(first.event) == guest_.FlushesBefore(second.event)) return;
    Contradict(
        kReordered,
        fmt::format("{} are written by entry {} and then by entry {} of the guest's log; the "
                    "host's log has them the other way round",
                    Sectors(first.block), guest_.entry(first.event), guest_.entry(second.event)),
        first.event, host.event);
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
        Contradict(kNoMark,
                   fmt::format("the mark \"{} {}\", entry {} of the guest's log, is not in the "
                               "host's",
                               event.mark.kind, event.mark.text, event.entry),
                   i, kNowhere);
      }
    }
    for (const auto& [mark, left] : places) {
      if (left.empty() || left.back() > host_.end) continue;
      Contradict(
          kNoMark,
          fmt::format("the mark \"{} {}\", entry {} of the host's log, is not in the guest's",
                      mark.first, mark.second, host_.entry(left.back())),
          kNowhere, left.back());
    }
  }

  // The target's own marks go to its log alone.
  static bool IsOurs(const Event& event) {
    return event.kind == Event::Kind::kMark && event.in_band;
  }

  void CountWrites() {
    for (size_t i = 0; i < guest_.end; ++i) {
      if (!guest_.at(i).ChangesBlocks()) continue;
      ++result_.guest_writes;
      const uint64_t pieces = guest_.at(i).length.value / block_bytes_;
      result_.found += guest_.matched[i] == pieces ? 1 : 0;
    }
    for (size_t i = 0; i < host_.end; ++i) {
      result_.host_writes += host_.at(i).ChangesBlocks() ? 1 : 0;
    }
    result_.host_flushes = host_.FlushesBefore(host_.end);
  }

  // Rule 2: the earliest number in the host's log (from 0) of each flush of the guest's;
  // host_.flushes.size() when there is none.
  void FindFlushes() {
    size_t last = kNowhere;
    size_t next = 0;
    for (const size_t flush : guest_.flushes) {
      for (; next < flush; ++next) {
        if (host_last_[next] == kNowhere) continue;
        last = last == kNowhere ? host_last_[next] : std::max(last, host_last_[next]);
      }
      earliest_.push_back(last == kNowhere ? 0 : host_.FlushesBefore(last));
    }
  }

  void CompareFlushes() {
    for (size_t k = 0; k < guest_.flushes.size() && guest_.flushes[k] < guest_.end; ++k) {
      const uint64_t durable = guest_.matched_before[guest_.flushes[k]];
      if (durable == 0) continue;
      if (earliest_[k] == host_.flushes.size()) {
        Contradict(kNoFlush,
                   fmt::format("entry {} of the guest's log is a flush; the host's log has none "
                               "behind the last write that it made durable",
                               guest_.entry(guest_.flushes[k])),
                   guest_.flushes[k], host_.end);
        continue;
      }
      ++result_.flushes.compared;
      const size_t there = host_.flushes[earliest_[k]];
      if (host_.matched_before[there] == durable) {
        ++result_.flushes.agree;
      } else {
        NoteInFlight("flush", guest_.flushes[k], there, host_.matched_before[there] - durable);
      }
    }
  }

  void NoteInFlight(const char* what, size_t guest, size_t host, uint64_t blocks) {
    if (!result_.first_in_flight.empty()) return;
    result_.first_in_flight =
        fmt::format("{}, entry {} of the guest's log and {} of the host's: {} blocks of {} bytes",
                    what, guest_.entry(guest), host_.entry(host), blocks, block_bytes_);
  }

  void CompareMarks() {
    size_t flushes = 0;
    uint64_t forced = 0;     // pieces of forced writes since the last flush
    size_t forced_last = 0;  // the last flush that one of them needs, as a count
    size_t last = kNowhere;  // place in the host's log of what is written so far
    for (size_t i = 0; i < guest_.history->events.size(); ++i) {
      const Event& event = guest_.at(i);
      if (event.HasFlush()) {
        ++flushes;
        forced = 0;
        forced_last = 0;
      }
      const size_t there = host_last_[i];
      if (there == kNowhere) continue;
      if (event.kind == Event::Kind::kMark && i <= guest_.end) {
        const size_t durable_from = flushes == 0 ? 0 : guest_.flushes[flushes - 1];
        const size_t needed = std::max(flushes == 0 || guest_.matched_before[durable_from] == 0
                                           ? 0
                                           : earliest_[flushes - 1] + 1,
                                       forced_last);
        CompareMark(i, there, guest_.matched_before[durable_from] + forced, needed);
      }
      if (event.kind == Event::Kind::kMark && event.mark.kind == "drain")
        CheckDrain(i, there, last);
      last = last == kNowhere ? there : std::max(last, there);
      if (event.fua) {
        forced += guest_.matched[i];
        forced_last = std::max(forced_last, host_.FlushesBefore(there) + 1);
      }
    }
  }

  // `needed`: how many flushes the host's log must have before the mark for all of `durable`.
  void CompareMark(size_t guest, size_t host, uint64_t durable, size_t needed) {
    const size_t flushes = host_.FlushesBefore(host);
    const uint64_t there = flushes == 0 ? 0 : host_.matched_before[host_.flushes[flushes - 1]];
    if (durable == 0 && there == 0) return;
    ++result_.marks.compared;
    if (needed <= flushes && there == durable) {
      ++result_.marks.agree;
    } else {
      NoteInFlight("mark", guest, host, there > durable ? there - durable : durable - there);
    }
  }

  // While a log is drained nothing is in flight, so what is written is the same.
  void CheckDrain(size_t guest, size_t host, size_t last) {
    const bool all_there = last == kNowhere || last < host;
    if (all_there && guest_.matched_before[guest] == host_.matched_before[host]) return;
    Contradict(kDrain,
               fmt::format("nothing is in flight while the log is drained (entry {} of the guest's "
                           "log, {} of the host's), but {} blocks are written there in the guest's "
                           "log and {} in the host's",
                           guest_.entry(guest), host_.entry(host), guest_.matched_before[guest],
                           host_.matched_before[host]),
               guest, host);
  }

  // Rules 3 and 4: every flush of the host's log gets one of the guest's flushes and forced writes
  // that it can be, the one first that must come first.
  void CheckHostFlushes() {
    std::vector<size_t> sources = earliest_;
    for (size_t i = 0; i < guest_.history->events.size(); ++i) {
      if (guest_.at(i).fua && host_last_[i] != kNowhere) {
        sources.push_back(host_.FlushesBefore(host_last_[i]));
      }
    }
    std::ranges::sort(sources);
    size_t next = 0;
    for (size_t n = 0; n < host_.flushes.size() && host_.flushes[n] < host_.end; ++n) {
      while (next < sources.size() && sources[next] + 2 * size_t{queues_} < n) ++next;
      if (next < sources.size() && sources[next] <= n) {
        ++next;
        continue;
      }
      Contradict(kExtraFlush,
                 fmt::format("entry {} of the host's log is a flush that cannot be one of the "
                             "guest's log: every flush and forced write there needs a write that "
                             "the host has later, or is another flush",
                             host_.entry(host_.flushes[n])),
                 kNowhere, host_.flushes[n]);
    }
  }

  // Rule 5.
  void CheckOrder() {
    for (size_t i = 0; i < guest_.end; ++i) {
      const size_t behind = guest_.FlushesBefore(i);
      if (host_last_[i] == kNowhere || behind == 0) continue;
      const size_t before = host_.FlushesBefore(host_last_[i]);  // the next flush has this number
      const size_t flush = earliest_[behind - 1];
      if (flush == host_.flushes.size() || flush <= before + queues_) continue;
      const size_t guest_flush = guest_.flushes[behind - 1];
      Contradict(
          kTooLate,
          fmt::format(
              "entry {} of the guest's log ({}) is behind its flush, entry {}; in the host's "
              "log it is entry {}, {} flushes before the one that this can be, entry {}",
              guest_.entry(i), guest_.at(i).ChangesBlocks() ? SectorsOf(guest_.at(i)) : "a mark",
              guest_.entry(guest_flush), host_.entry(host_last_[i]), flush - before,
              host_.entry(host_.flushes[flush])),
          i, host_last_[i]);
    }
  }

  void JudgeInFlight() {
    const uint64_t differ = result_.flushes.compared - result_.flushes.agree;
    const double share = in_flight_share_max_ * static_cast<double>(result_.flushes.compared);
    if (differ <= kInFlightFree || static_cast<double>(differ) <= share) return;
    Contradict(kMany,
               fmt::format("at {} of {} flushes the host's log has more than the guest's, too many "
                           "to be requests in flight; the first: {}",
                           differ, result_.flushes.compared, result_.first_in_flight),
               kNowhere, kNowhere);
  }

  IndexedLog guest_;
  IndexedLog host_;
  const uint32_t block_bytes_;
  const unsigned queues_;
  const double in_flight_share_max_;
  // By event of the guest's log: the last event of the host's that has a part of it.
  std::vector<size_t> host_last_;
  std::vector<size_t> earliest_;  // by flush of the guest's log
  std::set<Kind> described_;
  LogAgreement result_;
};

}  // namespace

Result<LogAgreement> CompareLogs(const History& guest, const History& host,
                                 const AgreementOptions& options) {
  if (guest.device_size != host.device_size) {
    return UserError(
        fmt::format("the guest's log is of a disk of {} bytes, the host's of one of {}",
                    guest.device_size.value, host.device_size.value));
  }
  const uint32_t block_bytes = std::min(CommonBlockBytes(guest), CommonBlockBytes(host));
  PP_ASSIGN_OR_RETURN(IndexedLog guest_log, IndexLog(guest, block_bytes, "guest"));
  PP_ASSIGN_OR_RETURN(IndexedLog host_log, IndexLog(host, block_bytes, "host"));
  return Comparison(std::move(guest_log), std::move(host_log), block_bytes, options).Run();
}

}  // namespace plugpull::crashstate
