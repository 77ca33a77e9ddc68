// SPDX-License-Identifier: Apache-2.0
// Power cuts: whether there is a state to choose, and something to do with it.
#include <fmt/format.h>

#include <algorithm>

#include "framework/crashstate/crash_state_id.h"
#include "framework/scenario/boots.h"
#include "framework/scenario/validation.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

constexpr int kPowerCutsMax = 8;

bool HasLog(const Disk& disk) {
  return std::any_of(disk.layer().begin(), disk.layer().end(),
                     [](const Layer& layer) { return layer.has_log_writes(); });
}

// The oracle that finds what a search can look for; nothing else has a value.
Oracle OracleOfSearch(FindingClass found) {
  switch (found) {
    case METADATA_INCONSISTENT:
    case JOURNAL_REFUSED:
    case TORN_WRITE:
      return FSCK;
    case DURABILITY_LOST:
      return CONTENT;
    case STALE_DATA_EXPOSED:
      return STALE_DATA;
    default:
      return ORACLE_UNSPECIFIED;
  }
}

// Whether the first check of a disk asks an oracle, defaults counted in.
bool Asks(const Scenario& scenario, const std::string& disk, Oracle oracle) {
  const bool by_default = oracle == FSCK || oracle == CONTENT;
  for (const Check& check : scenario.check()) {
    if (check.disk() != disk) continue;
    return check.oracle().empty() ? by_default : std::ranges::count(check.oracle(), oracle) > 0;
  }
  return scenario.check().empty() && by_default;
}

void CheckSearch(const Validation& v, const SearchCut& search, bool later_boot,
                 const SourceNode& node) {
  const SourceLocation& at = node.Locate(SearchCut::kFoundFieldNumber);
  const Oracle oracle = OracleOfSearch(search.found());
  if (search.has_found() && oracle == ORACLE_UNSPECIFIED) {
    v.reporter.Add(
        at, fmt::format("found is {}; a state can be searched for that shows METADATA_INCONSISTENT,"
                        " JOURNAL_REFUSED, DURABILITY_LOST, STALE_DATA_EXPOSED or TORN_WRITE",
                        FindingClass_Name(search.found())));
    return;
  }
  std::string disk = search.disk();
  if (search.has_disk()) {
    CheckLogDisk(v, disk, node.Locate(SearchCut::kDiskFieldNumber),
                 "so it has no crash states to search");
  } else if (v.log_disks.size() > 1) {
    v.reporter.Add(node.name, fmt::format("search has the disks {} to choose from; name one with "
                                          "`disk`",
                                          ListNames(v.log_disks)));
    return;
  } else if (!v.log_disks.empty()) {
    disk = v.log_disks.front();
  }
  if (search.found() == STALE_DATA_EXPOSED && later_boot) {
    v.reporter.Add(at,
                   "STALE_DATA_EXPOSED is searched for in a boot behind a power cut, where "
                   "stale data is not judged; search for it with the first power_cut");
  }
  if (std::ranges::count(v.log_disks, disk) == 0 || !search.has_found() || !v.disks_known ||
      v.source.AnyBroken(Scenario::kCheckFieldNumber)) {
    return;
  }
  if (!Asks(v.scenario, disk, oracle)) {
    v.reporter.Add(at, fmt::format("{} is searched for, but only the {} oracle finds it, and the "
                                   "first check of disk {} does not list that",
                                   FindingClass_Name(search.found()), Oracle_Name(oracle), disk));
  }
}

void CheckState(const Validation& v, const std::string& state, const SourceLocation& at) {
  const auto id = crashstate::CrashStateId::Parse(state);
  if (!id.ok()) {
    v.reporter.Add(at, fmt::format("state is no id of a crash state: {}", id.error().message));
    return;
  }
  CheckLogDisk(v, id->disk, at, "so it has no crash states");
}

// Disks whose state could not be put back where it came from.
void CheckDisksOfCut(const Validation& v, const SourceLocation& at) {
  for (const Disk& disk : v.scenario.disk()) {
    if (disk.host_log()) {
      v.reporter.Add(at, fmt::format("disk {} has host_log, which would know nothing of the state "
                                     "that a later boot begins with; leave it out",
                                     disk.name()));
    }
    if (!HasLog(disk)) continue;
    for (const Layer& layer : disk.layer()) {
      if (!layer.has_striped() && !layer.has_snapshot()) continue;
      v.reporter.Add(at, fmt::format("disk {} has a {} layer, so a crash state of it cannot be put "
                                     "back on it; leave the layer out",
                                     disk.name(), layer.has_striped() ? "striped" : "snapshot"));
    }
  }
}

// What has to come behind a cut, and before it.
void CheckPlace(const Validation& v, int index, const SourceLocation& at) {
  const Step& step = v.scenario.step(index);
  const int steps = v.scenario.step_size();
  if (step.has_when() && index + 1 < steps && !v.scenario.step(index + 1).has_workload()) {
    v.reporter.Add(at,
                   "a power_cut with `when` happens during the workload behind it, and the step "
                   "behind it is none; put one there, or leave `when` out");
    return;
  }
  const int next = index + (step.has_when() ? 2 : 1);
  if (next >= steps) {
    v.reporter.Add(at, next > steps
                           ? "power_cut with `when` has no workload behind it; put one there"
                           : "power_cut has no step behind it that the next boot could carry out; "
                             "put one there, such as a mount");
    return;
  }
  if (v.scenario.step(next).has_power_cut() && !v.scenario.step(next).has_when()) {
    v.reporter.Add(at,
                   "power_cut is followed by another one, with no step in between; put one "
                   "there, such as a mount");
  }
  for (int i = 0; i < index; ++i) {
    if (!v.scenario.step(i).device_fault().has_resize()) continue;
    v.reporter.Add(at, fmt::format("disk {} was resized before, and would have its first size in "
                                   "the next boot; leave one of the two out",
                                   v.scenario.step(i).device_fault().disk()));
  }
}

void CheckWhenOfCut(const Step& step, const SourceNode& node, Reporter& reporter) {
  if (!step.has_when() || step.when().after_operations() != 0 ||
      !step.when().has_after_operations()) {
    return;
  }
  reporter.Add(Sub(node, Step::kWhenFieldNumber).Locate(When::kAfterOperationsFieldNumber),
               "after_operations is 0; leave `when` out, and put the workload behind the cut");
}

}  // namespace

void CheckPowerCuts(const Validation& v) {
  // What is not understood may be the step that is missing.
  const bool order_known = !v.source.broken.contains(Scenario::kStepFieldNumber);
  int cuts = 0;
  for (int i = 0; i < v.scenario.step_size(); ++i) {
    const Step& step = v.scenario.step(i);
    if (!step.has_power_cut()) continue;
    const SourceNode& node = Sub(v.source, Scenario::kStepFieldNumber, i);
    const SourceNode& own = Sub(node, Step::kPowerCutFieldNumber);
    if (++cuts > kPowerCutsMax) {
      v.reporter.Add(own.name, fmt::format("this is power_cut {}; a scenario has at most {}", cuts,
                                           kPowerCutsMax));
      continue;
    }
    if (v.disks_known && v.log_disks.empty()) {
      v.reporter.Add(own.name,
                     "power_cut needs a disk with a log_writes layer, for without a log there is "
                     "no crash state to choose; add `layer { log_writes {} }` to one");
      continue;
    }
    const PowerCutStep& cut = step.power_cut();
    if (cut.policy_case() == PowerCutStep::kState) {
      CheckState(v, cut.state(), own.Locate(PowerCutStep::kStateFieldNumber));
    }
    if (cut.has_search()) {
      CheckSearch(v, cut.search(), cuts > 1, Sub(own, PowerCutStep::kSearchFieldNumber));
    }
    CheckWhenOfCut(step, node, v.reporter);
    if (cuts == 1) CheckDisksOfCut(v, own.name);
    if (order_known) CheckPlace(v, i, own.name);
  }
}

}  // namespace plugpull::scenario
