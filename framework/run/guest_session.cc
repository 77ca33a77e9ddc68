// SPDX-License-Identifier: Apache-2.0
#include "framework/run/guest_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "framework/base/prng.h"
#include "framework/ext4/damage.h"
#include "framework/image/poison.h"
#include "framework/scenario/validate.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull::run {
namespace {

constexpr Millis kReadBackTimeout{600000};  // the guest reads a whole disk
std::string StepWord(const Step& step) {
  switch (step.kind_case()) {
    case Step::kMkfs:
      return fmt::format("mkfs of {}", step.mkfs().disk());
    case Step::kMount:
      return fmt::format("mount of {} at {}", step.mount().disk(), step.mount().at());
    case Step::kUnmount:
      return fmt::format("unmount of {}", step.unmount().at());
    case Step::kWorkload:
      return fmt::format("workload at {}", step.workload().at());
    case Step::kCommand:
      return fmt::format("command {}",
                         step.command().argv_size() > 0 ? step.command().argv(0) : "");
    case Step::kMark:
      return fmt::format("mark on {}", step.mark().disk());
    case Step::kSync:
      return "sync";
    case Step::kCorrupt:
      return fmt::format("corrupt {}: {}", step.corrupt().disk(),
                         ext4::DamageInWords(step.corrupt()));
    case Step::kKernelLog:
      return "kernel_log";
    case Step::kFault:
    case Step::kDeviceFault:
    case Step::kDetach:
    case Step::kAttach:
      return FaultStepInWords(step);
    case Step::kAgent:
    case Step::kAgentWait:
    case Step::kAgentStop:
    case Step::kCsi:
      return AgentStepInWords(step);
    case Step::kPowerCut:
      return "power_cut";
    case Step::KIND_NOT_SET:
      break;
  }
  return "empty step";
}

// Fills the part of a disk that its file system sees.
Status Poison(int fd, Bytes size, uint64_t seed) {
  std::vector<uint8_t> chunk(std::min<uint64_t>(size.value, 1 << 20));
  for (uint64_t at = 0; at < size.value; at += chunk.size()) {
    const auto part = std::span(chunk).first(std::min(chunk.size(), size.value - at));
    image::FillPoison(seed, at, part);
    PP_RETURN_IF_ERROR(os::PwriteAll(fd, part, Bytes(at)));
  }
  return OkStatus();
}

}  // namespace

std::optional<uint64_t> PoisonSeed(const Scenario& scenario, const Disk& disk) {
  if (disk.fill() != Disk::POISON) return std::nullopt;
  return DeriveSeed(scenario.seed(), "poison " + disk.name());
}

bool HasLog(const Disk& disk) {
  return std::any_of(disk.layer().begin(), disk.layer().end(),
                     [](const Layer& layer) { return layer.has_log_writes(); });
}

bool SendsFlushes(const Disk& disk) {
  return std::none_of(disk.layer().begin(), disk.layer().end(),
                      [](const Layer& layer) { return layer.has_drop_barriers(); });
}

Result<std::unique_ptr<GuestSession>> GuestSession::Start(
    const Scenario& scenario, BootStart start, const GuestImage& image,
    const std::string& scratch_folder, const std::string& console_log, bool interactive,
    const vm::MachineFactory& start_machine,
    const std::function<void(const std::string&)>& progress) {
  auto session = std::unique_ptr<GuestSession>(new GuestSession(scenario, progress));
  session->first_workload_ = start.first_workload;
  session->later_boot_ = start.later;
  vm::MachineOptions options;
  options.kernel_image = image.kernel_image;
  options.initramfs = image.initramfs;
  options.accelerator = image.accelerator;
  const Guest& guest = scenario.guest();
  options.memory_mib = guest.memory_mib();
  options.cpus = guest.cpus();
  options.warped_clock = guest.clock() == Guest::WARPED;
  options.kernel_arguments.assign(guest.kernel_argument().begin(), guest.kernel_argument().end());
  options.console_log = console_log;
  options.interactive = interactive;
  for (const Disk& disk : scenario.disk()) {
    DiskFiles files;
    const Bytes size = Mebibytes(disk.size_mib()) + (HasLog(disk) ? kStripBytes : Bytes(0));
    if (const auto there = start.files.find(disk.name()); there != start.files.end()) {
      files.data = std::move(there->second.data);
    } else {
      PP_ASSIGN_OR_RETURN(files.data, os::MakeScratchFile(scratch_folder, size));
      if (const auto seed = PoisonSeed(scenario, disk)) {
        PP_RETURN_IF_ERROR(Poison(files.data.get(), Mebibytes(disk.size_mib()), *seed));
      }
    }
    if (disk.host_log()) {
      PP_ASSIGN_OR_RETURN(files.host_log, os::MakeScratchFile(scratch_folder, Bytes(0)));
    }
    options.disks.push_back({disk.serial(), files.data.get(), files.host_log.get()});
    if (HasLog(disk)) {
      PP_ASSIGN_OR_RETURN(files.log,
                          os::MakeScratchFile(scratch_folder, Mebibytes(disk.log_size_mib())));
      options.disks.push_back({scenario::kLogSerialPrefix + disk.name(), files.log.get(), -1});
    }
    session->files_[disk.name()] = std::move(files);
  }
  progress(fmt::format("booting {} under {}", guest.kernel(), image.accelerator));
  const vm::MachineFactory& start_it =
      start_machine ? start_machine : vm::MachineFactory(vm::StartQemu);
  PP_ASSIGN_OR_RETURN(session->machine_, start_it(options));
  PP_ASSIGN_OR_RETURN(const Hello hello, session->machine_->WaitForHello(
                                             os::Deadline::After(Millis(guest.boot_timeout_ms()))));
  session->kernel_release_ = hello.kernel_release();
  PP_RETURN_IF_ERROR(session->SetUpDisks());
  session->faults_.emplace(scenario, *session->machine_,
                           [raw = session.get()](GuestRequest request, Millis timeout) {
                             return raw->Ask(std::move(request), timeout);
                           });
  session->agents_.emplace(
      session->scenario_,
      [raw = session.get()](GuestRequest request, Millis timeout) {
        return raw->Ask(std::move(request), timeout);
      },
      [raw = session.get()](const std::string& asked, const std::string& came) {
        raw->Unmet(asked, came);
      });
  PP_RETURN_IF_ERROR(session->faults_->TryAll(session->kernel_release_));
  for (const std::string& disk : start.base_is_now) {
    session->has_base_.insert(disk);
    PP_RETURN_IF_ERROR(session->Mark(disk, "base", disk));
    PP_RETURN_IF_ERROR(session->Drain(disk));
  }
  return session;
}

Result<Answer> GuestSession::AskRaw(GuestRequest request, Millis timeout,
                                    const std::function<void(const Progress&)>& on_progress) {
  auto answer = vm::Call(*machine_, std::move(request), timeout, on_progress);
  if (answer.ok() && answer->guest_ms() != 0) guest_clock_ms_ = answer->guest_ms();
  return answer;
}

Result<Answer> GuestSession::Ask(GuestRequest request, Millis timeout,
                                 const std::function<void(const Progress&)>& on_progress) {
  PP_ASSIGN_OR_RETURN(Answer answer, AskRaw(std::move(request), timeout, on_progress));
  if (answer.has_error()) return GuestError(answer.error().message());
  return answer;
}

const Disk& GuestSession::FindDisk(const std::string& name) const {
  for (const Disk& disk : scenario_.disk()) {
    if (disk.name() == name) return disk;
  }
  PP_CHECK(false);  // plans are validated
}

Status GuestSession::SetUpDisks() {
  for (const Disk& disk : scenario_.disk()) {
    GuestRequest request;
    SetUpDisk& set_up = *request.mutable_set_up_disk();
    set_up.set_disk(disk.name());
    set_up.set_data_serial(disk.serial());
    set_up.set_size_sectors(ToSectors(Mebibytes(disk.size_mib())).value);
    if (HasLog(disk)) {
      set_up.set_log_serial(scenario::kLogSerialPrefix + disk.name());
      set_up.set_strip_sectors(ToSectors(kStripBytes).value);
    }
    for (const Layer& layer : disk.layer()) {
      *set_up.add_layer() = GuestLayerOf(scenario_, layer);
    }
    auto answer = Ask(std::move(request), kControlTimeout);
    if (!answer.ok()) return WithContext(std::move(answer).error(), "disk " + disk.name());
    devices_[disk.name()] = answer->device();
    tables_[disk.name()].assign(answer->table().begin(), answer->table().end());
  }
  return OkStatus();
}

Status GuestSession::RunSteps() {
  step_number_ = 0;
  for (const Step& step : scenario_.step()) {
    ++step_number_;
    if (step.has_power_cut()) {
      power_cut_ = &step;  // now, or while the next step runs; that is the last one either way
      continue;
    }
    const std::string word = StepWord(step);
    progress_(word);
    Status status = RunAndNote(step, step_number_, Millis(step.timeout_ms()));
    if (!status.ok())
      return WithContext(std::move(status).error(), fmt::format("step {}, {}", step_number_, word));
    if (!unmet_.empty()) break;
  }
  progress_("draining the log");
  if (power_cut_ != nullptr && unmet_.empty()) {
    const Status cut = LosePower();
    return cut.ok() ? cut : WithContext(cut.error(), "power_cut");
  }
  Status finished = Finish();
  if (finished.ok() || unmet_.empty()) return finished;
  // Without a recording there is no report of the demand: it is said here.
  const UnmetDemand& unmet = unmet_.front();
  return WithContext(std::move(finished).error(),
                     fmt::format("after step {}, {}, which asked for {}, and {}", unmet.step(),
                                 unmet.what(), unmet.asked(), unmet.came()));
}

void GuestSession::Unmet(const std::string& asked, const std::string& came) {
  UnmetBy(step_number_, asked, came);
}

void GuestSession::UnmetBy(int number, const std::string& asked, const std::string& came) {
  const Step& step = scenario_.step(number - 1);
  UnmetDemand& unmet = unmet_.emplace_back();
  unmet.set_step(static_cast<uint32_t>(number));
  if (step.line() > 0) unmet.set_line(step.line());
  unmet.set_what(StepWord(step));
  unmet.set_asked(asked);
  unmet.set_came(came);
  unmet.set_steps_left(static_cast<uint32_t>(scenario_.step_size() - step_number_));
}

Status GuestSession::RunAndNote(const Step& step, int number, Millis timeout) {
  PP_RETURN_IF_ERROR(RunStep(step, number, timeout));
  return agents_->Note(step);
}

Status GuestSession::RunStep(const Step& step, int number, Millis timeout) {
  switch (step.kind_case()) {
    case Step::kMkfs:
      return Mkfs(step.mkfs(), timeout);
    case Step::kMount:
      return MountDisk(step.mount(), timeout);
    case Step::kUnmount:
      return Unmount(step.unmount(), timeout);
    case Step::kWorkload:
      return RunFiles(step.workload(), timeout);
    case Step::kCommand:
      return RunCommand(step.command(), timeout);
    case Step::kMark:
      return Mark(step.mark().disk(), "note", step.mark().text());
    case Step::kSync: {
      GuestRequest request;
      request.mutable_sync_all();
      const auto answer = Ask(std::move(request), timeout);
      return answer.ok() ? OkStatus() : Status(answer.error());
    }
    case Step::kCorrupt:
      return Corrupt(step.corrupt(), number, timeout);
    case Step::kKernelLog:
      return CheckKernelLog(step.kernel_log(), timeout);
    case Step::kFault:
    case Step::kDeviceFault:
    case Step::kDetach:
    case Step::kAttach:
      PP_RETURN_IF_ERROR(faults_->Run(step, number, timeout));
      for (const auto& [disk, device] : faults_->devices()) devices_[disk] = device;
      return OkStatus();
    case Step::kAgent:
    case Step::kAgentWait:
    case Step::kAgentStop:
    case Step::kCsi:
      return agents_->Run(step, timeout);
    case Step::kPowerCut:
    case Step::KIND_NOT_SET:
      break;
  }
  return InternalError("a step without a kind passed the validator");
}

Status GuestSession::Drain(const std::string& disk) {
  GuestRequest request;
  request.mutable_drain()->set_disk(disk);
  const auto answer = Ask(std::move(request), kControlTimeout);
  return answer.ok() ? OkStatus() : Status(answer.error());
}

std::optional<image::Fingerprint> GuestSession::ContentOf(const std::string& disk) const {
  const auto found = contents_.find(disk);
  if (found == contents_.end()) return std::nullopt;
  return found->second;
}

Status GuestSession::FinishFaults() {
  PP_ASSIGN_OR_RETURN(const std::vector<int> never, faults_->Finish());
  if (!unmet_.empty()) return OkStatus();  // the steps ended early; it may have been still to come
  for (const int number : never) {
    const Step& step = scenario_.step(number - 1);
    if (step.when().has_kernel_log() && faults_->lines_lost()) {
      return MomentMayHaveCome(step, number);
    }
    UnmetBy(number, MomentInWords(scenario_.step(number - 1).when()),
            "that never came before the last step ended");
  }
  return OkStatus();
}

Status GuestSession::Finish() {
  PP_RETURN_IF_ERROR(agents_->Finish());
  PP_RETURN_IF_ERROR(FinishFaults());
  for (const Disk& disk : scenario_.disk()) {
    if (!HasLog(disk)) continue;
    PP_RETURN_IF_ERROR(Mark(disk.name(), "end", disk.name()));
    PP_RETURN_IF_ERROR(Drain(disk.name()));
    PP_RETURN_IF_ERROR(CheckLogging(disk));
    if (FileIsImage(disk)) continue;
    GuestRequest read_back;
    read_back.mutable_read_back_disk()->set_disk(disk.name());
    PP_ASSIGN_OR_RETURN(const Answer content, Ask(std::move(read_back), kReadBackTimeout));
    contents_[disk.name()] = {content.content_high(), content.content_low()};
  }
  GuestRequest request;
  request.mutable_power_off();
  request.set_id(~0ULL);
  PP_RETURN_IF_ERROR(machine_->Send(request));
  return machine_->WaitForEnd(os::Deadline::After(kControlTimeout));
}

Status GuestSession::CheckLogging(const Disk& disk) {
  GuestRequest query;
  query.mutable_query_disk()->set_disk(disk.name());
  PP_ASSIGN_OR_RETURN(const Answer answer, Ask(std::move(query), kControlTimeout));
  if (answer.disk_status().logging_disabled()) {
    incomplete_reason_ = fmt::format(
        "logging of disk {} stopped after {} entries: the log device ({} MiB) is full or the guest "
        "ran out of memory; raise log_size_mib or guest.memory_mib",
        disk.name(), answer.disk_status().logged_entries(), disk.log_size_mib());
  }
  return OkStatus();
}

Status GuestSession::LosePower() {
  PP_RETURN_IF_ERROR(FinishFaults());
  GuestRequest request;
  request.mutable_prepare_power_cut();
  const auto answer = Ask(std::move(request), kControlTimeout);
  if (!answer.ok()) return answer.error();
  for (const Disk& disk : scenario_.disk()) {
    if (HasLog(disk)) PP_RETURN_IF_ERROR(CheckLogging(disk));
  }
  machine_.reset();
  return OkStatus();
}

std::map<std::string, DiskFiles> GuestSession::TakeUnloggedFiles() {
  std::map<std::string, DiskFiles> unlogged;
  for (const Disk& disk : scenario_.disk()) {
    if (!HasLog(disk)) unlogged[disk.name()] = std::move(files_.at(disk.name()));
  }
  return unlogged;
}

Status GuestSession::RunShell() {
  GuestRequest request;
  request.mutable_open_shell();
  constexpr Millis kDay{24LL * 3600 * 1000};
  const auto answer = Ask(std::move(request), kDay);
  if (!answer.ok()) return answer.error();
  GuestRequest off;
  off.mutable_power_off();
  PP_RETURN_IF_ERROR(machine_->Send(off));
  return machine_->WaitForEnd(os::Deadline::After(kControlTimeout));
}

}  // namespace plugpull::run
