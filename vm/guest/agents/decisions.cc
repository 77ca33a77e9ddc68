// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/agents/decisions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace plugpull::agents {
namespace {

// EFSCORRUPTED is EUCLEAN and EFSBADCRC is EBADMSG: fs/ext4/ext4.h. EROFS and EACCES: the disk is
// write-protected. ENODEV: the kernel does not have the type.
constexpr int kPermanentErrors[] = {EINVAL, EBADMSG, EUCLEAN, EMEDIUMTYPE, EROFS,    EACCES,
                                    EPERM,  ENODEV,  ENOTBLK, ENOTUNIQ,    ENOTDIR,  ELOOP,
                                    EFBIG,  E2BIG,   ENOSYS,  EOPNOTSUPP,  EOVERFLOW};

}  // namespace

FaultClass ClassOf(const Fault& fault) {
  // Half a file system is not blank any more.
  if (fault.stage == Fault::Stage::kFormat) return FaultClass::kPermanent;
  return std::ranges::find(kPermanentErrors, fault.error_number) != std::end(kPermanentErrors)
             ? FaultClass::kPermanent
             : FaultClass::kTransient;
}

Millis BackOff(const Limits& limits, uint32_t failures, Prng& prng) {
  auto delay = static_cast<uint64_t>(limits.delay_first.count());
  const auto cap = static_cast<uint64_t>(limits.delay_max.count());
  for (uint32_t i = 1; i < failures && delay < cap; ++i) delay *= 2;
  delay = std::min(delay, cap);
  return Millis(delay - prng.Between(0, delay * limits.jitter_permille / 1000));
}

std::string ForeignContent(const Probe& probe, const std::string& type) {
  if (probe.kind == Probe::Kind::kAmbivalent) return "several formats claim the disk";
  if (probe.kind != Probe::Kind::kFound || probe.type == type) return {};
  if (!probe.type.empty()) return fmt::format("the disk holds {}, not {}", probe.type, type);
  return fmt::format("the disk holds a {} partition table and no {}", probe.partition_table, type);
}

bool Decisions::IsDiskOf(const Volume& volume, const Record&, const Disk& disk) const {
  return disk.serial == volume.serial;
}

FaultClass Decisions::Classify(const Fault& fault) const { return ClassOf(fault); }

Millis Decisions::DelayAfter(const Limits& limits, uint32_t failures, Prng& prng) const {
  return BackOff(limits, failures, prng);
}

bool Decisions::GivesUp(const Limits& limits, FaultClass fault_class, uint32_t failures) const {
  return fault_class == FaultClass::kPermanent || failures >= limits.attempts_max;
}

bool Decisions::StaysSilent(const Record& record) const { return record.alerted; }

bool Decisions::IsBlank(const Probe& probe, const std::function<Scan()>& scan) const {
  return probe.kind == Probe::Kind::kNothing && scan().kind == Scan::Kind::kBlank;
}

bool Decisions::RepairsUnasked() const { return false; }

bool Decisions::OnlyChecks(const std::function<Probe()>&, const std::function<Scan()>&) const {
  return false;
}

State Decisions::Remembered(State state) const { return state; }

bool Decisions::TakesLocks() const { return true; }

bool Decisions::KeepsHealthyMount() const { return true; }

bool Decisions::TrustsMountTable() const { return true; }

std::vector<std::string> Decisions::OptionsOf(const Volume& volume) const { return volume.options; }

bool Decisions::DetachesBusyMount() const { return false; }

bool Decisions::CleanupEntersMounts() const { return false; }

}  // namespace plugpull::agents
