// SPDX-License-Identifier: Apache-2.0
#include "framework/run/agent_steps.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/base/rpc_code.h"
#include "framework/run/fault_steps.h"
#include "vm/csi_paths.h"

namespace plugpull::run {
namespace {

constexpr Millis kControlTimeout{60000};
// Of a step's time, what the guest's answer needs.
constexpr Millis kAnswerTime{10000};

bool ReadsFail(const FaultStep& fault) {
  if (fault.has_error()) return true;
  if (!fault.has_flakey()) return false;
  const FlakeyLayer& flakey = fault.flakey();
  return flakey.error_reads() ||
         (!flakey.drop_writes() && !flakey.error_writes() && !flakey.has_corrupt_byte() &&
          flakey.random_read_corrupt() == 0 && flakey.random_write_corrupt() == 0);
}

// "NodeGetVolumeStats of vol at agent a".
std::string CsiStepInWords(const CsiStep& step) {
  const char* what = "nothing";
  switch (step.action_case()) {
    case CsiStep::kPublish:
      what = "publish";
      break;
    case CsiStep::kUnpublish:
      what = "unpublish";
      break;
    case CsiStep::kRepeat:
      what = "repeat";
      break;
    case CsiStep::kExpand:
      what = "expand";
      break;
    case CsiStep::kStats:
      what = "stats";
      break;
    case CsiStep::kRestart:
      what = "restart of the kubelet";
      break;
    case CsiStep::kForceDetach:
      what = "forced detach";
      break;
    case CsiStep::ACTION_NOT_SET:
      break;
  }
  return fmt::format("CSI agent {}: {}{}{}", step.agent(), what, step.has_disk() ? " of " : "",
                     step.disk());
}

}  // namespace

bool IsAgentStep(const Step& step) {
  return step.has_agent() || step.has_agent_wait() || step.has_agent_stop() || step.has_csi();
}

std::string AgentStepInWords(const Step& step) {
  if (step.has_agent()) return "agent " + step.agent().name();
  if (step.has_agent_stop()) {
    return fmt::format("SIG{} to agent {}", step.agent_stop().signal(), step.agent_stop().name());
  }
  if (step.has_csi()) return CsiStepInWords(step.csi());
  const AgentWaitStep& wait = step.agent_wait();
  if (wait.has_for_ms()) return fmt::format("{} ms of the guest's time", wait.for_ms());
  if (wait.has_quiet_ms()) {
    return fmt::format("wait until agent {} is quiet for {} ms", wait.name(), wait.quiet_ms());
  }
  return fmt::format("wait for the end of agent {}", wait.name());
}

Status AgentSteps::Send(const TimelineEvent& event) {
  GuestRequest request;
  *request.mutable_note_event()->mutable_event() = event;
  const auto answer = ask_(std::move(request), kControlTimeout);
  return answer.ok() ? OkStatus() : Status(answer.error());
}

Status AgentSteps::NoteAttached(const std::string& disk) {
  const DiskState& state = disks_[disk];
  TimelineEvent event;
  DiskChange& change = *event.mutable_disk();
  change.set_kind(DiskChange::ATTACHED);
  change.set_disk(disk);
  change.set_serial(state.serial);
  change.set_content(state.content);
  return Send(event);
}

// The timeline begins with the first agent; what was before is told by the state of the disks.
Status AgentSteps::Begin() {
  begun_ = true;
  for (const Disk& disk : scenario_.disk()) {
    DiskState& state = disks_[disk.name()];
    if (state.serial.empty()) state.serial = disk.serial();
    if (disk.fill() == Disk::POISON && state.content == DiskChange::BLANK) {
      state.content = DiskChange::DAMAGED;
    }
    if (state.attached) PP_RETURN_IF_ERROR(NoteAttached(disk.name()));
    if (!state.fault) continue;
    TimelineEvent event;
    *event.mutable_fault() = *state.fault;
    PP_RETURN_IF_ERROR(Send(event));
  }
  return OkStatus();
}

// ABNORMAL is OK of a NodeGetVolumeStats that gave an abnormal condition.
Status AgentSteps::RunCsi(const CsiStep& step, Millis timeout) {
  GuestRequest request;
  *request.mutable_run_csi()->mutable_step() = step;
  const Millis limit = std::max(timeout - kAnswerTime, timeout / 2);
  request.mutable_run_csi()->set_limit_ms(static_cast<uint32_t>(limit.count()));
  PP_ASSIGN_OR_RETURN(const Answer answer, ask_(std::move(request), timeout));
  const CsiOutcome& outcome = answer.csi_outcome();
  if (!step.has_expect_code()) return OkStatus();
  const std::string code =
      outcome.code() == 0 && outcome.abnormal() ? "ABNORMAL" : RpcCodeName(outcome.code());
  if (code == step.expect_code()) return OkStatus();
  unmet_("the code " + step.expect_code(),
         fmt::format("the last of {} calls ended in {}{}{}", outcome.calls(), code,
                     outcome.message().empty() ? "" : ": ", outcome.message()));
  return OkStatus();
}

Status AgentSteps::Run(const Step& step, Millis timeout) {
  if (step.has_csi()) return RunCsi(step.csi(), timeout);
  GuestRequest request;
  if (step.has_agent()) {
    if (!begun_) PP_RETURN_IF_ERROR(Begin());
    AgentStep& agent = *request.mutable_start_agent()->mutable_step();
    agent = step.agent();
    agent.add_environment(fmt::format("PLUGPULL_SEED={}", scenario_.seed()));
  } else if (step.has_agent_wait()) {
    *request.mutable_wait_for_agent()->mutable_step() = step.agent_wait();
  } else {
    *request.mutable_stop_agent()->mutable_step() = step.agent_stop();
  }
  const auto answer = ask_(std::move(request), timeout);
  return answer.ok() ? OkStatus() : Status(answer.error());
}

Status AgentSteps::NoteFault(const std::string& disk, bool begins, bool reads_fail,
                             const std::string& what) {
  TimelineEvent event;
  FaultChange& fault = *event.mutable_fault();
  fault.set_disk(disk);
  fault.set_begins(begins);
  fault.set_reads_fail(begins && reads_fail);
  fault.set_what(what.substr(0, 200));
  disks_[disk].fault = begins ? std::optional(fault) : std::nullopt;
  return begun_ ? Send(event) : OkStatus();
}

Status AgentSteps::Note(const Step& step) {
  const auto changed = [this](const std::string& disk, DiskChange::Content content) -> Status {
    disks_[disk].content = content;
    if (!begun_) return OkStatus();
    TimelineEvent event;
    event.mutable_disk()->set_kind(DiskChange::CONTENT);
    event.mutable_disk()->set_disk(disk);
    event.mutable_disk()->set_content(content);
    return Send(event);
  };
  switch (step.kind_case()) {
    case Step::kMkfs:
      return changed(step.mkfs().disk(), DiskChange::FILE_SYSTEM);
    case Step::kCorrupt:
      return changed(step.corrupt().disk(), DiskChange::DAMAGED);
    case Step::kFault:
      // One that waits for its moment is not in the timeline: nobody tells when it comes.
      if (step.has_when()) return OkStatus();
      return NoteFault(step.fault().disk(), !step.fault().has_linear(), ReadsFail(step.fault()),
                       FaultStepInWords(step));
    case Step::kDeviceFault: {
      const DeviceFaultStep& fault = step.device_fault();
      if (fault.has_resize()) return OkStatus();
      return NoteFault(fault.disk(), !fault.has_clear(),
                       fault.has_io_error() && fault.io_error().op() == IoErrorFault::READ,
                       FaultStepInWords(step));
    }
    case Step::kDetach: {
      disks_[step.detach().disk()].attached = false;
      if (!begun_) return OkStatus();
      TimelineEvent event;
      event.mutable_disk()->set_kind(DiskChange::DETACHED);
      event.mutable_disk()->set_disk(step.detach().disk());
      return Send(event);
    }
    case Step::kAttach: {
      DiskState& state = disks_[step.attach().disk()];
      state.attached = true;
      if (step.attach().has_serial()) state.serial = step.attach().serial();
      return begun_ ? NoteAttached(step.attach().disk()) : OkStatus();
    }
    default:
      return OkStatus();
  }
}

Status AgentSteps::Finish() {
  if (!begun_) return OkStatus();
  GuestRequest request;
  request.mutable_take_timeline();
  PP_ASSIGN_OR_RETURN(Answer answer, ask_(std::move(request), kControlTimeout));
  Timeline& timeline = timeline_.emplace(std::move(*answer.mutable_timeline()));
  for (const Disk& disk : scenario_.disk()) {
    TimelineDisk& to = *timeline.add_disk();
    to.set_name(disk.name());
    to.set_size_bytes(Mebibytes(disk.size_mib()).value);
  }
  for (const Step& step : scenario_.step()) {
    if (!step.has_agent()) continue;
    const bool known = std::any_of(
        timeline.agent().begin(), timeline.agent().end(),
        [&](const TimelineAgent& agent) { return agent.name() == step.agent().name(); });
    if (known) continue;
    TimelineAgent& agent = *timeline.add_agent();
    agent.set_name(step.agent().name());
    for (const AgentVolume& volume : step.agent().volume()) {
      TimelineVolume& told = *agent.add_volume();
      told.set_disk(volume.disk());
      told.set_at(volume.at());
      *told.mutable_option() = volume.option();
      if (!step.agent().has_csi() || step.agent().csi().raw_block()) continue;
      // What is mounted for good; `at` shows it a second time.
      TimelineVolume& staged = *agent.add_volume();
      staged = agent.volume(agent.volume_size() - 2);
      staged.set_at(vm::CsiStagingPath(step.agent().name(), volume.disk(), false));
    }
  }
  return OkStatus();
}

}  // namespace plugpull::run
