// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/state_mount.h"

#include <fmt/format.h>

#include "dm-targets/control/control.h"
#include "framework/os/file.h"
#include "framework/tree/tree.h"
#include "vm/guest/block_device.h"
#include "vm/guest/kernel_log.h"
#include "vm/guest/mounted_tree.h"
#include "vm/guest/mounts.h"
#include "vm/guest/program.h"

namespace plugpull::guest {
namespace {

constexpr char kMountPoint[] = "/run/plugpull-state";
constexpr char kMarksPath[] = "/tmp/plugpull-marks";
constexpr Millis kDiskWaitMax{10'000};
constexpr size_t kKernelLinesMax = 200;
constexpr size_t kLabelBytesMax = 500;
constexpr Sectors kChunk{16};

struct Disks {
  BlockDevice data;
  BlockDevice scratch;
};

Result<Disks> FindDisks(const MountState& request) {
  const auto deadline = os::Deadline::After(kDiskWaitMax);
  Disks disks;
  PP_ASSIGN_OR_RETURN(disks.data, FindDiskBySerial(request.data_serial(), deadline));
  PP_ASSIGN_OR_RETURN(disks.scratch, FindDiskBySerial(request.scratch_serial(), deadline));
  const uint64_t size = disks.data.size.value;
  if (request.length_sectors() == 0 || request.first_sector() > size ||
      request.length_sectors() > size - request.first_sector()) {
    return UserError(
        fmt::format("sectors {} to {} are asked for, {} has {}", request.first_sector(),
                    request.first_sector() + request.length_sectors(), disks.data.path(), size));
  }
  if (disks.scratch.size.value < request.length_sectors()) {
    return UserError(fmt::format("{} has {} sectors; a snapshot of {} may need as many",
                                 disks.scratch.path(), disks.scratch.size.value,
                                 request.length_sectors()));
  }
  return disks;
}

Status RunCommand(const MountState& request, StateReport& report) {
  std::string marks;
  for (const std::string& mark : request.mark()) marks += mark + "\n";
  PP_RETURN_IF_ERROR(os::WriteFileAtomic(kMarksPath, marks));
  const RunGuestProgram& program = request.command();
  std::vector<std::string> environment(program.environment().begin(), program.environment().end());
  environment.push_back(std::string("PLUGPULL_MARKS=") + kMarksPath);
  environment.push_back(std::string("PLUGPULL_MOUNT=") + kMountPoint);
  const auto outcome = RunGuestCommand({program.argv().begin(), program.argv().end()}, environment,
                                       Millis(program.timeout_ms()), kMountPoint);
  if (!outcome.ok()) {
    report.set_command_problem(outcome.error().ToString());
    return OkStatus();
  }
  report.set_command_ran(true);
  report.set_command_status(outcome->exit_status);
  report.set_command_timed_out(outcome->timed_out);
  // Proto texts are UTF-8, a program's output may be anything.
  for (const char c : outcome->output) {
    const bool plain = (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\t';
    report.mutable_command_output()->push_back(plain ? c : '?');
  }
  return OkStatus();
}

Status MountAndLook(const MountState& request, const std::string& device, StateReport& report) {
  // An image may ask for a panic at the first error.
  PP_ASSIGN_OR_RETURN(
      const KernelReply mounted,
      Mount(device, kMountPoint, "ext4", {request.read_only() ? "ro" : "rw", "errors=continue"}));
  report.set_mount_error(mounted.error_number);
  if (mounted.error_number != 0) return OkStatus();
  if (request.read_tree()) {
    MountedTree reader(kMountPoint);
    *report.mutable_tree() = tree::ReadTree(reader);
  }
  const Status ran = request.has_command() ? RunCommand(request, report) : OkStatus();
  report.set_unmount_error(Unmount(kMountPoint).error_number);
  return ran;
}

}  // namespace

Result<StateReport> MountAndReport(const MountState& request) {
  if (request.label().size() > kLabelBytesMax || request.label().find('\n') != std::string::npos) {
    return UserError(fmt::format("a label must be one line of at most {} bytes", kLabelBytesMax));
  }
  PP_ASSIGN_OR_RETURN(const Disks disks, FindDisks(request));
  const Sectors length(request.length_sectors());
  PP_ASSIGN_OR_RETURN(
      dm::Device part,
      dm::Device::Create("pp-state", {dm::Linear{Sectors(0), length, disks.data.number,
                                                 Sectors(request.first_sector())}}));
  PP_ASSIGN_OR_RETURN(
      dm::Device view,
      dm::Device::Create("pp-state-view", {dm::Snapshot{Sectors(0), length, part.number(),
                                                        disks.scratch.number, kChunk}}));
  PP_ASSIGN_OR_RETURN(KernelLog log, KernelLog::Open());
  const std::string name =
      fmt::format("plugpull: {}, {}", request.label(), request.read_only() ? "ro" : "rw");
  PP_RETURN_IF_ERROR(log.Write(name + " begins"));
  StateReport report;
  PP_RETURN_IF_ERROR(MountAndLook(request, view.path(), report));
  PP_RETURN_IF_ERROR(log.Write(name + " ends"));
  bool cut = false;
  for (KernelLine& line : log.Take(kKernelLinesMax, cut)) {
    *report.add_kernel_line() = std::move(line);
  }
  report.set_kernel_log_cut(cut);
  PP_RETURN_IF_ERROR(view.Remove());
  PP_RETURN_IF_ERROR(part.Remove());
  return report;
}

}  // namespace plugpull::guest
