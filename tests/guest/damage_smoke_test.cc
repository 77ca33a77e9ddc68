// SPDX-License-Identifier: Apache-2.0
// A few rows of the damage table on one kernel; damage_table_test asks for all on both.
#include <gtest/gtest.h>
#include <re2/re2.h>

#include "damage_table.h"

namespace plugpull {
namespace {

TEST(DamageSmokeTest, ThreeRowsAreAsExpected) {
  DamageGuest guest("debian:6.1");
  ASSERT_TRUE(guest.ready());
  int asked = 0;
  for (const DamageRow& row : DamageRows()) {
    if (row.name != "superblock_checksum" && row.name != "root_inode_cleared" &&
        row.name != "signature_mbr, blank disk") {
      continue;
    }
    SCOPED_TRACE(row.name);
    const Observed seen = guest.Ask(row);
    EXPECT_EQ(seen.blkid, row.blkid);
    EXPECT_EQ(seen.mount, row.mount_6_1);
    EXPECT_TRUE(RE2::PartialMatch(seen.kernel_log, row.log)) << seen.kernel_log;
    EXPECT_EQ(seen.fsck_preen, row.fsck_preen);
    EXPECT_EQ(seen.fsck_after, row.fsck_after);
    ++asked;
  }
  EXPECT_EQ(asked, 3);
}

}  // namespace
}  // namespace plugpull
