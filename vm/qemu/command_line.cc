// SPDX-License-Identifier: Apache-2.0
#include "vm/qemu/command_line.h"

#include <fmt/format.h>

namespace plugpull::vm {
namespace {

using nlohmann::json;

// panic=-1: reboot at once, which -no-reboot turns into QEMU's end.
// loglevel=7: ext4's informational lines are evidence. mitigations, cryptomgr.notests, tsc and
// no_timer_check: each is a part of a second under emulation that no verdict depends on.
// random.trust_cpu: nobody waits for entropy. printk.devkmsg: PID 1 is not rate-limited.
constexpr char kBaseCommandLine[] =
    "console=ttyS0 panic=-1 loglevel=7 printk.time=1 printk.devkmsg=on random.trust_cpu=on "
    "mitigations=off cryptomgr.notests tsc=reliable no_timer_check";

constexpr uint64_t kHostLogSectorBytes = 512;
// Entries between two updates of the log's super block, which also a flush updates. What a killed
// QEMU has not counted is found by reading on.
constexpr uint64_t kHostLogSuperEvery = 256;

constexpr int kConsoleSet = 1;
constexpr int kFirstDiskSet = 2;

Status Validate(const MachineOptions& options) {
  if (options.accelerator != "kvm" && options.accelerator != "tcg") {
    return UserError(
        fmt::format("unknown accelerator \"{}\": kvm and tcg are possible", options.accelerator));
  }
  if (options.warped_clock && (options.accelerator != "tcg" || options.cpus != 1)) {
    return UserError(
        fmt::format("a warped clock needs the accelerator tcg and one processor; asked for are {} "
                    "and {}",
                    options.accelerator, options.cpus));
  }
  if (options.disks.size() > kDisksMax) {
    return UserError(fmt::format("{} virtual disks (logs count, too); at most {} are possible",
                                 options.disks.size(), kDisksMax));
  }
  for (const auto& disk : options.disks) {
    if (disk.serial.empty() || disk.serial.size() > kSerialBytesMax) {
      return UserError(fmt::format("the serial \"{}\" has {} bytes; 1 to {} are possible",
                                   disk.serial, disk.serial.size(), kSerialBytesMax));
    }
  }
  const std::string command_line = KernelCommandLine(options);
  if (command_line.size() > kKernelCommandLineMax || command_line.find('\n') != std::string::npos) {
    return UserError(fmt::format(
        "the kernel command line has {} bytes; at most {} in one line are possible: shorten "
        "kernel_argument",
        command_line.size(), kKernelCommandLineMax));
  }
  return OkStatus();
}

void AddConsole(const MachineOptions& options, std::vector<std::string>& arguments) {
  if (options.interactive) {
    // signal=off: Ctrl-C goes to the guest's shell.
    arguments.insert(arguments.end(), {"-chardev", "stdio,id=console,signal=off"});
  } else {
    arguments.insert(
        arguments.end(),
        {"-add-fd", fmt::format("fd={},set={}", kConsoleChildFd, kConsoleSet), "-chardev",
         fmt::format("file,id=console,append=on,path=/dev/fdset/{}", kConsoleSet)});
  }
  arguments.insert(arguments.end(), {"-serial", "chardev:console"});
}

// `number`: of the descriptor, among those of all disks and then of their logs.
void AddDescriptor(int number, std::vector<std::string>& arguments) {
  arguments.insert(
      arguments.end(),
      {"-add-fd", fmt::format("fd={},set={}", kFirstDiskChildFd + number, kFirstDiskSet + number)});
}

// `number`: of the descriptor, as in AddDescriptor.
json FileNode(int number) {
  // read-only in so many words: else a raw node that is reopened read-only hands that down to this
  // one, and the set has no descriptor to open it with.
  return {{"driver", "file"},   {"filename", fmt::format("/dev/fdset/{}", kFirstDiskSet + number)},
          {"read-only", false}, {"locking", "off"},
          {"discard", "unmap"}, {"cache", {{"direct", false}, {"no-flush", true}}}};
}

// `log_number`: of the log's descriptor, where the disk has one.
void AddDisk(const VirtualDisk& disk, size_t index, int log_number,
             std::vector<std::string>& arguments) {
  AddDescriptor(static_cast<int>(index), arguments);
  json backend = RawNodeOptions(index);
  backend["file"] = FileNode(static_cast<int>(index));
  backend["file"]["node-name"] = FileNodeName(index);
  if (disk.log_fd >= 0) {
    AddDescriptor(log_number, arguments);
    // Flushes must get as far as this node (no no-flush), which is all that logs them.
    backend = {{"driver", "blklogwrites"},
               {"node-name", HostLogNodeName(index)},
               {"discard", "unmap"},
               {"detect-zeroes", "off"},
               {"cache", {{"direct", false}, {"no-flush", false}}},
               {"log-append", false},
               {"log-sector-size", kHostLogSectorBytes},
               {"log-super-update-interval", kHostLogSuperEvery},
               {"file", backend},
               {"log", FileNode(log_number)}};
  }
  const std::string top = backend.at("node-name").get<std::string>();
  arguments.insert(arguments.end(), {"-blockdev", backend.dump(), "-device",
                                     DiskDeviceOptions(index, top, disk.serial).dump()});
}

}  // namespace

std::string DiskDeviceName(size_t disk) { return fmt::format("vd{}", disk); }

std::string RawNodeName(size_t disk) { return fmt::format("disk{}", disk); }

std::string FileNodeName(size_t disk) { return fmt::format("file{}", disk); }

std::string HostLogNodeName(size_t disk) { return fmt::format("hostlog{}", disk); }

json RawNodeOptions(size_t disk) {
  return {{"driver", "raw"},
          {"node-name", RawNodeName(disk)},
          {"discard", "unmap"},
          {"detect-zeroes", "off"},
          {"cache", {{"direct", false}, {"no-flush", true}}}};
}

json DiskDeviceOptions(size_t disk, const std::string& node, const std::string& serial) {
  // QEMU would pause the machine on ENOSPC if it were not told to report.
  return {{"driver", "virtio-blk-pci"}, {"drive", node},       {"id", DiskDeviceName(disk)},
          {"serial", serial},           {"write-cache", "on"}, {"werror", "report"},
          {"rerror", "report"}};
}

std::string KernelCommandLine(const MachineOptions& options) {
  std::string line = kBaseCommandLine;
  for (const auto& argument : options.kernel_arguments) line += " " + argument;
  // The lockup detector stops the machine every 4 s, in which a warped clock knows no lockup.
  if (options.warped_clock) line += std::string(" nowatchdog ") + kWarpedArgument;
  return line;
}

Result<std::vector<std::string>> QemuArguments(const MachineOptions& options) {
  PP_RETURN_IF_ERROR(Validate(options));
  const bool kvm = options.accelerator == "kvm";
  std::vector<std::string> arguments = {"-nodefaults",
                                        "-no-user-config",
                                        "-no-reboot",
                                        "-display",
                                        "none",
                                        "-machine",
                                        "pc",
                                        "-accel",
                                        options.accelerator,
                                        "-cpu",
                                        kvm ? "host" : "max",
                                        "-smp",
                                        std::to_string(options.cpus),
                                        "-m",
                                        std::to_string(options.memory_mib),
                                        "-kernel",
                                        options.kernel_image,
                                        "-initrd",
                                        options.initramfs,
                                        "-append",
                                        KernelCommandLine(options),
                                        "-chardev",
                                        fmt::format("socket,id=qmp,fd={}", kQmpChildFd),
                                        "-mon",
                                        "chardev=qmp,mode=control"};
  // sleep=off: a guest in which nothing runs does not wait for the host's clock. An instruction
  // takes 2 ns of the guest's time, however busy the host is.
  if (options.warped_clock) {
    arguments.insert(arguments.end(), {"-icount", "shift=1,sleep=off"});
  }
  AddConsole(options, arguments);
  arguments.insert(arguments.end(),
                   {"-device", "virtio-serial-pci,id=ports,max_ports=2", "-chardev",
                    fmt::format("socket,id=port,fd={}", kPortChildFd), "-device",
                    "virtserialport,bus=ports.0,nr=1,chardev=port,name=plugpull.0"});
  size_t index = 0;
  int log_number = static_cast<int>(options.disks.size());
  for (const auto& disk : options.disks) {
    AddDisk(disk, index++, log_number, arguments);
    if (disk.log_fd >= 0) ++log_number;
  }
  return arguments;
}

}  // namespace plugpull::vm
