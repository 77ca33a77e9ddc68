// SPDX-License-Identifier: Apache-2.0
#include "framework/run/kernel_recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "framework/os/file.h"
#include "framework/run/fault_steps.h"
#include "framework/run/guest_session.h"
#include "framework/run/log_file.h"
#include "framework/run/recovery_log.h"
#include "framework/run/state_images.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull::run {

using crashstate::StateSpec;

namespace {

constexpr char kMountPoint[] = "/run/plugpull-recovery";
// Sparse; recovery writes what the journal holds and a little more.
constexpr Bytes kLogDiskBytes = Mebibytes(4096);
constexpr size_t kLostGuestsMax = 3;

// Several states in one guest.
class Batch {
 public:
  Batch(const DiskSource& source, const KernelRecoveryOptions& options, std::string scratch_folder)
      : source_(source),
        options_(options),
        scratch_folder_(std::move(scratch_folder)),
        images_(source) {}

  // Puts a state on two disks of a guest that is not started yet.
  Status Add(const StateSpec& spec) {
    const Bytes device = source_.history().device_size;
    Disks disks;
    PP_ASSIGN_OR_RETURN(disks.data, os::MakeScratchFile(scratch_folder_, device + kStripBytes));
    PP_ASSIGN_OR_RETURN(disks.log, os::MakeScratchFile(scratch_folder_, kLogDiskBytes));
    images_.MoveTo(spec);
    PP_RETURN_IF_ERROR(images_.WriteTo(disks.data.get(), Bytes(0)));
    disks.spec = spec;
    disks_.push_back(std::move(disks));
    return OkStatus();
  }

  Status Start(const GuestImage& image) {
    vm::MachineOptions machine;
    machine.kernel_image = image.kernel_image;
    machine.initramfs = image.initramfs;
    machine.accelerator = image.accelerator;
    machine.memory_mib = options_.memory_mib;
    for (size_t i = 0; i < disks_.size(); ++i) {
      machine.disks.push_back({DataSerial(i), disks_[i].data.get()});
      machine.disks.push_back({LogSerial(i), disks_[i].log.get()});
    }
    const auto start =
        options_.start_machine ? options_.start_machine : vm::MachineFactory(vm::StartQemu);
    PP_ASSIGN_OR_RETURN(machine_, start(machine));
    PP_ASSIGN_OR_RETURN(const Hello hello,
                        machine_->WaitForHello(os::Deadline::After(options_.boot_max)));
    kernel_release_ = hello.kernel_release();
    return OkStatus();
  }

  const std::string& kernel_release() const { return kernel_release_; }

  // Has the kernel recover a state.
  Status Recover(size_t i) {
    GuestRequest request;
    SetUpDisk& set_up = *request.mutable_set_up_disk();
    set_up.set_disk(Name(i));
    set_up.set_data_serial(DataSerial(i));
    set_up.set_log_serial(LogSerial(i));
    set_up.set_size_sectors(ToSectors(source_.history().device_size).value);
    set_up.set_strip_sectors(ToSectors(kStripBytes).value);
    for (const Layer& layer : options_.layers) {
      *set_up.add_layer() = GuestLayerOf(Scenario(), layer);
    }
    PP_RETURN_IF_ERROR(Ask(std::move(request)));
    // In this order, as where a scenario's disk is first mounted.
    PP_RETURN_IF_ERROR(Mark(i, "base", "recovery"));
    PP_RETURN_IF_ERROR(Drain(i));
    GuestRequest mount_request;
    MountRequest& mount = *mount_request.mutable_mount();
    mount.set_disk(Name(i));
    mount.set_at(kMountPoint);
    mount.set_type(options_.mount.type());
    *mount.mutable_option() = options_.mount.option();
    PP_RETURN_IF_ERROR(Ask(std::move(mount_request)));
    PP_RETURN_IF_ERROR(Mark(i, "note", "mounted"));
    GuestRequest unmount;
    unmount.mutable_unmount()->set_at(kMountPoint);
    PP_RETURN_IF_ERROR(Ask(std::move(unmount)));
    PP_RETURN_IF_ERROR(Mark(i, "end", "recovery"));
    PP_RETURN_IF_ERROR(Drain(i));
    GuestRequest tear_down;
    tear_down.mutable_tear_down_disk()->set_disk(Name(i));
    return Ask(std::move(tear_down));
  }

  // Switches the guest off. Its logs are read only after that: what QEMU holds is then written.
  Status Stop() {
    GuestRequest off;
    off.mutable_power_off();
    off.set_id(~0ULL);
    Status ended = machine_->Send(off);
    if (ended.ok()) ended = machine_->WaitForEnd(os::Deadline::After(options_.step_max));
    machine_.reset();
    return ended;
  }

  // The log of a state that was recovered.
  Result<std::vector<uint8_t>> LogOf(size_t i) {
    const Bytes device = source_.history().device_size;
    PP_ASSIGN_OR_RETURN(const ReadBack read,
                        ReadLogBack(disks_[i].log.get(), device + kStripBytes));
    if (read.log.dropped) {
      return GuestError("the log cannot be read to its end: " + read.log.dropped->reason);
    }
    blocklog::LogWriter log(read.log.sector_bytes);
    images_.MoveTo(disks_[i].spec);
    PP_RETURN_IF_ERROR(AddState(images_, log));
    AddEntries(read.log, log);
    PP_RETURN_IF_ERROR(CheckReplay(log.bytes(), device, disks_[i].data.get()));
    return log.bytes();
  }

 private:
  struct Disks {
    os::Fd data;
    os::Fd log;
    StateSpec spec;
  };

  static std::string Name(size_t i) { return fmt::format("state{}", i); }
  static std::string DataSerial(size_t i) { return Name(i); }
  static std::string LogSerial(size_t i) { return "log-" + Name(i); }

  Status Ask(GuestRequest request) {
    PP_ASSIGN_OR_RETURN(const Answer answer,
                        vm::Call(*machine_, std::move(request), options_.step_max));
    return answer.has_error() ? Status(GuestError(answer.error().message())) : OkStatus();
  }
  Status Mark(size_t i, const std::string& kind, const std::string& text) {
    GuestRequest request;
    WriteMark& mark = *request.mutable_write_mark();
    mark.set_disk(Name(i));
    mark.set_kind(kind);
    mark.set_text(text);
    return Ask(std::move(request));
  }
  Status Drain(size_t i) {
    GuestRequest request;
    request.mutable_drain()->set_disk(Name(i));
    return Ask(std::move(request));
  }

  const DiskSource& source_;
  const KernelRecoveryOptions& options_;
  std::string scratch_folder_;
  StateImages images_;
  std::vector<Disks> disks_;  // outlive the machine
  std::unique_ptr<vm::Machine> machine_;
  std::string kernel_release_;
};

struct Done {
  size_t states = 0;
  bool lost = false;  // the guest, with the last of them
};

// Records states from `first` on, as many as one guest takes.
Done RecordSome(const DiskSource& source, const std::vector<StateSpec>& states, size_t first,
                const KernelRecoveryOptions& options, const GuestImage& image,
                const TakeKernelLog& take) {
  const size_t count = std::min(kRecoveriesPerGuest, states.size() - first);
  const auto fail = [&](const Error& error) {
    for (size_t i = 0; i < count; ++i) take(first + i, "", error);
    return Done{count, true};
  };
  std::string scratch = options.scratch_folder;
  if (scratch.empty()) {
    auto cache = os::CacheFolder();
    if (!cache.ok()) return fail(cache.error());
    scratch = *std::move(cache);
  }
  Batch batch(source, options, std::move(scratch));
  for (size_t i = 0; i < count; ++i) {
    if (const Status added = batch.Add(states[first + i]); !added.ok()) return fail(added.error());
  }
  if (const Status started = batch.Start(image); !started.ok()) return fail(started.error());
  std::vector<Status> recovered;
  for (size_t i = 0; i < count; ++i) {
    recovered.push_back(batch.Recover(i));
    if (options.progress) options.progress(first + i + 1, states.size());
    // The guest may be dead, or its kernel stuck: no other state is to suffer for it.
    if (!recovered.back().ok()) break;
  }
  const bool lost = !recovered.back().ok();
  const Status stopped = batch.Stop();
  for (size_t i = 0; i < recovered.size(); ++i) {
    if (!recovered[i].ok()) {
      take(first + i, batch.kernel_release(), recovered[i].error());
    } else if (!stopped.ok() && !lost) {
      take(first + i, batch.kernel_release(), stopped.error());
    } else {
      take(first + i, batch.kernel_release(), batch.LogOf(i));
    }
  }
  return {recovered.size(), lost};
}

}  // namespace

uint64_t RecordKernelRecoveries(const DiskSource& source, const std::vector<StateSpec>& states,
                                const KernelRecoveryOptions& options, const TakeKernelLog& take) {
  if (states.empty()) return 0;
  const auto image = options.image();
  uint64_t guests = 0;
  size_t lost = 0;
  size_t first = 0;
  while (first < states.size() && image.ok() && lost <= kLostGuestsMax) {
    const Done done = RecordSome(source, states, first, options, *image, take);
    ++guests;
    first += done.states;
    lost += done.lost ? 1 : 0;
  }
  for (; first < states.size(); ++first) {
    take(first, "",
         image.ok()
             ? GuestError(fmt::format("{} guests were lost before; the rest was given up", lost))
             : image.error());
  }
  return guests;
}

}  // namespace plugpull::run
