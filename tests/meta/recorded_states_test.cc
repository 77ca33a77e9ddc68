// SPDX-License-Identifier: Apache-2.0
// What is claimed of crash states, against e2fsck itself: a journal that is said to be replayed is
// replayed, and states with one replay key recover to one image. On the kept recordings, and on
// the folders that PLUGPULL_TEST_RECORDINGS names (with ':' between them).
#include <gtest/gtest.h>

#include <map>

#include "framework/base/prng.h"
#include "framework/crashstate/state_cursor.h"
#include "framework/ext4/superblock.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/work_image.h"
#include "framework/os/file.h"
#include "recorded.h"

namespace plugpull::run {
namespace {

using JournalOutcome = ext4::JournalInspection::Outcome;
using oracle::Outcome;

class RecordedStates : public testing::TestWithParam<std::string> {
 protected:
  const ext4::JournalLayout& journal() const { return recorded_.source->journal(); }
  void Load(size_t state) {
    const auto& spec = recorded_.states[state];
    cursor_.MoveTo(spec.cut, recorded_.LostOf(spec), spec.overlapping_older);
    work_.Load(cursor_.image());
  }

  Recorded recorded_{GetParam()};
  crashstate::StateCursor cursor_{recorded_.space()};
  oracle::Fsck fsck_ = *oracle::Fsck::Find();
  oracle::WorkImage work_ =
      *oracle::WorkImage::Make(recorded_.source->base(), recorded_.source->base_extents());
};
INSTANTIATE_TEST_SUITE_P(Golden, RecordedStates, testing::ValuesIn(RecordingsToTest()));

TEST_P(RecordedStates, AJournalThatIsSaidToBeReplayedIs) {
  Prng prng(1);
  std::map<JournalOutcome, size_t> outcomes;
  for (int i = 0; i < 250; ++i) {
    const size_t state = prng.Below(recorded_.states.size());
    Load(state);
    const auto inspection = ext4::InspectJournal(work_.bytes(), journal());
    const auto before = ext4::ParseSuperblock(work_.bytes());
    const bool asked = before.ok() && before->needs_recovery();
    ++outcomes[inspection.outcome];
    const auto recovery = fsck_.Recover(work_, journal());
    SCOPED_TRACE(recorded_.IdOf(recorded_.states[state]) + ": " + recovery.evidence);
    if (inspection.outcome == JournalOutcome::kRefused && asked) {
      EXPECT_EQ(recovery.outcome, Outcome::kViolated);
    } else {
      EXPECT_EQ(recovery.outcome, Outcome::kHolds);
      const auto after = ext4::ParseSuperblock(work_.bytes());
      ASSERT_TRUE(after.ok());
      EXPECT_FALSE(after->needs_recovery());
      EXPECT_EQ(after->state & ext4::kStateErrors, 0);
      EXPECT_EQ(ext4::ReadJournalSuper(work_.bytes(), journal())->start, 0U);
      EXPECT_EQ(ext4::ReadJournalSuper(work_.bytes(), journal())->error, 0);
    }
    ASSERT_TRUE(work_.Scan(journal()).ok());
  }
  EXPECT_GT(outcomes[JournalOutcome::kReplays], 50U);
}

}  // namespace
}  // namespace plugpull::run
