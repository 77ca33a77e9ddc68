// SPDX-License-Identifier: Apache-2.0
// Which combinations of what the host and the kernel say are disagreements, on made-up results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "framework/oracle/kernel_mount.h"
#include "framework/oracle/state_command.h"

namespace plugpull::oracle {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

FileTree TreeOf(const std::string& name, uint64_t size) {
  FileTree tree;
  tree.add_entry()->set_kind(TreeEntry::FOLDER);
  TreeEntry& file = *tree.add_entry();
  file.set_path(name);
  file.set_kind(TreeEntry::FILE);
  file.set_size_bytes(size);
  return tree;
}

HostView Clean() {
  HostView host;
  host.recovery = Outcome::kHolds;
  host.structure = Outcome::kHolds;
  host.replays = true;
  host.tree = TreeOf("a", 10);
  return host;
}
HostView Condemned() {
  HostView host = Clean();
  host.structure = Outcome::kViolated;
  host.evidence = "Block bitmap differences";
  host.tree.reset();
  return host;
}
HostView Refused() {
  HostView host;
  host.recovery = Outcome::kViolated;
  host.evidence = "transaction 7: the checksum of block 9 is wrong";
  return host;
}

MountSeen Mounted(const std::vector<std::string>& lines = {}) {
  MountSeen seen;
  seen.end = MountSeen::End::kReported;
  *seen.report.mutable_tree() = TreeOf("a", 10);
  for (const auto& line : lines) seen.report.add_kernel_line()->set_text(line);
  return seen;
}
MountSeen RefusedBy(int error, const std::vector<std::string>& lines = {}) {
  MountSeen seen = Mounted(lines);
  seen.report.clear_tree();
  seen.report.set_mount_error(error);
  return seen;
}
MountSeen Ended(MountSeen::End end, const std::string& words) { return {end, {}, words}; }

constexpr char kMountedLine[] =
    "EXT4-fs (dm-1): mounted filesystem with ordered data mode. Quota mode: none.";
constexpr char kErrorLine[] =
    "EXT4-fs error (device dm-1): ext4_lookup:1855: inode #2: comm x: iget: checksum invalid";

TEST(CompareKernelTest, AgreesOnACleanState) {
  const MountSeen seen = Mounted({"EXT4-fs (dm-1): recovery complete", kMountedLine});
  const KernelVerdict verdict = CompareKernel(Clean(), seen, seen);
  EXPECT_EQ(verdict.outcome, Outcome::kHolds) << verdict.evidence;
  EXPECT_THAT(verdict.evidence, IsEmpty());
}

TEST(CompareKernelTest, ARefusalOfACleanStateIsADisagreementInEitherWay) {
  const MountSeen refused = RefusedBy(EUCLEAN, {"EXT4-fs (dm-1): group descriptors corrupted!"});
  const KernelVerdict first = CompareKernel(Clean(), refused, Mounted());
  EXPECT_EQ(first.outcome, Outcome::kViolated);
  EXPECT_THAT(first.evidence,
              AllOf(HasSubstr("read-only"), HasSubstr("EUCLEAN"), HasSubstr("corrupted!")));
  const KernelVerdict second = CompareKernel(Clean(), Mounted(), refused);
  EXPECT_EQ(second.outcome, Outcome::kViolated);
  EXPECT_THAT(second.evidence, HasSubstr("read-write"));
}

TEST(CompareKernelTest, ComplaintsAboutACleanStateAreDisagreements) {
  for (const char* line :
       {kErrorLine, "EXT4-fs warning (device dm-1): ext4_dirblock_csum_verify:375: inode #12",
        "JBD2: Invalid checksum recovering data block 7 in journal block 9",
        "WARNING: CPU: 0 PID: 1 at fs/ext4/inode.c:100"}) {
    const KernelVerdict verdict = CompareKernel(Clean(), Mounted(), Mounted({kMountedLine, line}));
    EXPECT_EQ(verdict.outcome, Outcome::kViolated) << line;
    EXPECT_THAT(verdict.evidence, HasSubstr(line));
  }
}

TEST(CompareKernelTest, LinesAboutWhatWasBeforeTheCutAreNone) {
  const MountSeen seen = Mounted(
      {"JBD2: Clearing recovery information on journal",
       "EXT4-fs warning (device dm-1): ext4_clear_journal_err:6057: Filesystem error recorded from "
       "previous mount: IO failure",
       "EXT4-fs (dm-1): warning: mounting fs with errors, running e2fsck is recommended",
       "EXT4-fs (dm-1): 2 orphan inodes deleted"});
  EXPECT_EQ(CompareKernel(Clean(), seen, seen).outcome, Outcome::kHolds);
}

TEST(CompareKernelTest, AnotherTreeIsADisagreementOnACleanStateOnly) {
  MountSeen other = Mounted();
  *other.report.mutable_tree() = TreeOf("a", 11);
  const KernelVerdict verdict = CompareKernel(Clean(), Mounted(), other);
  EXPECT_EQ(verdict.outcome, Outcome::kViolated);
  EXPECT_THAT(verdict.evidence, AllOf(HasSubstr("/a"), HasSubstr("11"), HasSubstr("10")));
  EXPECT_EQ(CompareKernel(Condemned(), other, other).outcome, Outcome::kHolds);
}

TEST(CompareKernelTest, OfFastCommitsOnlyARefusalSaysSomething) {
  HostView host = Clean();
  host.fast_commits = true;
  MountSeen other = Mounted();
  *other.report.mutable_tree() = TreeOf("a", 11);
  const KernelVerdict tree = CompareKernel(host, Mounted(), other);
  EXPECT_EQ(tree.outcome, Outcome::kUnknown);
  EXPECT_THAT(tree.evidence, AllOf(HasSubstr("fast commits"), HasSubstr("/a")));
  const MountSeen refused = RefusedBy(EIO, {"EXT4-fs (dm-1): error loading journal"});
  EXPECT_EQ(CompareKernel(host, refused, Mounted()).outcome, Outcome::kViolated);
  EXPECT_EQ(CompareKernel(host, Mounted(), Mounted()).outcome, Outcome::kHolds);
}

TEST(CompareRecoveredTest, WhatTheHostRecoveredMustPleaseTheKernel) {
  EXPECT_EQ(CompareRecovered(Clean(), Mounted(), Mounted()).outcome, Outcome::kHolds);
  const MountSeen refused = RefusedBy(EUCLEAN);
  for (const auto& [read_only, read_write] :
       {std::pair(refused, Mounted()), std::pair(Mounted(), refused)}) {
    const KernelVerdict verdict = CompareRecovered(Clean(), read_only, read_write);
    EXPECT_EQ(verdict.outcome, Outcome::kViolated);
    EXPECT_THAT(verdict.evidence, HasSubstr("as the host recovered it"));
  }
  MountSeen other = Mounted();
  *other.report.mutable_tree() = TreeOf("a", 11);
  EXPECT_EQ(CompareRecovered(Clean(), Mounted(), other).outcome, Outcome::kViolated);
  const MountSeen complains = Mounted({"EXT4-fs error (device dm-1): ext4_lookup:1858: bad"});
  EXPECT_EQ(CompareRecovered(Clean(), complains, Mounted()).outcome, Outcome::kViolated);
  MountSeen lost = Mounted();
  lost.end = MountSeen::End::kLost;
  EXPECT_EQ(CompareRecovered(Clean(), Mounted(), lost).outcome, Outcome::kUnknown);
}

TEST(CompareRecoveredTest, WithoutARecoveredStateThereIsNothingToSay) {
  EXPECT_EQ(CompareRecovered(Condemned(), Mounted(), Mounted()).outcome, Outcome::kUnknown);
  EXPECT_EQ(CompareRecovered(Refused(), Mounted(), Mounted()).outcome, Outcome::kUnknown);
}

TEST(CompareKernelTest, WhatTheHostRefusesTheKernelMustRefuse) {
  const MountSeen refused = RefusedBy(EIO, {"JBD2: recovery failed"});
  EXPECT_EQ(CompareKernel(Refused(), refused, refused).outcome, Outcome::kHolds);
  const KernelVerdict verdict = CompareKernel(Refused(), refused, Mounted());
  EXPECT_EQ(verdict.outcome, Outcome::kViolated);
  EXPECT_THAT(verdict.evidence, AllOf(HasSubstr("read-write"), HasSubstr("transaction 7")));
}

TEST(CompareKernelTest, WhatTheHostReplaysTheKernelMustReplay) {
  const MountSeen refused = RefusedBy(EUCLEAN, {"JBD2: journal checksum error"});
  EXPECT_EQ(CompareKernel(Condemned(), refused, refused).outcome, Outcome::kViolated);
  HostView unreadable = Condemned();
  unreadable.replays = false;
  EXPECT_EQ(CompareKernel(unreadable, refused, refused).outcome, Outcome::kHolds);
}

TEST(CompareKernelTest, MountingWhatIsCondemnedIsKnownAndCounted) {
  const KernelVerdict silent = CompareKernel(Condemned(), Mounted(), Mounted());
  EXPECT_EQ(silent.outcome, Outcome::kHolds);
  EXPECT_TRUE(silent.mounts_condemned);
  const KernelVerdict noticed = CompareKernel(Condemned(), Mounted(), Mounted({kErrorLine}));
  EXPECT_EQ(noticed.outcome, Outcome::kHolds);
  EXPECT_FALSE(noticed.mounts_condemned);
  const MountSeen refused = RefusedBy(EUCLEAN);
  EXPECT_EQ(CompareKernel(Condemned(), refused, refused).outcome, Outcome::kHolds);
}

TEST(CompareKernelTest, APanicOrAFaultIsAFindingWhateverTheHostSays) {
  const MountSeen panic = Ended(MountSeen::End::kPanicked, "Kernel panic - not syncing: x");
  const MountSeen fault = Mounted({"kernel BUG at fs/ext4/ext4.h:3331!"});
  for (const HostView& host : {Clean(), Condemned(), Refused()}) {
    const KernelVerdict verdict = CompareKernel(host, panic, Mounted());
    EXPECT_EQ(verdict.outcome, Outcome::kViolated);
    EXPECT_THAT(verdict.evidence, HasSubstr("not syncing: x"));
    EXPECT_EQ(CompareKernel(host, Mounted(), fault).outcome, Outcome::kViolated);
  }
}

TEST(CompareKernelTest, WhatSaysNothingIsUnknown) {
  const MountSeen hung = Ended(MountSeen::End::kLost, "the guest said nothing for 60000 ms");
  EXPECT_EQ(CompareKernel(Clean(), Mounted(), hung).outcome, Outcome::kUnknown);
  EXPECT_EQ(CompareKernel(Clean(), RefusedBy(ENOMEM), Mounted()).outcome, Outcome::kUnknown);
  const MountSeen disk = RefusedBy(EIO, {"I/O error, dev dm-1, sector 2 op 0x0:(READ)"});
  EXPECT_EQ(CompareKernel(Clean(), disk, disk).outcome, Outcome::kUnknown);
  const MountSeen beyond =
      RefusedBy(EIO, {"mount: attempt to access beyond end of device",
                      "Buffer I/O error on dev dm-1, logical block 99999, async page read"});
  EXPECT_EQ(CompareKernel(Clean(), beyond, beyond).outcome, Outcome::kViolated);
  HostView unknown = Clean();
  unknown.structure = Outcome::kUnknown;
  EXPECT_EQ(CompareKernel(unknown, Mounted(), Mounted()).outcome, Outcome::kUnknown);
  MountSeen busy = Mounted();
  busy.report.set_unmount_error(EBUSY);
  EXPECT_EQ(CompareKernel(Clean(), busy, Mounted()).outcome, Outcome::kUnknown);
}

MountSeen Checked(int status, const std::string& output) {
  MountSeen seen = Mounted();
  seen.report.set_command_ran(true);
  seen.report.set_command_status(status);
  seen.report.set_command_output(output);
  return seen;
}

TEST(JudgeCommandTest, TheExitStatusDecides) {
  EXPECT_EQ(JudgeCommand(Checked(0, "ok\n")).outcome, Outcome::kHolds);
  const CommandVerdict bad = JudgeCommand(Checked(1, "row 7 is missing\n"));
  EXPECT_EQ(bad.outcome, Outcome::kViolated);
  EXPECT_THAT(bad.evidence, AllOf(HasSubstr("with 1"), HasSubstr("row 7 is missing")));
}

TEST(JudgeCommandTest, OfLongOutputTheEndIsShown) {
  std::string output;
  for (int i = 0; i < 1000; ++i) output += "line " + std::to_string(i) + "\n";
  const CommandVerdict verdict = JudgeCommand(Checked(3, output));
  EXPECT_THAT(verdict.evidence, AllOf(HasSubstr("line 999"), Not(HasSubstr("line 5\n"))));
  EXPECT_LT(verdict.evidence.size(), 1200u);
}

TEST(JudgeCommandTest, ACheckerThatCouldNotRunIsUnknown) {
  EXPECT_EQ(JudgeCommand(Checked(127, "sqlite3: not found")).outcome, Outcome::kUnknown);
  EXPECT_EQ(JudgeCommand(Checked(126, "")).outcome, Outcome::kUnknown);
  MountSeen late = Checked(137, "");
  late.report.set_command_timed_out(true);
  EXPECT_EQ(JudgeCommand(late).outcome, Outcome::kUnknown);
  MountSeen missing = Mounted();
  missing.report.set_command_problem("no such program");
  EXPECT_THAT(JudgeCommand(missing).evidence, HasSubstr("no such program"));
  EXPECT_EQ(JudgeCommand(missing).outcome, Outcome::kUnknown);
  EXPECT_EQ(JudgeCommand(Ended(MountSeen::End::kLost, "hung")).outcome, Outcome::kUnknown);
}

TEST(JudgeCommandTest, AStateThatDoesNotMountFails) {
  const CommandVerdict verdict = JudgeCommand(RefusedBy(EUCLEAN, {"EXT4-fs: no"}));
  EXPECT_EQ(verdict.outcome, Outcome::kViolated);
  EXPECT_THAT(verdict.evidence, AllOf(HasSubstr("EUCLEAN"), HasSubstr("EXT4-fs: no")));
  EXPECT_EQ(JudgeCommand(Ended(MountSeen::End::kPanicked, "panic")).outcome, Outcome::kViolated);
}

}  // namespace
}  // namespace plugpull::oracle
