// SPDX-License-Identifier: Apache-2.0
#include "framework/diagnose/minimize.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_map>

#include "framework/image/fingerprint.h"

namespace plugpull::diagnose {
namespace {

using image::Fingerprint;
using image::FingerprintHash;

constexpr uint64_t kWhole = std::numeric_limits<uint64_t>::max();

// What can be given back: a write that was lost whole, or a unit that a torn one misses.
struct Loss {
  size_t event = 0;
  uint64_t unit = kWhole;
  auto operator<=>(const Loss&) const = default;
};

struct State {
  size_t cut = 0;
  std::vector<Loss> lost;  // ascending
  auto operator<=>(const State&) const = default;
};

State StateOf(const CutAndLost& from) {
  State state{from.cut, {}};
  for (const size_t event : from.lost) state.lost.push_back({event, kWhole});
  for (const TornUnits& torn : from.torn) {
    for (const uint64_t unit : torn.missing) state.lost.push_back({torn.event, unit});
  }
  std::sort(state.lost.begin(), state.lost.end());
  return state;
}

CutAndLost InEvents(const State& from) {
  CutAndLost state{from.cut, {}, {}};
  for (const Loss& loss : from.lost) {
    if (loss.unit == kWhole) {
      state.lost.push_back(loss.event);
      continue;
    }
    if (state.torn.empty() || state.torn.back().event != loss.event) {
      state.torn.push_back({loss.event, {}});
    }
    state.torn.back().missing.push_back(loss.unit);
  }
  return state;
}

// States of one round, made when they are needed: thousands of sets of thousands of writes do not
// fit memory at once.
struct Round {
  size_t count = 0;
  std::function<State(size_t)> at;
};

Fingerprint KeyOf(const State& state) {
  image::FingerprintStream stream;
  stream.AddNumber(state.cut);
  for (const Loss& loss : state.lost) {
    stream.AddNumber(loss.event);
    stream.AddNumber(loss.unit);
  }
  return stream.Finish();
}

class Minimizer {
 public:
  Minimizer(const CutAndLost& start, const MinimizeOptions& options, const FailureTest& fails)
      : options_(options), fails_(fails), now_(StateOf(start)), judged_(options.states_judged) {
    known_[KeyOf(now_)] = true;
  }

  Result<MinimizeResult> Run() {
    MinimizeResult result;
    // Moving the cut takes whole stretches of lost writes away at once, so it comes first.
    for (bool changed = true; changed && !ended_;) {
      State before = now_;
      PP_RETURN_IF_ERROR(MoveCut());
      PP_RETURN_IF_ERROR(LoseLess());
      changed = now_ != before;
    }
    result.state = InEvents(now_);
    result.states_judged = judged_;
    result.one_minimal = !ended_ || GivesNoneBack();
    result.cut_minimal = now_.cut == options_.first_cut || KnownToHold(Earlier(now_.cut - 1));
    return result;
  }

 private:
  // The first of the round that fails; nothing when none does, or when the budget ends first.
  Result<std::optional<State>> FirstFailing(const Round& round) {
    for (size_t start = 0; start < round.count && !ended_; start += kMinimizeBatch) {
      std::vector<State> batch;
      for (size_t i = start; i < std::min(start + kMinimizeBatch, round.count); ++i) {
        batch.push_back(round.at(i));
      }
      PP_RETURN_IF_ERROR(Judge(batch));
      for (State& state : batch) {
        const auto known = known_.find(KeyOf(state));
        if (known != known_.end() && known->second) return std::optional(std::move(state));
      }
    }
    return std::optional<State>();
  }

  // Makes the answers known, as far as the budget goes.
  Status Judge(const std::vector<State>& batch) {
    std::vector<CutAndLost> unseen;
    std::vector<Fingerprint> keys;
    for (const State& state : batch) {
      const Fingerprint key = KeyOf(state);
      if (known_.contains(key) || std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
      if (judged_ + unseen.size() >= options_.states_max) {
        ended_ = true;
        break;
      }
      unseen.push_back(InEvents(state));
      keys.push_back(key);
    }
    if (unseen.empty()) return OkStatus();
    PP_ASSIGN_OR_RETURN(const auto answers, fails_(unseen));
    PP_CHECK(answers.size() == unseen.size());
    judged_ += unseen.size();
    for (size_t i = 0; i < unseen.size(); ++i) known_[keys[i]] = answers[i];
    return OkStatus();
  }

  // The state with an earlier cut: what was lost behind it is not lost, it never happened.
  State Earlier(size_t cut) const {
    State state{cut, now_.lost};
    state.lost.erase(std::lower_bound(state.lost.begin(), state.lost.end(), Loss{cut, 0}),
                     state.lost.end());
    return state;
  }

  // Looks for an early cut as in an ordered list: kMinimizeBatch cuts are tried, and the stretch
  // before the first that fails is looked at again.
  Status MoveCut() {
    size_t low = options_.first_cut;
    while (low < now_.cut) {
      const size_t high = now_.cut;
      const size_t steps = std::min(kMinimizeBatch, high - low);
      const auto cut_of = [&](size_t i) { return low + (high - low) * i / steps; };
      PP_ASSIGN_OR_RETURN(auto found,
                          FirstFailing({steps, [&](size_t i) { return Earlier(cut_of(i)); }}));
      if (!found) {
        if (ended_ || high - low <= kMinimizeBatch) break;
        low = cut_of(steps - 1) + 1;
        continue;
      }
      for (size_t i = 0; i < steps && cut_of(i) < found->cut; ++i) low = cut_of(i) + 1;
      now_ = *std::move(found);
    }
    return OkStatus();
  }

  // ddmin: parts first, then what is left without a part, in ever finer parts.
  Status LoseLess() {
    PP_ASSIGN_OR_RETURN(auto nothing, FirstFailing({1, [&](size_t) {
                                                      return State{now_.cut, {}};
                                                    }}));
    if (nothing) {
      now_ = *std::move(nothing);
      return OkStatus();
    }
    size_t parts = 2;
    while (now_.lost.size() >= 2 && !ended_) {
      parts = std::min(parts, now_.lost.size());
      PP_ASSIGN_OR_RETURN(auto part,
                          FirstFailing({parts, [&](size_t i) { return Part(i, parts, true); }}));
      if (part) {
        now_ = *std::move(part);
        parts = 2;
        continue;
      }
      if (parts > 2) {
        PP_ASSIGN_OR_RETURN(auto rest,
                            FirstFailing({parts, [&](size_t i) { return Part(i, parts, false); }}));
        if (rest) {
          now_ = *std::move(rest);
          parts = std::max<size_t>(parts - 1, 2);
          continue;
        }
      }
      if (parts == now_.lost.size()) break;
      parts *= 2;
    }
    return OkStatus();
  }

  // The i-th of so many parts of the lost writes, or all but it.
  State Part(size_t i, size_t parts, bool alone) const {
    const auto at = [&](size_t part) {
      return now_.lost.begin() + static_cast<ptrdiff_t>(now_.lost.size() * part / parts);
    };
    State state{now_.cut, {}};
    if (alone) {
      state.lost.assign(at(i), at(i + 1));
    } else {
      state.lost.assign(now_.lost.begin(), at(i));
      state.lost.insert(state.lost.end(), at(i + 1), now_.lost.end());
    }
    return state;
  }

  bool KnownToHold(const State& state) const {
    const auto known = known_.find(KeyOf(state));
    return known != known_.end() && !known->second;
  }

  bool GivesNoneBack() const {
    for (size_t i = 0; i < now_.lost.size(); ++i) {
      if (!KnownToHold(Part(i, now_.lost.size(), false))) return false;
    }
    return true;
  }

  const MinimizeOptions& options_;
  const FailureTest& fails_;
  State now_;
  uint64_t judged_;
  bool ended_ = false;  // the budget is used up
  std::unordered_map<Fingerprint, bool, FingerprintHash> known_;
};

}  // namespace

size_t CutAndLost::torn_units() const {
  size_t units = 0;
  for (const TornUnits& one : torn) units += one.missing.size();
  return units;
}

Result<MinimizeResult> Minimize(const CutAndLost& start, const MinimizeOptions& options,
                                const FailureTest& fails) {
  PP_CHECK(start.cut >= options.first_cut);
  return Minimizer(start, options, fails).Run();
}

}  // namespace plugpull::diagnose
