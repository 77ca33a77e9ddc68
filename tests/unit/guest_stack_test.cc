// SPDX-License-Identifier: Apache-2.0
// What a disk is made of, and what sysfs says of disks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "framework/os/file.h"
#include "vm/guest/block_device.h"
#include "vm/guest/boot.h"
#include "vm/guest/stack_plan.h"

namespace plugpull::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Layers = std::vector<GuestLayer::Kind>;

SetUpDisk Request(const Layers& layers, uint64_t strip_sectors = 2048) {
  SetUpDisk request;
  request.set_disk("vol");
  request.set_data_serial("pvc-1");
  request.set_size_sectors(131072);
  request.set_strip_sectors(strip_sectors);
  for (const auto kind : layers) {
    request.add_layer()->set_kind(kind);
    if (kind == GuestLayer::LOG_WRITES) request.set_log_serial("log-1");
  }
  return request;
}

// "NAME ON OFFSET+LENGTH" of each device, '*' behind those that drop barriers.
std::vector<std::string> Shape(const StackPlan& plan) {
  std::vector<std::string> lines;
  for (const auto& device : plan.devices) {
    lines.push_back(device.name + " " + (device.on ? plan.devices[*device.on].name : "disk") + " " +
                    std::to_string(device.offset.value) + "+" +
                    std::to_string(device.length.value) + (device.write_through ? "*" : ""));
  }
  return lines;
}

TEST(StackPlanTest, LogWritesIsSplitIntoFileSystemAndStrip) {
  const auto plan = PlanStack(Request({GuestLayer::LOG_WRITES}));
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->disk_size, Sectors(133120));
  EXPECT_THAT(Shape(*plan),
              ElementsAre("pp-vol-log disk 0+133120", "pp-vol-mark pp-vol-log 131072+2048",
                          "pp-vol-fs pp-vol-log 0+131072"));
  EXPECT_EQ(plan->log, 0u);
  EXPECT_EQ(plan->mark, 1u);
  EXPECT_EQ(plan->fs, 2u);
  EXPECT_EQ(plan->top, 2u);
}

TEST(StackPlanTest, LayersStandBelowTheLogAndAboveTheFileSystemsPart) {
  const auto plan = PlanStack(Request(
      {GuestLayer::LINEAR, GuestLayer::LOG_WRITES, GuestLayer::DROP_BARRIERS, GuestLayer::LINEAR}));
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(
      Shape(*plan),
      ElementsAre("pp-vol-layer0 disk 0+133120", "pp-vol-log pp-vol-layer0 0+133120",
                  "pp-vol-mark pp-vol-log 131072+2048", "pp-vol-fs pp-vol-log 0+131072",
                  "pp-vol-layer2 pp-vol-fs 0+131072*", "pp-vol-layer3 pp-vol-layer2 0+131072"));
  EXPECT_EQ(plan->top, 5u);
}

TEST(StackPlanTest, WithoutLayersTheDiskIsAllThereIs) {
  const auto plan = PlanStack(Request({}, 0));
  ASSERT_TRUE(plan.ok());
  EXPECT_TRUE(plan->devices.empty());
  EXPECT_FALSE(plan->top.has_value());
  EXPECT_FALSE(plan->mark.has_value());
}

TEST(StackPlanTest, AStripWithoutALogIsStillKeptFromTheFileSystem) {
  const auto plan = PlanStack(Request({GuestLayer::DROP_BARRIERS}));
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(Shape(*plan), ElementsAre("pp-vol-mark disk 131072+2048", "pp-vol-fs disk 0+131072",
                                        "pp-vol-layer0 pp-vol-fs 0+131072*"));
}

TEST(StackPlanTest, TablesOfAnyPlanAreValid) {
  for (const auto& layers :
       {Layers{GuestLayer::LOG_WRITES},
        Layers{GuestLayer::LINEAR, GuestLayer::DROP_BARRIERS, GuestLayer::LOG_WRITES}}) {
    const auto plan = PlanStack(Request(layers));
    ASSERT_TRUE(plan.ok());
    for (const auto& device : plan->devices) {
      const auto table = device.TableOn({254, 0}, {254, 16});
      EXPECT_TRUE(dm::Validate(table).ok()) << dm::ToString(table);
    }
  }
  const auto plan = PlanStack(Request({GuestLayer::LOG_WRITES}));
  EXPECT_EQ(dm::ToString(plan->devices[0].TableOn({254, 0}, {254, 16})),
            "0 133120 log-writes 254:0 254:16");
  EXPECT_EQ(dm::ToString(plan->devices[1].TableOn({253, 0}, {254, 16})),
            "0 2048 linear 253:0 131072");
}

TEST(StackPlanTest, RefusesRequestsThatMakeNoSense) {
  const auto refused = [](const SetUpDisk& request) {
    const auto plan = PlanStack(request);
    return plan.ok() ? std::string("accepted") : plan.error().ToString();
  };
  auto request = Request({GuestLayer::LOG_WRITES});
  request.set_disk("Vol");
  EXPECT_THAT(refused(request), HasSubstr("disk name"));
  request.set_disk("a-name-that-is-too-long");
  EXPECT_THAT(refused(request), HasSubstr("disk name"));
  request = Request({GuestLayer::LOG_WRITES});
  request.clear_data_serial();
  EXPECT_THAT(refused(request), HasSubstr("serial"));
  request = Request({GuestLayer::LOG_WRITES});
  request.clear_log_serial();
  EXPECT_THAT(refused(request), HasSubstr("log_serial"));
  request = Request({GuestLayer::LINEAR});
  request.set_log_serial("log-1");
  EXPECT_THAT(refused(request), HasSubstr("log_serial"));
  EXPECT_THAT(refused(Request({GuestLayer::LOG_WRITES, GuestLayer::LOG_WRITES})),
              HasSubstr("2 log_writes"));
  EXPECT_THAT(refused(Request({GuestLayer::LOG_WRITES}, 0)), HasSubstr("strip"));
  EXPECT_THAT(refused(Request({GuestLayer::LINEAR}, 7)), HasSubstr("strip"));
  EXPECT_THAT(refused(Request({GuestLayer::UNSPECIFIED})), HasSubstr("unknown kind"));
  request = Request({GuestLayer::LINEAR});
  request.set_size_sectors(0);
  EXPECT_THAT(refused(request), HasSubstr("0 sectors"));
  request.set_size_sectors(UINT64_MAX);
  EXPECT_THAT(refused(request), HasSubstr("possible"));
  request = Request({});
  for (size_t i = 0; i <= kLayersMax; ++i) request.add_layer()->set_kind(GuestLayer::LINEAR);
  EXPECT_THAT(refused(request), HasSubstr("layers"));
}

// A /sys/block with virtio disks.
class SysfsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/sysfs.XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    AddDisk("loop0", "7:0", "0", "");
    AddDisk("vda", "254:0", "133120", "pvc-1");
    AddDisk("vdb", "254:16", "8388608", "log-1");
  }
  void TearDown() override { ASSERT_TRUE(os::RemoveAll(folder_).ok()); }

  void AddDisk(const std::string& name, const std::string& number, const std::string& size,
               const std::string& serial) {
    ASSERT_TRUE(os::MakeFolders(folder_ + "/" + name + "/queue").ok());
    Put(name + "/dev", number + "\n");
    Put(name + "/size", size + "\n");
    Put(name + "/queue/write_cache", "write back\n");
    // virtio_blk shows the serial without a newline.
    if (!serial.empty()) Put(name + "/serial", serial);
  }
  void Put(const std::string& path, const std::string& text) {
    ASSERT_TRUE(os::WriteFileAtomic(folder_ + "/" + path, text).ok());
  }
  os::Deadline Now() { return os::Deadline::After(Millis(0)); }

  std::string folder_;
};

TEST_F(SysfsTest, FindsADiskBySerial) {
  const auto disk = FindDiskBySerial("log-1", Now(), folder_);
  ASSERT_TRUE(disk.ok()) << disk.error().ToString();
  EXPECT_EQ(disk->path(), "/dev/vdb");
  EXPECT_EQ(disk->number, (dm::DeviceNumber{254, 16}));
  EXPECT_EQ(disk->size, Sectors(8388608));
}

TEST_F(SysfsTest, SaysWhichSerialsThereAre) {
  const auto disk = FindDiskBySerial("pvc-2", os::Deadline::After(Millis(50)), folder_);
  ASSERT_FALSE(disk.ok());
  EXPECT_EQ(disk.error().code, ErrorCode::kEnvironment);
  EXPECT_THAT(disk.error().message, HasSubstr("vda=\"pvc-1\", vdb=\"log-1\""));
}

TEST_F(SysfsTest, TwoDisksOfOneSerialAreRefused) {
  AddDisk("vdc", "254:32", "8", "pvc-1");
  const auto disk = FindDiskBySerial("pvc-1", Now(), folder_);
  ASSERT_FALSE(disk.ok());
  EXPECT_THAT(disk.error().message, HasSubstr("2 disks"));
}

TEST_F(SysfsTest, WriteThroughIsSetAndNoticedWhenItIsGone) {
  EXPECT_FALSE(CheckWriteThrough("vda", folder_).ok());
  Put("vda/queue/write_cache", "");  // a sysfs attribute is not appended to, a file keeps its rest
  EXPECT_TRUE(SetWriteThrough("vda", folder_).ok());
  EXPECT_TRUE(CheckWriteThrough("vda", folder_).ok());
  Put("vda/queue/write_cache", "write back\n");
  const auto lost = CheckWriteThrough("vda", folder_);
  ASSERT_FALSE(lost.ok());
  EXPECT_THAT(lost.error().message, HasSubstr("is \"write back\""));
  EXPECT_FALSE(SetWriteThrough("vdz", folder_).ok());
}

TEST_F(SysfsTest, ReadsWrittenSectors) {
  Put("vda/stat",
      "     100    0     2048       5      200      0     4096      7        0  1  2\n");
  const auto written = WrittenSectors("vda", folder_);
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(*written, Sectors(4096));
  Put("vda/stat", "1 2 3\n");
  EXPECT_FALSE(WrittenSectors("vda", folder_).ok());
  Put("vda/stat", "1 2 3 4 5 6 x 8\n");
  EXPECT_FALSE(WrittenSectors("vda", folder_).ok());
}

TEST(ModuleListTest, OnePathALine) {
  const auto paths = ParseModuleList("# in order\n/lib/a.ko\n\n/lib/b.ko");
  ASSERT_TRUE(paths.ok());
  EXPECT_THAT(*paths, ElementsAre("/lib/a.ko", "/lib/b.ko"));
  EXPECT_FALSE(ParseModuleList("lib/a.ko\n").ok());
  std::string many;
  for (size_t i = 0; i <= kModulesMax; ++i) many += "/lib/a.ko\n";
  EXPECT_FALSE(ParseModuleList(many).ok());
}

}  // namespace
}  // namespace plugpull::guest
