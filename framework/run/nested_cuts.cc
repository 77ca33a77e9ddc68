// SPDX-License-Identifier: Apache-2.0
#include "framework/run/nested_cuts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

#include "framework/base/prng.h"
#include "framework/blocklog/log_writer.h"
#include "framework/ext4/journal_recovery.h"
#include "framework/ext4/superblock.h"
#include "framework/oracle/recovery_recorder.h"
#include "framework/oracle/state_sample.h"
#include "framework/recording/recording.h"
#include "framework/run/guest_session.h"
#include "framework/run/kernel_recovery.h"
#include "framework/run/record.h"
#include "framework/run/recovery_log.h"
#include "framework/run/state_images.h"
#include "framework/run/workdir.h"

namespace plugpull::run {

using crashstate::StateSpec;
using oracle::Outcome;
using oracle::SampleCandidate;

namespace {

// States that are looked at for each that is wanted, and of these those with the most to do that
// are drawn from.
constexpr size_t kLooksPerState = 20;
constexpr size_t kDrawnFromPerState = 3;

bool Holds(const StateSpec& spec, const StateVerdict& verdict) {
  return spec.selection.torn.empty() && !verdict.order_decides &&
         verdict.recovery == Outcome::kHolds && verdict.structure == Outcome::kHolds;
}

bool NeedsRecovery(const image::CowImage& image) {
  std::array<uint8_t, ext4::kSuperblockBytes> bytes;
  if (image.size_bytes() < ext4::kSuperblockAt + bytes.size()) return false;
  image.Read(ext4::kSuperblockAt, bytes);
  const auto super = ext4::ParseSuperblockBytes(bytes);
  return super.ok() && super->needs_recovery();
}

// Measures the work of recovery, state by state.
class WorkMeter {
 public:
  explicit WorkMeter(const DiskSource& source)
      : cursor_(source.space()), recovery_(cursor_.image(), source.journal()) {}

  // Nothing when there is nothing to recover.
  std::optional<RecoveryWork> Of(size_t index, const StateSpec& spec) {
    cursor_.MoveToSelection(spec.cut, spec.selection, spec.overlapping_older);
    image::CowImage& raw = cursor_.image();
    const ext4::RecoveryReport& report = recovery_.Update(raw.changes());
    raw.ClearChanges();
    using Outcome = ext4::RecoveryReport::Outcome;
    // A journal that is emptied unread is no recovery to cut.
    if (!NeedsRecovery(raw)) return std::nullopt;
    // What only e2fsck recovers has something to do; how much is not known.
    if (report.outcome == Outcome::kElsewhere) return RecoveryWork{index, 1, 0};
    if (report.outcome != Outcome::kRecovered) return std::nullopt;
    if (report.blocks_replayed == 0 && report.orphans == 0) return std::nullopt;
    return RecoveryWork{index, report.blocks_replayed, report.orphans};
  }

 private:
  crashstate::StateCursor cursor_;
  ext4::JournalRecovery recovery_;
};

bool HasBoth(const RecoveryWork& work) { return work.blocks > 0 && work.orphans > 0; }

std::string WordOf(Nested::Recovery by) { return by == Nested::KERNEL ? "kernel" : "e2fsck"; }

// The mount step that says how the disk is mounted.
MountStep MountOf(const Scenario& scenario, const std::string& disk) {
  MountStep mount;
  for (const Step& step : scenario.step()) {
    const bool fits = step.has_mount() && step.mount().disk() == disk;
    if (fits && step.mount().expect_errno().empty()) mount = step.mount();
  }
  return mount;
}

const Disk* DiskOf(const Scenario& scenario, const std::string& name) {
  for (const Disk& disk : scenario.disk()) {
    if (disk.name() == name) return &disk;
  }
  return nullptr;
}

// The scenario of a recording of a recovery: what was done, and how it is checked.
Scenario ScenarioOf(const Scenario& parent, const Check& check, Nested::Recovery by,
                    const std::string& state) {
  Scenario scenario;
  scenario.set_name(parent.name());
  scenario.set_summary(fmt::format("the recovery of {} by {}", state.substr(0, 120),
                                   by == Nested::KERNEL ? "the kernel" : "e2fsck"));
  *scenario.mutable_guest() = parent.guest();
  if (const Disk* disk = DiskOf(parent, check.disk())) {
    *scenario.add_disk() = *disk;
    scenario.mutable_disk(0)->clear_host_log();  // recoveries are recorded once
  }
  if (by == Nested::KERNEL) {
    *scenario.add_step()->mutable_mount() = MountOf(parent, check.disk());
    scenario.add_step()->mutable_unmount()->set_at(scenario.step(0).mount().at());
  }
  Check& own = *scenario.add_check();
  own.set_disk(check.disk());
  // A disk that lies does so while it is recovered, too. Torn writes are another question.
  *own.mutable_model() = check.model();
  own.mutable_model()->set_atomic_unit(0);
  own.mutable_model()->set_from(Model::FIRST_MOUNT);
  own.add_enumerate()->mutable_prefix()->set_at(PrefixEnumerator::EVERY_WRITE);
  own.add_enumerate()->mutable_lose_one();
  own.add_enumerate()->mutable_lose_subset();
  own.set_max_states(check.nested().max_states());
  own.add_oracle(FSCK);
  own.add_oracle(SAME_RECOVERY);
  scenario.mutable_expect()->set_nothing(true);
  scenario.set_seed(parent.seed());
  return scenario;
}

// The recoveries of one kind: what was found in all of them together.
class Recoveries {
 public:
  Recoveries(const DiskSource& source, const Check& check, const NestedOptions& options,
             Nested::Recovery by)
      : source_(source), check_(check), options_(options), by_(by) {}

  // Takes a log, or why there is none.
  void Take(const StateSpec& spec, const std::string& version, Result<std::vector<uint8_t>> log) {
    const std::string state = crashstate::IdOf(source_.space(), spec).ToString();
    version_ = version.empty() ? version_ : version;
    const auto folder = log.ok() ? Write(state, *log) : Result<std::string>(log.error());
    if (!folder.ok()) return AddUnknown(state, folder.error().ToString());
    ++recorded_;
    CheckOptions check = options_.check;
    check.seed = options_.seed;
    check.max_states.reset();  // of the outer check
    const RunReport report = CheckRecording(*folder, check);
    if (report.has_error()) return AddUnknown(state, report.error());
    if (report.has_incomplete_reason()) return AddUnknown(state, report.incomplete_reason());
    for (const DiskReport& disk : report.disk()) AddReport(state, *folder, disk);
  }

  void AddTo(DiskReport& report) const {
    if (violated_) *report.add_finding() = *violated_;
    if (unknown_) *report.add_finding() = *unknown_;
    *report.mutable_nested() = counts_;
    JudgeCount& count = *report.add_judge();
    count.set_judge("nested cuts of recovery by " + WordOf(by_));
    count.set_runs(counts_.enumerated());
    report.add_note(fmt::format(
        "nested cuts ({}): {} recoveries recorded, {} not; {} states, {} distinct; {} hold, {} "
        "differ, {} unknown",
        version_.empty() ? WordOf(by_) : version_, recorded_, failed_, counts_.enumerated(),
        counts_.distinct(), counts_.holds(), counts_.violated(), counts_.unknown()));
  }

 private:
  // Writes the recording and returns its folder.
  Result<std::string> Write(const std::string& state, const std::vector<uint8_t>& log) const {
    const std::string folder = Workdir::RecoveryRecording(options_.recording, WordOf(by_), state);
    PP_ASSIGN_OR_RETURN(recording::Writer writer, recording::Writer::Start(folder));
    const Recording& parent = *options_.manifest;
    Recording manifest;
    manifest.set_plugpull_version(kVersion);
    *manifest.mutable_scenario() = ScenarioOf(parent.scenario(), check_, by_, state);
    manifest.set_variant(WordOf(by_) + "-recovery");
    manifest.set_seed(parent.seed());
    if (by_ == Nested::KERNEL) manifest.set_kernel_release(version_);
    RecordedRecovery& recovery = *manifest.mutable_recovery();
    std::string name = options_.recording;
    while (name.size() > 1 && name.back() == '/') name.pop_back();
    recovery.set_parent("../../../" + name.substr(name.rfind('/') + 1));
    recovery.set_state(state);
    recovery.set_by(by_);
    recovery.set_version(version_);
    RecordedDisk& disk = *manifest.add_disk();
    disk.set_name(source_.name());
    disk.set_size_bytes(source_.history().device_size.value);
    disk.set_strip_bytes(kStripBytes.value);
    disk.set_log_file(source_.name() + ".log.zst");
    disk.set_log_bytes(log.size());
    disk.set_sends_flushes(source_.sends_flushes());
    PP_RETURN_IF_ERROR(writer.AddCompressed(disk.log_file(), log));
    PP_RETURN_IF_ERROR(writer.Finish(std::move(manifest)));
    return folder;
  }

  void AddUnknown(const std::string& state, const std::string& why) {
    ++failed_;
    Finding finding;
    finding.set_count(1);
    finding.set_example(state);
    finding.set_command(MaterializeCommand(ShellWord(options_.recording), state));
    finding.set_evidence(
        fmt::format("its recovery by {} could not be recorded and checked: {}", WordOf(by_), why));
    finding.set_kind(Finding::UNKNOWN);
    finding.set_oracle(SAME_RECOVERY);
    Merge(finding, unknown_);
  }

  void AddReport(const std::string& state, const std::string& folder, const DiskReport& disk) {
    const StateCounts& states = disk.states();
    counts_.set_enumerated(counts_.enumerated() + states.enumerated());
    counts_.set_distinct(counts_.distinct() + states.distinct());
    counts_.set_holds(counts_.holds() + states.holds());
    counts_.set_violated(counts_.violated() + states.violated());
    counts_.set_unknown(counts_.unknown() + states.unknown());
    for (const Finding& finding : disk.finding()) {
      // Whatever is wrong with a cut recovery is a difference to the whole one.
      if (finding.kind() == Finding::VIOLATED && finding.oracle() != SAME_RECOVERY) continue;
      Finding told = finding;
      told.set_oracle(SAME_RECOVERY);
      told.set_evidence(fmt::format("{}\nin the recovery of {} by {}, recorded in {}",
                                    finding.evidence(), state, WordOf(by_), folder));
      Merge(told, finding.kind() == Finding::VIOLATED ? violated_ : unknown_);
    }
  }

  // Counts on; the example is the one that lost the fewest writes.
  static void Merge(const Finding& finding, std::optional<Finding>& sum) {
    const uint64_t before = sum ? sum->count() : 0;
    if (!sum || finding.lost_writes() < sum->lost_writes()) sum = finding;
    sum->set_count(before + finding.count());
  }

  const DiskSource& source_;
  const Check& check_;
  const NestedOptions& options_;
  Nested::Recovery by_;
  std::string version_;
  uint64_t recorded_ = 0;
  uint64_t failed_ = 0;
  StateCounts counts_;
  std::optional<Finding> violated_;
  std::optional<Finding> unknown_;
};

// One recovery by e2fsck.
Result<std::vector<uint8_t>> RecordE2fsck(const DiskSource& source, oracle::Fsck& fsck,
                                          const oracle::RecoveryRecorder& recorder,
                                          StateImages& images, const StateSpec& spec) {
  const Bytes device = source.history().device_size;
  images.MoveTo(spec);
  PP_ASSIGN_OR_RETURN(auto work, oracle::WorkImage::Make(source.base(), source.base_extents()));
  work.Load(images.image());
  blocklog::LogWriter log;
  PP_RETURN_IF_ERROR(AddState(images, log));
  AddMark(device, "base", "recovery", log);
  // On a disk that hides its cache, nobody's flushes are sent.
  PP_RETURN_IF_ERROR(recorder.Record(fsck, source.journal(), source.sends_flushes(), work, log));
  AddMark(device, "end", "recovery", log);
  PP_RETURN_IF_ERROR(CheckReplay(log.bytes(), device, work.fd()));
  return log.bytes();
}

}  // namespace

std::vector<RecoveryWork> ChooseForNestedCuts(const DiskSource& source,
                                              const std::vector<StateSpec>& states,
                                              const std::vector<StateVerdict>& verdicts,
                                              size_t wanted, uint64_t seed) {
  std::vector<SampleCandidate> held;
  for (size_t i = 0; i < states.size(); ++i) {
    if (Holds(states[i], verdicts[i])) held.push_back({i, 0, verdicts[i].recovered.ToHex()});
  }
  WorkMeter meter(source);
  std::vector<RecoveryWork> works;
  for (const size_t i :
       oracle::SampleStates(held, wanted * kLooksPerState, DeriveSeed(seed, "nested looks"))) {
    if (const auto work = meter.Of(i, states[i])) works.push_back(*work);
  }
  std::stable_sort(works.begin(), works.end(), [](const RecoveryWork& a, const RecoveryWork& b) {
    return a.blocks > b.blocks;
  });
  std::array<size_t, 2> taken{};
  std::vector<SampleCandidate> candidates;
  for (const RecoveryWork& work : works) {
    const bool both = HasBoth(work);
    if (taken[both]++ >= wanted * kDrawnFromPerState) continue;
    candidates.push_back({work.state, both ? 0 : 1, std::to_string(work.state)});
  }
  const auto sample = oracle::SampleStates(candidates, wanted, DeriveSeed(seed, "nested"));
  std::vector<RecoveryWork> chosen;
  for (const RecoveryWork& work : works) {
    if (std::binary_search(sample.begin(), sample.end(), work.state)) chosen.push_back(work);
  }
  std::sort(chosen.begin(), chosen.end(),
            [](const RecoveryWork& a, const RecoveryWork& b) { return a.state < b.state; });
  return chosen;
}

void RunNestedCuts(const DiskSource& source, const Check& check, oracle::Fsck& fsck,
                   const NestedOptions& options, const std::vector<StateSpec>& states,
                   const std::vector<StateVerdict>& verdicts, DiskReport& report) {
  const auto works =
      ChooseForNestedCuts(source, states, verdicts, check.nested().max_recoveries(), options.seed);
  uint64_t blocks = 0;
  size_t both = 0;
  std::vector<StateSpec> chosen;
  for (const RecoveryWork& work : works) {
    chosen.push_back(states[work.state]);
    blocks += work.blocks;
    both += HasBoth(work) ? 1 : 0;
  }
  if (chosen.empty()) {
    report.add_note("nested cuts: no state that holds has anything to recover, so none was cut");
    return;
  }
  report.add_note(fmt::format(
      "nested cuts: {} states whose recovery replays {} blocks, {} of them with orphans",
      chosen.size(), blocks, both));
  const Scenario& scenario = options.manifest->scenario();
  const auto progress = [&](const std::string& what) -> std::function<void(uint64_t, uint64_t)> {
    if (!options.check.progress) return {};
    return [show = options.check.progress, what](uint64_t done, uint64_t total) {
      show(what, done, total);
    };
  };
  for (const int number : check.nested().by()) {
    const auto by = static_cast<Nested::Recovery>(number);
    Recoveries recoveries(source, check, options, by);
    if (by == Nested::KERNEL) {
      KernelRecoveryOptions kernel;
      kernel.image = options.kernel_image;
      kernel.start_machine = options.check.start_machine;
      kernel.memory_mib = scenario.guest().memory_mib();
      if (const Disk* disk = DiskOf(scenario, check.disk())) {
        // What fails, delays or spreads over other disks is gone when the power comes back.
        std::ranges::copy_if(
            disk->layer(), std::back_inserter(kernel.layers), [](const Layer& layer) {
              return layer.has_log_writes() || layer.has_linear() || layer.has_drop_barriers();
            });
      }
      kernel.mount = MountOf(scenario, check.disk());
      kernel.progress = progress(scenario.name() + ", recovery by the kernel");
      RecordKernelRecoveries(
          source, chosen, kernel,
          [&](size_t i, const std::string& release, Result<std::vector<uint8_t>> log) {
            recoveries.Take(chosen[i], release, std::move(log));
          });
    } else {
      const auto recorder = oracle::RecoveryRecorder::Find();
      StateImages images(source);
      for (const StateSpec& spec : chosen) {
        recoveries.Take(spec, fsck.version(),
                        recorder.ok() ? RecordE2fsck(source, fsck, *recorder, images, spec)
                                      : Result<std::vector<uint8_t>>(recorder.error()));
      }
    }
    recoveries.AddTo(report);
  }
}

}  // namespace plugpull::run
