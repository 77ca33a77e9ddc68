// SPDX-License-Identifier: Apache-2.0
#include "framework/run/guest_oracles.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "framework/base/prng.h"
#include "framework/ext4/superblock.h"
#include "framework/oracle/recovered_tree.h"
#include "framework/oracle/state_command.h"

namespace plugpull::run {

using crashstate::StateSpec;
using oracle::HostView;
using oracle::MountSeen;
using oracle::Outcome;
using oracle::SampleCandidate;
using oracle::StateToMount;

namespace {

// What the judges before said of a state; each kind gets its share of a sample.
enum Kind { kHeld, kOrphans, kCondemned, kRefused, kContentLost, kKinds };
constexpr std::array<const char*, kKinds> kKindWords = {"held", "held with orphans", "condemned",
                                                        "journal refused", "content lost"};

// Held states that are recovered to find those with orphans, for each state of the sample.
constexpr size_t kOrphanLooksPerState = 5;
constexpr size_t kMarksMax = 100'000;

// "20 held, 4 condemned".
std::string KindCounts(const std::vector<SampleCandidate>& candidates,
                       const std::vector<size_t>& sample) {
  std::array<size_t, kKinds> counts{};
  for (const SampleCandidate& candidate : candidates) {
    if (std::binary_search(sample.begin(), sample.end(), candidate.state)) {
      ++counts[static_cast<size_t>(candidate.kind)];
    }
  }
  std::string words;
  for (size_t kind = 0; kind < kKinds; ++kind) {
    if (counts[kind] == 0) continue;
    words += fmt::format("{}{} {}", words.empty() ? "" : ", ", counts[kind], kKindWords[kind]);
  }
  return words.empty() ? "none" : words;
}

// e2fsck/super.c, release_orphan_inode and e2fsck_process_orphan.
bool SaysOrphans(const std::string& evidence) {
  return evidence.find("orphaned inode") != std::string::npos;
}

struct Counts {
  std::array<size_t, 3> by_outcome{};
  void Add(Outcome outcome) { ++by_outcome[static_cast<size_t>(outcome)]; }
  size_t Of(Outcome outcome) const { return by_outcome[static_cast<size_t>(outcome)]; }
};

}  // namespace

GuestOracles::GuestOracles(const DiskSource& source, const Check& check, oracle::Fsck& fsck,
                           GuestOracleOptions options)
    : source_(source),
      check_(check),
      fsck_(fsck),
      options_(std::move(options)),
      cursor_(source.space()) {}

void GuestOracles::Ask(const std::vector<StateSpec>& states, std::vector<StateVerdict>& verdicts) {
  const auto listed = [&](Oracle oracle) {
    return std::find(check_.oracle().begin(), check_.oracle().end(), oracle) !=
           check_.oracle().end();
  };
  if (listed(KERNEL_MOUNT)) AskKernel(states, verdicts);
  if (listed(COMMAND)) AskCommand(states, verdicts);
}

void GuestOracles::AddTo(DiskReport& report) const {
  for (const JudgeCount& judge : judges_) *report.add_judge() = judge;
  for (const std::string& note : notes_) report.add_note(note);
}

void GuestOracles::Conclude(const std::string& judge, uint64_t runs, const std::string& note) {
  JudgeCount count;
  count.set_judge(judge);
  count.set_runs(runs);
  judges_.push_back(std::move(count));
  notes_.push_back(note);
}

std::vector<SampleCandidate> GuestOracles::Candidates(
    const std::vector<StateSpec>& states, const std::vector<StateVerdict>& verdicts) const {
  std::vector<SampleCandidate> candidates;
  for (size_t i = 0; i < states.size(); ++i) {
    const StateVerdict& verdict = verdicts[i];
    if (verdict.order_decides || verdict.recovery == Outcome::kUnknown ||
        verdict.structure == Outcome::kUnknown) {
      continue;
    }
    const Kind kind = verdict.recovery == Outcome::kViolated    ? kRefused
                      : verdict.structure == Outcome::kViolated ? kCondemned
                      : verdict.content == Outcome::kViolated   ? kContentLost
                                                                : kHeld;
    candidates.push_back({i, kind, verdict.recovered.ToHex()});
  }
  return candidates;
}

void GuestOracles::FindOrphans(const std::vector<StateSpec>& states, size_t wanted,
                               std::vector<SampleCandidate>& candidates) {
  std::vector<SampleCandidate> held;
  for (const SampleCandidate& candidate : candidates) {
    if (candidate.kind == kHeld) held.push_back(candidate);
  }
  const auto looked_at = oracle::SampleStates(held, wanted * kOrphanLooksPerState,
                                              DeriveSeed(options_.seed, "orphans"));
  std::set<size_t> with_orphans;
  for (const size_t state : looked_at) {
    const auto view = Recover(states[state]);
    if (view.ok() && view->orphans) with_orphans.insert(state);
  }
  for (SampleCandidate& candidate : candidates) {
    if (with_orphans.contains(candidate.state)) candidate.kind = kOrphans;
  }
}

Result<HostView> GuestOracles::Recover(const StateSpec& spec) {
  cursor_.MoveToSelection(spec.cut, spec.selection, spec.overlapping_older);
  cursor_.image().ClearChanges();
  if (!work_) {
    PP_ASSIGN_OR_RETURN(work_, oracle::WorkImage::Make(source_.base(), source_.base_extents()));
  }
  work_->Load(cursor_.image());
  HostView view;
  const auto before = ext4::ParseSuperblock(work_->bytes());
  view.replays = before.ok() && before->needs_recovery() &&
                 ext4::InspectJournal(work_->bytes(), source_.journal()).outcome ==
                     ext4::JournalInspection::Outcome::kReplays;
  oracle::RecoveryResult recovery = fsck_.Recover(*work_, source_.journal());
  // The next Load undoes only what a Scan has seen.
  const auto scanned = work_->Scan(source_.journal());
  if (!scanned.ok()) return scanned.error();
  view.recovery = recovery.outcome;
  fast_commits_ = recovery.fast_commits;
  view.fast_commits = recovery.fast_commits;
  view.orphans = SaysOrphans(recovery.evidence);
  if (recovery.outcome != Outcome::kHolds) view.evidence = std::move(recovery.evidence);
  return view;
}

HostView GuestOracles::Look(const StateSpec& spec) {
  auto recovered = Recover(spec);
  if (!recovered.ok()) {
    HostView view;
    view.evidence = recovered.error().ToString();
    return view;
  }
  HostView view = *std::move(recovered);
  if (view.recovery != Outcome::kHolds) return view;
  oracle::StructureResult structure = fsck_.Check(*work_);
  view.structure = structure.outcome;
  view.evidence = std::move(structure.evidence);
  if (fast_commits_ && view.structure == Outcome::kViolated) {
    view.structure = Outcome::kUnknown;
    view.evidence = oracle::kFastCommitDoubt + view.evidence;
  }
  if (view.structure != Outcome::kHolds) return view;
  auto fs = ext4::FileSystem::Open(work_->bytes());
  if (!fs.ok()) {
    view.structure = Outcome::kUnknown;
    view.evidence = "e2fsck passes it, and it cannot be opened: " + fs.error().message;
    return view;
  }
  oracle::RecoveredTree reader(*std::move(fs));
  view.tree = tree::ReadTree(reader);
  return view;
}

Result<const oracle::WorkImage*> GuestOracles::Recovered(const StateSpec& spec) {
  PP_ASSIGN_OR_RETURN(const HostView view, Recover(spec));
  if (view.recovery == Outcome::kHolds) return &*work_;
  return InternalError("a state that was recovered before cannot be recovered: " + view.evidence);
}

StateBatchOptions GuestOracles::BatchOptions(
    const std::function<Result<GuestImage>()>& image) const {
  StateBatchOptions options;
  options.image = image;
  options.start_machine = options_.start_machine;
  options.memory_mib = options_.memory_mib;
  options.progress = options_.progress;
  return options;
}

StateToMount GuestOracles::KernelMounts(const StateSpec& spec) const {
  MountState read_only;
  read_only.set_read_only(true);
  read_only.set_read_tree(true);
  MountState read_write = read_only;
  read_write.set_read_only(false);
  return {.spec = spec,
          .label = crashstate::IdOf(source_.space(), spec).ToString(),
          .mounts = {read_only, read_write},
          .recovered = false};
}

void GuestOracles::AskKernel(const std::vector<StateSpec>& states,
                             std::vector<StateVerdict>& verdicts) {
  const size_t wanted = check_.kernel_mount().max_states();
  std::vector<SampleCandidate> candidates = Candidates(states, verdicts);
  FindOrphans(states, wanted, candidates);
  const std::vector<size_t> sample =
      oracle::SampleStates(candidates, wanted, DeriveSeed(options_.seed, "kernel_mount"));
  std::vector<StateToMount> mounts;
  for (const size_t state : sample) mounts.push_back(KernelMounts(states[state]));
  // Behind them those that hold, as the host recovered them.
  std::vector<std::optional<size_t>> recovered(sample.size());  // index of the second mounts
  for (size_t i = 0; i < sample.size(); ++i) {
    const StateVerdict& verdict = verdicts[sample[i]];
    if (verdict.recovery != Outcome::kHolds || verdict.structure != Outcome::kHolds) continue;
    recovered[i] = mounts.size();
    mounts.push_back(KernelMounts(states[sample[i]]));
    mounts.back().label += " recovered";
    mounts.back().recovered = true;
  }
  StateBatchOptions batch_options = BatchOptions(options_.kernel_image);
  batch_options.recover = [this](const StateSpec& spec) { return Recovered(spec); };
  StateBatch batch(source_, std::move(batch_options));
  const auto seen = batch.Mount(mounts);
  Counts counts;
  size_t mounts_condemned = 0;
  uint64_t names = 0;
  for (size_t i = 0; i < sample.size(); ++i) {
    const HostView host = Look(states[sample[i]]);
    oracle::KernelVerdict verdict = oracle::CompareKernel(host, seen[i][0], seen[i][1]);
    if (recovered[i] && verdict.outcome == Outcome::kHolds) {
      const std::vector<MountSeen>& again = seen[*recovered[i]];
      verdict = oracle::CompareRecovered(host, again[0], again[1]);
    }
    counts.Add(verdict.outcome);
    mounts_condemned += verdict.mounts_condemned ? 1 : 0;
    if (host.tree && verdict.outcome == Outcome::kHolds) {
      names += static_cast<uint64_t>(host.tree->entry_size());
    }
    verdicts[sample[i]].kernel = verdict.outcome;
    verdicts[sample[i]].kernel_evidence = &evidence_.emplace_back(std::move(verdict.evidence));
  }
  std::string note = fmt::format(
      "kernel mount ({}): {} states ({}), {} of them once more as the host recovered them; {} "
      "agree, {} disagree, {} unknown; trees of {} names compared",
      batch.kernel_release(), sample.size(), KindCounts(candidates, sample),
      mounts.size() - sample.size(), counts.Of(Outcome::kHolds), counts.Of(Outcome::kViolated),
      counts.Of(Outcome::kUnknown), names);
  if (mounts_condemned > 0) {
    note += fmt::format(
        "; {} that e2fsck condemns are mounted without a complaint, which is no disagreement: a "
        "mount looks at little",
        mounts_condemned);
  }
  Conclude("kernel mount", mounts.size() * 2, note);
}

std::vector<std::string> GuestOracles::MarksBefore(size_t cut) const {
  std::vector<std::string> marks;
  const auto& events = source_.history().events;
  for (size_t i = 0; i < cut && i < events.size() && marks.size() < kMarksMax; ++i) {
    const blocklog::Mark& mark = events[i].mark;
    if (mark.kind == "start" || mark.kind == "done" || mark.kind == "note") {
      marks.push_back(mark.kind + " " + mark.text);
    }
  }
  return marks;
}

void GuestOracles::AskCommand(const std::vector<StateSpec>& states,
                              std::vector<StateVerdict>& verdicts) {
  const CommandOracle& command = check_.command();
  std::vector<SampleCandidate> candidates = Candidates(states, verdicts);
  // One image can be right before a mark and wrong after it.
  std::vector<size_t> marks_before(source_.history().events.size() + 1);
  for (size_t i = 0; i < source_.history().events.size(); ++i) {
    marks_before[i + 1] = marks_before[i] + (source_.history().events[i].mark.kind.empty() ? 0 : 1);
  }
  for (SampleCandidate& candidate : candidates) {
    candidate.key += fmt::format(".{}", marks_before[states[candidate.state].cut]);
  }
  const std::vector<size_t> sample =
      oracle::SampleStates(candidates, command.max_states(), DeriveSeed(options_.seed, "command"));
  std::vector<StateToMount> mounts;
  for (const size_t state : sample) {
    MountState mount;
    RunGuestProgram& program = *mount.mutable_command();
    *program.mutable_argv() = command.argv();
    program.set_timeout_ms(command.timeout_ms());
    for (std::string& mark : MarksBefore(states[state].cut)) mount.add_mark(std::move(mark));
    mounts.push_back({.spec = states[state],
                      .label = crashstate::IdOf(source_.space(), states[state]).ToString(),
                      .mounts = {std::move(mount)},
                      .recovered = false});
  }
  StateBatch batch(source_, BatchOptions(options_.command_image));
  const auto seen = batch.Mount(mounts);
  Counts counts;
  for (size_t i = 0; i < sample.size(); ++i) {
    oracle::CommandVerdict verdict = oracle::JudgeCommand(seen[i][0]);
    counts.Add(verdict.outcome);
    verdicts[sample[i]].command = verdict.outcome;
    verdicts[sample[i]].command_evidence = &evidence_.emplace_back(std::move(verdict.evidence));
  }
  Conclude("command", sample.size(),
           fmt::format("command ({}): {} states ({}), {} hold, {} fail, {} unknown",
                       batch.kernel_release(), sample.size(), KindCounts(candidates, sample),
                       counts.Of(Outcome::kHolds), counts.Of(Outcome::kViolated),
                       counts.Of(Outcome::kUnknown)));
}

}  // namespace plugpull::run
