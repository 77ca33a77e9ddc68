// SPDX-License-Identifier: Apache-2.0
// What a small agent does in a real guest is in the timeline exactly as often as it did it, and the
// contract says so; an hour of the guest's time takes seconds.
// PLUGPULL_TEST_KERNEL: another kernel than debian:6.1.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <fstream>

#include "framework/agent/contract.h"
#include "framework/os/fd.h"
#include "framework/os/file.h"
#include "vm/initramfs/initramfs.h"
#include "vm/kernels/kernels.h"
#include "vm/machine.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull {
namespace {

constexpr uint64_t kDiskSectors = 16 * 2048;
constexpr Millis kCallMax{240'000};
constexpr uint32_t kHourMs = 3'600'000;

class AgentGuestTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto kernel = vm::ResolveKernel(os::GetEnv("PLUGPULL_TEST_KERNEL", "debian:6.1"));
    ASSERT_TRUE(kernel.ok()) << kernel.error().ToString();
    vm::InitramfsOptions initramfs;
    initramfs.kernel = *kernel;
    initramfs.guest_folder = std::string(PLUGPULL_BINARY_DIR) + "/bin";
    initramfs.modules = vm::DefaultModules();
    initramfs.programs = {"/bin/sh", "mount", "umount", "sleep", "mkdir"};
    initramfs.files["/scenario/loop.sh"] =
        std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/agent/shell_loop.sh";
    const auto archive = vm::BuildInitramfs(initramfs);
    ASSERT_TRUE(archive.ok()) << archive.error().ToString();
    vm::MachineOptions options;
    options.kernel_image = kernel->image;
    options.initramfs = *archive;
    options.accelerator = "tcg";
    options.warped_clock = true;
    for (auto& [serial, disk] : disks_) {
      auto file = os::MakeScratchFile(::testing::TempDir(), ToBytes(Sectors(kDiskSectors)));
      ASSERT_TRUE(file.ok());
      disk = std::move(*file);
      options.disks.push_back({serial, disk.get()});
    }
    auto machine = vm::StartQemu(options);
    ASSERT_TRUE(machine.ok()) << machine.error().ToString();
    machine_ = std::move(*machine);
    const auto hello = machine_->WaitForHello(os::Deadline::After(kCallMax));
    ASSERT_TRUE(hello.ok()) << hello.error().ToString();
  }

  Answer Do(const GuestRequest& request) {
    const auto answer = vm::Call(*machine_, request, kCallMax);
    EXPECT_TRUE(answer.ok()) << answer.error().ToString();
    if (!answer.ok()) return {};
    EXPECT_FALSE(answer->has_error())
        << vm::RequestName(request) << ": " << answer->error().message();
    return *answer;
  }

  void Mkfs(const std::string& device) {
    GuestRequest request;
    auto& program = *request.mutable_run_program();
    for (const char* word : {"mkfs.ext4", "-q", "-F"}) program.add_argv(word);
    program.add_argv(device);
    program.set_timeout_ms(120'000);
    EXPECT_EQ(Do(request).exit_status(), 0);
  }

  // A disk is there for the executor and, with its content, for the timeline.
  void SetUpDisk(const std::string& name, const std::string& serial) {
    GuestRequest request;
    request.mutable_set_up_disk()->set_disk(name);
    request.mutable_set_up_disk()->set_data_serial(serial);
    request.mutable_set_up_disk()->set_size_sectors(kDiskSectors);
    devices_[name] = Do(request).device();
  }
  void NoteAttached(const std::string& name, const std::string& serial,
                    DiskChange::Content content) {
    GuestRequest request;
    auto& change = *request.mutable_note_event()->mutable_event()->mutable_disk();
    change.set_kind(DiskChange::ATTACHED);
    change.set_disk(name);
    change.set_serial(serial);
    change.set_content(content);
    Do(request);
  }
  void Wait(AgentWaitStep step) {
    GuestRequest request;
    *request.mutable_wait_for_agent()->mutable_step() = std::move(step);
    Do(request);
  }

  std::vector<std::pair<std::string, os::Fd>> disks_ = [] {
    std::vector<std::pair<std::string, os::Fd>> disks;
    disks.emplace_back("pvc-0001", os::Fd());
    disks.emplace_back("pvc-0002", os::Fd());
    return disks;
  }();
  std::map<std::string, std::string> devices_;
  std::unique_ptr<vm::Machine> machine_;
};

TEST_F(AgentGuestTest, TimelineHasExactlyTheAttemptsOfTheScript) {
  SetUpDisk("vol", "pvc-0001");
  SetUpDisk("good", "pvc-0002");
  Mkfs(devices_["good"]);
  NoteAttached("vol", "pvc-0001", DiskChange::DAMAGED);
  NoteAttached("good", "pvc-0002", DiskChange::FILE_SYSTEM);
  GuestRequest start;
  AgentStep& agent = *start.mutable_start_agent()->mutable_step();
  agent.set_name("loop");
  for (const std::string& word : {std::string("/bin/sh"), std::string("/scenario/loop.sh"),
                                  devices_["vol"], devices_["good"]}) {
    agent.add_argv(word);
  }
  agent.set_alert_pattern("cannot mount");
  Do(start);
  AgentWaitStep until_exit;
  until_exit.set_name("loop");
  until_exit.set_until_exit(true);
  Wait(until_exit);
  const auto hour_begins = std::chrono::steady_clock::now();
  AgentWaitStep hour;
  hour.set_for_ms(kHourMs);
  Wait(hour);
  const auto hour_took = std::chrono::steady_clock::now() - hour_begins;
  RecordProperty("hour_ms",
                 static_cast<int>(std::chrono::duration_cast<Millis>(hour_took).count()));
  EXPECT_LT(hour_took, std::chrono::seconds(120));
  GuestRequest take;
  take.mutable_take_timeline();
  const Answer answer = Do(take);
  EXPECT_GT(answer.guest_ms(), kHourMs);
  Timeline timeline = answer.timeline();
  EXPECT_EQ(timeline.lost_events(), 0u) << timeline.lost_reason();
  if (const std::string path = os::GetEnv("PLUGPULL_TEST_TIMELINE", ""); !path.empty()) {
    std::ofstream(path) << timeline.DebugString();
  }

  std::map<int, int> errors;  // of mounts
  int fills = 0;
  int kernel_lines = 0;
  int in_force = 0;
  int alerts = 0;
  int unmounts = 0;
  std::map<std::string, int> programs;
  for (const TimelineEvent& event : timeline.event()) {
    kernel_lines += event.has_kernel_line();
    fills += event.has_superblock();
    alerts += event.has_alert();
    if (event.has_in_force()) {
      ++in_force;
      EXPECT_THAT(event.in_force().option(), ::testing::Contains("noatime"));
    }
    unmounts += event.has_unmount() && event.unmount().error_number() == 0;
    if (event.has_program()) ++programs[event.program().argv(0)];
    if (!event.has_mount()) continue;
    EXPECT_EQ(event.agent(), "loop");
    ++errors[event.mount().error_number()];
    const bool good = event.mount().error_number() == 0;
    EXPECT_EQ(event.mount().disk(), good ? "good" : "vol");
    EXPECT_EQ(event.mount().target(), good ? "/mnt/good" : "/mnt/vol");
  }
  EXPECT_EQ(errors, (std::map<int, int>{{0, 1}, {EINVAL, 7}}));
  EXPECT_EQ(fills, 8);
  EXPECT_EQ(in_force, 1);
  EXPECT_EQ(alerts, 1);
  EXPECT_EQ(unmounts, 1);
  EXPECT_EQ(programs["mount"], 8);
  EXPECT_EQ(programs["sleep"], 7);
  EXPECT_GE(kernel_lines, 3);

  for (const char* name : {"vol", "good"}) timeline.add_disk()->set_name(name);
  timeline.add_agent()->set_name("loop");
  std::vector<std::string> violated;
  const AgentReport report = agent::JudgeAgent(timeline, "loop", Contract());
  for (const PropertyReport& property : report.property()) {
    if (property.verdict() == PropertyReport::VIOLATED) {
      violated.push_back(FindingClass_Name(property.property()));
    }
  }
  EXPECT_THAT(violated, ::testing::ElementsAre("BOUNDED_ATTEMPTS", "GROWING_GAPS", "ONE_ALERT",
                                               "PERMANENT_NOT_RETRIED"));
}

}  // namespace
}  // namespace plugpull
