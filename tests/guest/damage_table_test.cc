// SPDX-License-Identifier: Apache-2.0
// What blkid, mount, the kernel's log and e2fsck say of each damage, on the kernels 6.1 and 6.12:
// against what is expected of each row, and against the document, framework/ext4/DAMAGE.md, which
// PLUGPULL_UPDATE_GOLDEN=1 writes anew.
#include "damage_table.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <re2/re2.h>

#include "framework/os/file.h"

namespace plugpull {
namespace {

std::string DocumentPath() {
  return std::string(PLUGPULL_SOURCE_DIR) + "/framework/ext4/DAMAGE.md";
}

constexpr char kIntroduction[] = R"(# What damage does

Each damage of a `corrupt` step ([damage.proto](../proto/damage.proto)), done to an unmounted disk, and what is said of the disk then. Measured in guests, not copied from documentation; a test asserts every row. This file is written by

    PLUGPULL_UPDATE_GOLDEN=1 ctest --test-dir build/dev -R '^damage_table_test$'

The disk has 16 MiB and holds an ext4 with 1 KiB blocks, 8 block groups, metadata checksums and some files, cleanly unmounted; or zeroes, where it says "blank disk". The last row is no damage: the disk fails every read of sector 2, as `device_fault { io_error { sector: 2 once: false } }` has it.

- **blkid**: exit status of `blkid -p -s TYPE -s PTTYPE -o export`, and what it printed. 2: nothing was found; 8: several formats claim the disk.
- **mount**: the errno of a read-write mount without options. "ok, ro": it succeeded, read-only.
- **kernel log**: what the kernel logged of the mount, without its lines of success.
- **e2fsck**: exit statuses of `e2fsck -fn` (looks at everything, writes nothing), of `e2fsck -p` (what boot scripts run, and agents before they mount; it believes a superblock that says "clean"), and of `e2fsck -p` on a copy that the kernel was asked to mount first, where it may have noted an error. 0: nothing wrong, 1: repaired, 4: left wrong, 8: gave up.

| Damage | blkid | mount 6.1 | mount 6.12 | Kernel log | e2fsck -fn | e2fsck -p | e2fsck -p after mount |
|---|---|---|---|---|---|---|---|
)";

std::string Cell(std::string text) {
  RE2::GlobalReplace(&text, "\\|", "\\\\|");
  return text;
}

std::string LogCell(const Observed& old_kernel, const Observed& new_kernel) {
  if (old_kernel.kernel_log == new_kernel.kernel_log) return Cell(old_kernel.kernel_log);
  const auto or_nothing = [](const std::string& log) { return log.empty() ? "nothing" : log; };
  return Cell(fmt::format("6.1: {}; 6.12: {}", or_nothing(old_kernel.kernel_log),
                          or_nothing(new_kernel.kernel_log)));
}

std::string Both(int old_kernel, int new_kernel) {
  return old_kernel == new_kernel ? std::to_string(old_kernel)
                                  : fmt::format("6.1: {}, 6.12: {}", old_kernel, new_kernel);
}

std::string Line(const DamageRow& row, const Observed& old_kernel, const Observed& new_kernel) {
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", row.name, old_kernel.blkid,
                     old_kernel.mount, new_kernel.mount, LogCell(old_kernel, new_kernel),
                     old_kernel.fsck_check, old_kernel.fsck_preen,
                     Both(old_kernel.fsck_after, new_kernel.fsck_after));
}

void ExpectRow(const DamageRow& row, const std::string& mount, const Observed& seen) {
  EXPECT_EQ(seen.blkid, row.blkid);
  EXPECT_EQ(seen.mount, mount);
  EXPECT_EQ(seen.fsck_preen, row.fsck_preen);
  EXPECT_EQ(seen.fsck_after, row.fsck_after);
  if (row.log.empty()) {
    EXPECT_EQ(seen.kernel_log, "");
  } else {
    EXPECT_TRUE(RE2::PartialMatch(seen.kernel_log, row.log)) << seen.kernel_log;
  }
}

std::vector<Observed> AskAll(const std::string& kernel) {
  std::vector<Observed> all;
  DamageGuest guest("debian:" + kernel);
  if (!guest.ready()) return all;
  for (const DamageRow& row : DamageRows()) {
    SCOPED_TRACE(kernel + ", " + row.name);
    all.push_back(guest.Ask(row));
    ExpectRow(row, kernel == "6.1" ? row.mount_6_1 : row.mount_6_12, all.back());
  }
  return all;
}

TEST(DamageTableTest, EveryRowIsAsTheDocumentSays) {
  const auto old_kernel = AskAll("6.1");
  const auto new_kernel = AskAll("6.12");
  ASSERT_EQ(old_kernel.size(), DamageRows().size());
  ASSERT_EQ(new_kernel.size(), DamageRows().size());
  std::string document = kIntroduction;
  for (size_t i = 0; i < DamageRows().size(); ++i) {
    SCOPED_TRACE(DamageRows()[i].name);
    // The same programs on the same bytes.
    EXPECT_EQ(old_kernel[i].blkid, new_kernel[i].blkid);
    EXPECT_EQ(old_kernel[i].fsck_check, new_kernel[i].fsck_check);
    EXPECT_EQ(old_kernel[i].fsck_preen, new_kernel[i].fsck_preen);
    document += Line(DamageRows()[i], old_kernel[i], new_kernel[i]);
  }
  if (os::GetEnv("PLUGPULL_UPDATE_GOLDEN", "0") == "1") {
    ASSERT_TRUE(os::WriteFileAtomic(DocumentPath(), document).ok());
    return;
  }
  const auto golden = os::ReadFile(DocumentPath(), Mebibytes(1));
  ASSERT_TRUE(golden.ok()) << golden.error().ToString();
  EXPECT_EQ(*golden, document) << "PLUGPULL_UPDATE_GOLDEN=1 writes it anew";
}

}  // namespace
}  // namespace plugpull
