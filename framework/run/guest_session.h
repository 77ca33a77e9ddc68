// SPDX-License-Identifier: Apache-2.0
// A running guest that carries out a scenario's steps, or those of one boot of it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/image/fingerprint.h"
#include "framework/proto/recording.pb.h"
#include "framework/proto/workload.pb.h"
#include "framework/run/agent_steps.h"
#include "framework/run/fault_steps.h"
#include "framework/run/guest_image.h"
#include "vm/machine.h"

namespace plugpull::run {

// Behind the file system's last byte: room for marks.
inline constexpr Bytes kStripBytes(1 << 20);
// Without flushes, writes wait in the guest's memory until the log is drained.
inline constexpr Bytes kDrainEvery(32 << 20);

// A disk's files on the host: scratch files without names.
struct DiskFiles {
  os::Fd data;
  os::Fd log;       // not valid without a log_writes layer
  os::Fd host_log;  // what the machine records; not valid where it is not asked to
};

// What a boot behind a power cut begins with; as it is, what a first boot does.
struct BootStart {
  // Of disks that are there already; the others are made new.
  std::map<std::string, DiskFiles> files;
  // Disks whose base is what they are now, not what they are at their first mount.
  std::set<std::string> base_is_now;
  uint32_t first_workload = 0;  // number, in the whole scenario, of the first one
  bool later = false;           // behind a power cut
};

class GuestSession {
 public:
  // Starts the machine, waits for its first word and sets up the disks. `scenario` is a plan's, or
  // one boot of it (its steps only, the power_cut that ends it included); it outlives the session.
  static Result<std::unique_ptr<GuestSession>> Start(
      const Scenario& scenario, BootStart start, const GuestImage& image,
      const std::string& scratch_folder, const std::string& console_log, bool interactive,
      const vm::MachineFactory& start_machine,
      const std::function<void(const std::string&)>& progress);

  // Carries out the steps up to the first whose demand is not met, then drains the logs and
  // switches the guest off; or, where a power_cut ends the steps, drains the logs and ends the
  // machine.
  Status RunSteps();
  Status RunShell();

  const std::string& kernel_release() const { return kernel_release_; }
  const std::vector<WorkloadTrace>& traces() const { return traces_; }
  const std::vector<DamageEvidence>& damage() const { return damage_; }
  const std::vector<RecordedFault>& faults() const { return faults_->faults(); }
  const std::vector<UnmetDemand>& unmet_demands() const { return unmet_; }
  // Nothing: the scenario starts no agent.
  const std::optional<Timeline>& timeline() const { return agents_->timeline(); }
  // How long the guest has run, by its own clock.
  uint64_t guest_clock_ms() const { return guest_clock_ms_; }
  // What the disk shows where its file is not its image (FileIsImage), after the last step.
  std::optional<image::Fingerprint> ContentOf(const std::string& disk) const;
  const DiskFiles& files(const std::string& disk) const { return files_.at(disk); }
  // Disks that have no log, as the next boot finds them. After RunSteps, once.
  std::map<std::string, DiskFiles> TakeUnloggedFiles();
  const std::vector<std::string>& tables(const std::string& disk) const { return tables_.at(disk); }
  // Why the recording lacks something; empty when it does not.
  const std::string& incomplete_reason() const { return incomplete_reason_; }

 private:
  GuestSession(const Scenario& scenario, std::function<void(const std::string&)> progress)
      : scenario_(scenario), progress_(std::move(progress)) {}

  // For what is no step: disks, marks, drains, power off.
  static constexpr Millis kControlTimeout{60000};

  Status SetUpDisks();
  // `number`: its position, from 1.
  Status RunAndNote(const Step& step, int number, Millis timeout);
  Status RunStep(const Step& step, int number, Millis timeout);
  Status Mkfs(const MkfsStep& step, Millis timeout);
  Status MountDisk(const MountStep& step, Millis timeout);
  Status Unmount(const UnmountStep& step, Millis timeout);
  Status RunFiles(const WorkloadStep& step, Millis timeout);
  Status RunCommand(const CommandStep& step, Millis timeout);
  Status Corrupt(const CorruptStep& step, int number, Millis timeout);
  Status CheckKernelLog(const KernelLogStep& step, Millis timeout);
  // Runs a program to its end, whatever that is.
  Result<Answer> RunToEnd(GuestRequest request, Millis timeout);
  // Notes that the step that is carried out did not get what it demands; it is the last one then.
  void Unmet(const std::string& asked, const std::string& came);
  // The same of a step that was carried out before.
  void UnmetBy(int number, const std::string& asked, const std::string& came);
  Status Mark(const std::string& disk, const std::string& kind, const std::string& text);
  Status Drain(const std::string& disk);
  Status FinishFaults();  // none happens any more; one whose moment never came is an unmet demand
  Status Finish();
  Status LosePower();
  // The log of a disk must have taken all that it was given.
  Status CheckLogging(const Disk& disk);
  // The answer, or a guest error when it has one.
  Result<Answer> Ask(GuestRequest request, Millis timeout,
                     const std::function<void(const Progress&)>& on_progress = {});
  Result<Answer> AskRaw(GuestRequest request, Millis timeout,
                        const std::function<void(const Progress&)>& on_progress = {});
  const Disk& FindDisk(const std::string& name) const;

  const Scenario& scenario_;
  std::function<void(const std::string&)> progress_;
  std::map<std::string, DiskFiles> files_;  // outlive the machine
  std::map<std::string, std::vector<std::string>> tables_;
  std::map<std::string, std::string> devices_;  // top layers, in the guest
  std::map<std::string, std::string> mounts_;   // mount point -> disk
  std::set<std::string> has_base_;              // disks whose base is marked
  std::set<std::string> writeback_;             // disks that were mounted data=writeback
  std::vector<WorkloadTrace> traces_;
  uint32_t first_workload_ = 0;
  bool later_boot_ = false;
  const Step* power_cut_ = nullptr;  // that has been reached
  std::vector<DamageEvidence> damage_;
  std::vector<UnmetDemand> unmet_;
  int step_number_ = 0;  // of the step that is carried out
  std::string kernel_release_;
  std::string incomplete_reason_;
  std::map<std::string, image::Fingerprint> contents_;
  std::unique_ptr<vm::Machine> machine_;
  std::optional<FaultSteps> faults_;  // over machine_
  std::optional<AgentSteps> agents_;
  uint64_t guest_clock_ms_ = 0;
};

// What a disk is filled with before the first boot; nothing: zeroes.
std::optional<uint64_t> PoisonSeed(const Scenario& scenario, const Disk& disk);

bool HasLog(const Disk& disk);
bool SendsFlushes(const Disk& disk);

}  // namespace plugpull::run
