// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/torn.h"

#include "framework/base/prng.h"
#include "framework/crashstate/round_robin.h"

namespace plugpull::crashstate {
namespace {

// Of one write, at most so many tears of a kind are named.
constexpr uint64_t kTearsMax = 8;
constexpr size_t kTearKinds = 3;  // of Tear::Kind
// In flight, and volatile at the end of the epoch.
constexpr size_t kKinds = 2 * kTearKinds;

class Tearer {
 public:
  Tearer(const CrashSpace& space, uint64_t seed, uint32_t enumerator)
      : space_(space),
        enumerator_(enumerator),
        prng_(DeriveSeed(seed, "tears")),
        robin_(kKinds, seed) {}

  bool Name(size_t budget, std::vector<StateSpec>& out) {
    IndexEnds();
    for (size_t event = space_.first_cut(); event < space_.last_cut(); ++event) {
      const uint64_t units = space_.UnitsOf(event);
      if (units < 2) continue;
      AddTears(Tear::Kind::kFirst, event, 1, units - 1);
      AddTears(Tear::Kind::kLast, event, 1, units - 1);
      if (units > 2) AddTears(Tear::Kind::kWithout, event, 1, units - 2);
    }
    const bool all = robin_.Take(
        budget,
        [this](size_t kind, const RoundRobin::Candidate& candidate) {
          return StateOf(kind, candidate);
        },
        out);
    return all && !thinned_;
  }

 private:
  // Tears with numbers low to high: the two ends, and some between.
  void AddTears(Tear::Kind kind, size_t event, uint64_t low, uint64_t high) {
    const bool all = high - low < kTearsMax;
    thinned_ |= !all;
    for (uint64_t i = 0; i < (all ? high - low + 1 : kTearsMax); ++i) {
      uint64_t number = low + i;
      if (!all) number = i == 0 ? low : i == 1 ? high : prng_.Between(low, high);
      const auto place = static_cast<size_t>(kind);
      robin_.Add(place, {event, number});
      if (ends_[event] != event + 1 && space_.IsVolatile(event, ends_[event])) {
        robin_.Add(kTearKinds + place, {event, number});
      }
    }
  }

  // The last cut before the next flush, for each event.
  void IndexEnds() {
    const auto& events = space_.history().events;
    ends_.assign(events.size(), space_.last_cut());
    size_t end = space_.last_cut();
    for (size_t i = events.size(); i-- > 0;) {
      ends_[i] = end;
      if (events[i].HasFlush() && !space_.model().lying) end = i;
    }
  }

  std::optional<StateSpec> StateOf(size_t kind, const RoundRobin::Candidate& candidate) const {
    StateSpec spec;
    spec.enumerator = enumerator_;
    spec.cut = kind < kTearKinds ? candidate.group + 1 : ends_[candidate.group];
    Tear tear;
    tear.entry = space_.history().events[candidate.group].entry;
    tear.kind = static_cast<Tear::Kind>(kind % kTearKinds);
    tear.number = candidate.subject;
    spec.selection.torn.push_back(tear);
    return spec;
  }

  const CrashSpace& space_;
  uint32_t enumerator_;
  Prng prng_;
  RoundRobin robin_;
  std::vector<size_t> ends_;
  bool thinned_ = false;
};

}  // namespace

bool NameTornStates(const CrashSpace& space, uint64_t seed, uint32_t enumerator, size_t budget,
                    std::vector<StateSpec>& out) {
  return Tearer(space, seed, enumerator).Name(budget, out);
}

}  // namespace plugpull::crashstate
