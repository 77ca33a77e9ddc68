// SPDX-License-Identifier: Apache-2.0
// QEMU with a stock kernel and the real PID 1: the good way and the bad ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <thread>

#include "framework/os/file.h"
#include "vm/initramfs/initramfs.h"
#include "vm/kernels/kernels.h"
#include "vm/qemu/accelerator.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull::vm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr Millis kBootMax{90'000};

class MachineTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ::setenv("PLUGPULL_GUEST_DIR", PLUGPULL_BINARY_DIR "/bin", /*overwrite=*/1);
    auto kernel = ResolveKernel("debian:6.1");
    ASSERT_TRUE(kernel.ok()) << kernel.error().ToString();
    kernel_ = *kernel;
    InitramfsOptions initramfs;
    initramfs.kernel = kernel_;
    initramfs.modules = DefaultModules();
    const auto path = BuildInitramfs(initramfs);
    ASSERT_TRUE(path.ok()) << path.error().ToString();
    initramfs_ = *path;
  }

  void SetUp() override {
    folder_ = ::testing::TempDir() + "plugpull-machine-test-" + std::to_string(::getpid());
    ASSERT_TRUE(os::MakeFolders(folder_).ok());
    options_.kernel_image = kernel_.image;
    options_.initramfs = initramfs_;
    options_.accelerator = "tcg";
    options_.console_log = folder_ + "/console.log";
  }
  void TearDown() override { (void)os::RemoveAll(folder_); }

  std::string Console() {
    const auto text = os::ReadFile(options_.console_log, Bytes(16 << 20));
    return text.ok() ? *text : text.error().ToString();
  }

  static Kernel kernel_;
  static std::string initramfs_;
  std::string folder_;
  MachineOptions options_;
};

Kernel MachineTest::kernel_;
std::string MachineTest::initramfs_;

TEST_F(MachineTest, SaysHelloDoesWorkAndSwitchesItselfOff) {
  auto data = os::MakeScratchFile(folder_, Mebibytes(16));
  ASSERT_TRUE(data.ok());
  options_.disks = {{"pvc-0001", data->get()}};
  const auto start = std::chrono::steady_clock::now();
  auto machine = StartQemu(options_);
  ASSERT_TRUE(machine.ok()) << machine.error().ToString();
  const auto hello = (*machine)->WaitForHello(os::Deadline::After(kBootMax));
  ASSERT_TRUE(hello.ok()) << hello.error().ToString();
  const auto boot_ms = std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - start);
  RecordProperty("hello_ms", static_cast<int>(boot_ms.count()));
  std::cout << "hello after " << boot_ms.count() << " ms\n";
  EXPECT_EQ(hello->kernel_release(), kernel_.release);

  // The disk is there by its serial, has a volatile cache, and takes a file system.
  GuestRequest request;
  auto* program = request.mutable_run_program();
  for (const char* word : {"/bin/sh", "-c",
                           "set -e; d=$(basename $(dirname $(grep -lx pvc-0001 "
                           "/sys/block/vd*/serial))); cat /sys/block/$d/queue/write_cache; "
                           "mke2fs -q -t ext4 /dev/$d; mount -t ext4 /dev/$d /mnt; "
                           "umount /mnt; dmsetup targets; plugpull-mark --help >/dev/null"}) {
    program->add_argv(word);
  }
  program->set_timeout_ms(60'000);
  const auto answer = Call(**machine, request, Millis(70'000));
  ASSERT_TRUE(answer.ok()) << answer.error().ToString();
  EXPECT_EQ(answer->exit_status(), 0) << answer->output() << answer->error().message();
  EXPECT_THAT(answer->output(), AllOf(HasSubstr("write back"), HasSubstr("log-writes"),
                                      HasSubstr("flakey"), HasSubstr("delay")));

  GuestRequest off;
  off.mutable_power_off();
  const auto off_answer = Call(**machine, off, Millis(10'000));
  ASSERT_TRUE(off_answer.ok()) << off_answer.error().ToString();
  const Status ended = (*machine)->WaitForEnd(os::Deadline::After(Millis(15'000)));
  EXPECT_TRUE(ended.ok()) << ended.error().ToString();
  EXPECT_THAT(Console(), AllOf(HasSubstr("Linux version"), HasSubstr("mounted filesystem")));

  std::vector<uint8_t> magic(2);
  ASSERT_TRUE(os::PreadAll(data->get(), magic, Bytes(1080)).ok());
  EXPECT_EQ(magic, (std::vector<uint8_t>{0x53, 0xef}));
}

// `plugpull kernel fetch` puts the others there; this test does not.
TEST_F(MachineTest, EveryKernelInTheCacheSaysHello) {
  const auto names = KernelNames();
  ASSERT_TRUE(names.ok()) << names.error().ToString();
  for (const auto& name : *names) {
    if (!name.cached) continue;
    const auto kernel = ResolveKernel(name.name);
    ASSERT_TRUE(kernel.ok()) << kernel.error().ToString();
    InitramfsOptions initramfs;
    initramfs.kernel = *kernel;
    initramfs.modules = DefaultModules();
    const auto path = BuildInitramfs(initramfs);
    ASSERT_TRUE(path.ok()) << path.error().ToString();
    options_.kernel_image = kernel->image;
    options_.initramfs = *path;
    auto machine = StartQemu(options_);
    ASSERT_TRUE(machine.ok()) << machine.error().ToString();
    const auto hello = (*machine)->WaitForHello(os::Deadline::After(kBootMax));
    ASSERT_TRUE(hello.ok()) << name.name << ": " << hello.error().ToString();
    EXPECT_EQ(hello->kernel_release(), name.release);
    GuestRequest request;
    for (const char* word : {"dmsetup", "targets"}) request.mutable_run_program()->add_argv(word);
    request.mutable_run_program()->set_timeout_ms(20'000);
    const auto answer = Call(**machine, request, Millis(30'000));
    ASSERT_TRUE(answer.ok()) << answer.error().ToString();
    EXPECT_THAT(answer->output(), AllOf(HasSubstr("log-writes"), HasSubstr("snapshot")));
  }
}

TEST_F(MachineTest, PanicIsAGuestErrorWithThePanicLine) {
  options_.kernel_arguments = {"rdinit=/nonexistent", "init=/nonexistent"};
  auto machine = StartQemu(options_);
  ASSERT_TRUE(machine.ok()) << machine.error().ToString();
  const auto hello = (*machine)->WaitForHello(os::Deadline::After(kBootMax));
  ASSERT_FALSE(hello.ok());
  EXPECT_EQ(hello.error().code, ErrorCode::kGuest);
  EXPECT_THAT(hello.error().message,
              AllOf(HasSubstr("the guest's kernel panicked: Kernel panic - not syncing"),
                    HasSubstr("last lines"), HasSubstr(options_.console_log)));
}

TEST_F(MachineTest, HangingGuestIsAnErrorAtTheDeadline) {
  auto machine = StartQemu(options_);
  ASSERT_TRUE(machine.ok()) << machine.error().ToString();
  const auto hello = (*machine)->WaitForHello(os::Deadline::After(kBootMax));
  ASSERT_TRUE(hello.ok()) << hello.error().ToString();
  GuestRequest request;
  for (const char* word : {"sleep", "1000"}) request.mutable_run_program()->add_argv(word);
  request.mutable_run_program()->set_timeout_ms(1'000'000);
  const auto start = std::chrono::steady_clock::now();
  const auto answer = Call(**machine, request, Millis(1'000));
  const auto waited = std::chrono::steady_clock::now() - start;
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, ErrorCode::kGuest);
  EXPECT_THAT(answer.error().message,
              AllOf(HasSubstr("said nothing for"), HasSubstr("run_program")));
  EXPECT_GE(waited, Millis(950));
  EXPECT_LT(waited, Millis(5'000));
}

TEST_F(MachineTest, KilledQemuIsSeenAndIsNotTheGuestsFault) {
  auto machine = QemuMachine::Start(options_);
  ASSERT_TRUE(machine.ok()) << machine.error().ToString();
  ASSERT_EQ(::kill((*machine)->pid(), SIGKILL), 0);
  const auto hello = (*machine)->WaitForHello(os::Deadline::After(kBootMax));
  ASSERT_FALSE(hello.ok());
  EXPECT_EQ(hello.error().code, ErrorCode::kEnvironment);
  EXPECT_THAT(hello.error().message, HasSubstr("killed by signal 9"));
}

TEST_F(MachineTest, QemuThatDoesNotStartIsAnEnvironmentErrorWithItsWords) {
  options_.kernel_image = folder_ + "/no-such-kernel";
  const auto machine = StartQemu(options_);
  ASSERT_FALSE(machine.ok());
  EXPECT_EQ(machine.error().code, ErrorCode::kEnvironment);
  EXPECT_THAT(machine.error().message, HasSubstr("no-such-kernel"));
}

bool Runs(pid_t pid) {
  const auto status = os::ReadFile("/proc/" + std::to_string(pid) + "/stat", Bytes(4096));
  return status.ok() && status->find(") Z ") == std::string::npos;
}

TEST_F(MachineTest, NothingIsLeftWhenTheOwnerIsKilled) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  const pid_t owner = ::fork();
  ASSERT_GE(owner, 0);
  if (owner == 0) {
    auto machine = QemuMachine::Start(options_);
    const pid_t qemu = machine.ok() ? (*machine)->pid() : -1;
    (void)!::write(pipe_fds[1], &qemu, sizeof qemu);
    ::pause();
    ::_exit(0);
  }
  pid_t qemu = -1;
  ASSERT_EQ(::read(pipe_fds[0], &qemu, sizeof qemu), static_cast<ssize_t>(sizeof qemu));
  ASSERT_GT(qemu, 0);
  EXPECT_TRUE(Runs(qemu));
  ASSERT_EQ(::kill(owner, SIGKILL), 0);
  ASSERT_EQ(::waitpid(owner, nullptr, 0), owner);
  for (int i = 0; i < 100 && Runs(qemu); ++i) std::this_thread::sleep_for(Millis(50));
  EXPECT_FALSE(Runs(qemu));
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

TEST_F(MachineTest, AutomaticAcceleratorWorks) {
  const auto choice = ChooseAccelerator("auto", kernel_.image, initramfs_);
  ASSERT_TRUE(choice.ok()) << choice.error().ToString();
  std::cout << choice->accelerator << ": " << choice->reason << "\n";
  const auto start = std::chrono::steady_clock::now();
  const auto again = ChooseAccelerator("auto", kernel_.image, initramfs_);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->accelerator, choice->accelerator);
  EXPECT_EQ(again->reason, choice->reason);
  EXPECT_LT(std::chrono::steady_clock::now() - start, Millis(2'000));  // remembered

  options_.accelerator = choice->accelerator;
  auto machine = StartQemu(options_);
  ASSERT_TRUE(machine.ok()) << machine.error().ToString();
  const auto hello = (*machine)->WaitForHello(os::Deadline::After(kBootMax));
  EXPECT_TRUE(hello.ok()) << hello.error().ToString();
}

}  // namespace
}  // namespace plugpull::vm
