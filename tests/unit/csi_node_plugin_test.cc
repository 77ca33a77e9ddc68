// SPDX-License-Identifier: Apache-2.0
// The reference node plugin on a machine in memory: what it answers, and what it leaves alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "agents_fake_machine.h"
#include "vm/guest/csi/node_plugin.h"

namespace plugpull::csi {
namespace {

using agents::FakeMachine;
using agents::FakeSystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char kStaging[] = "/staging/pvc-0001";
constexpr char kTarget[] = "/pods/one/mount";

class FakeNode : public NodeSystem {
 public:
  explicit FakeNode(FakeMachine& machine) : machine_(machine) {}
  int Bind(const std::string& source, const std::string& target, bool is_file,
           bool read_only) override {
    machine_.Do("bind", source);
    agents::MountEntry entry{{}, "/", target, "ext4", source, {read_only ? "ro" : "rw"}};
    if (is_file) {
      entry.type = "devtmpfs";
      entry.root = source.substr(4);
      entry.device = {0, 5};
    } else if (const auto* from = agents::MountedAt(machine_.mounts, source)) {
      entry.device = from->device;
    }
    machine_.mounts.push_back(entry);
    return 0;
  }
  int RemoveTarget(const std::string&) override { return 0; }
  int MeasureUsage(const std::string&, Usage& usage) override {
    usage.bytes_total = 1 << 20;
    return 0;
  }
  int Grow(const std::string& path, uint64_t) override {
    machine_.Do("grow", path);
    return 0;
  }
  uint64_t ErrorsOf(agents::DeviceNumber) override { return errors; }

  uint64_t errors = 0;

 private:
  FakeMachine& machine_;
};

class NodePluginTest : public ::testing::Test {
 protected:
  NodePluginTest() { model_.limits.jitter_permille = 0; }

  // A new process each time it is called after Restart.
  NodePlugin& plugin() {
    if (!plugin_) plugin_.emplace("node", config_, model_, decisions_, system_, node_, 1);
    return *plugin_;
  }
  Reply Stage() { return plugin().Stage("pvc-0001", kStaging, ext4_); }
  Reply Publish() { return plugin().Publish("pvc-0001", kStaging, kTarget, ext4_, false); }

  FakeMachine machine_;
  agents::FakeDisk& disk_ = machine_.AddDisk("vda", "pvc-0001", 0);
  FakeSystem system_{machine_};
  FakeNode node_{machine_};
  agents::Config config_;
  agents::Volume model_;
  agents::Decisions decisions_;
  std::optional<NodePlugin> plugin_;
  Capability ext4_{false, "ext4", {}};
};

TEST_F(NodePluginTest, StagesAndPublishesOnceHoweverOftenItIsAsked) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Stage().message, "");
    EXPECT_EQ(Publish().message, "");
  }
  plugin_.reset();
  EXPECT_TRUE(Stage().ok());
  EXPECT_TRUE(Publish().ok());
  EXPECT_THAT(machine_.Of("mount"), SizeIs(1));
  EXPECT_THAT(machine_.Of("bind"), SizeIs(1));
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(plugin().Unpublish("pvc-0001", kTarget).ok());
    EXPECT_TRUE(plugin().Unstage("pvc-0001", kStaging).ok());
  }
  EXPECT_THAT(machine_.mounts, IsEmpty());
  EXPECT_THAT(machine_.Of("umount"), SizeIs(2));
  EXPECT_TRUE(Stage().ok());
  EXPECT_THAT(machine_.Of("alert"), IsEmpty());
}

// A kubelet that asks every half second for an hour.
TEST_F(NodePluginTest, ADamagedDiskIsTriedOnceAndToldOnce) {
  disk_.mount_error = EUCLEAN;
  for (int i = 0; i < 7200; ++i) {
    if (i % 1000 == 0) plugin_.reset();
    const Reply reply = Stage();
    EXPECT_EQ(reply.code, RpcCode::kFailedPrecondition) << reply.message;
    machine_.Pass(500);
    if (i % 100 == 0) {
      EXPECT_TRUE(plugin().Unstage("pvc-0001", kStaging).ok());
    }
  }
  EXPECT_THAT(machine_.Of("mount"), SizeIs(1));
  EXPECT_THAT(machine_.Of("alert"), SizeIs(1));
  // It goes on when an operator says so.
  disk_.mount_error = 0;
  EXPECT_TRUE(plugin().Reset("pvc-0001").ok());
  EXPECT_TRUE(Stage().ok());
}

TEST_F(NodePluginTest, WhatMayPassIsTriedAtMostFiveTimesWithGrowingGaps) {
  disk_.mount_error = EIO;
  Reply reply;
  for (int i = 0; i < 1200; ++i) {
    reply = Stage();
    if (i < 10) {
      EXPECT_EQ(reply.code, RpcCode::kUnavailable) << i << reply.message;
    }
    machine_.Pass(500);
  }
  EXPECT_EQ(reply.code, RpcCode::kFailedPrecondition);
  const auto mounts = machine_.Of("mount");
  ASSERT_THAT(mounts, SizeIs(5));
  for (size_t i = 2; i < mounts.size(); ++i) {
    EXPECT_GT(mounts[i].at_ms - mounts[i - 1].at_ms, mounts[i - 1].at_ms - mounts[i - 2].at_ms);
  }
  EXPECT_THAT(machine_.Of("alert"), SizeIs(1));
}

TEST_F(NodePluginTest, ATransientFaultPasses) {
  disk_.mount_error = EIO;
  disk_.mount_errors_left = 2;
  Reply reply;
  for (int i = 0; i < 100 && !(reply = Stage()).ok(); ++i) machine_.Pass(500);
  EXPECT_TRUE(reply.ok());
  EXPECT_THAT(machine_.Of("mount"), SizeIs(3));
}

TEST_F(NodePluginTest, SaysWhatIsWrongWithARequest) {
  EXPECT_EQ(plugin().Stage("", kStaging, ext4_).code, RpcCode::kInvalidArgument);
  EXPECT_EQ(plugin().Stage("two words", kStaging, ext4_).code, RpcCode::kInvalidArgument);
  EXPECT_EQ(plugin().Stage("pvc-0001", "staging", ext4_).code, RpcCode::kInvalidArgument);
  EXPECT_EQ(plugin().Stage("pvc-0001", kStaging, {false, "xfs", {}}).code,
            RpcCode::kInvalidArgument);
  EXPECT_EQ(plugin().Stage("pvc-0009", kStaging, ext4_).code, RpcCode::kNotFound);
  EXPECT_EQ(Publish().code, RpcCode::kFailedPrecondition);
  EXPECT_TRUE(Stage().ok());
  EXPECT_EQ(plugin().Stage("pvc-0001", kStaging, {false, "ext4", {"noatime"}}).code,
            RpcCode::kAlreadyExists);
  EXPECT_TRUE(Publish().ok());
  EXPECT_EQ(plugin().Publish("pvc-0001", kStaging, kTarget, ext4_, true).code,
            RpcCode::kAlreadyExists);
  machine_.AddDisk("vdb", "pvc-0001", 16);
  EXPECT_EQ(plugin().Stage("pvc-0001", kStaging, ext4_).code, RpcCode::kFailedPrecondition);
}

TEST_F(NodePluginTest, ABusyVolumeIsNotUnmountedForEver) {
  EXPECT_TRUE(Stage().ok());
  EXPECT_TRUE(Publish().ok());
  machine_.busy.insert(kTarget);
  for (int i = 0; i < 240; ++i) {
    EXPECT_EQ(plugin().Unpublish("pvc-0001", kTarget).code, RpcCode::kFailedPrecondition);
    machine_.Pass(2'500);
  }
  EXPECT_THAT(machine_.Of("umount"), SizeIs(6));
  EXPECT_THAT(machine_.Of("detach"), IsEmpty());
  machine_.busy.clear();
  machine_.Pass(660'000);
  EXPECT_TRUE(plugin().Unpublish("pvc-0001", kTarget).ok());
}

TEST_F(NodePluginTest, LeavesAnotherDiskWhereItIs) {
  const auto& other = machine_.AddDisk("vdb", "pvc-0002", 16);
  machine_.mounts.push_back({other.disk.device, "/", kTarget, "ext4", "/dev/vdb", {"rw"}});
  EXPECT_TRUE(Stage().ok());
  EXPECT_EQ(Publish().code, RpcCode::kFailedPrecondition);
  EXPECT_EQ(plugin().Unpublish("pvc-0001", kTarget).code, RpcCode::kFailedPrecondition);
  EXPECT_THAT(machine_.Of("umount"), IsEmpty());
}

// The disk was taken away by force and is back under another name: what is left is cleared.
TEST_F(NodePluginTest, ComesBackFromAForcedDetach) {
  EXPECT_TRUE(Stage().ok());
  EXPECT_TRUE(Publish().ok());
  machine_.Pass(120'000);
  machine_.Rename("vda", "vdc", 32);
  Stats stats;
  EXPECT_TRUE(plugin().GetStats("pvc-0001", kTarget, stats).ok());
  EXPECT_TRUE(stats.condition.abnormal);
  Reply reply;
  for (int i = 0; i < 20 && !(reply = Stage()).ok(); ++i) machine_.Pass(1'000);
  EXPECT_TRUE(reply.ok()) << reply.message;
  EXPECT_TRUE(Publish().ok());
  for (const auto& entry : machine_.mounts) EXPECT_EQ(entry.device.minor, 32U);
}

TEST_F(NodePluginTest, RawBlockIsNeverMounted) {
  const Capability block{true, "", {}};
  disk_.probe.kind = agents::Probe::Kind::kError;
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(plugin().Stage("pvc-0001", kStaging, block).ok());
    EXPECT_TRUE(plugin().Publish("pvc-0001", kStaging, kTarget, block, false).ok());
  }
  EXPECT_THAT(machine_.Of("mount"), IsEmpty());
  ASSERT_THAT(machine_.Of("bind"), SizeIs(1));
  EXPECT_EQ(machine_.Of("bind")[0].subject, "/dev/vda");
  Stats stats;
  EXPECT_TRUE(plugin().GetStats("pvc-0001", kTarget, stats).ok());
  EXPECT_TRUE(stats.block);
  EXPECT_EQ(stats.usage.bytes_total, 64U << 20);
  uint64_t size = 0;
  EXPECT_TRUE(plugin().Expand("pvc-0001", kTarget, 0, size).ok());
  EXPECT_EQ(size, 64U << 20);
  EXPECT_THAT(machine_.Of("grow"), IsEmpty());
  EXPECT_TRUE(plugin().Unpublish("pvc-0001", kTarget).ok());
  EXPECT_TRUE(plugin().Unstage("pvc-0001", kStaging).ok());
  EXPECT_THAT(machine_.mounts, IsEmpty());
}

TEST_F(NodePluginTest, StatsTellTheConditionAndExpandItsBounds) {
  Stats stats;
  EXPECT_EQ(plugin().GetStats("pvc-0001", kTarget, stats).code, RpcCode::kNotFound);
  EXPECT_TRUE(Stage().ok());
  EXPECT_TRUE(Publish().ok());
  EXPECT_TRUE(plugin().GetStats("pvc-0001", kTarget, stats).ok());
  EXPECT_FALSE(stats.condition.abnormal);
  EXPECT_EQ(stats.usage.bytes_total, 1U << 20);
  node_.errors = 3;
  EXPECT_TRUE(plugin().GetStats("pvc-0001", kTarget, stats).ok());
  EXPECT_TRUE(stats.condition.abnormal);
  EXPECT_THAT(stats.condition.message, HasSubstr("3 errors"));
  uint64_t size = 0;
  EXPECT_EQ(plugin().Expand("pvc-0001", kTarget, 65U << 20, size).code, RpcCode::kOutOfRange);
  EXPECT_THAT(machine_.Of("grow"), IsEmpty());
  EXPECT_TRUE(plugin().Expand("pvc-0001", kTarget, 64U << 20, size).ok());
  EXPECT_THAT(machine_.Of("grow"), SizeIs(1));
}

}  // namespace
}  // namespace plugpull::csi
