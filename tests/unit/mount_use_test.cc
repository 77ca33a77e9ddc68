// SPDX-License-Identifier: Apache-2.0
#include "framework/run/mount_use.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "ext4_tools.h"

namespace plugpull::run {
namespace {

using ext4::DataMode;
using ext4::Image;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

MountUse UseOf(const std::string& mounts, const Image& base) {
  Scenario scenario;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(mounts, &scenario));
  return MountUseOf(&scenario, "vol", base);
}

constexpr char kPlain[] = "step { mount { disk: 'vol' at: '/data' } }";

TEST(MountUse, TheMountsOwnOptionsAndTheKernelsDefaults) {
  const Image base = ext4::MakeExt4();
  EXPECT_THAT(UseOf(kPlain, base).data_modes, ElementsAre(DataMode::kOrdered));
  EXPECT_FALSE(UseOf(kPlain, base).nobarrier);
  const MountUse use = UseOf(
      "step { mount { disk: 'vol' option: 'noatime,data=writeback' option: 'barrier=0' } }", base);
  EXPECT_THAT(use.data_modes, ElementsAre(DataMode::kWriteback));
  EXPECT_TRUE(use.nobarrier);
  EXPECT_FALSE(
      UseOf("step { mount { disk: 'vol' option: 'nobarrier,barrier=1' } }", base).nobarrier)
      << "the later one wins";
}

TEST(MountUse, OtherDisksAndMountsThatHadToFailDoNotCount) {
  const Image base = ext4::MakeExt4();
  const MountUse use = UseOf(
      "step { mount { disk: 'other' option: 'data=writeback,nobarrier' } }"
      "step { mount { disk: 'vol' option: 'data=journal' expect_errno: 'EINVAL' } }",
      base);
  EXPECT_THAT(use.data_modes, IsEmpty());
  EXPECT_FALSE(use.nobarrier);
}

TEST(MountUse, TheSuperblockCountsBeforeTheMountsOwnOptions) {
  Image base = ext4::MakeExt4();
  ext4::Debugfs(base, {"set_super_value default_mount_opts 0x160"});  // writeback, nobarrier
  EXPECT_THAT(UseOf(kPlain, base).data_modes, ElementsAre(DataMode::kWriteback));
  EXPECT_TRUE(UseOf(kPlain, base).nobarrier);
  const std::string own = "step { mount { disk: 'vol' option: 'data=ordered,barrier' } }";
  EXPECT_THAT(UseOf(own, base).data_modes, ElementsAre(DataMode::kOrdered));
  EXPECT_FALSE(UseOf(own, base).nobarrier);
  ext4::Debugfs(base, {"set_super_value mount_opts data=journal"});
  EXPECT_THAT(UseOf(kPlain, base).data_modes, ElementsAre(DataMode::kJournal));
}

TEST(MountUse, WhatIsNotKnownIsNotGuessed) {
  const Image nothing(1 << 20);
  EXPECT_THAT(MountUseOf(nullptr, "vol", ext4::MakeExt4()).data_modes, IsEmpty());
  EXPECT_THAT(UseOf(kPlain, nothing).data_modes, IsEmpty());
  const std::string said = "step { mount { disk: 'vol' option: 'data=ordered' } }";
  EXPECT_THAT(UseOf(said, nothing).data_modes, ElementsAre(DataMode::kOrdered));
  EXPECT_THAT(UseOf(said + kPlain, nothing).data_modes, IsEmpty()) << "one of two is not known";
  EXPECT_THAT(
      UseOf(said + "step { mount { disk: 'vol' option: 'data=writeback' } }", nothing).data_modes,
      ElementsAre(DataMode::kOrdered, DataMode::kWriteback));
}

}  // namespace
}  // namespace plugpull::run
