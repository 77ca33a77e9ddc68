// SPDX-License-Identifier: Apache-2.0
#include "framework/run/judge.h"

#include <fmt/format.h>

#include <atomic>
#include <charconv>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "framework/crashstate/state_cursor.h"
#include "framework/oracle/ext4_view.h"

namespace plugpull::run {

using crashstate::StateSpec;
using image::Fingerprint;
using image::FingerprintHash;
using oracle::Outcome;

namespace {

Outcome Worse(Outcome a, Outcome b) {
  if (a == Outcome::kViolated || b == Outcome::kViolated) return Outcome::kViolated;
  if (a == Outcome::kUnknown || b == Outcome::kUnknown) return Outcome::kUnknown;
  return Outcome::kHolds;
}

struct Said {
  Outcome outcome = Outcome::kHolds;
  std::string evidence;
};

// Each key is computed once; others who ask meanwhile wait for it.
template <typename Key, typename Hash>
class Once {
 public:
  template <typename Compute>
  const Said& Get(const Key& key, const Compute& compute) {
    std::promise<Said> promise;
    std::shared_future<Said> future;
    bool mine = false;
    {
      const std::lock_guard lock(mutex_);
      const auto [it, added] = map_.try_emplace(key);
      if (added) it->second = promise.get_future().share();
      mine = added;
      future = it->second;
    }
    if (mine) promise.set_value(compute());
    return future.get();
  }

  uint64_t size() const { return map_.size(); }

 private:
  std::mutex mutex_;
  std::unordered_map<Key, std::shared_future<Said>, Hash> map_;
};

struct ContentKey {
  Fingerprint image;
  workload::ObligationKey obligations;
  bool operator==(const ContentKey&) const = default;
};
struct ContentKeyHash {
  size_t operator()(const ContentKey& key) const {
    return key.image.low ^ (key.obligations.ended_count * 0x9e3779b97f4a7c15ULL) ^
           (key.obligations.begun_count * 0xc2b2ae3d27d4eb4fULL);
  }
};

// States that recover to one image.
struct Group {
  size_t first = 0;  // index of the first of them
  std::vector<size_t> states;
};

}  // namespace

Outcome StateVerdict::Worst() const {
  const Outcome worst = Worse(Worse(recovery, Worse(structure, content)), Worse(kernel, command));
  return order_decides ? Outcome::kUnknown : worst;
}

struct Judge::Impl {
  const crashstate::CrashSpace& space;
  const ext4::JournalLayout& journal;
  const std::vector<os::Extent>& base_extents;
  const workload::ObligationIndex* obligations;
  oracle::Fsck& fsck;
  JudgeOptions options;
  std::vector<workload::ObligationKey> keys;  // one for each cut

  Once<Fingerprint, FingerprintHash> structures;  // by recovered image
  Once<ContentKey, ContentKeyHash> contents;

  std::mutex mutex;              // of what follows
  std::deque<std::string> kept;  // evidence; addresses stay
  std::optional<Error> failure;
  std::atomic<uint64_t> done = 0;

  // Runs `work(first, last)` over [0, count) in chunks, on all threads; stops early on failure.
  void Parallel(size_t count, size_t chunk, const std::function<void()>& each_thread) const {
    std::vector<std::thread> threads;
    const size_t wanted = std::min<size_t>(options.jobs, (count + chunk - 1) / chunk);
    try {
      for (size_t i = 1; i < wanted; ++i) threads.emplace_back(each_thread);
    } catch (const std::system_error&) {
      // The machine gives no more threads: those that there are do the work.
    }
    each_thread();
    for (std::thread& thread : threads) thread.join();
  }

  // Of the images before recovery.
  std::vector<Fingerprint> RawKeys(const std::vector<StateSpec>& states) const {
    constexpr size_t kChunk = 64;
    std::vector<Fingerprint> keys_of(states.size());
    std::atomic<size_t> next = 0;
    Parallel(states.size(), kChunk, [&] {
      crashstate::StateCursor cursor(space);
      std::vector<size_t> scratch;
      std::vector<size_t> lost;
      for (size_t start; (start = next.fetch_add(kChunk)) < states.size();) {
        for (size_t i = start; i < std::min(start + kChunk, states.size()); ++i) {
          space.LostEventsInto(states[i].cut, states[i].selection, scratch, lost);
          cursor.MoveTo(states[i].cut, lost, states[i].overlapping_older);
          keys_of[i] = {cursor.image().sum().high, cursor.image().sum().low};
        }
      }
    });
    return keys_of;
  }

  const std::string* Keep(std::string evidence) {
    const std::lock_guard lock(mutex);
    return &kept.emplace_back(std::move(evidence));
  }

  void Fail(Error error) {
    const std::lock_guard lock(mutex);
    if (!failure) failure = std::move(error);
  }

  bool Failed() {
    const std::lock_guard lock(mutex);
    return failure.has_value();
  }

  void Report(uint64_t more, uint64_t total) {
    const uint64_t now = done.fetch_add(more) + more;
    if (!options.progress) return;
    const std::lock_guard lock(mutex);
    options.progress(now, total);
  }

  Said Content(oracle::WorkImage& work, workload::ObligationTracker& tracker,
               const workload::ObligationKey& key) const {
    const auto owed = tracker.At(key);
    if (!owed.ok()) return {Outcome::kUnknown, owed.error().ToString()};
    auto fs = ext4::FileSystem::Open(work.bytes());
    if (!fs.ok()) {
      if ((*owed)->names.empty() && (*owed)->files.empty()) return {};
      return {Outcome::kViolated, fs.error().message};
    }
    oracle::Ext4View view(std::move(*fs));
    const oracle::ContentVerdict verdict = oracle::JudgeContent(**owed, view);
    return {verdict.outcome, verdict.evidence};
  }

  // What a thread has for itself.
  struct Tools {
    Tools(oracle::WorkImage image, const crashstate::CrashSpace& space)
        : work(std::move(image)), cursor(space) {}
    oracle::WorkImage work;
    crashstate::StateCursor cursor;
    std::optional<workload::ObligationTracker> tracker;
  };

  Status JudgeGroup(Tools& tools, const std::vector<StateSpec>& states, const Group& group,
                    std::vector<StateVerdict>& verdicts) {
    oracle::WorkImage& work = tools.work;
    const StateSpec& spec = states[group.first];
    std::vector<size_t> scratch;
    std::vector<size_t> lost;
    space.LostEventsInto(spec.cut, spec.selection, scratch, lost);
    tools.cursor.MoveTo(spec.cut, lost, spec.overlapping_older);
    work.Load(tools.cursor.image());
    oracle::RecoveryResult recovery = fsck.Recover(work, journal);
    PP_ASSIGN_OR_RETURN(const Fingerprint recovered, work.Scan(journal));
    StateVerdict verdict;
    verdict.recovered = recovered;
    verdict.recovery = recovery.outcome;
    if (recovery.outcome != Outcome::kHolds) {
      verdict.evidence = Keep(std::move(recovery.evidence));
    }
    const bool usable = recovery.outcome == Outcome::kHolds;
    if (usable && options.fsck) {
      const Said& structure = structures.Get(recovered, [&] {
        oracle::StructureResult result = fsck.Check(work);
        return Said{result.outcome, std::move(result.evidence)};
      });
      verdict.structure = structure.outcome;
      verdict.evidence = &structure.evidence;
    }
    for (const size_t index : group.states) {
      verdicts[index] = verdict;
      if (!usable || !options.content || !tools.tracker) continue;
      const auto& key = keys[states[index].cut];
      const Said& content =
          contents.Get({recovered, key}, [&] { return Content(work, *tools.tracker, key); });
      verdicts[index].content = content.outcome;
      verdicts[index].content_evidence = &content.evidence;
    }
    return OkStatus();
  }

  void Work(const std::vector<StateSpec>& states, const std::vector<Group>& groups,
            std::atomic<size_t>& next, std::vector<StateVerdict>& verdicts) {
    auto work = oracle::WorkImage::Make(space.base(), base_extents);
    if (!work.ok()) return Fail(std::move(work).error());
    Tools tools{std::move(*work), space};
    if (obligations != nullptr) tools.tracker.emplace(*obligations);
    for (size_t i; (i = next.fetch_add(1)) < groups.size() && !Failed();) {
      const Status status = JudgeGroup(tools, states, groups[i], verdicts);
      if (!status.ok()) return Fail(status.error());
      Report(groups[i].states.size(), states.size());
    }
  }
};

Judge::Judge(const crashstate::CrashSpace& space, const ext4::JournalLayout& journal,
             const std::vector<os::Extent>& base_extents,
             const workload::ObligationIndex* obligations, oracle::Fsck& fsck, JudgeOptions options)
    : impl_(new Impl{space,
                     journal,
                     base_extents,
                     obligations,
                     fsck,
                     std::move(options),
                     {},
                     {},
                     {},
                     {},
                     {},
                     {},
                     {}}) {
  PP_CHECK(impl_->options.jobs >= 1);
  if (obligations != nullptr) {
    impl_->keys = KeysOfCuts(space.history(), obligations->workload(), obligations->operations());
  }
}

Judge::~Judge() = default;

uint64_t Judge::content_checks() const { return impl_->contents.size(); }

Result<std::vector<StateVerdict>> Judge::Run(const std::vector<StateSpec>& states) {
  const std::vector<Fingerprint> raw_keys = impl_->RawKeys(states);
  std::vector<Group> groups;
  std::unordered_map<Fingerprint, size_t, FingerprintHash> group_of;
  for (size_t i = 0; i < states.size(); ++i) {
    const auto [it, added] = group_of.try_emplace(raw_keys[i], groups.size());
    if (added) groups.push_back({i, {}});
    groups[it->second].states.push_back(i);
  }
  std::vector<StateVerdict> verdicts(states.size());
  std::atomic<size_t> next = 0;
  impl_->Parallel(groups.size(), 1, [&] { impl_->Work(states, groups, next, verdicts); });
  if (impl_->failure) return *impl_->failure;
  for (size_t i = 1; i < states.size(); ++i) {
    if (!states[i].overlapping_older) continue;
    const auto& a = verdicts[i - 1];
    const auto& b = verdicts[i];
    const bool differs =
        a.recovery != b.recovery || a.structure != b.structure || a.content != b.content;
    verdicts[i - 1].order_decides = differs;
    verdicts[i].order_decides = differs;
  }
  return verdicts;
}

std::vector<workload::ObligationKey> KeysOfCuts(const blocklog::History& history, uint32_t workload,
                                                uint64_t operations) {
  const std::string prefix = fmt::format("{}.", workload);
  // Position of each acknowledgement and its operation; cuts behind it have seen it.
  std::vector<std::pair<size_t, uint64_t>> acks;
  for (size_t i = 0; i < history.events.size(); ++i) {
    const auto& mark = history.events[i].mark;
    if (mark.kind != "ack" || !mark.text.starts_with(prefix)) continue;
    uint64_t operation = 0;
    const char* end = mark.text.data() + mark.text.size();
    const auto parsed = std::from_chars(mark.text.data() + prefix.size(), end, operation);
    if (parsed.ec == std::errc() && parsed.ptr == end && operation < operations) {
      acks.emplace_back(i, operation);
    }
  }
  std::vector<workload::ObligationKey> keys(history.events.size() + 1);
  size_t next_ack = 0;
  uint64_t ended = 0;
  for (size_t cut = 0; cut < keys.size(); ++cut) {
    while (next_ack < acks.size() && acks[next_ack].first < cut) {
      ended = std::max(ended, acks[next_ack].second + 1);
      ++next_ack;
    }
    const uint64_t begun = next_ack < acks.size() ? acks[next_ack].second + 1 : operations;
    keys[cut] = {ended, std::max(ended, begun)};
  }
  return keys;
}

}  // namespace plugpull::run
