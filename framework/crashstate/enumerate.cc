// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/enumerate.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "framework/base/prng.h"
#include "framework/crashstate/journal_guided.h"
#include "framework/crashstate/state_cursor.h"
#include "framework/crashstate/torn.h"

namespace plugpull::crashstate {

using blocklog::Event;

namespace {

// A selection is written as a list of entries when either side has at most so many.
constexpr size_t kListMax = 16;
// 2^n subsets are listed one by one up to this n.
constexpr size_t kExhaustiveBitsMax = 20;
// Behind a mark that is not the end of an epoch, lose_one loses each of so many last writes.
constexpr uint64_t kLoseOneAtMark = 16;
constexpr uint32_t kPermilles[] = {20, 100, 250, 500, 750, 900};

// An interval of the history between two flushes.
struct Epoch {
  size_t first_cut;  // cuts first_cut .. last_cut
  size_t last_cut;
};

// With `split_at_forced`, forced writes that are durable end an epoch too: then all cuts of one
// share their durable part, and subsets at its last cut are, as images, all that it has.
std::vector<Epoch> Epochs(const CrashSpace& space, bool split_at_forced) {
  std::vector<Epoch> epochs;
  const bool split = split_at_forced && !space.model().lying;
  size_t first = space.first_cut();
  for (size_t cut = first; cut <= space.last_cut(); ++cut) {
    const bool forced = split && cut > first && space.history().events[cut - 1].fua;
    if (forced || space.WindowStart(cut) != space.WindowStart(first)) {
      epochs.push_back({first, cut - 1});
      first = cut;
    }
  }
  epochs.push_back({first, space.last_cut()});
  return epochs;
}

// Every k-th of `items`, so that at most `limit` are left, the last one among them.
template <typename T>
bool Thin(std::vector<T>& items, size_t limit) {
  if (items.size() <= limit) return true;
  std::vector<T> kept;
  for (size_t i = 0; i < limit; ++i) kept.push_back(items[(i + 1) * items.size() / limit - 1]);
  items = std::move(kept);
  return false;
}

class Enumerator {
 public:
  Enumerator(const CrashSpace& space, uint64_t seed, uint32_t index, size_t budget,
             std::vector<StateSpec>& out)
      : space_(space), prng_(seed), index_(index), budget_(budget), out_(out) {}

  bool Prefix(const PrefixEnumerator& options) {
    std::vector<size_t> cuts;
    const auto& events = space_.history().events;
    const size_t first = space_.first_cut();
    for (size_t i = first; i < space_.last_cut(); ++i) {
      const Event& event = events[i];
      bool wanted = false;
      switch (options.at()) {
        case PrefixEnumerator::EVERY_WRITE:
          wanted = event.ChangesBlocks();
          break;
        case PrefixEnumerator::EVERY_FLUSH:
          wanted = event.HasFlush();
          break;
        case PrefixEnumerator::EVERY_FUA:
          wanted = event.fua;
          break;
        case PrefixEnumerator::EVERY_MARK:
          wanted = event.kind == Event::Kind::kMark;
          break;
        case PrefixEnumerator::EVERY_NTH:
          wanted = (i - first + 1) % std::max(1U, options.nth()) == 0;
          break;
      }
      if (wanted) cuts.push_back(i + 1);
    }
    if (cuts.empty() || cuts.back() != space_.last_cut()) cuts.push_back(space_.last_cut());
    const bool all = Thin(cuts, budget_);
    for (const size_t cut : cuts) Add(cut, Selection{});
    return all;
  }

  // At the end of every epoch each volatile write lost alone; behind every mark the last few.
  bool LoseOne() {
    std::vector<std::pair<size_t, uint64_t>> pairs;
    const auto& events = space_.history().events;
    for (const Epoch& epoch : Epochs(space_, false)) {
      for (size_t cut = epoch.first_cut; cut <= epoch.last_cut; ++cut) {
        const bool is_end = cut == epoch.last_cut;
        if (!is_end && (cut == 0 || events[cut - 1].kind != Event::Kind::kMark)) continue;
        Candidates(cut, is_end ? 0 : kLoseOneAtMark);
        for (const size_t event : volatile_) pairs.emplace_back(cut, events[event].entry);
      }
    }
    const bool all = Thin(pairs, budget_);
    for (const auto& [cut, entry] : pairs) Add(cut, Lose({entry}));
    return all;
  }

  bool LoseSubset(uint32_t lose_permille) { return Subsets(lose_permille, 0); }
  bool Window(uint64_t writes) { return Subsets(0, writes); }

 private:
  struct Need {
    Epoch epoch;
    uint64_t states;  // that it has, capped
    size_t budget = 0;
    bool exhaustive = false;
  };

  Selection Lose(std::vector<uint64_t> entries) const {
    Selection selection;
    if (entries.empty()) return selection;
    selection.kind = Selection::Kind::kLose;
    selection.entries = std::move(entries);
    return selection;
  }

  void Add(size_t cut, Selection selection) {
    StateSpec spec;
    spec.cut = cut;
    spec.selection = std::move(selection);
    spec.enumerator = index_;
    out_.push_back(std::move(spec));
  }

  // The volatile events of a cut, only the last `last` of them when it is not 0.
  void Candidates(size_t cut, uint64_t last) {
    space_.VolatileEvents(cut, volatile_);
    if (last != 0 && volatile_.size() > last) {
      volatile_.erase(volatile_.begin(), volatile_.end() - static_cast<ptrdiff_t>(last));
    }
  }

  // Small epochs are listed whole; what they leave of the budget goes to the larger ones, which
  // are sampled. One with older writes than may be lost (a window) is never listed whole: at each
  // of its cuts other writes may be lost.
  bool Subsets(uint32_t lose_permille, uint64_t last) {
    std::vector<Need> needs;
    for (const Epoch& epoch : Epochs(space_, true)) {
      Candidates(epoch.last_cut, last);
      if (volatile_.empty()) continue;
      const uint64_t states = volatile_.size() >= kExhaustiveBitsMax ? 1ULL << kExhaustiveBitsMax
                                                                     : 1ULL << volatile_.size();
      const bool listed = volatile_.size() < kExhaustiveBitsMax &&
                          volatile_.size() == space_.UnflushedCount(epoch.last_cut);
      needs.push_back({epoch, states, 0, listed});
    }
    Share(needs);
    bool all = true;
    for (const Need& need : needs) {
      if (need.exhaustive) {
        List(need.epoch.last_cut, last);
      } else {
        Sample(need, lose_permille, last);
        all = false;
      }
    }
    return all;
  }

  void Share(std::vector<Need>& needs) const {
    std::vector<size_t> order(needs.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return needs[a].states < needs[b].states; });
    size_t left = budget_;
    for (size_t i = 0; i < order.size(); ++i) {
      Need& need = needs[order[i]];
      const size_t share = left / (order.size() - i);
      need.exhaustive &= need.states <= share;
      need.budget = std::min<uint64_t>(need.states, share);
      left -= need.budget;
    }
  }

  void List(size_t cut, uint64_t last) {
    Candidates(cut, last);
    const auto& events = space_.history().events;
    for (uint64_t mask = 0; mask < (1ULL << volatile_.size()); ++mask) {
      std::vector<uint64_t> entries;
      for (size_t i = 0; i < volatile_.size(); ++i) {
        if ((mask >> i & 1) != 0) entries.push_back(events[volatile_[i]].entry);
      }
      Add(cut, Lose(std::move(entries)));
    }
  }

  void Sample(const Need& need, uint32_t lose_permille, uint64_t last) {
    std::set<std::pair<size_t, std::vector<size_t>>> seen;
    std::vector<StateSpec> drawn;
    std::vector<size_t> lost;
    // Draws repeat in small epochs; the bound keeps a nearly full one from taking for ever.
    for (size_t tries = 0; drawn.size() < need.budget && tries < 4 * need.budget + 16; ++tries) {
      const size_t cut = prng_.Chance(500)
                             ? need.epoch.last_cut
                             : prng_.Between(need.epoch.first_cut, need.epoch.last_cut);
      Selection selection;
      selection.kind = Selection::Kind::kSample;
      selection.seed = prng_.Next();
      selection.lose_permille =
          lose_permille != 0 ? lose_permille : kPermilles[prng_.Below(std::size(kPermilles))];
      selection.last = last;
      space_.LostEventsInto(cut, selection, volatile_, lost);
      if (lost.empty() || !seen.emplace(cut, lost).second) continue;
      StateSpec spec;
      spec.cut = cut;
      spec.selection = Named(std::move(selection), lost);
      spec.enumerator = index_;
      drawn.push_back(std::move(spec));
    }
    std::stable_sort(drawn.begin(), drawn.end(),
                     [](const StateSpec& a, const StateSpec& b) { return a.cut < b.cut; });
    out_.insert(out_.end(), std::make_move_iterator(drawn.begin()),
                std::make_move_iterator(drawn.end()));
  }

  // A short list in place of a seed, where there is one. volatile_ holds the cut's events.
  Selection Named(Selection sample, const std::vector<size_t>& lost) const {
    const auto& events = space_.history().events;
    std::vector<uint64_t> entries;
    if (lost.size() <= kListMax) {
      for (const size_t event : lost) entries.push_back(events[event].entry);
      return Lose(std::move(entries));
    }
    if (volatile_.size() - lost.size() > kListMax) return sample;
    for (const size_t event : volatile_) {
      if (!std::binary_search(lost.begin(), lost.end(), event))
        entries.push_back(events[event].entry);
    }
    Selection selection;
    selection.kind = Selection::Kind::kKeep;
    selection.entries = std::move(entries);
    return selection;
  }

  const CrashSpace& space_;
  Prng prng_;
  uint32_t index_;
  size_t budget_;
  std::vector<StateSpec>& out_;
  std::vector<size_t> volatile_;
};

std::string NameOf(const Enumerate& enumerate) {
  switch (enumerate.kind_case()) {
    case Enumerate::kPrefix: {
      const auto& options = enumerate.prefix();
      std::string at = PrefixEnumerator::At_Name(options.at());
      std::transform(at.begin(), at.end(), at.begin(),
                     [](char c) { return c == '_' ? ' ' : static_cast<char>(std::tolower(c)); });
      if (options.at() == PrefixEnumerator::EVERY_NTH)
        at = fmt::format("every {}th entry", options.nth());
      return fmt::format("prefix ({})", at);
    }
    case Enumerate::kLoseSubset:
      return "lose_subset";
    case Enumerate::kLoseOne:
      return "lose_one";
    case Enumerate::kWindow:
      return fmt::format("window ({})", enumerate.window().writes());
    case Enumerate::kJournalGuided:
      return "journal_guided";
    case Enumerate::kTorn:
      return "torn";
    case Enumerate::KIND_NOT_SET:
      break;
  }
  return "none";
}

// For every state whose order is not known, and that the other order makes another image, its
// twin behind it.
void AddTwins(const CrashSpace& space, Enumeration& enumeration) {
  std::vector<size_t> volatile_events;
  std::vector<size_t> lost;
  StateCursor cursor(space);
  std::vector<StateSpec> all;
  all.reserve(enumeration.states.size());
  for (StateSpec& spec : enumeration.states) {
    space.LostEventsInto(spec.cut, spec.selection, volatile_events, lost);
    bool unknown = space.OrderUnknown(spec.cut, lost);
    if (unknown) {
      cursor.MoveToSelection(spec.cut, spec.selection, false);
      const image::DifferenceSum logged = cursor.image().sum();
      cursor.MoveToSelection(spec.cut, spec.selection, true);
      unknown = cursor.image().sum() != logged;
    }
    all.push_back(std::move(spec));
    if (!unknown) continue;
    ++enumeration.order_unknown;
    all.push_back(all.back());
    all.back().overlapping_older = true;
  }
  enumeration.states = std::move(all);
}

}  // namespace

Enumeration EnumerateStates(const CrashSpace& space, const Check& check, uint64_t seed,
                            const JournalTimeline* timeline) {
  Enumeration enumeration;
  size_t left = check.max_states();
  for (int i = 0; i < check.enumerate_size(); ++i) {
    const auto& wanted = check.enumerate(i);
    size_t budget = left / static_cast<size_t>(check.enumerate_size() - i);
    if (wanted.max_states() != 0) budget = std::min<size_t>(budget, wanted.max_states());
    if (budget == 0) budget = left == 0 ? 0 : 1;
    const size_t before = enumeration.states.size();
    bool all = budget > 0;
    if (budget > 0) {
      const uint64_t own_seed = DeriveSeed(seed, NameOf(wanted), static_cast<uint64_t>(i));
      const auto index = static_cast<uint32_t>(i);
      Enumerator enumerator(space, own_seed, index, budget, enumeration.states);
      switch (wanted.kind_case()) {
        case Enumerate::kPrefix:
          all = enumerator.Prefix(wanted.prefix());
          break;
        case Enumerate::kLoseOne:
          all = enumerator.LoseOne();
          break;
        case Enumerate::kLoseSubset:
          all = enumerator.LoseSubset(wanted.lose_subset().lose_permille());
          break;
        case Enumerate::kWindow:
          all = enumerator.Window(wanted.window().writes());
          break;
        case Enumerate::kJournalGuided:
          all = timeline == nullptr ||
                NameJournalStates(space, *timeline, own_seed, index, budget, enumeration.states);
          break;
        case Enumerate::kTorn:
          all = NameTornStates(space, own_seed, index, budget, enumeration.states);
          break;
        case Enumerate::KIND_NOT_SET:
          break;
      }
    }
    left -= std::min(left, enumeration.states.size() - before);
    enumeration.enumerators.push_back({NameOf(wanted), all});
  }
  AddTwins(space, enumeration);
  return enumeration;
}

CrashStateId IdOf(const CrashSpace& space, const StateSpec& spec) {
  CrashStateId id;
  id.disk = space.disk();
  id.model = space.model();
  id.cut = space.EntryOfCut(spec.cut);
  id.selection = spec.selection;
  id.overlapping_older = spec.overlapping_older;
  return id;
}

}  // namespace plugpull::crashstate
