// SPDX-License-Identifier: Apache-2.0
// Device-mapper in real kernels: what is built is what they report, live swaps do what they say
// while the device is in use, and everything is gone at the end. PLUGPULL_TEST_KERNELS may name
// other kernels, separated by spaces.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>

#include "dm-targets/table/support.h"
#include "dm-targets/table/table.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/mark.h"
#include "framework/os/fd.h"
#include "framework/os/file.h"
#include "vm/initramfs/initramfs.h"
#include "vm/kernels/kernels.h"
#include "vm/machine.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Millis kCallMax{180'000};
constexpr Millis kBootMax{180'000};
constexpr uint64_t kSectors = 16384;
constexpr uint64_t kStrip = 2048;

class DmStackTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto kernel = vm::ResolveKernel(GetParam());
    ASSERT_TRUE(kernel.ok()) << kernel.error().ToString();
    release_ = kernel->release;
    vm::InitramfsOptions initramfs;
    initramfs.kernel = *kernel;
    initramfs.guest_folder = std::string(PLUGPULL_BINARY_DIR) + "/bin";
    initramfs.modules = vm::DefaultModules();
    const auto archive = vm::BuildInitramfs(initramfs);
    ASSERT_TRUE(archive.ok()) << archive.error().ToString();
    vm::MachineOptions options;
    options.kernel_image = kernel->image;
    options.initramfs = *archive;
    options.accelerator = "tcg";
    for (const char* serial : {"data", "part", "pool", "log"}) {
      auto file = os::MakeScratchFile(
          ::testing::TempDir(),
          serial == std::string("log") ? Mebibytes(256) : ToBytes(Sectors(kSectors + kStrip)));
      ASSERT_TRUE(file.ok());
      files_.push_back(std::move(*file));
      options.disks.push_back({serial, files_.back().get()});
    }
    auto machine = vm::StartQemu(options);
    ASSERT_TRUE(machine.ok()) << machine.error().ToString();
    machine_ = std::move(*machine);
    const auto hello = machine_->WaitForHello(os::Deadline::After(kBootMax));
    ASSERT_TRUE(hello.ok()) << hello.error().ToString();
  }

  Answer Ask(const GuestRequest& request) {
    const auto answer = vm::Call(*machine_, request, kCallMax);
    EXPECT_TRUE(answer.ok()) << answer.error().ToString();
    return answer.ok() ? *answer : Answer();
  }
  Answer Do(const GuestRequest& request) {
    Answer answer = Ask(request);
    EXPECT_FALSE(answer.has_error()) << answer.error().message();
    return answer;
  }
  // What a shell prints; it must end well.
  std::string Shell(const std::string& script) {
    GuestRequest request;
    for (const std::string& word : {std::string("/bin/sh"), std::string("-c"), script}) {
      request.mutable_run_program()->add_argv(word);
    }
    request.mutable_run_program()->set_timeout_ms(120'000);
    const Answer answer = Do(request);
    EXPECT_EQ(answer.exit_status(), 0) << script << "\n" << answer.output();
    return answer.output();
  }
  bool Works(const std::string& command) {
    return Shell("if " + command + " 2>/dev/null; then echo works; else echo fails; fi") ==
           "works\n";
  }
  std::vector<std::string> Sweep() {
    GuestRequest request;
    request.mutable_sweep_devices();
    const Answer answer = Do(request);
    return {answer.text().begin(), answer.text().end()};
  }
  GuestRequest SetUpRequest(bool log) {
    GuestRequest request;
    SetUpDisk& disk = *request.mutable_set_up_disk();
    disk.set_disk("vol");
    disk.set_data_serial("data");
    disk.set_size_sectors(log ? kSectors : kSectors + kStrip);
    if (log) {
      disk.set_strip_sectors(kStrip);
      disk.set_log_serial("log");
    }
    return request;
  }
  Answer Swap(uint32_t layer, const std::function<void(Layer&)>& to, bool only_try = false) {
    GuestRequest request;
    SwapLayer& swap = *request.mutable_swap_layer();
    swap.set_disk("vol");
    swap.set_layer(layer);
    to(*swap.mutable_to());
    swap.set_only_try(only_try);
    return Ask(request);
  }

  std::string release_;
  std::vector<os::Fd> files_;
  std::unique_ptr<vm::Machine> machine_;
};

// Every target that can be built, as `dmsetup` is given it and as the kernel reports it back.
TEST_P(DmStackTest, WhatIsBuiltIsWhatTheKernelReports) {
  const auto kernel = dm::KernelRelease::Parse(release_);
  ASSERT_TRUE(kernel.ok());
  const std::string numbers = Shell(
      "for s in data part pool; do for f in /sys/block/vd*/serial; do "
      "[ \"$(cat $f)\" = $s ] && cat ${f%serial}dev; done; done; true");
  std::istringstream lines(numbers);
  std::string data, part, pool;
  lines >> data >> part >> pool;
  const std::string d = data;
  const std::vector<std::string> asked = {
      "0 8192 linear " + d + " 16",
      "0 8192 error",
      "0 8192 zero",
      "0 8192 striped 2 128 " + d + " 0 " + part + " 8",
      "0 8192 delay " + d + " 0 5",
      "0 8192 delay " + d + " 0 5 " + d + " 8 6",
      "0 8192 delay " + d + " 0 5 " + d + " 8 6 " + d + " 16 7",
      "0 8192 flakey " + d + " 0 0 1 0",
      "0 8192 flakey " + d + " 0 5 1 1 drop_writes",
      "0 8192 flakey " + d + " 8 0 1 1 error_writes",
      "0 8192 flakey " + d + " 0 0 1 1 error_reads",
      "0 8192 flakey " + d + " 0 0 1 5 corrupt_bio_byte 32 r 1 0",
      "0 8192 flakey " + d + " 0 0 1 6 drop_writes corrupt_bio_byte 224 r 0 32",
      "0 8192 flakey " + d + " 0 0 1 5 corrupt_bio_byte 4294967295 w 255 4294967295",
      "0 8192 flakey " + d + " 0 0 1 4 random_read_corrupt 5 random_write_corrupt 1000000000",
      "0 8192 snapshot-origin " + d,
      "0 8192 snapshot " + d + " " + pool + " N 16",
      "0 8192 snapshot " + d + " " + pool + " P 16",
      "0 8192 snapshot " + d + " " + pool + " PO 16",
      "0 8192 snapshot " + d + " " + pool + " N 8 1 discard_zeroes_cow",
      "0 8192 snapshot " + d + " " + pool + " N 8 2 discard_zeroes_cow discard_passdown_origin",
      "0 100 linear " + d + " 16\n100 28 error\n128 8064 zero"};
  for (const std::string& text : asked) {
    dm::Table table;
    std::istringstream targets(text);
    for (std::string line; std::getline(targets, line);) {
      const auto target = dm::ParseLine(line);
      ASSERT_TRUE(target.ok()) << target.error().ToString();
      table.push_back(*target);
    }
    EXPECT_TRUE(dm::Validate(table).ok()) << text;
    const std::string unsupported = dm::Unsupported(table[0], *kernel);
    // A persistent snapshot takes what it finds on its scratch disk for its own.
    const std::string output = Shell(
        "dd if=/dev/zero of=$(grep -lx pool /sys/block/*/serial | sed "
        "'s|/sys/block|/dev|; s|/serial||') bs=4096 count=4 2>/dev/null; "
        "if printf '" +
        text +
        "\\n' | dmsetup create pp-one 2>/dev/null; then "
        "dmsetup table pp-one; echo STATUS; dmsetup status pp-one; dmsetup remove pp-one; "
        "else echo refused; fi");
    EXPECT_EQ(output == "refused\n", !unsupported.empty()) << text << "\n" << unsupported;
    if (output == "refused\n") continue;
    std::cout << release_ << " [" << text << "] " << output;
    dm::Table reported;
    std::istringstream answer(output);
    for (std::string line; std::getline(answer, line) && line != "STATUS";) {
      const auto target = dm::ParseLine(line);
      ASSERT_TRUE(target.ok()) << target.error().ToString();
      reported.push_back(*target);
    }
    EXPECT_TRUE(dm::SameMeaning(table, reported)) << output;
  }
  EXPECT_THAT(Sweep(), IsEmpty());
}

TEST_P(DmStackTest, LayersAreSwappedUnderAMountedFileSystem) {
  GuestRequest request = SetUpRequest(true);
  SetUpDisk& disk = *request.mutable_set_up_disk();
  GuestLayer& striped = *disk.add_layer();
  striped.set_kind(GuestLayer::STRIPED);
  striped.mutable_layer()->mutable_striped()->set_chunk_kib(64);
  striped.mutable_layer()->mutable_striped()->add_disk("part");
  striped.add_serial("part");
  GuestLayer& snapshot = *disk.add_layer();
  snapshot.set_kind(GuestLayer::SNAPSHOT);
  snapshot.mutable_layer()->mutable_snapshot()->set_scratch("pool");
  snapshot.mutable_layer()->mutable_snapshot()->set_chunk_kib(4);
  snapshot.add_serial("pool");
  disk.add_layer()->set_kind(GuestLayer::LOG_WRITES);
  disk.add_layer()->set_kind(GuestLayer::DROP_BARRIERS);
  disk.add_layer()->set_kind(GuestLayer::LINEAR);
  const Answer made = Do(request);
  EXPECT_EQ(made.device(), "/dev/mapper/pp-vol-layer4");
  const std::string write_cache =
      "cat /sys/block/$(basename $(readlink -f "
      "/dev/mapper/pp-vol-layer3))/queue/write_cache";
  Shell("mkfs.ext4 -q -F -b 1024 /dev/mapper/pp-vol-layer4 4096");
  GuestRequest mount;
  mount.mutable_mount()->set_disk("vol");
  mount.mutable_mount()->set_at("/data");
  mount.mutable_mount()->set_type("ext4");
  Do(mount);
  const std::string write = "dd if=/dev/zero of=/data/f bs=4096 count=1 conv=fsync";
  const std::string read =
      "dd if=/dev/mapper/pp-vol-layer4 of=/dev/null bs=4096 count=1 iflag=direct";
  EXPECT_TRUE(Works(write));
  // Delays are counted in the guest's time.
  Answer swapped = Swap(4, [](Layer& to) { to.mutable_delay()->set_read_ms(700); });
  ASSERT_EQ(swapped.fault_size(), 1) << swapped.error().message();
  EXPECT_THAT(swapped.fault(0).table(), Contains(HasSubstr("pp-vol-layer4: 0 16384 delay ")));
  const std::string took = Shell("a=$(cut -d' ' -f1 /proc/uptime | tr -d .); " + read +
                                 " 2>/dev/null; b=$(cut -d' ' -f1 /proc/uptime | tr -d .); "
                                 "[ $((b - a)) -ge 70 ] && echo late");
  EXPECT_EQ(took, "late\n");
  // Through a layer that drops barriers, and back: it still does.
  swapped = Swap(3, [](Layer& to) { to.mutable_linear(); });
  EXPECT_FALSE(swapped.has_error()) << swapped.error().message();
  Swap(4, [](Layer& to) { to.mutable_error(); });
  EXPECT_FALSE(Works(read));
  Swap(4, [](Layer& to) { to.mutable_error()->set_first_sector(8); });
  EXPECT_TRUE(Works(read));
  EXPECT_FALSE(Works(read + " skip=1"));
  Swap(4, [](Layer& to) { to.mutable_linear(); });
  EXPECT_TRUE(Works(read + " skip=1"));
  // Refused by the kernel or by us: what was there stays.
  EXPECT_THAT(Swap(0, [](Layer& to) { to.mutable_linear(); }).error().message(),
              HasSubstr("cannot be given another table"));
  EXPECT_THAT(
      Swap(4, [](Layer& to) { to.mutable_error()->set_first_sector(16384); }).error().message(),
      HasSubstr("16383"));
  const auto kernel = dm::KernelRelease::Parse(release_);
  const bool new_features = *kernel >= dm::KernelRelease{6, 5};
  const Answer tried = Swap(
      4, [](Layer& to) { to.mutable_flakey()->set_error_reads(true); }, true);
  EXPECT_EQ(tried.has_error(), !new_features) << tried.error().message();
  EXPECT_TRUE(Works(read));
  EXPECT_THAT(Shell("for n in 3 4; do dmsetup table pp-vol-layer$n; done"), HasSubstr("linear"));
  EXPECT_THAT(Shell("dmsetup ls"), ::testing::Not(HasSubstr("-try")));
  // It is mounted: nothing can be taken down, and nothing is lost by trying.
  GuestRequest sweep;
  sweep.mutable_sweep_devices();
  EXPECT_TRUE(Ask(sweep).has_error());
  Shell("umount /data");
  Sweep();
  EXPECT_EQ(Shell("dmsetup ls"), "No devices found\n");
}

// What a killed run leaves: a stack in any order, one device of it suspended, and one of somebody
// else's.
TEST_P(DmStackTest, LeftoversAreSweptByName) {
  Shell(
      "set -e; number() { dmsetup info -c --noheadings --separator : -o major,minor $1; }; "
      "dmsetup create pp-z --table '0 8192 zero'; "
      "dmsetup create pp-a --table \"0 4096 linear $(number pp-z) 0\"; "
      "dmsetup create pp-m --table \"0 4096 linear $(number pp-a) 0\"; "
      "dmsetup suspend pp-m; dmsetup create other --table '0 8 zero'; "
      "dmsetup create pp-none --notable");
  EXPECT_THAT(Sweep(), ::testing::UnorderedElementsAre("pp-a", "pp-m", "pp-none", "pp-z"));
  EXPECT_THAT(Shell("dmsetup ls"), HasSubstr("other"));
  Shell("dmsetup remove other");
}

std::vector<std::string> KernelsUnderTest() {
  std::istringstream names(os::GetEnv("PLUGPULL_TEST_KERNELS", "debian:6.1 debian:6.12"));
  std::vector<std::string> kernels;
  for (std::string name; names >> name;) kernels.push_back(name);
  return kernels;
}

INSTANTIATE_TEST_SUITE_P(Kernels, DmStackTest, ::testing::ValuesIn(KernelsUnderTest()),
                         [](const auto& kernel) {
                           std::string name = kernel.param;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return !std::isalnum(c); },
                               '_');
                           return name;
                         });

}  // namespace
}  // namespace plugpull
