// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "vm/guest/kernel_log.h"

namespace plugpull::guest {
namespace {

TEST(KernelLogTest, ReadsRecordsOfTheKernel) {
  const auto line = ParseKernelRecord(
      "3,1234,5678901,-;EXT4-fs error (device dm-1): a;b\n SUBSYSTEM=block\n DEVICE=b254:1\n");
  ASSERT_TRUE(line.has_value());
  EXPECT_EQ(line->level(), 3u);
  EXPECT_EQ(line->text(), "EXT4-fs error (device dm-1): a;b");
  EXPECT_EQ(ParseKernelRecord("6,1,2,-;caf\xc3\xa9\x01")->text(), "caf???");
}

TEST(KernelLogTest, LeavesOutWhatProgramsWroteAndWhatIsNoRecord) {
  for (const char* record : {"12,1,2,-;plugpull: begins\n", "", ";", "6", "6;x", "x,1,2,-;y",
                             "-3,1,2,-;y", "99999999999,1;y"}) {
    EXPECT_FALSE(ParseKernelRecord(record).has_value()) << record;
  }
}

}  // namespace
}  // namespace plugpull::guest
