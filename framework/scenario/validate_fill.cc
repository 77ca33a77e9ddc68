// SPDX-License-Identifier: Apache-2.0
// Disks that are filled before anything is made on them, and the oracles that need a workload.
// mkfs of every disk runs with -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 (mke2fs(8)):
// then it neither throws the fill away, nor leaves parts of its own metadata to be written later.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "framework/scenario/mount_options.h"
#include "framework/scenario/validate.h"
#include "framework/scenario/validation.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

const Disk* FindPoisoned(const Validation& v, const std::string& name) {
  for (const Disk& disk : v.scenario.disk()) {
    if (disk.name() == name && disk.fill() == Disk::POISON) return &disk;
  }
  return nullptr;
}

// Why an extended option of mkfs cannot be used on a poisoned disk; empty when it can.
std::string ExtendedOptionMistake(const std::string& option) {
  const size_t equals = option.find('=');
  const std::string name = option.substr(0, equals);
  const bool on = equals == std::string::npos || option.substr(equals + 1) != "0";
  if (option == "discard") {
    return "-E discard has mkfs empty a disk that is filled with poison; leave it out";
  }
  if ((name == "lazy_itable_init" || name == "lazy_journal_init") && on) {
    return fmt::format(
        "-E {} leaves a part of a disk that is filled with poison to be zeroed after the mount; "
        "leave it out",
        option);
  }
  return "";
}

// Calls `each` for all extended options (-E) in words for mkfs, with the text that each is in.
template <typename Each>
void ForEachExtendedOption(const google::protobuf::RepeatedPtrField<std::string>& texts,
                           const Each& each) {
  bool expected = false;  // the word before was -E
  for (int i = 0; i < texts.size(); ++i) {
    for (const std::string& word : SplitWords(texts[i])) {
      if (word == "-E") {
        expected = true;
        continue;
      }
      const bool attached = word.starts_with("-E");
      if (expected || attached) {
        for (const std::string& option : SplitMountOptions(attached ? word.substr(2) : word)) {
          each(option, i);
        }
      }
      expected = false;
    }
  }
}

void CheckExtendedOptions(const google::protobuf::RepeatedPtrField<std::string>& texts,
                          const SourceNode& source, int field, Reporter& reporter) {
  ForEachExtendedOption(texts, [&](const std::string& option, int index) {
    const std::string mistake = ExtendedOptionMistake(option);
    if (!mistake.empty()) reporter.Add(source.Locate(field, index), mistake);
  });
}

// Disks that a workload runs on.
std::set<std::string> WorkloadDisks(const Scenario& scenario) {
  std::map<std::string, std::string> disk_at;
  std::set<std::string> disks;
  for (const Step& step : scenario.step()) {
    if (step.has_mount() && step.mount().expect_errno().empty()) {
      disk_at[step.mount().at()] = step.mount().disk();
    }
    if (step.has_workload()) {
      disks.insert(disk_at[step.workload().at()]);
    }
  }
  return disks;
}

void CheckStaleDataOracle(const Validation& v, const Check& check, const SourceLocation& at,
                          const std::set<std::string>& workload_disks) {
  if (!v.disks_known || std::ranges::count(v.log_disks, check.disk()) == 0) return;
  if (FindPoisoned(v, check.disk()) == nullptr) {
    v.reporter.Add(at, fmt::format("STALE_DATA looks for what disk {} held before, and that is "
                                   "zeroes; add `fill: POISON` to the disk",
                                   check.disk()));
  }
  if (!v.source.AnyBroken(Scenario::kStepFieldNumber) && !workload_disks.contains(check.disk())) {
    v.reporter.Add(at, fmt::format("STALE_DATA knows whose bytes belong where from a files "
                                   "workload, and none runs on disk {}; add a workload step",
                                   check.disk()));
  }
}

void CheckGuaranteesOracle(const Validation& v, const Check& check, const SourceLocation& at,
                           const std::set<std::string>& workload_disks) {
  if (!v.disks_known || v.source.AnyBroken(Scenario::kStepFieldNumber)) return;
  if (workload_disks.contains(check.disk())) return;
  v.reporter.Add(at, fmt::format("GUARANTEES asks about the files of a workload, and none runs on "
                                 "disk {}; add `workload {{ at: ... guarantees {{}} }}`",
                                 check.disk()));
}

}  // namespace

void CheckFills(const Validation& v) {
  for (int i = 0; i < v.scenario.disk_size(); ++i) {
    const Disk& disk = v.scenario.disk(i);
    if (disk.fill() != Disk::POISON || disk.size_mib() <= kPoisonedMibMax) continue;
    const SourceNode& node = Sub(v.source, Scenario::kDiskFieldNumber, i);
    v.reporter.Add(node.Locate(Disk::kSizeMibFieldNumber),
                   fmt::format("disk {} has {} MiB and is filled with poison; at most {} MiB are "
                               "allowed then: none of its image is empty, so each in memory costs "
                               "as much as the disk holds",
                               disk.name(), disk.size_mib(), kPoisonedMibMax));
  }
  for (int i = 0; i < v.scenario.step_size(); ++i) {
    const MkfsStep& mkfs = v.scenario.step(i).mkfs();
    if (FindPoisoned(v, mkfs.disk()) == nullptr) continue;
    const SourceNode& step = Sub(v.source, Scenario::kStepFieldNumber, i);
    CheckExtendedOptions(mkfs.option(), Sub(step, Step::kMkfsFieldNumber),
                         MkfsStep::kOptionFieldNumber, v.reporter);
  }
  const std::set<std::string> workload_disks = WorkloadDisks(v.scenario);
  for (int i = 0; i < v.scenario.check_size(); ++i) {
    const Check& check = v.scenario.check(i);
    const SourceNode& node = Sub(v.source, Scenario::kCheckFieldNumber, i);
    for (const Oracle oracle : {STALE_DATA, GUARANTEES}) {
      const auto listed = std::find(check.oracle().begin(), check.oracle().end(), oracle);
      if (listed == check.oracle().end()) continue;
      const auto index = static_cast<int>(listed - check.oracle().begin());
      const SourceLocation& at = node.Locate(Check::kOracleFieldNumber, index);
      const auto look = oracle == STALE_DATA ? CheckStaleDataOracle : CheckGuaranteesOracle;
      look(v, check, at, workload_disks);
    }
  }
}

void CheckFillSettings(const Validation& v, const Settings& settings, const SourceNode& source) {
  const bool poisoned =
      std::any_of(v.scenario.step().begin(), v.scenario.step().end(),
                  [&](const Step& step) { return FindPoisoned(v, step.mkfs().disk()) != nullptr; });
  if (!poisoned) return;
  CheckExtendedOptions(settings.mkfs_option(), source, Settings::kMkfsOptionFieldNumber,
                       v.reporter);
}

}  // namespace plugpull::scenario
