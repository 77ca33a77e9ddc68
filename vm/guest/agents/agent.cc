// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/agents/agent.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace plugpull::agents {
namespace {

constexpr Millis kLockPause{50};
constexpr int kLockTries = 200;

std::string ErrnoName(int error_number) {
  const char* name = ::strerrorname_np(error_number);
  return name != nullptr ? name : std::to_string(error_number);
}

bool IsRequested(const Volume& volume, std::string_view option) {
  return std::ranges::find(volume.options, option) != volume.options.end();
}

std::string Joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, ","));
}

}  // namespace

Agent::Agent(std::string name, const Config& config, const Decisions& decisions, System& system,
             uint64_t seed)
    : name_(std::move(name)),
      config_(config),
      decisions_(decisions),
      system_(system),
      prng_(seed) {}

// ---- State ----

Result<std::unique_ptr<Lock>> Agent::LockState() {
  if (!decisions_.TakesLocks()) return std::unique_ptr<Lock>();
  for (int i = 0; i < kLockTries; ++i) {
    PP_ASSIGN_OR_RETURN(auto lock, system_.TryLockState());
    if (lock != nullptr) return lock;
    if (!system_.Sleep(kLockPause)) break;
  }
  return EnvironmentError("another instance is at work and does not come to an end");
}

Status Agent::Load() {
  PP_ASSIGN_OR_RETURN(const auto text, system_.ReadState());
  state_.clear();
  if (text) {
    PP_ASSIGN_OR_RETURN(state_, ParseState(*text));
  }
  stored_ = text.value_or("");
  return OkStatus();
}

Status Agent::Store() {
  std::string text = FormatState(state_);
  if (text == stored_) return OkStatus();
  PP_RETURN_IF_ERROR(system_.WriteState(text));
  stored_ = std::move(text);
  return OkStatus();
}

Status Agent::Start() {
  PP_ASSIGN_OR_RETURN(const auto lock, LockState());
  PP_RETURN_IF_ERROR(Load());
  state_ = decisions_.Remembered(std::move(state_));
  return Store();
}

Outcome Agent::Summary() const {
  bool given_up = false;
  for (const Volume& volume : config_.volumes) {
    const auto found = state_.find(volume.serial);
    if (found == state_.end()) return Outcome::kUnsettled;
    if (found->second.released || found->second.phase == Phase::kMounted) continue;
    if (found->second.phase != Phase::kGivenUp) return Outcome::kUnsettled;
    given_up = true;
  }
  return given_up ? Outcome::kGivenUp : Outcome::kAllMounted;
}

// ---- The loop ----

Result<Outcome> Agent::Pass() {
  PP_ASSIGN_OR_RETURN(const auto lock, LockState());
  PP_RETURN_IF_ERROR(Load());
  for (const Volume& volume : config_.volumes) {
    PP_RETURN_IF_ERROR(Tend(volume, state_[volume.serial]));
    PP_RETURN_IF_ERROR(Store());
  }
  first_pass_ = false;
  return Summary();
}

Result<Outcome> Agent::Run(bool until_settled) {
  std::string problem;
  for (;;) {
    auto outcome = Pass();
    if (outcome.ok() && until_settled && *outcome != Outcome::kUnsettled) return outcome;
    // Trouble with its own state is told once, not at every pass.
    const std::string now = outcome.ok() ? "" : outcome.error().ToString();
    if (now != problem && !now.empty()) system_.Log(now);
    problem = now;
    if (!system_.Sleep(UntilNextLook())) return outcome;
  }
}

// No longer than to the next attempt: what is waited for between two is what was drawn.
Millis Agent::UntilNextLook() {
  const int64_t now = system_.NowMs();
  int64_t wait = config_.poll.count();
  for (const auto& [serial, record] : state_) {
    if (record.phase == Phase::kWaiting && record.next_ms > now) {
      wait = std::min(wait, record.next_ms - now);
    }
  }
  return Millis(wait);
}

// The machine is looked at anew for every volume: the one before may have taken minutes.
Status Agent::Tend(const Volume& volume, Record& record) {
  if (record.released) return OkStatus();
  PP_ASSIGN_OR_RETURN(const auto disks, system_.Disks());
  PP_ASSIGN_OR_RETURN(const auto mounts, system_.Mounts());
  bool several = false;
  const Disk* disk = Find(volume, record, disks, several);
  const MountEntry* there = MountedAt(mounts, volume.target);
  if (there != nullptr && disk != nullptr && there->device == disk->device) {
    return Keep(volume, record, *disk);
  }
  if (record.phase == Phase::kMounted) {
    const bool still_there = there != nullptr && there->device == record.device;
    return Lost(volume, record, disk, still_there);
  }
  if ((disk == nullptr && !several) || record.phase == Phase::kGivenUp || !IsDue(record)) {
    return OkStatus();
  }
  if (several) {
    ++record.failures;
    return Failed(volume, record, nullptr,
                  {Fault::Stage::kFind, ENOTUNIQ, "several disks have the serial"});
  }
  if (there != nullptr) {
    ++record.failures;
    return Failed(volume, record, disk,
                  {Fault::Stage::kTarget, EBUSY,
                   fmt::format("{} is mounted on {}", there->source, volume.target)});
  }
  if (record.phase == Phase::kTrying && record.failures >= volume.limits.attempts_max) {
    return Failed(volume, record, disk,
                  {Fault::Stage::kMount, EINTR, "the last attempt did not come to an end"});
  }
  return Attempt(volume, record, *disk);
}

const Disk* Agent::Find(const Volume& volume, const Record& record, const std::vector<Disk>& disks,
                        bool& several) const {
  const Disk* found = nullptr;
  several = false;
  for (const Disk& disk : disks) {
    if (!decisions_.IsDiskOf(volume, record, disk)) continue;
    several = several || found != nullptr;
    found = &disk;
  }
  return several ? nullptr : found;
}

// The wall clock may have been set since: nobody waits longer than was meant.
bool Agent::IsDue(Record& record) {
  const int64_t now = system_.NowMs();
  record.next_ms = std::min(record.next_ms, now + record.delay_ms);
  return now >= record.next_ms;
}

// ---- One attempt ----

Status Agent::Attempt(const Volume& volume, Record& record, const Disk& disk) {
  if (config_.settle > Millis(0) && !system_.Sleep(config_.settle)) return OkStatus();
  const auto probe = [&] { return system_.ProbeDisk(disk); };
  const auto scan = [&] { return system_.ScanDisk(disk, volume.scan_mib_max << 20); };
  if (decisions_.OnlyChecks(probe, scan)) return CheckAgain(volume, record, disk);
  ++record.failures;
  record.phase = Phase::kTrying;
  record.delay_ms = decisions_.DelayAfter(volume.limits, record.failures, prng_).count();
  record.next_ms = system_.NowMs() + record.delay_ms;
  record.disk = disk.name;
  PP_RETURN_IF_ERROR(Store());
  const std::optional<Fault> fault = BringUp(volume, record, disk);
  if (fault) return Failed(volume, record, &disk, *fault);
  --record.failures;
  Mounted(record, disk);
  system_.Log(
      fmt::format("{} is mounted on {}: serial {}", disk.path, volume.target, volume.serial));
  return OkStatus();
}

// What an agent does that waits for a disk to be recognised.
Status Agent::CheckAgain(const Volume& volume, Record& record, const Disk& disk) {
  const int error = system_.Check(disk);
  record.phase = Phase::kWaiting;
  record.disk = disk.name;
  record.delay_ms = volume.limits.delay_max.count();
  record.next_ms = system_.NowMs() + record.delay_ms;
  system_.Log(fmt::format("{}, serial {}: nothing is recognised on it, and a check ends with {}",
                          disk.path, volume.serial, error == 0 ? "0" : ErrnoName(error)));
  return Store();
}

// From a disk that is there to a mount that is checked, or the reason why not.
std::optional<Fault> Agent::BringUp(const Volume& volume, Record& record, const Disk& disk) {
  using Stage = Fault::Stage;
  std::unique_ptr<Lock> lock;
  if (decisions_.TakesLocks()) {
    auto taken = system_.TryLockDisk(disk);
    if (!taken.ok()) return Fault{Stage::kProbe, EIO, taken.error().message};
    lock = *std::move(taken);
    if (lock == nullptr) return Fault{Stage::kTarget, EBUSY, "the disk is locked by another"};
    // Looked at again: an agent with another state may have been here before the lock was.
    const auto mounts = system_.Mounts();
    if (!mounts.ok()) return Fault{Stage::kTarget, EIO, mounts.error().message};
    for (const MountEntry& mount : *mounts) {
      if (mount.device != disk.device) continue;
      return Fault{Stage::kTarget, EBUSY, "the disk is mounted on " + mount.target};
    }
  }
  Probe probe = system_.ProbeDisk(disk);
  if (volume.may_format && !record.formatted) {
    if (auto fault = FormatIfBlank(volume, record, disk, probe)) return fault;
  }
  if (probe.kind == Probe::Kind::kError) {
    return Fault{Stage::kProbe, probe.error_number, "the disk cannot be read"};
  }
  const std::string foreign = ForeignContent(probe, volume.type);
  if (!foreign.empty()) return Fault{Stage::kProbe, EMEDIUMTYPE, foreign};
  // Where nothing was recognised the kernel is asked all the same: it knows best, and says why.
  if (const int error = system_.PrepareTarget(volume.target)) {
    return Fault{Stage::kTarget, error, "the mount point cannot be made"};
  }
  if (const int error =
          system_.Mount(disk, volume.target, volume.type, decisions_.OptionsOf(volume))) {
    return Fault{Stage::kMount, error,
                 probe.kind == Probe::Kind::kNothing
                     ? "nothing is recognised on it, and it is not known to be blank"
                     : "the kernel does not mount it"};
  }
  auto fault = CheckMount(volume, record, disk);
  if (fault && UnmountPatiently(volume) != 0) fault->words += "; it cannot be unmounted again";
  return fault;
}

std::optional<Fault> Agent::FormatIfBlank(const Volume& volume, Record& record, const Disk& disk,
                                          Probe& probe) {
  const auto scan = [&] { return system_.ScanDisk(disk, volume.scan_mib_max << 20); };
  if (!decisions_.IsBlank(probe, scan)) return std::nullopt;
  // Before it begins: half of it is enough not to be blank any more.
  record.formatted = true;
  if (const Status stored = Store(); !stored.ok()) {
    return Fault{Fault::Stage::kFormat, EIO, stored.error().message};
  }
  system_.Log(fmt::format("{} is blank: {} is made on it, serial {}", disk.path, volume.type,
                          volume.serial));
  if (const int error = system_.Format(disk, volume.type)) {
    return Fault{Fault::Stage::kFormat, error, "mkfs failed"};
  }
  probe = system_.ProbeDisk(disk);
  return std::nullopt;
}

// A mount that succeeded is not yet the one that was asked for.
std::optional<Fault> Agent::CheckMount(const Volume& volume, const Record& record,
                                       const Disk& disk) {
  using Stage = Fault::Stage;
  const auto mounts = system_.Mounts();
  const auto disks = system_.Disks();
  if (!mounts.ok() || !disks.ok()) return Fault{Stage::kCheck, EIO, "the mount cannot be seen"};
  const MountEntry* mount = MountedAt(*mounts, volume.target);
  bool several = false;
  const Disk* now = Find(volume, record, *disks, several);
  // Between the look at the serial and the mount the name may have got another disk.
  if (mount == nullptr || now == nullptr || mount->device != now->device ||
      now->device != disk.device) {
    return Fault{Stage::kCheck, ESTALE, "what is mounted is not the disk that was meant"};
  }
  const auto missing = OptionsNotInForce(decisions_.OptionsOf(volume), *mount);
  if (!missing.empty()) return Fault{Stage::kCheck, EINVAL, "not in force: " + Joined(missing)};
  if (IsReadOnly(*mount) && !IsRequested(volume, "ro")) {
    return Fault{Stage::kCheck, EROFS, "the kernel made it read-only"};
  }
  if (IsReadOnly(*mount)) return std::nullopt;
  const int error = system_.WriteProbe(volume.target, mount->device);
  // A full file system is a healthy one.
  if (error == 0 || error == ENOSPC || error == EDQUOT) return std::nullopt;
  return Fault{Stage::kWrite, error, "it cannot be written to"};
}

// ---- A mount that is there, or was ----

void Agent::Mounted(Record& record, const Disk& disk) {
  record.phase = Phase::kMounted;
  record.mounted_ms = system_.NowMs();
  record.device = disk.device;
  record.disk = disk.name;
}

// A mount that somebody else has made, or an earlier process, must be as asked for too. It is not
// undone: who made it may be using it.
Status Agent::Keep(const Volume& volume, Record& record, const Disk& disk) {
  if (record.phase == Phase::kGivenUp) return OkStatus();
  if (record.phase != Phase::kMounted) {
    if (!IsDue(record)) return OkStatus();
    if (const auto fault = CheckMount(volume, record, disk)) {
      ++record.failures;
      return Failed(volume, record, &disk, *fault);
    }
    Mounted(record, disk);
  }
  if (first_pass_ && !decisions_.TrustsMountTable()) {
    system_.Mount(disk, volume.target, volume.type, decisions_.OptionsOf(volume));
  }
  record.mounted_ms = std::min(record.mounted_ms, system_.NowMs());
  if (system_.NowMs() - record.mounted_ms >= volume.limits.stable.count()) {
    record.failures = 0;
    record.alerted = false;
    record.error_number = 0;
    record.reason.clear();
  }
  if (!decisions_.KeepsHealthyMount() && system_.Unmount(volume.target, false) == 0) {
    record.phase = Phase::kIdle;
  }
  return OkStatus();
}

// The disk went away under the mount, or somebody unmounted it. What is left of it is unmounted,
// so that nobody writes into the void. A mount that did not hold counts as a failure: success and
// failure in turn are a loop too.
Status Agent::Lost(const Volume& volume, Record& record, const Disk* disk, bool still_there) {
  if (still_there && !IsDue(record)) return OkStatus();
  const bool held = system_.NowMs() - record.mounted_ms >= volume.limits.stable.count();
  const std::string words =
      still_there ? "the disk went away under the mount" : "somebody unmounted it";
  if (still_there) {
    if (const int error = system_.Unmount(volume.target, false)) {
      // Tried again later, as often as anything else; the phase stays as long as it is there.
      ++record.failures;
      PP_RETURN_IF_ERROR(Failed(volume, record, disk, {Fault::Stage::kLost, error, words}));
      if (record.phase != Phase::kGivenUp) record.phase = Phase::kMounted;
      return OkStatus();
    }
  }
  system_.Log(fmt::format("{} is not mounted any more: {}", volume.serial, words));
  record.phase = Phase::kIdle;
  if (held) {
    record.failures = 0;
    return OkStatus();
  }
  ++record.failures;
  return Failed(volume, record, disk, {Fault::Stage::kLost, ESTALE, words});
}

// ---- Failures ----

// `record.failures` counts this one already.
Status Agent::Failed(const Volume& volume, Record& record, const Disk* disk, const Fault& fault) {
  const std::string path = disk != nullptr ? disk->path : "/dev/" + record.disk;
  record.phase = Phase::kWaiting;
  record.error_number = fault.error_number;
  record.reason = fault.words;
  record.delay_ms = decisions_.DelayAfter(volume.limits, record.failures, prng_).count();
  record.next_ms = system_.NowMs() + record.delay_ms;
  const FaultClass fault_class = decisions_.Classify(fault);
  if (decisions_.GivesUp(volume.limits, fault_class, record.failures)) {
    if (fault_class == FaultClass::kPermanent && disk != nullptr &&
        fault.stage == Fault::Stage::kMount && decisions_.RepairsUnasked()) {
      system_.Repair(*disk);
    }
    GiveUp(volume, record, path, fault);
    return Store();
  }
  system_.Log(fmt::format("{}, serial {}: {} ({}); failure {} of {}, tried again in {} ms", path,
                          volume.serial, fault.words, ErrnoName(fault.error_number),
                          record.failures, volume.limits.attempts_max, record.delay_ms));
  return Store();
}

void Agent::GiveUp(const Volume& volume, Record& record, const std::string& path,
                   const Fault& fault) {
  record.phase = Phase::kGivenUp;
  // The state first: whatever happens now, there is no other attempt. If it cannot be written the
  // alert says so all the more.
  const Status stored = Store();
  if (!decisions_.StaysSilent(record)) {
    system_.Alert(fmt::format("ALERT {}: gave up on {}, serial {}, errno {} ({}): {}, after {} {}",
                              name_, path, volume.serial, ErrnoName(fault.error_number),
                              fault.error_number, fault.words, record.failures,
                              record.failures == 1 ? "failure" : "failures"));
  }
  record.alerted = true;
  if (!stored.ok()) system_.Log(stored.error().ToString());
}

// ---- What an operator asks for ----

// 0 when it is gone. EBUSY is waited out, within bounds, and then is the answer.
int Agent::UnmountPatiently(const Volume& volume) {
  Millis delay = volume.limits.unmount_delay_first;
  for (uint32_t i = 1;; ++i) {
    const int error = system_.Unmount(volume.target, false);
    if (error != EBUSY || i >= volume.limits.unmount_tries || !system_.Sleep(delay)) return error;
    delay = std::min(delay * 2, volume.limits.unmount_delay_max);
  }
}

Result<Outcome> Agent::Unmount(const Volume& volume) {
  PP_ASSIGN_OR_RETURN(const auto lock, LockState());
  PP_RETURN_IF_ERROR(Load());
  Record& record = state_[volume.serial];
  PP_ASSIGN_OR_RETURN(const auto disks, system_.Disks());
  PP_ASSIGN_OR_RETURN(auto mounts, system_.Mounts());
  bool several = false;
  const Disk* disk = Find(volume, record, disks, several);
  if (const MountEntry* there = MountedAt(mounts, volume.target)) {
    const bool ours = (disk != nullptr && there->device == disk->device) ||
                      (record.phase == Phase::kMounted && there->device == record.device);
    if (!ours) {
      return UserError(fmt::format("{} is mounted on {}, which is not the volume {}; it stays",
                                   there->source, volume.target, volume.serial));
    }
    int error = UnmountPatiently(volume);
    if (error == EBUSY && decisions_.DetachesBusyMount()) {
      error = system_.Unmount(volume.target, true);
    }
    if (error == EBUSY) return Outcome::kBusy;
    if (error != 0) {
      return EnvironmentError(
          fmt::format("cannot unmount {}: {}", volume.target, ErrnoName(error)));
    }
    // Believed when it is seen.
    PP_ASSIGN_OR_RETURN(mounts, system_.Mounts());
    if (MountedAt(mounts, volume.target) != nullptr) return Outcome::kBusy;
  }
  record.released = true;
  record.phase = Phase::kIdle;
  PP_RETURN_IF_ERROR(Store());
  if (volume.workspace.empty()) return Outcome::kAllMounted;
  std::vector<std::string> left;
  const int error = system_.RemoveTree(volume.workspace, decisions_.CleanupEntersMounts(), left);
  if (error != 0) {
    return EnvironmentError(
        fmt::format("cannot remove {}: {}", volume.workspace, ErrnoName(error)));
  }
  for (const auto& path : left) system_.Log(path + " is another file system and stays");
  return Outcome::kAllMounted;
}

Status Agent::Reset(const Volume& volume) {
  PP_ASSIGN_OR_RETURN(const auto lock, LockState());
  PP_RETURN_IF_ERROR(Load());
  Record& record = state_[volume.serial];
  Record fresh;
  if (record.phase == Phase::kMounted) fresh = record;
  fresh.failures = 0;
  fresh.released = false;
  fresh.formatted = record.formatted;
  record = fresh;
  return Store();
}

Status Agent::Want(const Volume& volume) {
  PP_ASSIGN_OR_RETURN(const auto lock, LockState());
  PP_RETURN_IF_ERROR(Load());
  state_[volume.serial].released = false;
  return Store();
}

Status Agent::Release(const Volume& volume) {
  PP_ASSIGN_OR_RETURN(const auto lock, LockState());
  PP_RETURN_IF_ERROR(Load());
  Record& record = state_[volume.serial];
  record.released = true;
  // The pause was for the attempt that succeeded: who asks for the volume again need not wait.
  if (record.phase == Phase::kMounted) record.next_ms = record.delay_ms = 0;
  if (record.phase != Phase::kGivenUp) record.phase = Phase::kIdle;
  return Store();
}

Result<Record> Agent::Look(const Volume& volume) {
  PP_RETURN_IF_ERROR(Load());
  return state_[volume.serial];
}

Result<std::vector<std::string>> Agent::Describe() {
  PP_RETURN_IF_ERROR(Load());
  PP_ASSIGN_OR_RETURN(const auto mounts, system_.Mounts());
  std::vector<std::string> lines;
  for (const Volume& volume : config_.volumes) {
    const Record& record = state_[volume.serial];
    const MountEntry* there = MountedAt(mounts, volume.target);
    lines.push_back(fmt::format("{} {}{} failures={} errno={} target={} source={}{}{}",
                                volume.serial, PhaseName(record.phase),
                                record.released ? ",released" : "", record.failures,
                                record.error_number == 0 ? "0" : ErrnoName(record.error_number),
                                volume.target, there != nullptr ? there->source : "none",
                                record.reason.empty() ? "" : " reason=", record.reason));
  }
  return lines;
}

}  // namespace plugpull::agents
