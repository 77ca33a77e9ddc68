// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <set>

#include "framework/scenario/mount_options.h"
#include "framework/scenario/rules.h"
#include "framework/scenario/validation.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

constexpr uint32_t kAtomicUnitMin = 512;
constexpr uint32_t kAtomicUnitMax = 4096;

bool HasLog(const Disk& disk) {
  return std::any_of(disk.layer().begin(), disk.layer().end(),
                     [](const Layer& layer) { return layer.has_log_writes(); });
}

void CheckLayers(const Disk& disk, const SourceNode& source, Reporter& reporter) {
  const SourceNode* log = nullptr;
  const SourceNode* drop = nullptr;
  for (int i = 0; i < disk.layer_size(); ++i) {
    const SourceNode& node = Sub(source, Disk::kLayerFieldNumber, i);
    if (disk.layer(i).has_log_writes()) {
      if (log != nullptr) {
        reporter.Add(node.name, fmt::format("disk {} has a second log_writes layer (the first is "
                                            "in line {}); one log of a disk is allowed",
                                            disk.name(), log->name.line));
      } else if (drop != nullptr) {
        reporter.Add(drop->name,
                     "drop_barriers stands below log_writes: the log would still show every flush, "
                     "and a check would take for durable what this disk may lose; put it behind "
                     "log_writes (layers are listed from the disk upwards)");
      }
      log = &node;
    }
    if (disk.layer(i).has_drop_barriers()) {
      if (drop != nullptr) {
        reporter.Add(node.name, "a second drop_barriers layer changes nothing; leave it out");
      }
      drop = &node;
    }
  }
}

void CheckHostLog(const Disk& disk, const SourceNode& source, Reporter& reporter) {
  if (!disk.host_log() || HasLog(disk)) return;
  reporter.Add(
      source.Locate(Disk::kHostLogFieldNumber),
      fmt::format("host_log is held against the guest's own log, and disk {} has none; add "
                  "`layer {{ log_writes {{}} }}`",
                  disk.name()));
}

void CheckDisks(const Validation& v) {
  UniqueNames names("disk", v.reporter);
  UniqueNames serials("serial", v.reporter);
  for (int i = 0; i < v.scenario.disk_size(); ++i) {
    const Disk& disk = v.scenario.disk(i);
    const SourceNode& node = Sub(v.source, Scenario::kDiskFieldNumber, i);
    names.Add(disk.name(), node.Locate(Disk::kNameFieldNumber));
    const bool own = disk.has_serial();
    const std::string& serial = own ? disk.serial() : disk.name();
    const SourceLocation& at = node.Locate(own ? Disk::kSerialFieldNumber : Disk::kNameFieldNumber);
    if (!node.broken.contains(Disk::kSerialFieldNumber)) {
      // Two disks of one name are one mistake, not two.
      const bool same_name = std::any_of(
          v.scenario.disk().begin(), v.scenario.disk().begin() + i,
          [&](const Disk& other) { return other.name() == disk.name() && !other.has_serial(); });
      if (own || !same_name) serials.Add(serial, at);
      if (serial.starts_with(kLogSerialPrefix)) {
        v.reporter.Add(at, fmt::format("serial {}{}: serials that start with {} belong to the "
                                       "disks that hold block logs; choose another",
                                       Quoted(serial), own ? "" : " (from the disk's name)",
                                       Quoted(kLogSerialPrefix)));
      }
    }
    CheckLayers(disk, node, v.reporter);
    CheckHostLog(disk, node, v.reporter);
  }
}

void CheckGuest(const Validation& v) {
  const Guest& guest = v.scenario.guest();
  const SourceNode& node = Sub(v.source, Scenario::kGuestFieldNumber);
  if (guest.has_kernel()) {
    const std::string mistake = KernelMistake(guest.kernel());
    if (!mistake.empty()) v.reporter.Add(node.Locate(Guest::kKernelFieldNumber), mistake);
  }
  if (guest.clock() == Guest::WARPED && guest.cpus() != 1) {
    v.reporter.Add(node.Locate(Guest::kClockFieldNumber),
                   fmt::format("clock WARPED needs one processor, and cpus is {}", guest.cpus()));
  }
  for (int i = 0; i < guest.kernel_argument_size(); ++i) {
    const std::string& word = guest.kernel_argument(i);
    if (!word.empty() && word.find('\n') == std::string::npos) continue;
    v.reporter.Add(node.Locate(Guest::kKernelArgumentFieldNumber, i),
                   fmt::format("kernel_argument is {}; one or more words in one line are expected",
                               Quoted(word)));
  }
  for (int i = 0; i < guest.program_size(); ++i) {
    const std::string& program = guest.program(i);
    if (!program.empty() && (program.front() == '/' || program.find('/') == std::string::npos)) {
      continue;
    }
    v.reporter.Add(node.Locate(Guest::kProgramFieldNumber, i),
                   fmt::format("program is {}; a name on PATH or an absolute path is expected",
                               Quoted(program)));
  }
  UniqueNames files("file in /scenario", v.reporter);
  for (int i = 0; i < guest.file_size(); ++i) {
    const std::string& file = guest.file(i);
    const SourceLocation& at = node.Locate(Guest::kFileFieldNumber, i);
    const std::string name = file.substr(file.rfind('/') + 1);  // npos + 1 is 0
    if (name.empty() || name == "." || name == "..") {
      v.reporter.Add(at, fmt::format("file is {}; the path of a file is expected", Quoted(file)));
    } else {
      files.Add(name, at);
    }
  }
}

// Whether some run of the scenario has a model with an atomic unit: the check's own, or one that
// the settings of a variant or an axis put in its place.
bool AnyAtomicUnit(const Scenario& scenario, const Check& check) {
  const auto has = [](const Settings& settings) { return settings.model().atomic_unit() != 0; };
  if (check.model().atomic_unit() != 0) return true;
  for (const Variant& variant : scenario.variant()) {
    if (has(variant.settings())) return true;
  }
  for (const Axis& axis : scenario.axis()) {
    for (const AxisValue& value : axis.value()) {
      if (has(value.settings())) return true;
    }
  }
  return false;
}

void CheckEnumerators(const Scenario& scenario, const Check& check, const SourceNode& source,
                      Reporter& reporter) {
  for (int i = 0; i < check.enumerate_size(); ++i) {
    if (check.enumerate(i).has_torn() && !AnyAtomicUnit(scenario, check)) {
      reporter.Add(Sub(source, Check::kEnumerateFieldNumber, i).Locate(Enumerate::kTornFieldNumber),
                   "torn has no unit to tear at; add `model { atomic_unit: 512 }` to the check");
    }
    const PrefixEnumerator& prefix = check.enumerate(i).prefix();
    if (!check.enumerate(i).has_prefix() || !prefix.has_nth() ||
        prefix.at() == PrefixEnumerator::EVERY_NTH) {
      continue;
    }
    const SourceNode& node =
        Sub(Sub(source, Check::kEnumerateFieldNumber, i), Enumerate::kPrefixFieldNumber);
    if (node.broken.contains(PrefixEnumerator::kAtFieldNumber)) continue;
    reporter.Add(node.Locate(PrefixEnumerator::kNthFieldNumber),
                 "nth is only read with `at: EVERY_NTH`; write that, or leave nth out");
  }
}

void CheckNested(const Check& check, const SourceNode& source, Reporter& reporter) {
  std::set<int> by;
  for (int i = 0; i < check.nested().by_size(); ++i) {
    if (by.insert(check.nested().by(i)).second) continue;
    reporter.Add(Sub(source, Check::kNestedFieldNumber).Locate(Nested::kByFieldNumber, i),
                 fmt::format("{} is listed twice", Nested::Recovery_Name(check.nested().by(i))));
  }
  // Which states hold, and so are worth cutting twice, is what FSCK says.
  const bool fsck = check.oracle().empty() || std::ranges::count(check.oracle(), FSCK) > 0;
  if (check.has_nested() && !fsck && !source.AnyBroken(Check::kOracleFieldNumber)) {
    reporter.Add(source.Locate(Check::kNestedFieldNumber),
                 "nested needs `oracle: FSCK`: recoveries are recorded of states that hold");
  }
}

// Settings of oracles that are not listed, and an oracle without the settings that it needs.
void CheckOracleSettings(const Check& check, const SourceNode& source, Reporter& reporter) {
  // A word that was not understood may have been the oracle.
  if (source.AnyBroken(Check::kOracleFieldNumber)) return;
  const auto listed = [&](Oracle oracle) { return std::ranges::count(check.oracle(), oracle) > 0; };
  if (check.has_kernel_mount() && !listed(KERNEL_MOUNT)) {
    reporter.Add(source.Locate(Check::kKernelMountFieldNumber),
                 "kernel_mount is only read with `oracle: KERNEL_MOUNT`; write that, or leave "
                 "kernel_mount out");
  }
  if (check.has_command() && !listed(COMMAND)) {
    reporter.Add(source.Locate(Check::kCommandFieldNumber),
                 "command is only read with `oracle: COMMAND`; write that, or leave command out");
  }
  if (check.has_command() && check.command().argv_size() > 0 && check.command().argv(0).empty()) {
    reporter.Add(Sub(source, Check::kCommandFieldNumber).Locate(CommandOracle::kArgvFieldNumber),
                 "the first argv is empty; the name or the path of a program is expected");
  }
  if (listed(COMMAND) && !check.has_command() &&
      !source.broken.contains(Check::kCommandFieldNumber)) {
    reporter.Add(
        source.Locate(Check::kOracleFieldNumber),
        "oracle COMMAND needs a checker to run; add `command { argv: \"PROGRAM\" }` to the "
        "check");
  }
}

// Who finds what.
Oracle OracleOf(FindingClass found) {
  switch (found) {
    case DURABILITY_LOST:
      return CONTENT;
    case STALE_DATA_EXPOSED:
      return STALE_DATA;
    case RECOVERY_DIFFERS:
      return SAME_RECOVERY;
    case KERNEL_DISAGREES:
      return KERNEL_MOUNT;
    case COMMAND_FAILED:
      return COMMAND;
    default:
      return FSCK;
  }
}

void CheckChecks(const Validation& v) {
  for (int i = 0; i < v.scenario.check_size(); ++i) {
    const Check& check = v.scenario.check(i);
    const SourceNode& node = Sub(v.source, Scenario::kCheckFieldNumber, i);
    CheckLogDisk(v, check.disk(), node.Locate(Check::kDiskFieldNumber),
                 "so there is nothing to check");
    if (check.has_model())
      CheckModel(check.model(), Sub(node, Check::kModelFieldNumber), v.reporter);
    CheckEnumerators(v.scenario, check, node, v.reporter);
    CheckOracleSettings(check, node, v.reporter);
    CheckNested(check, node, v.reporter);
    std::set<int> oracles;
    for (int k = 0; k < check.oracle_size(); ++k) {
      const SourceLocation& at = node.Locate(Check::kOracleFieldNumber, k);
      if (check.oracle(k) == ORACLE_UNSPECIFIED) {
        v.reporter.Add(at,
                       "oracle is ORACLE_UNSPECIFIED; allowed are FSCK, CONTENT, STALE_DATA, "
                       "GUARANTEES, KERNEL_MOUNT, COMMAND");
      } else if (check.oracle(k) == SAME_RECOVERY) {
        v.reporter.Add(at,
                       "oracle SAME_RECOVERY judges recorded recoveries, not the states of a "
                       "scenario; write `nested {}` in the check instead");
      } else if (check.oracle(k) == STEPS) {
        v.reporter.Add(at, "oracle STEPS is always asked; leave it out");
      } else if (!oracles.insert(check.oracle(k)).second) {
        v.reporter.Add(at, fmt::format("oracle {} is listed twice", Oracle_Name(check.oracle(k))));
      }
    }
  }
}

void CheckDemandExpected(const Validation& v, const SourceLocation& at) {
  if (v.source.AnyBroken(Scenario::kStepFieldNumber)) return;
  if (std::any_of(v.scenario.step().begin(), v.scenario.step().end(), HasDemand)) return;
  v.reporter.Add(at,
                 "DEMAND_UNMET is expected, but no step demands anything; mount, command and "
                 "kernel_log steps do, and faults with `when`");
}

// Who judges, all checks together, defaults counted in.
std::set<int> OraclesInForce(const Validation& v) {
  std::set<int> oracles;
  for (const Check& check : v.scenario.check()) {
    for (const int oracle : check.oracle()) oracles.insert(oracle);
    if (check.oracle().empty()) oracles.insert({FSCK, CONTENT});
    if (check.has_nested()) oracles.insert(SAME_RECOVERY);
  }
  if (v.scenario.check().empty() && !v.log_disks.empty()) oracles = {FSCK, CONTENT};
  return oracles;
}

}  // namespace

const SourceNode& Sub(const SourceNode& parent, int field, int index) {
  static const SourceNode kNowhere;
  const SourceNode* node = parent.Find(field, index);
  return node == nullptr ? kNowhere : *node;
}

void UniqueNames::Add(const std::string& name, const SourceLocation& at) {
  if (name.empty()) return;
  const auto [it, added] = seen_.emplace(name, at);
  if (added) return;
  const std::string where =
      it->second.line > 0 ? fmt::format("line {}", it->second.line) : it->second.field_path;
  reporter_.Add(at, fmt::format("{} {} is there already ({}); every {} needs another", what_,
                                Quoted(name), where, what_));
}

void CheckDiskName(const Validation& v, const std::string& disk, const SourceLocation& at) {
  if (disk.empty() || !v.disk_names_known || std::ranges::count(v.disks, disk) > 0) return;
  v.reporter.Add(at, fmt::format("disk {} is not declared; declared are {}{}", Quoted(disk),
                                 ListNames(v.disks), DidYouMean(disk, v.disks)));
}

bool HasDemand(const Step& step) {
  return step.has_mount() || step.has_command() || step.has_kernel_log() || step.has_when();
}

void CheckLogDisk(const Validation& v, const std::string& disk, const SourceLocation& at,
                  const std::string& why) {
  CheckDiskName(v, disk, at);
  if (!v.disks_known || std::ranges::count(v.disks, disk) == 0 ||
      std::ranges::count(v.log_disks, disk) > 0) {
    return;
  }
  v.reporter.Add(at,
                 fmt::format("disk {} has no log_writes layer, {}; add `layer {{ log_writes {{}} "
                             "}}` to it (disks that have one: {})",
                             disk, why, ListNames(v.log_disks)));
}

void CheckModel(const Model& model, const SourceNode& source, Reporter& reporter) {
  const uint32_t unit = model.atomic_unit();
  // What is above the maximum is found by the field's rule.
  if (unit == 0 || unit > kAtomicUnitMax) return;
  if (unit >= kAtomicUnitMin && std::has_single_bit(unit)) return;
  reporter.Add(source.Locate(Model::kAtomicUnitFieldNumber),
               fmt::format("atomic_unit is {} bytes; allowed are 512, 1024, 2048 and 4096, and 0 "
                           "(a write is lost whole or not at all)",
                           unit));
}

void CheckExpect(const Validation& v, const Expect& expect, const SourceNode& source) {
  const std::set<int> oracles = OraclesInForce(v);
  const bool oracles_known = v.disks_known && !v.source.AnyBroken(Scenario::kCheckFieldNumber);
  if (expect.nothing() && expect.found_size() > 0) {
    v.reporter.Add(source.Locate(Expect::kNothingFieldNumber),
                   "`nothing: true` contradicts `found`; keep one of them");
  }
  std::set<int> listed;
  for (int i = 0; i < expect.found_size(); ++i) {
    const FindingClass found = expect.found(i);
    const SourceLocation& at = source.Locate(Expect::kFoundFieldNumber, i);
    if (found == FINDING_UNSPECIFIED) {
      v.reporter.Add(at,
                     "found is FINDING_UNSPECIFIED; allowed are METADATA_INCONSISTENT, "
                     "JOURNAL_REFUSED, DURABILITY_LOST, TORN_WRITE, STALE_DATA_EXPOSED, "
                     "RECOVERY_DIFFERS, KERNEL_DISAGREES, COMMAND_FAILED, DEMAND_UNMET, "
                     "NO_SUCH_STATE");
      continue;
    }
    if (!listed.insert(found).second) {
      v.reporter.Add(at, fmt::format("{} is listed twice", FindingClass_Name(found)));
      continue;
    }
    if (IsAgentProperty(found)) {
      CheckAgentExpected(v, found, at);
      continue;
    }
    if (found == DEMAND_UNMET) {
      CheckDemandExpected(v, at);
      continue;
    }
    if (found == NO_SUCH_STATE) {
      const auto& steps = v.scenario.step();
      const bool searches = std::any_of(steps.begin(), steps.end(), [](const Step& step) {
        return step.power_cut().has_search();
      });
      if (!searches && !v.source.AnyBroken(Scenario::kStepFieldNumber)) {
        v.reporter.Add(at, "NO_SUCH_STATE is expected, but no power_cut searches for a state");
      }
      continue;
    }
    if (!oracles_known) continue;
    const Oracle needed = OracleOf(found);
    if (oracles.empty()) {
      v.reporter.Add(at, fmt::format("{} is expected, but nothing is checked: no disk has a "
                                     "log_writes layer",
                                     FindingClass_Name(found)));
    } else if (found == RECOVERY_DIFFERS && !oracles.contains(needed)) {
      v.reporter.Add(at,
                     "RECOVERY_DIFFERS is expected, but no check cuts recovery; add `nested {}` to "
                     "one");
    } else if (found != TORN_WRITE && !oracles.contains(needed)) {
      v.reporter.Add(at,
                     fmt::format("{} is expected, but only the {} oracle finds it, and no check "
                                 "lists that",
                                 FindingClass_Name(found), Oracle_Name(needed)));
    }
  }
}

std::string KernelMistake(const std::string& kernel) {
  static const std::vector<std::string> kReleases = {"debian:5.10", "debian:6.1", "debian:6.12",
                                                     "debian:7.2"};
  if (std::ranges::count(kReleases, kernel) > 0) return "";
  const size_t colon = kernel.find(':');
  const bool paths =
      kernel.starts_with("/") || kernel.starts_with("./") || kernel.starts_with("../");
  if (paths && colon != std::string::npos && colon + 1 < kernel.size()) return "";
  return fmt::format(
      "kernel is {}; allowed are {}, or VMLINUZ:MODULES, two paths of which the "
      "first starts with /, ./ or ../{}",
      Quoted(kernel), ListNames(kReleases), DidYouMean(kernel, kReleases));
}

void ValidateInto(const Scenario& scenario, const SourceNode& source, Reporter& reporter) {
  CheckRules(scenario, source, reporter);
  Validation v{scenario, source, reporter};
  v.disk_names_known = !source.broken.contains(Scenario::kDiskFieldNumber);
  v.disks_known = !source.AnyBroken(Scenario::kDiskFieldNumber);
  for (const Disk& disk : scenario.disk()) {
    if (disk.name().empty()) {
      v.disk_names_known = false;
      v.disks_known = false;
      continue;
    }
    v.disks.push_back(disk.name());
    if (HasLog(disk)) v.log_disks.push_back(disk.name());
  }
  CheckGuest(v);
  CheckDisks(v);
  CheckSteps(v);
  CheckChecks(v);
  CheckFills(v);
  CheckFaults(v);
  CheckPowerCuts(v);
  CheckAgents(v);
  if (scenario.has_expect()) {
    CheckExpect(v, scenario.expect(), Sub(source, Scenario::kExpectFieldNumber));
  }
  CheckMatrix(v);
}

std::vector<Diagnostic> ValidateScenario(const Scenario& scenario, const std::string& label) {
  Reporter reporter(label);
  ValidateInto(scenario, SourceNode::FromMessage(scenario), reporter);
  return reporter.Take();
}

}  // namespace plugpull::scenario
