// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/round_robin.h"

#include <algorithm>
#include <tuple>
#include <unordered_set>

#include "framework/base/prng.h"
#include "framework/image/fingerprint.h"

namespace plugpull::crashstate {
namespace {

image::Fingerprint KeyOf(const StateSpec& spec) {
  image::FingerprintStream stream;
  stream.AddNumber(spec.cut);
  stream.AddNumber(static_cast<uint64_t>(spec.selection.kind));
  stream.AddNumber(spec.selection.entries.size());
  for (const uint64_t entry : spec.selection.entries) stream.AddNumber(entry);
  for (const Tear& tear : spec.selection.torn) {
    stream.AddNumber(tear.entry);
    stream.AddNumber(static_cast<uint64_t>(tear.kind));
    stream.AddNumber(tear.number);
  }
  return stream.Finish();
}

}  // namespace

RoundRobin::RoundRobin(size_t kinds, uint64_t seed) : kinds_(kinds), seed_(seed) {}

// First one of each group, the groups in a random order, then a second one of each, and so on.
void RoundRobin::Arrange(size_t kind) {
  std::vector<Candidate>& candidates = kinds_[kind];
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  struct Placed {
    uint64_t round;
    uint64_t order;
    Candidate candidate;
  };
  std::vector<Placed> placed;
  placed.reserve(candidates.size());
  Prng prng(DeriveSeed(seed_, "order", kind));
  for (auto first = candidates.begin(); first != candidates.end();) {
    const auto last = std::find_if(first, candidates.end(),
                                   [&](const Candidate& c) { return c.group != first->group; });
    for (auto left = last; left - first > 1; --left) {
      std::iter_swap(left - 1, first + static_cast<ptrdiff_t>(
                                           prng.Below(static_cast<uint64_t>(left - first))));
    }
    const uint64_t order = prng.Next();
    for (auto it = first; it != last; ++it) {
      placed.push_back({static_cast<uint64_t>(it - first), order, *it});
    }
    first = last;
  }
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.round, a.order, a.candidate) < std::tie(b.round, b.order, b.candidate);
  });
  for (size_t i = 0; i < placed.size(); ++i) candidates[i] = placed[i].candidate;
}

bool RoundRobin::Take(size_t budget, const Make& make, std::vector<StateSpec>& out) {
  for (size_t kind = 0; kind < kinds_.size(); ++kind) Arrange(kind);
  std::unordered_set<image::Fingerprint, image::FingerprintHash> seen;
  std::vector<size_t> next(kinds_.size());
  for (bool any = true; any;) {
    any = false;
    for (size_t kind = 0; kind < kinds_.size(); ++kind) {
      std::optional<StateSpec> fresh;
      while (!fresh && next[kind] < kinds_[kind].size()) {
        fresh = make(kind, kinds_[kind][next[kind]++]);
        if (fresh && !seen.insert(KeyOf(*fresh)).second) fresh.reset();
      }
      if (!fresh) continue;
      if (budget == 0) return false;
      --budget;
      any = true;
      out.push_back(*std::move(fresh));
    }
  }
  return true;
}

}  // namespace plugpull::crashstate
