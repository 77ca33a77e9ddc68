// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/log_agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "framework/crashstate/log_matching.h"

namespace plugpull::crashstate {
namespace {

using blocklog::Event;
using blocklog::History;

constexpr size_t kFlushesLateMax = 3;  // of rule 4
constexpr size_t kOvertakenMax = 4;    // flushes that overtake one that is marked forced
constexpr uint64_t kDiscarded = 0;     // as a content; no fingerprint of bytes is likely to be it

enum Kind { kNoFlush = 100, kExtraFlush, kTooLate, kDrain, kMany };  // beside those of Mismatch

struct Contradictions {
  // Describes the first of each kind. Events may be null.
  void Add(int kind, std::string words, const Event* guest, const Event* host) {
    ++count;
    if (!kinds.insert(kind).second || described.size() >= kContradictionsMax) return;
    Contradiction& one = described.emplace_back();
    one.words = std::move(words);
    if (guest != nullptr) one.guest_entry = guest->entry;
    if (host != nullptr) one.host_entry = host->entry;
  }
  std::set<int> kinds;
  std::vector<Contradiction> described;
  uint64_t count = 0;
};

class Comparison {
 public:
  Comparison(const LogMatching& matching, const AgreementOptions& options,
             Contradictions& contradictions)
      : guest_(matching.guest),
        host_(matching.host),
        host_last_(matching.host_last),
        block_bytes_(matching.block_bytes),
        options_(options),
        contradictions_(contradictions) {}

  LogAgreement Run() {
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
  void Contradict(Kind kind, std::string words, size_t guest, size_t host) {
    contradictions_.Add(kind, std::move(words), guest == kNowhere ? nullptr : &guest_.at(guest),
                        host == kNowhere ? nullptr : &host_.at(host));
  }

  std::string SectorsOf(const Event& event) const {
    return fmt::format("sectors {} to {}", event.offset.value / kSectorBytes,
                       (event.offset.value + event.length.value) / kSectorBytes - 1);
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

  // Which flushes of the host's log, by number, a flush or forced write of the guest's can be.
  struct Source {
    size_t first = 0;
    size_t last = 0;
  };

  std::vector<Source> Sources() const {
    const size_t late = kFlushesLateMax * options_.queues;
    const size_t early = options_.queues - 1;  // another queue's flush may have been done before
    std::vector<Source> sources;
    const auto add = [&](size_t number, size_t earlier, size_t later) {
      sources.push_back({number - std::min(number, earlier), number + later});
    };
    for (size_t k = 0; k < guest_.flushes.size(); ++k) {
      const bool twice = guest_.at(guest_.flushes[k]).flush_twice;
      add(earliest_[k], early + (twice ? 1 : 0), late);
      if (twice) add(earliest_[k], early, late + 1);
    }
    for (size_t i = 0; i < guest_.history->events.size(); ++i) {
      if (guest_.at(i).fua && host_last_[i] != kNowhere) {
        add(host_.FlushesBefore(host_last_[i]), 0, late);
      }
    }
    std::ranges::sort(sources, {}, &Source::first);
    return sources;
  }

  // Rules 3 and 4: every flush of the host's log gets one of the guest's flushes and forced writes
  // that it can be, of those the one that must come soonest; no other choice gets further.
  void CheckHostFlushes() {
    const std::vector<Source> sources = Sources();
    std::multiset<size_t> open;  // the last number that each can be
    size_t next = 0;
    for (size_t n = 0; n < host_.flushes.size() && host_.flushes[n] < host_.end; ++n) {
      for (; next < sources.size() && sources[next].first <= n; ++next) {
        open.insert(sources[next].last);
      }
      while (!open.empty() && *open.begin() < n) open.erase(open.begin());
      if (!open.empty()) {
        open.erase(open.begin());
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
      size_t behind = guest_.FlushesBefore(i);
      if (behind < guest_.flushes.size() && guest_.at(guest_.flushes[behind]).flush_twice) {
        behind -= std::min(behind, kOvertakenMax);
      }
      if (host_last_[i] == kNowhere || behind == 0) continue;
      const size_t before = host_.FlushesBefore(host_last_[i]);  // the next flush has this number
      const size_t flush = earliest_[behind - 1];
      if (flush == host_.flushes.size() || flush <= before + options_.queues) continue;
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
    const double share = options_.in_flight_share_max * static_cast<double>(options_.queues) *
                         static_cast<double>(result_.flushes.compared);
    if (differ <= kInFlightFree || static_cast<double>(differ) <= share) return;
    Contradict(kMany,
               fmt::format("at {} of {} flushes the host's log has more than the guest's, too many "
                           "to be requests in flight; the first: {}",
                           differ, result_.flushes.compared, result_.first_in_flight),
               kNowhere, kNowhere);
  }

  const IndexedLog& guest_;
  const IndexedLog& host_;
  const std::vector<size_t>& host_last_;
  const uint32_t block_bytes_;
  const AgreementOptions& options_;
  Contradictions& contradictions_;
  std::vector<size_t> earliest_;  // by flush of the guest's log
  LogAgreement result_;
};

// A request, cut where the guest's writes in it begin and end. `owners`: by block. Parts are
// entries of their own, so that each has a name.
void AppendParts(const Event& request, const std::map<uint64_t, uint32_t>& owners,
                 uint32_t block_bytes, std::vector<Event>& out) {
  const auto owner_at = [&](uint64_t at) {
    const auto it = owners.find((request.offset.value + at) / block_bytes);
    return it == owners.end() ? kNowhere : size_t{it->second};
  };
  uint64_t from = 0;
  do {
    uint64_t to = request.length.value;
    if (request.kind == Event::Kind::kWrite) {
      to = from + block_bytes;
      while (to < request.length.value && owner_at(to) == owner_at(from)) to += block_bytes;
    }
    Event part = request;
    part.entry = out.size();
    part.flush_first = request.flush_first && from == 0;
    part.offset = request.offset + Bytes(from);
    part.length = Bytes(to - from);
    if (request.kind == Event::Kind::kWrite) part.data = request.data.subspan(from, to - from);
    out.push_back(std::move(part));
    from = to;
  } while (from < request.length.value);
}

}  // namespace

Result<LogAgreement> CompareLogs(const History& guest, const History& host,
                                 const AgreementOptions& options) {
  Contradictions contradictions;
  MatchCallbacks callbacks;
  callbacks.mismatch = [&](Mismatch kind, std::string words, size_t in_guest, size_t in_host) {
    contradictions.Add(static_cast<int>(kind), std::move(words),
                       in_guest == kNowhere ? nullptr : &guest.events[in_guest],
                       in_host == kNowhere ? nullptr : &host.events[in_host]);
  };
  PP_ASSIGN_OR_RETURN(const LogMatching matching, MatchLogs(guest, host, callbacks));
  LogAgreement agreement = Comparison(matching, options, contradictions).Run();
  agreement.contradictions = std::move(contradictions.described);
  agreement.contradiction_count = contradictions.count;
  return agreement;
}

History SplitAsWritten(const History& guest, const History& host) {
  std::vector<std::map<uint64_t, uint32_t>> owners(host.events.size());  // by block
  MatchCallbacks callbacks;
  callbacks.found = [&](const LogPiece& ours, const LogPiece& theirs) {
    owners[theirs.event][theirs.block] = ours.event;
  };
  const auto matching = MatchLogs(guest, host, callbacks);
  History split = host;
  if (!matching.ok()) return split;
  split.events.clear();
  split.base = 0;
  for (size_t i = 0; i < host.events.size(); ++i) {
    if (i == host.base) split.base = split.events.size();
    AppendParts(host.events[i], owners[i], matching->block_bytes, split.events);
  }
  if (host.base == host.events.size()) split.base = split.events.size();
  return split;
}

}  // namespace plugpull::crashstate
