// SPDX-License-Identifier: Apache-2.0
#include "framework/run/fault_steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "framework/layers/layer_table.h"

namespace plugpull::run {
namespace {

constexpr Millis kControlTimeout{60000};
constexpr Millis kAnswerMargin{10000};  // the guest waits, and then has to say so

bool HasLogLayer(const Disk& disk) {
  return std::any_of(disk.layer().begin(), disk.layer().end(),
                     [](const Layer& layer) { return layer.has_log_writes(); });
}

int LayerIndex(const Disk& disk, const std::string& name) {
  for (int i = 0; i < disk.layer_size(); ++i) {
    if (disk.layer(i).name() == name) return i;
  }
  PP_CHECK(false);  // plans are validated
}

// A layer above log_writes leaves the strip of marks alone.
bool AboveLog(const Disk& disk, int layer) {
  return std::any_of(disk.layer().begin(), disk.layer().begin() + layer,
                     [](const Layer& below) { return below.has_log_writes(); });
}

vm::RequestFault RequestFaultOf(const IoErrorFault& fault) {
  vm::RequestFault request;
  switch (fault.op()) {
    case IoErrorFault::READ:
      request.op = vm::RequestFault::Op::kRead;
      break;
    case IoErrorFault::WRITE:
      request.op = vm::RequestFault::Op::kWrite;
      break;
    case IoErrorFault::FLUSH:
      request.op = vm::RequestFault::Op::kFlush;
      break;
  }
  request.nth = fault.nth();
  if (fault.has_sector()) {
    request.sector = fault.sector();
    request.nth = 1;
  }
  request.once = fault.once();
  request.error_number = EIO;  // the validator lets no other through
  return request;
}

}  // namespace

GuestLayer GuestLayerOf(const Scenario& scenario, const Layer& layer) {
  GuestLayer guest;
  const auto add_serial = [&](const std::string& name) {
    for (const Disk& disk : scenario.disk()) {
      if (disk.name() == name) guest.add_serial(disk.serial());
    }
  };
  switch (layer.kind_case()) {
    case Layer::kLinear:
      guest.set_kind(GuestLayer::LINEAR);
      return guest;
    case Layer::kLogWrites:
      guest.set_kind(GuestLayer::LOG_WRITES);
      return guest;
    case Layer::kDropBarriers:
      guest.set_kind(GuestLayer::DROP_BARRIERS);
      return guest;
    case Layer::kStriped:
      guest.set_kind(GuestLayer::STRIPED);
      for (const std::string& disk : layer.striped().disk()) add_serial(disk);
      break;
    case Layer::kSnapshot:
      guest.set_kind(GuestLayer::SNAPSHOT);
      add_serial(layer.snapshot().scratch());
      break;
    default:
      guest.set_kind(GuestLayer::MAPPED);
      break;
  }
  *guest.mutable_layer() = layer;
  return guest;
}

bool FileIsImage(const Disk& disk) {
  return std::none_of(disk.layer().begin(), disk.layer().end(), [](const Layer& layer) {
    return layer.has_striped() || layer.has_snapshot();
  });
}

bool IsFaultStep(const Step& step) {
  return step.has_fault() || step.has_device_fault() || step.has_detach() || step.has_attach();
}

std::string FaultStepInWords(const Step& step) {
  if (step.has_fault()) {
    const FaultStep& fault = step.fault();
    return fmt::format("fault on {}: layer {} becomes {}{}", fault.disk(), fault.layer(),
                       layers::LayerWord(layers::LayerOf(fault)),
                       fault.read_only() ? ", read-only" : "");
  }
  if (step.has_detach()) return fmt::format("detach of {}", step.detach().disk());
  if (step.has_attach()) return fmt::format("attach of {}", step.attach().disk());
  const DeviceFaultStep& fault = step.device_fault();
  switch (fault.kind_case()) {
    case DeviceFaultStep::kIoError: {
      const IoErrorFault& io = fault.io_error();
      const std::string which =
          io.has_sector()
              ? fmt::format("{} of sector {}", IoErrorFault::Op_Name(io.op()), io.sector())
              : fmt::format("{} {}", IoErrorFault::Op_Name(io.op()), io.nth());
      return fmt::format("device fault on {}: {} fails{}", fault.disk(), which,
                         io.once() ? " once" : " from then on");
    }
    case DeviceFaultStep::kSlow:
      return fmt::format("device fault on {}: {} requests a second", fault.disk(),
                         fault.slow().requests_per_second());
    case DeviceFaultStep::kResize:
      return fmt::format("device fault on {}: {} MiB", fault.disk(), fault.resize().size_mib());
    default:
      return fmt::format("end of the device fault on {}", fault.disk());
  }
}

std::string MomentInWords(const When& when) {
  switch (when.moment_case()) {
    case When::kAfterMark:
      return fmt::format("a mark \"{}\"", when.after_mark());
    case When::kAfterOperations:
      return fmt::format("{} operations of workloads", when.after_operations());
    case When::kGuestMs:
      return fmt::format("{} ms of the guest's time", when.guest_ms());
    case When::kKernelLog:
      return fmt::format("a line of the kernel's log that matches \"{}\"", when.kernel_log());
    case When::MOMENT_NOT_SET:
      break;
  }
  return "a moment";
}

Error MomentMayHaveCome(const Step& step, int number) {
  return GuestError(
      fmt::format("step {}: it waits for {}; the kernel has logged more than its buffer holds, so "
                  "that line may "
                  "have come unseen; enlarge the buffer with kernel_argument: \"log_buf_len=16M\"",
                  number, MomentInWords(step.when())));
}

FaultSteps::FaultSteps(const Scenario& scenario, vm::Machine& machine, Ask ask)
    : scenario_(scenario), machine_(machine), ask_(std::move(ask)) {
  size_t index = 0;
  for (const Disk& disk : scenario.disk()) {
    index_[disk.name()] = index++;
    if (HasLogLayer(disk)) ++index;  // its log comes behind it
    serials_[disk.name()] = disk.serial();
    size_sectors_[disk.name()] = ToSectors(Mebibytes(disk.size_mib())).value;
  }
}

const Disk& FaultSteps::FindDisk(const std::string& name) const {
  for (const Disk& disk : scenario_.disk()) {
    if (disk.name() == name) return disk;
  }
  PP_CHECK(false);  // plans are validated
}

Result<vm::DiskControl*> FaultSteps::Control() const {
  if (vm::DiskControl* control = machine_.disk_control()) return control;
  return EnvironmentError("this kind of machine cannot change its disks while it runs");
}

GuestRequest FaultSteps::SwapRequest(const Step& step, int number) const {
  const FaultStep& fault = step.fault();
  const Disk& disk = FindDisk(fault.disk());
  const int layer = LayerIndex(disk, fault.layer());
  GuestRequest request;
  SwapLayer& swap = *request.mutable_swap_layer();
  swap.set_disk(disk.name());
  swap.set_layer(static_cast<uint32_t>(layer));
  *swap.mutable_to() = layers::LayerOf(fault);
  swap.set_read_only(fault.read_only());
  swap.set_step(static_cast<uint32_t>(number));
  if (AboveLog(disk, layer)) swap.set_mark(std::to_string(number));
  if (step.has_when()) *swap.mutable_when() = step.when();
  return request;
}

Status FaultSteps::TryAll(const std::string& kernel_release) {
  for (int i = 0; i < scenario_.step_size(); ++i) {
    const Step& step = scenario_.step(i);
    if (!step.has_fault()) continue;
    const std::string where = fmt::format("step {}, {}", i + 1, FaultStepInWords(step));
    if (const auto kernel = dm::KernelRelease::Parse(kernel_release); kernel.ok()) {
      const std::string lacking = layers::UnsupportedLayer(layers::LayerOf(step.fault()), *kernel);
      if (!lacking.empty()) return WithContext(UserError(lacking), where);
    }
    GuestRequest request = SwapRequest(step, i + 1);
    request.mutable_swap_layer()->set_only_try(true);
    const auto tried = ask_(std::move(request), kControlTimeout);
    if (!tried.ok()) {
      return WithContext(UserError(fmt::format("not supported by this kernel ({}): {}",
                                               kernel_release, tried.error().ToString())),
                         where);
    }
  }
  return OkStatus();
}

RecordedFault& FaultSteps::Keep(const Step& step, int number) {
  RecordedFault& fault = faults_.emplace_back();
  fault.set_step(static_cast<uint32_t>(number));
  fault.set_what(FaultStepInWords(step));
  fault.set_disk(step.has_fault()          ? step.fault().disk()
                 : step.has_device_fault() ? step.device_fault().disk()
                 : step.has_detach()       ? step.detach().disk()
                                           : step.attach().disk());
  return fault;
}

Status FaultSteps::Run(const Step& step, int number, Millis timeout) {
  if (step.has_fault()) return ChangeLayer(step, number, timeout);
  PP_RETURN_IF_ERROR(TakeRequestErrors());
  Keep(step, number);
  if (step.has_device_fault()) return DeviceFault(step.device_fault(), timeout);
  if (step.has_detach()) return Detach(step.detach(), timeout);
  return Attach(step.attach(), timeout);
}

Status FaultSteps::ChangeLayer(const Step& step, int number, Millis timeout) {
  PP_ASSIGN_OR_RETURN(const Answer answer, ask_(SwapRequest(step, number), timeout));
  if (step.has_when()) return OkStatus();
  if (answer.fault_size() != 1) return InternalError("the guest did not report the fault");
  RecordedFault& fault = Keep(step, number);
  fault.set_guest_ms(answer.fault(0).guest_ms());
  fault.set_operations(answer.fault(0).operations());
  *fault.mutable_table() = answer.fault(0).table();
  return OkStatus();
}

Status FaultSteps::DeviceFault(const DeviceFaultStep& step, Millis timeout) {
  PP_ASSIGN_OR_RETURN(vm::DiskControl * control, Control());
  const size_t disk = index_.at(step.disk());
  switch (step.kind_case()) {
    case DeviceFaultStep::kIoError:
      return control->FailRequests(disk, RequestFaultOf(step.io_error()));
    case DeviceFaultStep::kSlow:
      return control->Slow(disk, step.slow().requests_per_second());
    case DeviceFaultStep::kResize: {
      const Bytes size = Mebibytes(step.resize().size_mib());
      PP_RETURN_IF_ERROR(control->Resize(disk, size));
      size_sectors_[step.disk()] = ToSectors(size).value;
      const auto seen = Await(serials_.at(step.disk()), false, ToSectors(size).value, timeout);
      return seen.ok() ? OkStatus() : Status(seen.error());
    }
    default:
      return control->Heal(disk);
  }
}

Result<std::string> FaultSteps::Await(const std::string& serial, bool gone, uint64_t size_sectors,
                                      Millis timeout) {
  GuestRequest request;
  WaitForDisk& wait = *request.mutable_wait_for_disk();
  wait.set_serial(serial);
  wait.set_gone(gone);
  wait.set_size_sectors(size_sectors);
  wait.set_timeout_ms(static_cast<uint32_t>(timeout.count()));
  PP_ASSIGN_OR_RETURN(const Answer answer, ask_(std::move(request), timeout + kAnswerMargin));
  return answer.text_size() > 0 ? answer.text(0) : std::string();
}

Status FaultSteps::Detach(const DetachStep& step, Millis timeout) {
  PP_ASSIGN_OR_RETURN(vm::DiskControl * control, Control());
  const std::string& serial = serials_.at(step.disk());
  PP_ASSIGN_OR_RETURN(names_[step.disk()], Await(serial, false, 0, timeout));
  PP_RETURN_IF_ERROR(control->Unplug(index_.at(step.disk()), os::Deadline::After(timeout)));
  const auto gone = Await(serial, true, 0, timeout);
  return gone.ok() ? OkStatus() : Status(gone.error());
}

Status FaultSteps::Attach(const AttachStep& step, Millis timeout) {
  PP_ASSIGN_OR_RETURN(vm::DiskControl * control, Control());
  std::string& serial = serials_.at(step.disk());
  if (step.has_serial()) serial = step.serial();
  if (step.other_name()) {
    // The guest gives the lowest name that is free.
    const std::string filler = fmt::format("filler-{}", ++fillers_);
    PP_RETURN_IF_ERROR(control->PlugFiller(filler));
    PP_ASSIGN_OR_RETURN(const std::string taken, Await(filler, false, 0, timeout));
  }
  PP_RETURN_IF_ERROR(control->Plug(index_.at(step.disk()), {serial, step.read_only()}));
  PP_ASSIGN_OR_RETURN(const std::string name, Await(serial, false, 0, timeout));
  const std::string& before = names_[step.disk()];
  if (step.other_name() && name == before) {
    return GuestError(fmt::format(
        "disk {} was to come back under another name than {}, and did not", step.disk(), before));
  }
  faults_.back().set_what(fmt::format("{} as {} (was {})", faults_.back().what(), name, before));
  return SetUpAgain(step.disk());
}

Status FaultSteps::SetUpAgain(const std::string& disk) {
  GuestRequest down;
  down.mutable_tear_down_disk()->set_disk(disk);
  PP_ASSIGN_OR_RETURN(const Answer gone, ask_(std::move(down), kControlTimeout));
  GuestRequest up;
  SetUpDisk& set_up = *up.mutable_set_up_disk();
  set_up.set_disk(disk);
  set_up.set_data_serial(serials_.at(disk));
  set_up.set_size_sectors(size_sectors_.at(disk));
  PP_ASSIGN_OR_RETURN(const Answer there, ask_(std::move(up), kControlTimeout));
  devices_[disk] = there.device();
  return OkStatus();
}

Status FaultSteps::TakeRequestErrors() {
  vm::DiskControl* control = machine_.disk_control();
  if (control == nullptr) return OkStatus();
  for (const auto& [name, index] : index_) {
    const auto last =
        std::find_if(faults_.rbegin(), faults_.rend(),
                     [&](const RecordedFault& fault) { return fault.disk() == name; });
    if (last == faults_.rend()) continue;
    PP_ASSIGN_OR_RETURN(const auto errors, control->TakeRequestErrors(index));
    for (const std::string& error : errors) last->add_request_error(error);
  }
  return OkStatus();
}

Result<std::vector<int>> FaultSteps::Finish() {
  std::vector<int> never;
  const bool any = std::any_of(scenario_.step().begin(), scenario_.step().end(), IsFaultStep);
  if (!any) return never;
  PP_RETURN_IF_ERROR(TakeRequestErrors());
  GuestRequest request;
  request.mutable_disarm_faults();
  PP_ASSIGN_OR_RETURN(const Answer answer, ask_(std::move(request), kControlTimeout));
  lines_lost_ = answer.kernel_log_cut();
  for (const FaultReport& report : answer.fault()) {
    const int number = static_cast<int>(report.step());
    if (number < 1 || number > scenario_.step_size()) {
      return InternalError("the guest reports a fault of a step that there is not");
    }
    const Step& step = scenario_.step(number - 1);
    if (!report.done() && report.problem().empty()) {
      never.push_back(number);
      continue;
    }
    if (!report.done()) {
      return GuestError(
          fmt::format("step {}, {}: {}", number, FaultStepInWords(step), report.problem()));
    }
    RecordedFault& fault = Keep(step, number);
    fault.set_guest_ms(report.guest_ms());
    fault.set_operations(report.operations());
    *fault.mutable_table() = report.table();
  }
  std::sort(never.begin(), never.end());
  return never;
}

}  // namespace plugpull::run
