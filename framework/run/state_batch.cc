// SPDX-License-Identifier: Apache-2.0
#include "framework/run/state_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "framework/run/state_images.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull::run {

using oracle::MountSeen;
using oracle::StateToMount;

namespace {

constexpr char kStatesSerial[] = "pp-states";
constexpr char kScratchSerial[] = "pp-scratch";
constexpr uint64_t kAlignBytes = 1 << 20;
// A snapshot may copy every chunk of a state, and the last chunk may be cut.
constexpr uint64_t kScratchExtraBytes = 16 << 20;
// Larger files are more than common file systems of the host hold.
constexpr uint64_t kStatesFileMax = 8ULL << 40;
constexpr Millis kPowerOffMax{30'000};
constexpr size_t kConsoleBytesMax = 256 << 10;
constexpr size_t kConsoleLinesShown = 12;

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

// The lines behind the last one that begins a mount: what the kernel said of the state.
std::string LinesOfState(const std::string& console) {
  size_t start = console.rfind(" begins\n");
  if (start == std::string::npos) start = console.rfind(" begins\r\n");
  if (start == std::string::npos) return {};
  start = console.find('\n', start) + 1;
  std::string lines;
  for (size_t i = 0; i < kConsoleLinesShown && start < console.size(); ++i) {
    const size_t end = std::min(console.find('\n', start), console.size());
    std::string line = "\n  ";
    for (const char c : console.substr(start, std::min<size_t>(end - start, 200))) {
      if (c != '\r') line += c >= 0x20 && c < 0x7f ? c : '?';
    }
    if (line.size() > 3) lines += line;
    start = end + 1;
  }
  return lines;
}

MountSeen Lost(std::string words) { return {MountSeen::End::kLost, {}, std::move(words)}; }

}  // namespace

size_t StatesForOneGuest(const std::vector<Bytes>& data, size_t first, const BatchLimits& limits) {
  PP_CHECK(first < data.size());
  size_t count = 1;
  uint64_t sum = data[first].value;
  while (first + count < data.size() && count < limits.states_per_guest &&
         sum + data[first + count].value <= limits.data_per_guest.value) {
    sum += data[first + count++].value;
  }
  return count;
}

struct StateBatch::Impl {
  const DiskSource& source;
  StateBatchOptions options;
  std::optional<GuestImage> image;
  StateImages images;
  uint64_t stride = 0;  // bytes from one state to the next
  uint64_t guests = 0;
  std::string kernel_release = "no kernel";
  size_t lost_guests = 0;

  // Of the group that is being worked on.
  os::Fd states_file;
  os::Fd scratch_file;
  os::Fd console;
  std::unique_ptr<vm::Machine> machine;

  // Starts a machine where none runs.
  Status Boot() {
    if (machine != nullptr) return OkStatus();
    if (!image) {
      PP_ASSIGN_OR_RETURN(image, options.image());
    }
    PP_ASSIGN_OR_RETURN(console, os::MakeMemFile("state-console", Bytes(0)));
    vm::MachineOptions machine_options;
    machine_options.kernel_image = image->kernel_image;
    machine_options.initramfs = image->initramfs;
    machine_options.accelerator = image->accelerator;
    machine_options.memory_mib = options.memory_mib;
    machine_options.disks = {{kStatesSerial, states_file.get()},
                             {kScratchSerial, scratch_file.get()}};
    machine_options.console_log = fmt::format("/proc/self/fd/{}", console.get());
    const auto start =
        options.start_machine ? options.start_machine : vm::MachineFactory(vm::StartQemu);
    PP_ASSIGN_OR_RETURN(machine, start(machine_options));
    ++guests;
    const auto hello = machine->WaitForHello(os::Deadline::After(options.limits.boot_max));
    if (hello.ok()) {
      kernel_release = hello->kernel_release();
      return OkStatus();
    }
    machine.reset();
    return hello.error();
  }

  void PowerOff() {
    if (machine == nullptr) return;
    GuestRequest off;
    off.mutable_power_off();
    off.set_id(~0ULL);
    // Nothing is lost when it does not: the states and the answers are on this side.
    if (machine->Send(off).ok()) {
      (void)machine->WaitForEnd(os::Deadline::After(kPowerOffMax)).ok();
    }
    machine.reset();
  }

  std::string ConsoleTail() const {
    const auto size = os::FileSize(console.get());
    if (!size.ok()) return {};
    std::string text(std::min<uint64_t>(size->value, kConsoleBytesMax), '\0');
    const Status read =
        os::PreadAll(console.get(), {reinterpret_cast<uint8_t*>(text.data()), text.size()},
                     Bytes(size->value - text.size()));
    return read.ok() ? text : std::string();
  }

  // One mount, in the guest that runs or in a new one.
  MountSeen MountOne(MountState request, size_t index, const std::string& label) {
    if (lost_guests >= options.limits.lost_guests_max) {
      return Lost(
          fmt::format("{} guests have died or hung before; the rest was given up", lost_guests));
    }
    if (const Status booted = Boot(); !booted.ok()) {
      ++lost_guests;
      return Lost("no guest could be started: " + booted.error().ToString());
    }
    request.set_data_serial(kStatesSerial);
    request.set_scratch_serial(kScratchSerial);
    request.set_first_sector(ToSectors(Bytes(index * stride)).value);
    request.set_length_sectors(ToSectors(source.history().device_size).value);
    request.set_label(label);
    GuestRequest call;
    *call.mutable_mount_state() = request;
    const Millis timeout = options.limits.mount_max + Millis(request.command().timeout_ms());
    auto answer = vm::Call(*machine, std::move(call), timeout);
    if (answer.ok() && !answer->has_error()) {
      return {MountSeen::End::kReported, std::move(*answer->mutable_state_report()), {}};
    }
    ++lost_guests;
    MountSeen seen;
    if (answer.ok()) {
      seen = Lost("the guest could not do its part: " + answer->error().message());
    } else if (const auto panic = machine->Panic()) {
      seen = {MountSeen::End::kPanicked, {}, *panic + LinesOfState(ConsoleTail())};
    } else {
      const std::string& words = answer.error().message;
      seen = Lost(words.substr(0, words.find('\n')) + LinesOfState(ConsoleTail()));
    }
    machine.reset();
    return seen;
  }

  // Writes a state to its place in the group.
  Status Pack(const StateToMount& state, size_t index) {
    const Bytes origin(index * stride);
    if (!state.recovered) {
      images.MoveTo(state.spec);
      return images.WriteTo(states_file.get(), origin);
    }
    PP_ASSIGN_OR_RETURN(const oracle::WorkImage* work, options.recover(state.spec));
    const std::span<const uint8_t> bytes = work->bytes();
    PP_ASSIGN_OR_RETURN(const auto extents, os::DataExtents(work->fd(), Bytes(bytes.size())));
    for (const os::Extent& extent : extents) {
      PP_RETURN_IF_ERROR(
          os::PwriteAll(states_file.get(),
                        bytes.subspan(extent.start.value, extent.end.value - extent.start.value),
                        origin + extent.start));
    }
    return OkStatus();
  }

  Status MakeFiles(size_t count) {
    const uint64_t device = source.history().device_size.value;
    if (options.scratch_folder.empty()) {
      PP_ASSIGN_OR_RETURN(options.scratch_folder, os::CacheFolder());
    }
    PP_ASSIGN_OR_RETURN(states_file,
                        os::MakeScratchFile(options.scratch_folder, Bytes(count * stride)));
    PP_ASSIGN_OR_RETURN(scratch_file, os::MakeScratchFile(options.scratch_folder,
                                                          Bytes(RoundUp(device, kAlignBytes) +
                                                                kScratchExtraBytes)));
    return OkStatus();
  }
};

StateBatch::StateBatch(const DiskSource& source, StateBatchOptions options)
    : impl_(new Impl{.source = source,
                     .options = std::move(options),
                     .image = {},
                     .images = StateImages(source),
                     .stride = RoundUp(source.history().device_size.value, kAlignBytes),
                     .states_file = {},
                     .scratch_file = {},
                     .console = {},
                     .machine = {}}) {
  PP_CHECK(impl_->options.image);
  const size_t fit = std::max<uint64_t>(1, kStatesFileMax / impl_->stride);
  size_t& states = impl_->options.limits.states_per_guest;
  states = std::min(states, fit);
}

StateBatch::~StateBatch() = default;

uint64_t StateBatch::guests() const { return impl_->guests; }

const std::string& StateBatch::kernel_release() const { return impl_->kernel_release; }

std::vector<std::vector<MountSeen>> StateBatch::Mount(const std::vector<StateToMount>& states) {
  StateImages& images = impl_->images;
  std::vector<Bytes> data;
  data.reserve(states.size());
  for (const StateToMount& state : states) {
    PP_CHECK(!state.recovered || impl_->options.recover);
    images.MoveTo(state.spec);
    data.push_back(images.DataBytes());
  }
  std::vector<std::vector<MountSeen>> seen(states.size());
  for (size_t first = 0; first < states.size();) {
    const size_t count = StatesForOneGuest(data, first, impl_->options.limits);
    Status packed = impl_->MakeFiles(count);
    for (size_t i = 0; i < count && packed.ok(); ++i) packed = impl_->Pack(states[first + i], i);
    for (size_t i = 0; i < count; ++i) {
      const StateToMount& state = states[first + i];
      for (const MountState& mount : state.mounts) {
        seen[first + i].push_back(
            packed.ok() ? impl_->MountOne(mount, i, state.label)
                        : Lost("the states could not be packed: " + packed.error().ToString()));
      }
      if (impl_->options.progress) impl_->options.progress(first + i + 1, states.size());
    }
    impl_->PowerOff();
    first += count;
  }
  return seen;
}

}  // namespace plugpull::run
