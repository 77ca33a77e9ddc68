// SPDX-License-Identifier: Apache-2.0
// The steps in their order: what is mounted where, and what has a file system.
#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>

#include "framework/ext4/damage.h"
#include "framework/scenario/boots.h"
#include "framework/scenario/mount_options.h"
#include "framework/scenario/validation.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

constexpr int kErrnoMax = 133;  // EHWPOISON, the last of Linux: include/uapi/asm-generic/errno.h

// Folders of the guest's own system: a mount there would hide what the guest needs.
constexpr std::array<std::string_view, 10> kSystemFolders = {
    "bin", "dev", "etc", "lib", "lib64", "proc", "sbin", "scenario", "sys", "usr"};

// Why a path is no good as a mount point, in words; empty when it is.
std::string MountPointMistake(const std::string& at) {
  std::string_view rest = at;
  bool first = true;
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the slash
    const std::string_view part = rest.substr(0, rest.find('/'));
    if (part.empty() || part == "." || part == "..") {
      return fmt::format(
          "mount point {} has an empty part, \".\" or \"..\" in it; write it in its "
          "shortest form",
          Quoted(at));
    }
    if (first && std::ranges::count(kSystemFolders, part) > 0) {
      return fmt::format("mount point {} is in the guest's own /{}; choose another, such as /data",
                         Quoted(at), part);
    }
    first = false;
    rest.remove_prefix(part.size());
  }
  return "";
}

// Whether each step says what it does, and to which disk and place.
bool OrderKnown(const Validation& v) {
  if (v.source.broken.contains(Scenario::kStepFieldNumber)) return false;
  return std::all_of(v.scenario.step().begin(), v.scenario.step().end(), [](const Step& step) {
    switch (step.kind_case()) {
      case Step::kMkfs:
        return !step.mkfs().disk().empty();
      case Step::kMount:
        return !step.mount().disk().empty() && !step.mount().at().empty();
      case Step::kUnmount:
        return !step.unmount().at().empty();
      case Step::kCorrupt:
        return !step.corrupt().disk().empty();
      case Step::KIND_NOT_SET:
        return false;
      default:
        return true;
    }
  });
}

class StepChecker {
 public:
  explicit StepChecker(const Validation& v) : v_(v), order_known_(OrderKnown(v)) {}

  void Run() {
    for (int i = 0; i < v_.scenario.step_size(); ++i) {
      const SourceNode& node = Sub(v_.source, Scenario::kStepFieldNumber, i);
      CheckStep(v_.scenario.step(i), node);
      if (EndsInPowerCut(v_.scenario, i)) mounted_.clear();
    }
  }

 private:
  void CheckStep(const Step& step, const SourceNode& node);
  void CheckMkfs(const MkfsStep& mkfs, const SourceNode& node);
  void CheckMount(const MountStep& mount, const SourceNode& node);
  void CheckMountOptions(const MountStep& mount, const SourceNode& node);
  void CheckUnmount(const UnmountStep& unmount, const SourceNode& node);
  void CheckCommand(const CommandStep& command, const SourceNode& node);
  void CheckCorruption(const CorruptStep& corrupt, const SourceNode& node);
  void CheckKernelLog(const KernelLogStep& step, const SourceNode& node);
  void CheckPattern(const std::string& pattern, const SourceLocation& at);
  void CheckType(const std::string& type, const SourceLocation& at);
  // Diagnoses a place where nothing is mounted.
  void CheckMounted(const std::string& at, const SourceLocation& place);
  // A mistake in the order of the steps; not certain when a step was not understood.
  void Order(const SourceLocation& at, std::string message) {
    if (order_known_) v_.reporter.Add(at, std::move(message));
  }
  // Where a disk is mounted; empty: nowhere.
  std::string MountPointOf(const std::string& disk) const {
    for (const auto& [at, mounted] : mounted_) {
      if (mounted == disk) return at;
    }
    return "";
  }
  std::string MountPoints() const {
    std::vector<std::string> points;
    for (const auto& [at, disk] : mounted_) points.push_back(at);
    return ListNames(points);
  }

  const Validation& v_;
  const bool order_known_;
  std::map<std::string, std::string> mounted_;  // mount point to disk
  std::set<std::string> formatted_;             // disks
};

void StepChecker::CheckStep(const Step& step, const SourceNode& node) {
  switch (step.kind_case()) {
    case Step::kMkfs:
      return CheckMkfs(step.mkfs(), Sub(node, Step::kMkfsFieldNumber));
    case Step::kMount:
      return CheckMount(step.mount(), Sub(node, Step::kMountFieldNumber));
    case Step::kUnmount:
      return CheckUnmount(step.unmount(), Sub(node, Step::kUnmountFieldNumber));
    case Step::kWorkload: {
      const SourceNode& workload = Sub(node, Step::kWorkloadFieldNumber);
      if (step.workload().timestamps().day() && v_.scenario.guest().clock() != Guest::WARPED) {
        v_.reporter.Add(Sub(workload, WorkloadStep::kTimestampsFieldNumber)
                            .Locate(TimestampsWorkload::kDayFieldNumber),
                        "day lets 36 hours go by, and the guest's clock is REAL; add `clock: "
                        "WARPED` to guest, or leave day out");
      }
      return CheckMounted(step.workload().at(), workload.Locate(WorkloadStep::kAtFieldNumber));
    }
    case Step::kCommand:
      return CheckCommand(step.command(), Sub(node, Step::kCommandFieldNumber));
    case Step::kMark: {
      const SourceNode& mark = Sub(node, Step::kMarkFieldNumber);
      return CheckLogDisk(v_, step.mark().disk(), mark.Locate(MarkStep::kDiskFieldNumber),
                          "so there is no log that a mark could stand in");
    }
    case Step::kCorrupt:
      return CheckCorruption(step.corrupt(), Sub(node, Step::kCorruptFieldNumber));
    case Step::kKernelLog:
      return CheckKernelLog(step.kernel_log(), Sub(node, Step::kKernelLogFieldNumber));
    default:
      return;  // kinds without fields; a step without a kind is found by its rule
  }
}

void StepChecker::CheckType(const std::string& type, const SourceLocation& at) {
  if (type == "ext4") return;
  v_.reporter.Add(at, fmt::format("type is {}; allowed is \"ext4\"", Quoted(type)));
}

void StepChecker::CheckMkfs(const MkfsStep& mkfs, const SourceNode& node) {
  const SourceLocation& at = node.Locate(MkfsStep::kDiskFieldNumber);
  CheckDiskName(v_, mkfs.disk(), at);
  CheckType(mkfs.type(), node.Locate(MkfsStep::kTypeFieldNumber));
  CheckMkfsOptions(mkfs.option(), node, MkfsStep::kOptionFieldNumber, v_.reporter);
  const std::string mounted_at = MountPointOf(mkfs.disk());
  if (!mounted_at.empty()) {
    Order(at, fmt::format("mkfs on disk {}, which is mounted at {}; unmount it first", mkfs.disk(),
                          mounted_at));
  }
  formatted_.insert(mkfs.disk());
}

void StepChecker::CheckMountOptions(const MountStep& mount, const SourceNode& node) {
  // A mount that must fail may well be given what cannot work.
  if (mount.has_expect_errno() || node.broken.contains(MountStep::kExpectErrnoFieldNumber)) return;
  const auto options =
      PlaceMountOptions(mount.option(), node, MountStep::kOptionFieldNumber, v_.reporter);
  CheckMountConflicts(options, options, v_.reporter);
}

void StepChecker::CheckMount(const MountStep& mount, const SourceNode& node) {
  const SourceLocation& disk_at = node.Locate(MountStep::kDiskFieldNumber);
  const SourceLocation& point_at = node.Locate(MountStep::kAtFieldNumber);
  CheckDiskName(v_, mount.disk(), disk_at);
  CheckType(mount.type(), node.Locate(MountStep::kTypeFieldNumber));
  const std::string mistake = mount.at().starts_with('/') ? MountPointMistake(mount.at()) : "";
  if (!mistake.empty()) v_.reporter.Add(point_at, mistake);
  CheckMountOptions(mount, node);
  if (!mount.expect_errno().empty()) {
    CheckErrno("expect_errno", mount.expect_errno(),
               node.Locate(MountStep::kExpectErrnoFieldNumber), v_.reporter);
    return;  // nothing is mounted afterwards
  }
  if (mount.disk().empty() || mount.at().empty()) return;
  const bool declared = std::ranges::count(v_.disks, mount.disk()) > 0;
  if (declared && !formatted_.contains(mount.disk())) {
    Order(disk_at, fmt::format("disk {} is mounted before it has a file system; put a mkfs step "
                               "before, or say expect_errno",
                               mount.disk()));
  }
  if (const std::string other = MountPointOf(mount.disk()); !other.empty()) {
    Order(disk_at,
          fmt::format("disk {} is mounted at {} already; unmount it first", mount.disk(), other));
  } else if (const auto used = mounted_.find(mount.at()); used != mounted_.end()) {
    Order(point_at, fmt::format("disk {} is mounted at {} already; unmount it first, or choose "
                                "another mount point",
                                used->second, mount.at()));
  }
  mounted_[mount.at()] = mount.disk();
}

void StepChecker::CheckMounted(const std::string& at, const SourceLocation& place) {
  if (at.empty() || mounted_.contains(at)) return;
  Order(place,
        fmt::format("nothing is mounted at {} here; mounted are {}", Quoted(at), MountPoints()));
}

void StepChecker::CheckUnmount(const UnmountStep& unmount, const SourceNode& node) {
  const SourceLocation& place = node.Locate(UnmountStep::kAtFieldNumber);
  CheckMounted(unmount.at(), place);
  for (const auto& [at, disk] : mounted_) {
    if (!at.starts_with(unmount.at() + "/")) continue;
    Order(place, fmt::format("disk {} is mounted below, at {}; unmount that first", disk, at));
  }
  mounted_.erase(unmount.at());
}

void StepChecker::CheckCommand(const CommandStep& command, const SourceNode& node) {
  if (command.argv_size() > 0 && command.argv(0).empty()) {
    v_.reporter.Add(node.Locate(CommandStep::kArgvFieldNumber),
                    "the first argv is empty; the name or the path of a program is expected");
  }
  if (command.has_mark_disk()) {
    CheckLogDisk(v_, command.mark_disk(), node.Locate(CommandStep::kMarkDiskFieldNumber),
                 "so plugpull-mark has nothing to write to");
  }
  CheckPattern(command.expect_output(), node.Locate(CommandStep::kExpectOutputFieldNumber));
}

void StepChecker::CheckCorruption(const CorruptStep& corrupt, const SourceNode& node) {
  CheckCorrupt(v_, corrupt, node);
  const SourceLocation& at = node.Locate(CorruptStep::kDiskFieldNumber);
  const std::string mounted_at = MountPointOf(corrupt.disk());
  if (!mounted_at.empty()) {
    Order(at, fmt::format("corrupt on disk {}, which is mounted at {}; unmount it first",
                          corrupt.disk(), mounted_at));
  }
  const bool declared = std::ranges::count(v_.disks, corrupt.disk()) > 0;
  if (declared && ext4::NeedsFileSystem(corrupt) && !formatted_.contains(corrupt.disk())) {
    Order(at, fmt::format("disk {} has no file system yet that {} could damage; put a mkfs step "
                          "before",
                          corrupt.disk(), ext4::DamageInWords(corrupt)));
  }
}

void StepChecker::CheckKernelLog(const KernelLogStep& step, const SourceNode& node) {
  if (step.has_size() + step.lacks_size() == 0 && node.broken.empty()) {
    v_.reporter.Add(node.name,
                    "kernel_log demands nothing; write has: \"...\" or lacks: \"...\" in it");
  }
  for (int i = 0; i < step.has_size(); ++i) {
    CheckPattern(step.has(i), node.Locate(KernelLogStep::kHasFieldNumber, i));
  }
  for (int i = 0; i < step.lacks_size(); ++i) {
    CheckPattern(step.lacks(i), node.Locate(KernelLogStep::kLacksFieldNumber, i));
  }
}

void StepChecker::CheckPattern(const std::string& pattern, const SourceLocation& at) {
  const RE2 compiled(pattern, RE2::Quiet);
  if (compiled.ok()) return;
  v_.reporter.Add(
      at, fmt::format("{} is no regular expression (RE2): {}", Quoted(pattern), compiled.error()));
}

}  // namespace

std::vector<PlacedOption> PlaceMountOptions(
    const google::protobuf::RepeatedPtrField<std::string>& options, const SourceNode& source,
    int field, Reporter& reporter) {
  std::vector<PlacedOption> placed;
  std::set<std::string> seen;
  for (int i = 0; i < options.size(); ++i) {
    const SourceLocation& at = source.Locate(field, i);
    for (std::string& option : SplitMountOptions(options[i])) {
      const std::string mistake = MountOptionMistake(option);
      if (!mistake.empty()) {
        reporter.Add(at, mistake);
      } else if (seen.insert(option).second) {
        placed.push_back({std::move(option), at});
      }
    }
  }
  return placed;
}

void CheckMountConflicts(const std::vector<PlacedOption>& first,
                         const std::vector<PlacedOption>& second, Reporter& reporter) {
  for (const PlacedOption& later : second) {
    for (const PlacedOption& earlier : first) {
      if (&later == &earlier) break;  // a list against itself: each pair once
      const std::string conflict = MountOptionConflict(earlier.option, later.option);
      if (conflict.empty()) continue;
      const std::string where = earlier.at.line > 0 && earlier.at.line != later.at.line
                                    ? fmt::format(" (line {})", earlier.at.line)
                                    : "";
      reporter.Add(later.at, conflict + where);
    }
  }
}

void CheckMkfsOptions(const google::protobuf::RepeatedPtrField<std::string>& options,
                      const SourceNode& source, int field, Reporter& reporter) {
  for (int i = 0; i < options.size(); ++i) {
    if (options[i].find_first_not_of(" \t\n") != std::string::npos) continue;
    reporter.Add(source.Locate(field, i),
                 fmt::format("a word for mkfs is {}; leave it out", Quoted(options[i])));
  }
}

void CheckErrno(const char* field, const std::string& name, const SourceLocation& at,
                Reporter& reporter) {
  const std::vector<std::string> names = ErrnoNames();
  if (std::ranges::count(names, name) > 0) return;
  reporter.Add(at, fmt::format("{} is {}; the name of an errno is expected, such as EINVAL, EIO, "
                               "EUCLEAN{}",
                               field, Quoted(name), DidYouMean(name, names)));
}

std::vector<std::string> ErrnoNames() {
  std::vector<std::string> names;
  for (int number = 1; number <= kErrnoMax; ++number) {
    if (const char* name = ::strerrorname_np(number)) names.emplace_back(name);
  }
  return names;
}

void CheckSteps(const Validation& v) { StepChecker(v).Run(); }

}  // namespace plugpull::scenario
