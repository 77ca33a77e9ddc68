// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/executor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <vector>

#include "framework/os/fd.h"
#include "vm/guest/corrupt.h"
#include "vm/guest/mounts.h"
#include "vm/guest/program.h"
#include "vm/guest/shell.h"
#include "vm/guest/state_mount.h"
#include "vm/guest/workload_runner.h"

namespace plugpull::guest {
namespace {

// A disk may have been plugged in a moment ago.
constexpr Millis kDiskWaitMax{10'000};
constexpr size_t kDisksMax = 64;
constexpr size_t kKernelLinesMax = 20'000;  // in one answer

// The operation itself was refused: a result, not a fault of ours.
Answer Refused(const std::string& what, int error_number) {
  Answer answer;
  auto& error = *answer.mutable_error();
  error.set_message(fmt::format("{}: {}", what, os::ErrnoText(error_number)));
  error.set_error_number(error_number);
  error.set_infrastructure(false);
  return answer;
}

Answer AnswerTo(const KernelReply& reply, const std::string& what) {
  return reply.error_number == 0 ? Answer() : Refused(what, reply.error_number);
}

// Has the kernel drop the names and inodes that nobody holds: vm.drop_caches of
// Documentation/admin-guide/sysctl/vm.rst. More than once, for what was used lately is spared the
// first time (DCACHE_REFERENCED in fs/dcache.c). 0 or an errno.
int DropInodes() {
  constexpr int kTimes = 4;
  const os::Fd file(::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return errno;
  for (int i = 0; i < kTimes; ++i) {
    if (::write(file.get(), "2", 1) != 1) return errno;
  }
  return 0;
}

// Calls DiskStack::Drain each time so much has been written to the top of the disk.
class DrainEvery {
 public:
  static Result<DrainEvery> Start(DiskStack& disk, Bytes every) {
    PP_ASSIGN_OR_RETURN(const Sectors written, disk.WrittenByTop());
    return DrainEvery(disk, every, written);
  }

  Status DrainIfDue() {
    PP_ASSIGN_OR_RETURN(const Sectors written, disk_->WrittenByTop());
    if (ToBytes(written - drained_at_) < every_) return OkStatus();
    drained_at_ = written;
    return disk_->Drain();
  }

 private:
  DrainEvery(DiskStack& disk, Bytes every, Sectors written)
      : disk_(&disk), every_(every), drained_at_(written) {}

  DiskStack* disk_;
  Bytes every_;
  Sectors drained_at_;
};

}  // namespace

Answer Executor::Execute(const GuestRequest& request) {
  Result<Answer> result = InternalError("the request was not carried out");
  try {
    result = Dispatch(request);
    faults_.Look();                            // whatever it was may have brought a moment about
  } catch (const std::exception& exception) {  // the standard library's: out of memory and the like
    result = InternalError(fmt::format("the guest's executor failed: {}", exception.what()));
  }
  Answer answer;
  if (result.ok()) {
    answer = *std::move(result);
  } else {
    auto& error = *answer.mutable_error();
    error.set_message(result.error().ToString());
    if (!boot_problem_.empty()) {
      error.mutable_message()->append(" (when the guest booted: " + boot_problem_ + ")");
    }
    error.set_infrastructure(true);
  }
  answer.set_id(request.id());
  answer.set_guest_ms(MonotonicNs() / 1'000'000);
  return answer;
}

Result<Answer> Executor::Dispatch(const GuestRequest& request) {
  switch (request.kind_case()) {
    case GuestRequest::kSetUpDisk:
      return SetUp(request.set_up_disk());
    case GuestRequest::kRunProgram:
      return Run(request.run_program());
    case GuestRequest::kMount:
      return MountDisk(request.mount());
    case GuestRequest::kUnmount:
      return AnswerTo(Unmount(request.unmount().at()),
                      fmt::format("cannot unmount {}", request.unmount().at()));
    case GuestRequest::kRunWorkload:
      return RunFiles(request.run_workload());
    case GuestRequest::kWriteMark:
      return Mark(request.write_mark());
    case GuestRequest::kDrain: {
      PP_ASSIGN_OR_RETURN(DiskStack * disk, Find(request.drain().disk()));
      PP_RETURN_IF_ERROR(disk->Drain());
      return Answer();
    }
    case GuestRequest::kQueryDisk:
      return Query(request.query_disk());
    case GuestRequest::kSyncAll:
      ::sync();
      return Answer();
    case GuestRequest::kTearDownDisk:
      return TearDown(request.tear_down_disk());
    case GuestRequest::kPowerOff:
      return Answer();
    case GuestRequest::kOpenShell:
      return Shell();
    case GuestRequest::kCorrupt:
      return Corrupt(request.corrupt());
    case GuestRequest::kTakeKernelLog:
      return KernelLines();
    case GuestRequest::kMountState: {
      Answer answer;
      PP_ASSIGN_OR_RETURN(*answer.mutable_state_report(), MountAndReport(request.mount_state()));
      return answer;
    }
    case GuestRequest::kSwapLayer:
      return Swap(request.swap_layer());
    case GuestRequest::kListTargets:
      return ListTargets();
    case GuestRequest::kSweepDevices:
      return Sweep();
    case GuestRequest::kReadBackDisk:
      return ReadBack(request.read_back_disk());
    case GuestRequest::kWaitForDisk:
      return Await(request.wait_for_disk());
    case GuestRequest::kStartAgent:
      return AgentAnswer(agents_.Start(request.start_agent().step()));
    case GuestRequest::kWaitForAgent:
      return AgentAnswer(agents_.Wait(request.wait_for_agent().step()));
    case GuestRequest::kStopAgent:
      return AgentAnswer(agents_.Stop(request.stop_agent().step()));
    case GuestRequest::kRunCsi:
      return RunCsiStep(request.run_csi());
    case GuestRequest::kNoteEvent:
      return NoteForTimeline(request.note_event());
    case GuestRequest::kTakeTimeline:
      return TakeTimelineAnswer();
    case GuestRequest::kDisarmFaults:
      return Disarm();
    case GuestRequest::kPreparePowerCut:
      return PreparePowerCut();
    case GuestRequest::KIND_NOT_SET:
      break;
  }
  return InternalError(
      "the guest does not know this kind of request; plugpull and its guest program differ, build "
      "both from the same tree");
}

Result<DiskStack*> Executor::Find(const std::string& disk) {
  const auto found = disks_.find(disk);
  if (found != disks_.end()) return found->second.get();
  std::string known;
  for (const auto& [name, stack] : disks_) known += (known.empty() ? "" : ", ") + name;
  return UserError(fmt::format("the disk \"{}\" is not set up in the guest; there are: {}", disk,
                               known.empty() ? "none" : known));
}

Result<Answer> Executor::SetUp(const SetUpDisk& request) {
  if (disks_.contains(request.disk())) {
    return UserError(fmt::format("the disk \"{}\" is set up already", request.disk()));
  }
  if (disks_.size() >= kDisksMax) {
    return UserError(fmt::format("{} disks are set up, more are not possible", disks_.size()));
  }
  PP_ASSIGN_OR_RETURN(auto disk, DiskStack::SetUp(request, os::Deadline::After(kDiskWaitMax)));
  Answer answer;
  for (const auto& table : disk->tables()) answer.add_table(table);
  answer.set_device(disk->top_path());
  disks_[request.disk()] = std::move(disk);
  return answer;
}

Result<Answer> Executor::Run(const RunGuestProgram& request) {
  std::vector<std::string> environment(request.environment().begin(), request.environment().end());
  if (!request.mark_disk().empty()) {
    PP_ASSIGN_OR_RETURN(const DiskStack* disk, Find(request.mark_disk()));
    if (disk->mark_path().empty()) {
      return UserError(
          fmt::format("the disk \"{}\" has no mark strip for plugpull-mark", request.mark_disk()));
    }
    environment.push_back("PLUGPULL_MARK_DEVICE=" + disk->mark_path());
  }
  PP_ASSIGN_OR_RETURN(auto outcome,
                      RunGuestCommand({request.argv().begin(), request.argv().end()}, environment,
                                      Millis(request.timeout_ms()), {}, [this] {
                                        faults_.Look();
                                        agents_.Tend();
                                      }));
  Answer answer;
  answer.set_exit_status(outcome.exit_status);
  answer.set_timed_out(outcome.timed_out);
  answer.set_output(std::move(outcome.output));
  return answer;
}

Result<Answer> Executor::MountDisk(const MountRequest& request) {
  PP_ASSIGN_OR_RETURN(const DiskStack* disk, Find(request.disk()));
  PP_ASSIGN_OR_RETURN(const KernelReply reply,
                      Mount(disk->top_path(), request.at(), request.type(),
                            {request.option().begin(), request.option().end()}));
  return AnswerTo(reply, fmt::format("cannot mount {} on {} as {}", disk->top_path(), request.at(),
                                     request.type()));
}

Result<Answer> Executor::RunFiles(const RunWorkload& request) {
  WorkloadHooks hooks;
  std::optional<DrainEvery> drain;
  std::optional<Moment> stop;
  if (request.has_stop_when()) {
    PP_ASSIGN_OR_RETURN(stop, Moment::Arm(request.stop_when()));
    hooks.stop = [&stop] { return stop->HasCome(); };
  }
  if (!request.mark_disk().empty()) {
    PP_ASSIGN_OR_RETURN(DiskStack * disk, Find(request.mark_disk()));
    hooks.write_mark = [this, disk, &stop](const blocklog::Mark& mark) -> Status {
      PP_RETURN_IF_ERROR(disk->WriteMark(mark));
      faults_.AfterMark(mark);
      if (stop) stop->AfterMark(mark);
      return OkStatus();
    };
    if (request.drain_every_bytes() > 0) {
      PP_ASSIGN_OR_RETURN(drain, DrainEvery::Start(*disk, Bytes(request.drain_every_bytes())));
    }
  } else if (request.drain_every_bytes() > 0) {
    return UserError("drain_every_bytes needs a mark_disk to drain");
  }
  hooks.after_operation = [this, &drain, &stop]() -> Status {
    faults_.AfterOperation();
    if (stop) stop->AfterOperation();
    return drain ? drain->DrainIfDue() : OkStatus();
  };
  hooks.evict = DropInodes;
  hooks.send_progress = [this](const Progress& progress) {
    GuestMessage message;
    *message.mutable_progress() = progress;
    return send_(message);
  };
  PP_RETURN_IF_ERROR(RunOperations(request, hooks));
  Answer answer;
  answer.set_stopped(stop && stop->HasCome());
  answer.set_kernel_log_cut(stop && stop->LinesLost());
  return answer;
}

Result<Answer> Executor::Mark(const WriteMark& request) {
  PP_ASSIGN_OR_RETURN(DiskStack * disk, Find(request.disk()));
  PP_RETURN_IF_ERROR(disk->WriteMark({request.kind(), request.text()}));
  return Answer();
}

Result<Answer> Executor::Query(const QueryDisk& request) {
  PP_ASSIGN_OR_RETURN(const DiskStack* disk, Find(request.disk()));
  Answer answer;
  PP_ASSIGN_OR_RETURN(*answer.mutable_disk_status(), disk->Query());
  return answer;
}

Result<Answer> Executor::TearDown(const TearDownDisk& request) {
  PP_ASSIGN_OR_RETURN(DiskStack * disk, Find(request.disk()));
  PP_RETURN_IF_ERROR(disk->TearDown());
  disks_.erase(request.disk());
  return Answer();
}

Result<Answer> Executor::Corrupt(const CorruptStep& step) {
  PP_ASSIGN_OR_RETURN(const DiskStack* disk, Find(step.disk()));
  auto evidence = CorruptDevice(disk->top_path(), step);
  Answer answer;
  if (evidence.ok()) {
    *answer.mutable_damage_evidence() = *std::move(evidence);
    return answer;
  }
  // What the disk does not have is the scenario's mistake, not the guest's.
  if (evidence.error().code != ErrorCode::kUser) return std::move(evidence).error();
  answer.mutable_error()->set_message(evidence.error().ToString());
  answer.mutable_error()->set_infrastructure(false);
  return answer;
}

Result<Answer> Executor::KernelLines() {
  if (!kernel_log_) {
    PP_ASSIGN_OR_RETURN(kernel_log_, KernelLog::Open(KernelLog::From::kStart));
  }
  Answer answer;
  bool cut = false;
  for (KernelLine& line : kernel_log_->Take(kKernelLinesMax, cut)) {
    *answer.add_kernel_line() = std::move(line);
  }
  answer.set_kernel_log_cut(cut);
  return answer;
}

Result<Answer> Executor::Swap(const SwapLayer& request) {
  PP_ASSIGN_OR_RETURN(auto report, faults_.Take(request));
  Answer answer;
  if (report) *answer.add_fault() = *std::move(report);
  return answer;
}

Result<Answer> Executor::ListTargets() {
  PP_ASSIGN_OR_RETURN(const auto versions, TargetVersions());
  Answer answer;
  answer.mutable_text()->Assign(versions.begin(), versions.end());
  return answer;
}

Result<Answer> Executor::Sweep() {
  Status first_problem;
  for (auto it = disks_.begin(); it != disks_.end();) {
    const Status down = it->second->TearDown();
    if (down.ok()) {
      it = disks_.erase(it);
      continue;
    }
    if (first_problem.ok()) first_problem = down;
    ++it;
  }
  PP_RETURN_IF_ERROR(first_problem);
  PP_ASSIGN_OR_RETURN(const auto names, dm::SweepDevices());
  Answer answer;
  answer.mutable_text()->Assign(names.begin(), names.end());
  return answer;
}

Result<Answer> Executor::ReadBack(const ReadBackDisk& request) {
  PP_ASSIGN_OR_RETURN(DiskStack * disk, Find(request.disk()));
  PP_ASSIGN_OR_RETURN(const image::Fingerprint content, disk->ReadBack());
  Answer answer;
  answer.set_content_high(content.high);
  answer.set_content_low(content.low);
  return answer;
}

Result<Answer> Executor::Await(const WaitForDisk& request) {
  PP_ASSIGN_OR_RETURN(std::string name, AwaitDisk(request));
  Answer answer;
  answer.add_text(std::move(name));
  return answer;
}

Result<Answer> Executor::Disarm() {
  Answer answer;
  answer.set_kernel_log_cut(faults_.LinesLost());
  for (FaultReport& report : faults_.Disarm()) *answer.add_fault() = std::move(report);
  return answer;
}

Result<Answer> Executor::NoteForTimeline(const NoteEvent& request) {
  const TimelineEvent& event = request.event();
  if (event.has_disk() && event.disk().kind() == DiskChange::ATTACHED) {
    PP_ASSIGN_OR_RETURN(const DiskStack* disk, Find(event.disk().disk()));
    PP_RETURN_IF_ERROR(agents_.NoteAttached(event, disk->top_path()));
  } else {
    PP_RETURN_IF_ERROR(agents_.Note(event));
  }
  return Answer();
}

Result<Answer> Executor::PreparePowerCut() {
  // First all of them: what one disk still gets while another is drained would be of a later
  // moment.
  for (const auto& [name, disk] : disks_) {
    if (disk->has_log()) PP_RETURN_IF_ERROR(disk->Quiesce());
  }
  for (const auto& [name, disk] : disks_) {
    if (disk->has_log()) PP_RETURN_IF_ERROR(disk->CloseLog());
  }
  return Answer();
}

// What an agent's step asks for and does not get is the scenario's affair, not the executor's.
Result<Answer> Executor::AgentAnswer(Status status) {
  Answer answer;
  if (status.ok()) return answer;
  if (status.error().code != ErrorCode::kUser) return std::move(status).error();
  answer.mutable_error()->set_message(status.error().ToString());
  return answer;
}

Result<Answer> Executor::RunCsiStep(const RunCsi& request) {
  auto outcome = agents_.RunCsi(request);
  if (!outcome.ok()) return AgentAnswer(std::move(outcome).error());
  Answer answer;
  *answer.mutable_csi_outcome() = *std::move(outcome);
  return answer;
}

Result<Answer> Executor::TakeTimelineAnswer() {
  Answer answer;
  PP_ASSIGN_OR_RETURN(*answer.mutable_timeline(), agents_.Finish());
  return answer;
}

Result<Answer> Executor::Shell() {
  std::string greeting = "\r\nThis is the guest. Exit the shell to go on.\r\n";
  for (const auto& [name, disk] : disks_) {
    greeting += fmt::format("disk {}: {}\r\n", name, disk->top_path());
    for (const auto& table : disk->tables()) greeting += "  " + table + "\r\n";
  }
  if (disks_.empty()) greeting += "No disk is set up.\r\n";
  PP_RETURN_IF_ERROR(RunConsoleShell(greeting));
  return Answer();
}

}  // namespace plugpull::guest
