// SPDX-License-Identifier: Apache-2.0
// What QEMU is told, what a console says, and how an accelerator is chosen; without any QEMU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/os/file.h"
#include "vm/fake/fake_machine.h"
#include "vm/qemu/accelerator.h"
#include "vm/qemu/command_line.h"
#include "vm/qemu/console.h"

namespace plugpull::vm {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

MachineOptions Options() {
  MachineOptions options;
  options.kernel_image = "/k";
  options.initramfs = "/i";
  options.accelerator = "tcg";
  return options;
}

std::string After(const std::vector<std::string>& arguments, const std::string& name) {
  const auto it = std::find(arguments.begin(), arguments.end(), name);
  return it == arguments.end() || it + 1 == arguments.end() ? "" : *(it + 1);
}

TEST(CommandLine, DisksAreDescriptorsWithAVolatileCache) {
  MachineOptions options = Options();
  options.disks = {{"pvc-0001", 7}, {"a,b", 8}};
  const auto arguments = QemuArguments(options);
  ASSERT_TRUE(arguments.ok());
  EXPECT_THAT(*arguments, Contains("fd=20,set=2"));
  EXPECT_THAT(*arguments, Contains("fd=21,set=3"));
  EXPECT_THAT(*arguments, Contains(testing::AllOf(HasSubstr("\"serial\":\"a,b\""),
                                                  HasSubstr("\"write-cache\":\"on\""),
                                                  HasSubstr("\"werror\":\"report\""))));
  EXPECT_THAT(*arguments,
              Contains(testing::AllOf(HasSubstr("/dev/fdset/3"), HasSubstr("\"no-flush\":true"),
                                      HasSubstr("\"discard\":\"unmap\""))));
  EXPECT_EQ(After(*arguments, "-cpu"), "max");
}

TEST(CommandLine, ALoggedDiskStandsOnItsLog) {
  MachineOptions options = Options();
  options.disks = {{"a", 7, -1}, {"b", 8, 9}, {"c", 10, 11}};
  const auto arguments = QemuArguments(options);
  ASSERT_TRUE(arguments.ok());
  // Disks first, then the logs of those that have one.
  for (const char* descriptor :
       {"fd=20,set=2", "fd=21,set=3", "fd=22,set=4", "fd=23,set=5", "fd=24,set=6"}) {
    EXPECT_THAT(*arguments, Contains(descriptor));
  }
  std::vector<nlohmann::json> nodes;
  for (size_t i = 0; i + 1 < arguments->size(); ++i) {
    if ((*arguments)[i] == "-blockdev") nodes.push_back(nlohmann::json::parse((*arguments)[i + 1]));
  }
  ASSERT_EQ(nodes.size(), 3U);
  EXPECT_EQ(nodes[0]["driver"], "raw");
  for (const auto& [index, log] : {std::pair(1, 5), std::pair(2, 6)}) {
    const nlohmann::json& node = nodes[static_cast<size_t>(index)];
    EXPECT_EQ(node["driver"], "blklogwrites");
    EXPECT_EQ(node["node-name"], "hostlog" + std::to_string(index));
    EXPECT_EQ(node["file"]["node-name"], "disk" + std::to_string(index));
    EXPECT_EQ(node["log"]["filename"], "/dev/fdset/" + std::to_string(log));
    EXPECT_EQ(node["log-sector-size"], 512);
    EXPECT_EQ(node["cache"]["no-flush"], false) << "flushes would not be logged";
    EXPECT_EQ(node["file"]["file"]["filename"], "/dev/fdset/" + std::to_string(2 + index));
  }
}

TEST(CommandLine, ScenarioArgumentsComeLast) {
  MachineOptions options = Options();
  options.kernel_arguments = {"loglevel=4", "x=y"};
  const std::string line = KernelCommandLine(options);
  EXPECT_TRUE(line.starts_with("console=ttyS0 panic=-1 "));
  EXPECT_TRUE(line.ends_with(" loglevel=4 x=y"));
}

TEST(CommandLine, InteractiveConsoleIsTheTerminal) {
  MachineOptions options = Options();
  options.interactive = true;
  const auto arguments = QemuArguments(options);
  ASSERT_TRUE(arguments.ok());
  EXPECT_THAT(*arguments, Contains("stdio,id=console,signal=off"));
}

TEST(CommandLine, OptionsOutOfBoundsAreUserErrors) {
  std::vector<MachineOptions> bad(5, Options());
  bad[0].accelerator = "xen";
  bad[1].disks.assign(kDisksMax + 1, {"s", 3});
  bad[2].disks = {{std::string(21, 's'), 3}};
  bad[3].disks = {{"", 3}};
  bad[4].kernel_arguments = {std::string(3000, 'x')};
  for (const auto& options : bad) {
    const auto arguments = QemuArguments(options);
    ASSERT_FALSE(arguments.ok());
    EXPECT_EQ(arguments.error().code, ErrorCode::kUser);
  }
}

TEST(Console, PanicLine) {
  EXPECT_EQ(FindPanic("[    1.0] fine\r\n[    2.1] Kernel panic - not syncing: VFS: Unable to "
                      "mount root fs\r\n[    2.2] CPU: 0\r\n"),
            "Kernel panic - not syncing: VFS: Unable to mount root fs");
  EXPECT_EQ(FindPanic("Kernel panic - not syncing: cut"), "Kernel panic - not syncing: cut");
  EXPECT_EQ(FindPanic("all is well\n"), std::nullopt);
  EXPECT_EQ(FindPanic(""), std::nullopt);
}

TEST(Console, LastLines) {
  EXPECT_EQ(LastLines("a\nb\r\n\r\nc\n", 2), "  b\n  c\n");
  EXPECT_EQ(LastLines("a\nb", 5), "  a\n  b\n");
  EXPECT_EQ(LastLines("\x1b[31mred\tx\n", 5), "  .[31mred x\n");
  EXPECT_EQ(LastLines("", 5), "");
  EXPECT_EQ(LastLines("\n\n\n", 5), "");
}

class AcceleratorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "plugpull-accel-" + std::to_string(::getpid());
    ASSERT_TRUE(os::MakeFolders(folder_).ok());
    probe_.device = folder_ + "/kvm";
    std::ofstream(probe_.device) << "";
    probe_.memory_path = folder_ + "/accel.json";
    probe_.key = "one";
    probe_.proof_max = Millis(100);
    probe_.start = [this](const MachineOptions& options) {
      ++starts_;
      EXPECT_EQ(options.accelerator, "kvm");
      return FakeMachineFactory(script_)(options);
    };
  }
  void TearDown() override { (void)os::RemoveAll(folder_); }
  AccelChoice Choose(const std::string& wanted) {
    const auto choice = ChooseAcceleratorWith(probe_, wanted, "/k", "/i");
    EXPECT_TRUE(choice.ok());
    return choice.ok() ? *choice : AccelChoice{};
  }

  std::string folder_;
  AcceleratorProbe probe_;
  FakeScript script_;
  int starts_ = 0;
};

TEST_F(AcceleratorTest, HelloIsProofAndIsRemembered) {
  EXPECT_EQ(Choose("auto").accelerator, "kvm");
  EXPECT_EQ(Choose("auto").accelerator, "kvm");
  EXPECT_EQ(starts_, 1);
  probe_.key = "another boot";
  script_.at_boot = FakeReply::Fate::kPanic;
  EXPECT_EQ(Choose("auto").accelerator, "tcg");
  EXPECT_EQ(starts_, 2);
}

TEST_F(AcceleratorTest, HangFallsBackAndSaysSo) {
  script_.at_boot = FakeReply::Fate::kHang;
  const AccelChoice choice = Choose("auto");
  EXPECT_EQ(choice.accelerator, "tcg");
  EXPECT_THAT(choice.reason, HasSubstr("did not reach userland"));
  EXPECT_EQ(Choose("auto").reason, choice.reason);
  EXPECT_EQ(starts_, 1);
}

TEST_F(AcceleratorTest, DamagedMemoryIsProvedAnew) {
  for (const char* text :
       {"", "{", "[]", "{\"key\": 1}", "{\"key\": \"one\", \"accelerator\": \"xen\"}"}) {
    std::ofstream(probe_.memory_path) << text;
    const int before = starts_;
    EXPECT_EQ(Choose("auto").accelerator, "kvm");
    EXPECT_EQ(starts_, before + 1);
  }
}

TEST_F(AcceleratorTest, NoDevice) {
  probe_.device = folder_ + "/none";
  EXPECT_EQ(Choose("auto").accelerator, "tcg");
  EXPECT_THAT(Choose("auto").reason, HasSubstr("has no"));
  const auto forced = ChooseAcceleratorWith(probe_, "kvm", "/k", "/i");
  ASSERT_FALSE(forced.ok());
  EXPECT_EQ(forced.error().code, ErrorCode::kEnvironment);
  EXPECT_EQ(starts_, 0);
}

TEST_F(AcceleratorTest, AskedForIsNotProved) {
  EXPECT_EQ(Choose("tcg").accelerator, "tcg");
  EXPECT_EQ(Choose("kvm").accelerator, "kvm");
  EXPECT_EQ(starts_, 0);
  const auto wrong = ChooseAcceleratorWith(probe_, "xen", "/k", "/i");
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, ErrorCode::kUser);
}

}  // namespace
}  // namespace plugpull::vm
