// SPDX-License-Identifier: Apache-2.0
#include "framework/run/judge.h"

#include <fmt/format.h>

#include <atomic>
#include <charconv>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <unordered_set>

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

struct ContentKey {
  Fingerprint image;
  workload::ObligationKey obligations;
  bool operator==(const ContentKey&) const = default;
};
// An image can be legal as a tree and not byte by byte.
struct SameRecoveryKey {
  Fingerprint image;
  bool as_image = false;
  bool operator==(const SameRecoveryKey&) const = default;
};
struct SameRecoveryKeyHash {
  size_t operator()(const SameRecoveryKey& key) const {
    return key.image.low ^ (key.as_image ? 0x9e3779b97f4a7c15ULL : 0);
  }
};
// What the content oracle says, and what it observed of durability.
struct ContentSaid {
  Said said;
  oracle::GuaranteeAnswers answers;
  bool hidden = false;  // unknown, for what would have answered cannot be read in this image
};
// What the content oracle is asked about.
constexpr GuaranteeReport::Guarantee kOwed[] = {
    GuaranteeReport::FSYNC_NAME, GuaranteeReport::FSYNC_SIZE, GuaranteeReport::FSYNC_DATA};
struct ContentKeyHash {
  size_t operator()(const ContentKey& key) const {
    return key.image.low ^ (key.obligations.ended_count * 0x9e3779b97f4a7c15ULL) ^
           (key.obligations.begun_count * 0xc2b2ae3d27d4eb4fULL);
  }
};

}  // namespace

Outcome StateVerdict::Worst() const {
  const Outcome worst =
      Worse(Worse(Worse(Worse(recovery, structure), Worse(content, stale_data)), same_recovery),
            Worse(kernel, command));
  return order_decides ? Outcome::kUnknown : worst;
}

struct Judge::Impl {
  const crashstate::CrashSpace& space;
  const ext4::JournalLayout& journal;
  const std::vector<os::Extent>& base_extents;
  const workload::ObligationIndex* obligations;
  oracle::Fsck& fsck;
  JudgeOptions options;
  std::vector<workload::ObligationKey> keys = {};  // one for each cut

  RecoveryMemo recoveries = {};
  Once<Fingerprint, FingerprintHash, Said> structures = {};  // by recovered image
  // Without deduplication: e2fsck looks once at an image of the sample, however many states have
  // it.
  std::unordered_set<Fingerprint, FingerprintHash> seen = {};  // guarded by mutex
  Once<ContentKey, ContentKeyHash, ContentSaid> contents = {};
  Once<ContentKey, ContentKeyHash, oracle::GuaranteeAnswers> guarantees = {};
  Once<Fingerprint, FingerprintHash, Said> promised = {};    // by recovered image
  Once<Fingerprint, FingerprintHash, Said> stale_data = {};  // by recovered image
  Once<SameRecoveryKey, SameRecoveryKeyHash, Said> same_recoveries = {};
  std::atomic<uint64_t> recoveries_compared = 0;
  std::atomic<uint64_t> content_checks = 0;
  std::atomic<uint64_t> stale_data_checks = 0;
  std::atomic<uint64_t> guarantee_checks = 0;

  std::mutex mutex = {};       // of what follows
  std::deque<Said> kept = {};  // of single states; addresses stay
  std::deque<ContentSaid> kept_contents = {};
  std::deque<oracle::GuaranteeAnswers> kept_answers = {};
  std::optional<Error> failure = {};
  EngineCounts counts = {};
  std::atomic<uint64_t> done = 0;

  // Runs the work on all threads.
  void Parallel(size_t chunks, const std::function<void()>& each_thread) const {
    std::vector<std::thread> threads;
    const size_t wanted = std::min<size_t>(options.jobs, chunks);
    try {
      for (size_t i = 1; i < wanted; ++i) threads.emplace_back(each_thread);
    } catch (const std::system_error&) {
      // The machine gives no more threads: those that there are do the work.
    }
    each_thread();
    for (std::thread& thread : threads) thread.join();
  }

  const Said& Keep(Said said) {
    const std::lock_guard lock(mutex);
    return kept.emplace_back(std::move(said));
  }

  const ContentSaid& Keep(ContentSaid said) {
    const std::lock_guard lock(mutex);
    return kept_contents.emplace_back(std::move(said));
  }

  const oracle::GuaranteeAnswers& Keep(oracle::GuaranteeAnswers answers) {
    const std::lock_guard lock(mutex);
    return kept_answers.emplace_back(std::move(answers));
  }

  bool IsNew(const Fingerprint& recovered) {
    const std::lock_guard lock(mutex);
    return seen.insert(recovered).second;
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

  Said Structure(StateEngine& engine, bool sample) {
    auto said = engine.JudgeStructure(sample);
    if (said.ok()) return *std::move(said);
    Fail(said.error());
    return {Outcome::kUnknown, said.error().ToString()};
  }

  Said StaleData(StateEngine& engine) {
    ++stale_data_checks;
    auto view = engine.OpenRecovered();
    if (!view.ok()) return {Outcome::kUnknown, view.error().ToString()};
    oracle::StaleDataVerdict verdict = oracle::JudgeStaleData(*options.stale_data, *view);
    return {verdict.outcome, std::move(verdict.evidence)};
  }

  Said SameRecovery(StateEngine& engine, bool as_image) {
    ++recoveries_compared;
    const auto work = engine.RecoveredWork();
    if (!work.ok()) return {Outcome::kUnknown, work.error().ToString()};
    oracle::SameRecoveryVerdict verdict = as_image ? options.same_recovery->CompareImage(**work)
                                                   : options.same_recovery->CompareTree(**work);
    return {verdict.outcome, std::move(verdict.evidence)};
  }

  void JudgeSameRecovery(StateEngine& engine, size_t cut, StateVerdict& verdict) {
    if (options.same_recovery == nullptr) return;
    const Outcome before = Worse(verdict.recovery, verdict.structure);
    if (before != Outcome::kHolds) {
      verdict.same_recovery = before;
      verdict.same_recovery_evidence = verdict.evidence;
      return;
    }
    const bool as_image = options.same_recovery->ComparesImages(cut);
    const auto compute = [&] { return SameRecovery(engine, as_image); };
    const Said& said = options.deduplicate
                           ? same_recoveries.Get({verdict.recovered, as_image}, compute)
                           : Keep(compute());
    verdict.same_recovery = said.outcome;
    verdict.same_recovery_evidence = &said.evidence;
  }

  // What a thread has for itself.
  struct Tools {
    StateEngine engine;
    std::optional<workload::ObligationTracker> tracker = {};
    oracle::ContentMemo memo = {};
    // One of each promise.
    std::deque<workload::ObligationTracker> promised = {};
    std::deque<oracle::ContentMemo> promised_memo = {};
  };

  bool HasPromises() const { return options.promises != nullptr && !options.promises->empty(); }

  // What is owed to earlier boots: the first that is not kept. What a `condemned` image hides is no
  // open question, as in JudgeRecovered.
  Said Promised(Tools& tools, bool condemned) {
    Said all;
    for (size_t i = 0; i < options.promises->size(); ++i) {
      const KeptPromise& promise = (*options.promises)[i];
      const ContentSaid content =
          Owed(tools.promised[i], promise.key, tools.promised_memo[i], tools.engine);
      if (content.hidden && condemned) continue;
      const Said& said = content.said;
      if (Worse(all.outcome, said.outcome) == all.outcome) continue;
      all.outcome = said.outcome;
      all.evidence = fmt::format("of boot {}: {}", promise.boot, said.evidence);
    }
    return all;
  }

  ContentSaid Content(Tools& tools, const workload::ObligationKey& key) {
    return Owed(*tools.tracker, key, tools.memo, tools.engine);
  }

  ContentSaid Owed(workload::ObligationTracker& tracker, const workload::ObligationKey& key,
                   oracle::ContentMemo& memo, StateEngine& engine) {
    ++content_checks;
    const auto owed = tracker.At(key);
    if (!owed.ok()) return {{Outcome::kUnknown, owed.error().ToString()}, {}, false};
    auto view = engine.OpenRecovered();
    if (!view.ok()) {
      if ((*owed)->names.empty() && (*owed)->files.empty()) return {};
      ContentSaid said{{Outcome::kViolated, view.error().message}, {}, false};
      for (const auto guarantee : kOwed) said.answers.unknown.Add(guarantee);
      return said;
    }
    oracle::ContentVerdict verdict = oracle::JudgeContent(**owed, *view, &memo);
    const bool hidden = verdict.outcome == Outcome::kUnknown;
    return {{verdict.outcome, std::move(verdict.evidence)}, std::move(verdict.answers), hidden};
  }

  oracle::GuaranteeAnswers Guarantees(Tools& tools, const workload::ObligationKey& key) {
    ++guarantee_checks;
    auto view = tools.engine.OpenRecovered();
    // Nothing was asked of an image that nobody can open; its structure does not hold.
    if (!view.ok()) return {};
    auto answers = oracle::JudgeGuarantees(*options.guarantees, key, *view);
    if (options.times != nullptr) answers.Add(oracle::JudgeTimes(*options.times, key, *view));
    return answers;
  }

  Result<StateVerdict> JudgeState(Tools& tools, const StateSpec& spec) {
    PP_ASSIGN_OR_RETURN(RecoveredState recovered, tools.engine.MoveTo(spec));
    const bool doubtful = recovered.fast_commits;
    PP_ASSIGN_OR_RETURN(StateVerdict verdict, JudgeRecovered(tools, spec, std::move(recovered)));
    if (doubtful) {
      Doubt(verdict.structure, verdict.evidence);
      Doubt(verdict.content, verdict.content_evidence);
      Doubt(verdict.stale_data, verdict.stale_evidence);
      Doubt(verdict.same_recovery, verdict.same_recovery_evidence);
      Doubt(verdict.content_answers);
      Doubt(verdict.guarantee_answers);
    }
    LeaveOpen(tools, spec.cut, verdict);
    return verdict;
  }

  // What would have been asked of an image of which nobody can say whether it is one.
  void LeaveOpen(Tools& tools, size_t cut, StateVerdict& verdict) {
    const bool refused = verdict.recovery == Outcome::kViolated;
    if (refused || !tools.tracker ||
        Worse(verdict.recovery, verdict.structure) != Outcome::kUnknown) {
      return;
    }
    if (options.content && verdict.content_answers == nullptr) {
      oracle::GuaranteeAnswers open;
      const auto owed = tools.tracker->At(keys[cut]);
      if (!owed.ok() || !(*owed)->names.empty() || !(*owed)->files.empty()) {
        for (const auto guarantee : kOwed) open.unknown.Add(guarantee);
      }
      verdict.content_answers = &Keep(std::move(open));
    }
    if (options.guarantees != nullptr && verdict.guarantee_answers == nullptr) {
      oracle::GuaranteeAnswers questions;
      questions.unknown = oracle::OpenGuarantees(*options.guarantees, keys[cut]);
      verdict.guarantee_answers = &Keep(std::move(questions));
    }
  }

  void Doubt(const oracle::GuaranteeAnswers*& answers) {
    if (answers == nullptr) return;
    oracle::GuaranteeAnswers doubted = *answers;
    doubted.unknown.Add(doubted.broken);
    doubted.broken = {};
    doubted.evidence.clear();
    answers = &Keep(std::move(doubted));
  }

  void Doubt(Outcome& outcome, const std::string*& evidence) {
    if (outcome != Outcome::kViolated) return;
    outcome = Outcome::kUnknown;
    evidence =
        &Keep(Said{outcome, oracle::kFastCommitDoubt + (evidence ? *evidence : "")}).evidence;
  }

  Result<StateVerdict> JudgeRecovered(Tools& tools, const StateSpec& spec,
                                      RecoveredState recovered) {
    StateVerdict verdict;
    verdict.recovered = recovered.fingerprint;
    verdict.recovery = recovered.said.outcome;
    if (recovered.said.outcome != Outcome::kHolds) {
      verdict.evidence = &Keep(std::move(recovered.said)).evidence;
      JudgeSameRecovery(tools.engine, spec.cut, verdict);
      return verdict;
    }
    if (options.fsck) {
      const Said& said =
          options.deduplicate
              ? structures.Get(recovered.fingerprint, [&] { return Structure(tools.engine, true); })
              : Keep(Structure(tools.engine, IsNew(recovered.fingerprint)));
      verdict.structure = said.outcome;
      verdict.evidence = &said.evidence;
    }
    JudgeSameRecovery(tools.engine, spec.cut, verdict);
    // In an image that is condemned, files may share blocks.
    if (options.stale_data != nullptr && verdict.structure == Outcome::kHolds) {
      const auto compute = [&] { return StaleData(tools.engine); };
      const Said& said =
          options.deduplicate ? stale_data.Get(recovered.fingerprint, compute) : Keep(compute());
      verdict.stale_data = said.outcome;
      verdict.stale_evidence = &said.evidence;
    }
    if (options.content && tools.tracker) {
      const auto& key = keys[spec.cut];
      const auto compute = [&] { return Content(tools, key); };
      const ContentSaid& content = options.deduplicate
                                       ? contents.Get({recovered.fingerprint, key}, compute)
                                       : Keep(compute());
      // What a condemned image hides, where nothing that can be read is wrong, is no question that
      // stays open: the image is no file system that anybody relies on.
      if (!content.hidden || verdict.structure != Outcome::kViolated) {
        verdict.content = content.said.outcome;
        verdict.content_evidence = &content.said.evidence;
      }
      verdict.content_answers = &content.answers;
    }
    if (options.guarantees != nullptr && tools.tracker && verdict.structure == Outcome::kHolds) {
      const auto& key = keys[spec.cut];
      const auto compute = [&] { return Guarantees(tools, key); };
      verdict.guarantee_answers = options.deduplicate
                                      ? &guarantees.Get({recovered.fingerprint, key}, compute)
                                      : &Keep(compute());
    }
    if (options.content && HasPromises()) {
      // One image is condemned or it is not: its fingerprint is key enough.
      const auto compute = [&] { return Promised(tools, verdict.structure == Outcome::kViolated); };
      const Said& said =
          options.deduplicate ? promised.Get(recovered.fingerprint, compute) : Keep(compute());
      if (Worse(verdict.content, said.outcome) != verdict.content) {
        verdict.content = said.outcome;
        verdict.content_evidence = &said.evidence;
      }
    }
    return verdict;
  }

  // Neighbours in the list have most in common, so a thread takes a run of them.
  static constexpr size_t kChunk = 128;

  void Work(const std::vector<StateSpec>& states, std::atomic<size_t>& next,
            std::vector<StateVerdict>& verdicts) {
    RecoveryMemo* memo = options.deduplicate ? &recoveries : nullptr;
    Tools tools{.engine = {space, journal, base_extents, fsck, options.engine, memo}};
    if (obligations != nullptr) tools.tracker.emplace(*obligations);
    if (HasPromises()) {
      for (const KeptPromise& promise : *options.promises) {
        tools.promised.emplace_back(promise.index);
        tools.promised_memo.emplace_back();
      }
    }
    for (size_t start; (start = next.fetch_add(kChunk)) < states.size() && !Failed();) {
      const size_t end = std::min(start + kChunk, states.size());
      for (size_t i = start; i < end; ++i) {
        auto verdict = JudgeState(tools, states[i]);
        if (!verdict.ok()) return Fail(verdict.error());
        verdicts[i] = *std::move(verdict);
      }
      Report(end - start, states.size());
    }
    const std::lock_guard lock(mutex);
    counts.Add(tools.engine.counts());
  }

  // Where the sample was small, e2fsck looks at a few more of the images that were passed: those
  // with the smallest fingerprints.
  void TopUpSample(const std::vector<StateSpec>& states,
                   const std::vector<StateVerdict>& verdicts) {
    constexpr size_t kSampleLeast = 8;
    if (!options.engine.in_process || counts.passed == 0 || counts.sampled >= kSampleLeast) return;
    std::map<Fingerprint, size_t> first;  // state of each image that holds and was not sampled
    for (size_t i = 0; i < states.size(); ++i) {
      const bool judged = options.fsck && verdicts[i].recovery == Outcome::kHolds;
      if (judged && verdicts[i].structure == Outcome::kHolds &&
          !InSample(verdicts[i].recovered, options.engine.sample_permille)) {
        first.try_emplace(verdicts[i].recovered, i);
      }
    }
    size_t left = kSampleLeast - counts.sampled;
    StateEngine engine(space, journal, base_extents, fsck,
                       {.in_process = true, .sample_permille = 1000}, nullptr);
    for (const auto& [fingerprint, state] : first) {
      if (left-- == 0) break;
      const auto moved = engine.MoveTo(states[state]);
      const auto said = moved.ok() ? engine.JudgeStructure() : Result<Said>(moved.error());
      if (!said.ok()) return Fail(said.error());
    }
    EngineCounts sampled = engine.counts();
    sampled.passed = 0;  // they were counted when they were judged
    sampled.recovered = 0;
    sampled.recovered_by_e2fsck = 0;
    counts.Add(sampled);
  }

  std::vector<StateVerdict> JudgeAll(const std::vector<StateSpec>& states) {
    std::vector<StateVerdict> verdicts(states.size());
    std::atomic<size_t> next = 0;
    done = 0;
    Parallel((states.size() + kChunk - 1) / kChunk, [&] { Work(states, next, verdicts); });
    return verdicts;
  }
};

Judge::Judge(const crashstate::CrashSpace& space, const ext4::JournalLayout& journal,
             const std::vector<os::Extent>& base_extents,
             const workload::ObligationIndex* obligations, oracle::Fsck& fsck, JudgeOptions options)
    : impl_(new Impl{.space = space,
                     .journal = journal,
                     .base_extents = base_extents,
                     .obligations = obligations,
                     .fsck = fsck,
                     .options = std::move(options)}) {
  PP_CHECK(impl_->options.jobs >= 1);
  if (obligations != nullptr) {
    impl_->keys = KeysOfCuts(space.history(), obligations->workload(), obligations->operations());
  }
}

Judge::~Judge() = default;

uint64_t Judge::content_checks() const { return impl_->content_checks; }
uint64_t Judge::stale_data_checks() const { return impl_->stale_data_checks; }
uint64_t Judge::recoveries_compared() const { return impl_->recoveries_compared; }
uint64_t Judge::guarantee_checks() const { return impl_->guarantee_checks; }
const EngineCounts& Judge::counts() const { return impl_->counts; }

Result<std::vector<StateVerdict>> Judge::Run(const std::vector<StateSpec>& states) {
  std::vector<StateVerdict> verdicts = impl_->JudgeAll(states);
  if (!impl_->failure) impl_->TopUpSample(states, verdicts);
  const uint64_t doubts = impl_->counts.falsely_passed + impl_->counts.not_confirmed;
  if (!impl_->failure && doubts > 0 && impl_->options.engine.in_process) {
    impl_->options.engine.in_process = false;
    impl_->recoveries.clear();
    impl_->structures.clear();
    impl_->seen.clear();
    impl_->contents.clear();
    impl_->promised.clear();
    impl_->guarantees.clear();
    impl_->stale_data.clear();
    impl_->same_recoveries.clear();
    verdicts = impl_->JudgeAll(states);
  }
  if (impl_->failure) return *impl_->failure;
  for (size_t i = 1; i < states.size(); ++i) {
    if (!states[i].overlapping_older) continue;
    const auto& a = verdicts[i - 1];
    const auto& b = verdicts[i];
    const bool differs = a.recovery != b.recovery || a.structure != b.structure ||
                         a.content != b.content || a.stale_data != b.stale_data ||
                         a.same_recovery != b.same_recovery;
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
