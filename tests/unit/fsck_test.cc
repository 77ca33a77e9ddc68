// SPDX-License-Identifier: Apache-2.0
// Recovery and the structural judge, with the real e2fsck and with ones that misbehave.
#include "framework/oracle/fsck.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "ext4_tools.h"
#include "framework/ext4/superblock.h"
#include "journal_builder.h"
#include "tests/support/fake_e2fsck.h"

namespace plugpull::oracle {
namespace {

using ext4::Debugfs;
using ext4::Image;
using ext4::JournalBuilder;
using ext4::JournalFormat;
using ext4::TransactionParts;
using ::testing::HasSubstr;

constexpr uint64_t kHome = 3000;
constexpr uint32_t kBlock = 1024;

// An ext4 with a file, whose journal holds one transaction that writes one free block.
class FsckTest : public testing::Test {
 protected:
  void SetUp() override { Make({}, true); }

  void Make(const JournalFormat& format, bool needs_recovery, bool commit = true) {
    image_ = ext4::MakeExt4();
    Debugfs(image_, {"write @input file"}, "bytes of a file");
    journal_ = *ext4::FindJournal(image_);
    builder_ = std::make_unique<JournalBuilder>(image_, journal_.blocks, kBlock, format);
    TransactionParts parts;
    parts.writes = {{kHome, std::vector<uint8_t>(kBlock, 'n')}};
    parts.commit = commit;
    builder_->Add(parts);
    builder_->Finish(needs_recovery);
  }

  // The image as the oracle gets it.
  WorkImage& Load() {
    auto work = WorkImage::Make(image_, std::vector<os::Extent>{{Bytes(0), Bytes(image_.size())}});
    EXPECT_TRUE(work.ok());
    work_ = std::make_unique<WorkImage>(*std::move(work));
    return *work_;
  }
  RecoveryResult Recover(Millis timeout = Millis(60000)) {
    auto fsck = Fsck::Find(timeout);
    EXPECT_TRUE(fsck.ok());
    return fsck->Recover(Load(), journal_);
  }
  StructureResult CheckLoaded(Millis timeout = Millis(60000)) {
    auto fsck = Fsck::Find(timeout);
    EXPECT_TRUE(fsck.ok());
    return fsck->Check(*work_);
  }
  bool Replayed() const { return work_->bytes()[kHome * kBlock] == 'n'; }

  Image image_;
  ext4::JournalLayout journal_;
  std::unique_ptr<JournalBuilder> builder_;
  std::unique_ptr<WorkImage> work_;
};

TEST_F(FsckTest, WhatKernelsDoNotAgreeOnIsUnknown) {
  builder_->Place(builder_->places()[0].back())[900] ^= 1;  // the commit block, behind its header
  const auto recovery = Recover();
  EXPECT_EQ(recovery.outcome, Outcome::kUnknown);
  EXPECT_THAT(recovery.evidence, HasSubstr("Linux 6.11 and later, and stable kernels"));
  EXPECT_FALSE(Replayed());
  builder_->Place(builder_->places()[0].back())[900] ^= 1;
  builder_->Place(builder_->places()[0].back())[40] ^= 1;
  EXPECT_EQ(Recover().outcome, Outcome::kViolated);
}

TEST_F(FsckTest, ReplaysAndPassesAHealthyImage) {
  const auto recovery = Recover();
  EXPECT_EQ(recovery.outcome, Outcome::kHolds) << recovery.evidence;
  EXPECT_TRUE(Replayed());
  EXPECT_EQ(ext4::ReadJournalSuper(work_->bytes(), journal_)->start, 0U);
  const auto structure = CheckLoaded();
  EXPECT_EQ(structure.outcome, Outcome::kHolds) << structure.evidence;
  EXPECT_TRUE(structure.evidence.empty());
}

TEST_F(FsckTest, CountsItsRunsAndKnowsItsVersion) {
  auto fsck = Fsck::Find();
  ASSERT_TRUE(fsck.ok());
  EXPECT_THAT(fsck->version(), HasSubstr("e2fsck"));
  ASSERT_EQ(fsck->Recover(Load(), journal_).outcome, Outcome::kHolds);
  ASSERT_EQ(fsck->Check(*work_).outcome, Outcome::kHolds);
  ASSERT_EQ(fsck->Check(*work_).outcome, Outcome::kHolds);
  EXPECT_EQ(fsck->recoveries(), 1U);
  EXPECT_EQ(fsck->checks(), 2U);
}

TEST_F(FsckTest, CheckChangesNothing) {
  Load();
  const Image before(work_->bytes().begin(), work_->bytes().end());
  CheckLoaded();
  EXPECT_TRUE(std::ranges::equal(before, work_->bytes()));
}

TEST_F(FsckTest, ARefusedJournalIsAViolationWhateverE2fsckSays) {
  builder_->Place(builder_->places()[0][1])[77] ^= 1;
  const auto recovery = Recover();
  EXPECT_EQ(recovery.outcome, Outcome::kViolated);
  EXPECT_THAT(recovery.evidence, HasSubstr("checksum"));
}

TEST_F(FsckTest, WhereNobodyAsksForRecoveryTheJournalIsEmptiedUnread) {
  for (const bool commit : {true, false}) {
    Make({}, /*needs_recovery=*/false, commit);
    const auto recovery = Recover();
    EXPECT_EQ(recovery.outcome, Outcome::kHolds) << recovery.evidence;
    EXPECT_FALSE(Replayed());
    EXPECT_EQ(ext4::ReadJournalSuper(work_->bytes(), journal_)->start, 0U);
    const auto structure = CheckLoaded();
    EXPECT_EQ(structure.outcome, Outcome::kHolds) << structure.evidence;
  }
}

TEST_F(FsckTest, ADamagedImageIsCondemned) {
  Debugfs(image_, {"clri file"});
  const auto recovery = Recover();
  EXPECT_EQ(recovery.outcome, Outcome::kHolds) << recovery.evidence;
  const auto structure = CheckLoaded();
  EXPECT_EQ(structure.outcome, Outcome::kViolated);
  EXPECT_THAT(structure.evidence, HasSubstr("exit status 4"));
  EXPECT_THAT(structure.evidence, HasSubstr("file"));
}

TEST_F(FsckTest, AnImageWithoutAFileSystemIsCondemned) {
  std::fill(image_.begin(), image_.begin() + 65536, 0);
  EXPECT_EQ(Recover().outcome, Outcome::kHolds) << "nothing to recover";
  EXPECT_EQ(CheckLoaded().outcome, Outcome::kViolated);
}

TEST_F(FsckTest, OrphansAreProcessedWithoutTheJournal) {
  Make({}, false);
  Debugfs(image_, {"set_inode_field file links_count 0", "set_inode_field file dtime 0",
                   "unlink file", "set_super_value last_orphan 12"});
  const auto recovery = Recover();
  EXPECT_EQ(recovery.outcome, Outcome::kHolds) << recovery.evidence;
  EXPECT_FALSE(ext4::ParseSuperblock(work_->bytes())->has_orphans());
  EXPECT_FALSE(Replayed());
  const auto structure = CheckLoaded();
  EXPECT_EQ(structure.outcome, Outcome::kHolds) << structure.evidence;
}

TEST_F(FsckTest, WhatE2fsckMakesOfFastCommitsIsDoubted) {
  Debugfs(image_, {"feature fast_commit"});
  ASSERT_TRUE(ext4::ParseSuperblock(image_)->needs_recovery());
  EXPECT_TRUE(Recover().fast_commits);
  builder_->Place(builder_->places()[0][1])[77] ^= 1;  // the descriptor
  const auto recovery = Recover();
  EXPECT_EQ(recovery.outcome, Outcome::kUnknown);
  EXPECT_THAT(recovery.evidence, HasSubstr("fast commits is not to be relied on"));
  Make({}, /*needs_recovery=*/false);
  Debugfs(image_, {"feature fast_commit"});
  EXPECT_FALSE(Recover().fast_commits);
}

// --- e2fsck programs that misbehave: they make verdicts unknown, never good.

TEST_F(FsckTest, OneThatDoesNothingIsFoundOut) {
  const FakeE2fsck fake("exit 0");
  const auto recovery = Recover();
  EXPECT_EQ(recovery.outcome, Outcome::kUnknown);
  EXPECT_THAT(recovery.evidence, HasSubstr("not replayed"));
}

TEST_F(FsckTest, OneThatFailsSaysNothing) {
  for (const char* body : {"exit 8", "exit 16", "exit 32", "exit 64", "exit 128", "exit 255",
                           "exit 2", "kill -SEGV $$", "kill -KILL $$", "echo nonsense; exit 8"}) {
    const FakeE2fsck fake(body);
    EXPECT_EQ(Recover().outcome, Outcome::kUnknown) << body;
    const auto structure = CheckLoaded();
    EXPECT_EQ(structure.outcome, Outcome::kUnknown) << body;
    EXPECT_FALSE(structure.evidence.empty()) << body;
  }
}

TEST_F(FsckTest, OneThatHangsIsEndedAndSaysNothing) {
  const FakeE2fsck fake("exec sleep 1000");
  EXPECT_EQ(Recover(Millis(100)).outcome, Outcome::kUnknown);
  EXPECT_EQ(CheckLoaded(Millis(100)).outcome, Outcome::kUnknown);
}

TEST_F(FsckTest, OneThatReplaysAndThenCrashesSaysNothing) {
  const FakeE2fsck fake("$REAL $ARGUMENTS; kill -SEGV $$");
  EXPECT_EQ(Recover().outcome, Outcome::kUnknown);
}

TEST_F(FsckTest, OneThatMarksTheFileSystemAsWrongHasRefusedTheJournal) {
  const FakeE2fsck fake(
      "$REAL $ARGUMENTS; printf '\\002' | dd of=/proc/self/fd/3 bs=1 seek=1082 "
      "conv=notrunc status=none; exit 0");
  EXPECT_EQ(Recover().outcome, Outcome::kViolated);
}

TEST_F(FsckTest, MissingItIsTheMachinesFault) {
  // The system's own folders are always looked at, so only the name of the package can be seen.
  EXPECT_TRUE(Fsck::Find().ok());
  const auto missing = os::FindProgram("e2fsck-that-is-not-there", "e2fsprogs");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kEnvironment);
  EXPECT_THAT(missing.error().ToString(), HasSubstr("e2fsprogs"));
}

}  // namespace
}  // namespace plugpull::oracle
