// SPDX-License-Identifier: Apache-2.0
// The steps of a scenario that make disks and layers fail, carried out in a running guest.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/guest.pb.h"
#include "framework/proto/recording.pb.h"
#include "framework/proto/scenario.pb.h"
#include "vm/machine.h"

namespace plugpull::run {

// What the guest is asked for a layer of a disk of the scenario.
GuestLayer GuestLayerOf(const Scenario& scenario, const Layer& layer);

// Whether the file on the host that stands for the disk holds what its file system's part shows:
// not with layers on the way that put it elsewhere.
bool FileIsImage(const Disk& disk);

bool IsFaultStep(const Step& step);

// "fault on vol: layer below becomes error".
std::string FaultStepInWords(const Step& step);

// "100 operations of workloads".
std::string MomentInWords(const When& when);

// A guest error: the moment of a step waits for a line of the kernel's log, and lines were lost.
Error MomentMayHaveCome(const Step& step, int number);

// Lives no longer than the scenario and the machine.
class FaultSteps {
 public:
  // Sends a request; an answer that has an error is a guest error.
  using Ask = std::function<Result<Answer>(GuestRequest, Millis)>;
  FaultSteps(const Scenario& scenario, vm::Machine& machine, Ask ask);

  // Has the guest's kernel look at every table that a fault step will load. A user error with the
  // step and what the kernel lacks, before anything is run.
  Status TryAll(const std::string& kernel_release);
  // `number`: of the step, from 1.
  Status Run(const Step& step, int number, Millis timeout);
  // After the last step. Numbers of the steps whose moment (`when`) never came, in their order; a
  // guest error when it came and the fault could not be done.
  Result<std::vector<int>> Finish();
  // After Finish: one of those waited for a line of the kernel's log and may have missed it.
  bool lines_lost() const { return lines_lost_; }
  // Where the guest has the disks that were plugged in again.
  const std::map<std::string, std::string>& devices() const { return devices_; }
  // In the order in which they happened.
  const std::vector<RecordedFault>& faults() const { return faults_; }

 private:
  Status ChangeLayer(const Step& step, int number, Millis timeout);
  Status DeviceFault(const DeviceFaultStep& step, Millis timeout);
  Status Detach(const DetachStep& step, Millis timeout);
  Status Attach(const AttachStep& step, Millis timeout);
  // The kernel's name of a disk once it is there, as large as that (0: any), or gone.
  Result<std::string> Await(const std::string& serial, bool gone, uint64_t size_sectors,
                            Millis timeout);
  // The guest's executor looks for the disk anew.
  Status SetUpAgain(const std::string& disk);
  GuestRequest SwapRequest(const Step& step, int number) const;
  // Keeps what QEMU says of failed requests with the last fault of each disk.
  Status TakeRequestErrors();
  RecordedFault& Keep(const Step& step, int number);
  const Disk& FindDisk(const std::string& name) const;
  Result<vm::DiskControl*> Control() const;

  const Scenario& scenario_;
  vm::Machine& machine_;
  Ask ask_;
  std::map<std::string, size_t> index_;         // in the machine, of each disk
  std::map<std::string, std::string> serials_;  // that the disks have now
  std::map<std::string, std::string> names_;    // that detached disks had in the guest
  std::map<std::string, std::string> devices_;
  std::map<std::string, uint64_t> size_sectors_;
  std::vector<RecordedFault> faults_;
  int fillers_ = 0;
  bool lines_lost_ = false;
};

}  // namespace plugpull::run
