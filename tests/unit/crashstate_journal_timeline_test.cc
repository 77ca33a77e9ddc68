// SPDX-License-Identifier: Apache-2.0
// Roles and the lives of transactions, on logs that are put together by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "framework/base/prng.h"
#include "framework/crashstate/journal_timeline.h"
#include "journal_log.h"

namespace plugpull::crashstate {
namespace {

using ext4::TransactionParts;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const auto Block = JournalLog::Block;

JournalTimeline Decode(JournalLog& log) {
  return DecodeJournal(log.history(), log.base(), log.journal());
}

BlockRole RoleOf(const JournalTimeline& line, size_t event) {
  const auto writes = line.WritesOf(event);
  EXPECT_EQ(writes.size(), 1U);
  return writes.empty() ? BlockRole::kOther : writes[0].role;
}

std::vector<size_t> EventsOf(const JournalTimeline& line, const std::vector<size_t>& writes) {
  std::vector<size_t> events;
  for (const size_t write : writes) events.push_back(line.writes[write].event);
  return events;
}

TEST(JournalTimeline, TellsTheLifeOfEveryTransaction) {
  JournalLog log(true);
  log.Begin();                                                                      // 0
  log.WriteHome(3600, Block('d'));                                                  // 1
  log.Commit({.writes = {{3000, Block('a')}, {3001, Block('b')}}, .revokes = {}});  // 2 to 5
  log.Commit({.writes = {{3001, Block('c')}}, .revokes = {3500}});                  // 6 to 9
  log.WriteHome(3000, Block('a'));                                                  // 10
  log.WriteHome(3001, Block('b'));  // 11: not the newest copy
  log.WriteHome(3001, Block('c'));  // 12
  log.WriteHome(3001, Block('c'));  // 13: again
  log.MoveTail(9, 9);               // 14
  log.Discard(3800, 2);             // 15
  const JournalTimeline line = Decode(log);

  const std::vector<BlockRole> expected = {
      BlockRole::kJournalSuper, BlockRole::kOther,      BlockRole::kDescriptor,
      BlockRole::kDataCopy,     BlockRole::kDataCopy,   BlockRole::kCommit,
      BlockRole::kRevoke,       BlockRole::kDescriptor, BlockRole::kDataCopy,
      BlockRole::kCommit,       BlockRole::kCheckpoint, BlockRole::kOther,
      BlockRole::kCheckpoint,   BlockRole::kCheckpoint, BlockRole::kJournalSuper};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(RoleOf(line, i), expected[i]) << "entry " << i;
  }
  EXPECT_FALSE(line.WritesOf(13)[0].changes);
  EXPECT_EQ(line.WritesOf(4)[0].home, 3001U);
  ASSERT_EQ(line.transactions.size(), 2U);
  const auto& first = line.transactions[0];
  EXPECT_EQ(first.sequence, 7U);
  EXPECT_THAT(EventsOf(line, first.blocks), ElementsAre(2, 3, 4));
  EXPECT_EQ(line.writes[*first.commit].event, 5U);
  EXPECT_THAT(EventsOf(line, first.checkpoints), ElementsAre(10));
  EXPECT_EQ(first.dropped_by, 1U);
  const auto& second = line.transactions[1];
  EXPECT_THAT(EventsOf(line, second.blocks), ElementsAre(6, 7, 8));
  EXPECT_THAT(EventsOf(line, second.checkpoints), ElementsAre(12));
  ASSERT_EQ(line.supers.size(), 2U);
  EXPECT_FALSE(line.supers[0].moves_tail);
  EXPECT_EQ(line.supers[0].start, 1U);
  EXPECT_TRUE(line.supers[1].moves_tail);
  EXPECT_EQ(line.supers[1].from_sequence, 7U);
  EXPECT_EQ(line.supers[1].sequence, 9U);
  EXPECT_THAT(line.supers[1].dropped, ElementsAre(0, 1));
  EXPECT_THAT(line.discards, ElementsAre(15));
  EXPECT_EQ(line.wraps, 0U);
  EXPECT_EQ(line.orphan_cuts, 0U);
}

TEST(JournalTimeline, TheTailDropsOnlyWhatIsBeforeIt) {
  JournalLog log(true);
  log.Begin();
  log.Commit({.writes = {{3000, Block('a')}}, .revokes = {}});
  log.Commit({.writes = {{3001, Block('b')}}, .revokes = {}});
  log.MoveTail(8, 4);
  log.MoveTail(9, 0);
  const JournalTimeline line = Decode(log);
  ASSERT_EQ(line.supers.size(), 3U);
  EXPECT_THAT(line.supers[1].dropped, ElementsAre(0));
  EXPECT_THAT(line.supers[2].dropped, ElementsAre(1));
  EXPECT_EQ(line.supers[2].start, 0U);
}

TEST(JournalTimeline, ACopyMayBeLoggedBeforeItsDescriptor) {
  JournalLog log(false);
  log.Begin();
  log.builder().Add({.writes = {{3000, Block('a')}, {3001, Block('b')}}, .revokes = {}});
  for (const uint32_t place : {3U, 1U, 2U, 4U}) log.WritePlace(place);  // 1 to 4
  const JournalTimeline line = Decode(log);
  EXPECT_EQ(RoleOf(line, 1), BlockRole::kDataCopy);
  EXPECT_EQ(line.WritesOf(1)[0].home, 3001U);
  ASSERT_EQ(line.transactions.size(), 1U);
  EXPECT_THAT(EventsOf(line, line.transactions[0].blocks), ElementsAre(1, 2, 3));
}

TEST(JournalTimeline, BlocksThatWereWrittenBeforeTheLastCommitAreNoCopies) {
  JournalLog log(false);
  log.Begin();
  log.WritePlace(5);                                            // as mkfs left it
  log.Commit({.writes = {{3000, Block('a')}}, .revokes = {}});  // places 1 to 3
  log.builder().Add({.writes = {{3001, Block('b')}}, .revokes = {}});
  log.WritePlace(4);  // its descriptor; the copy at 5 is yet to come
  const JournalTimeline line = Decode(log);
  EXPECT_EQ(RoleOf(line, 1), BlockRole::kJournalOther);
  ASSERT_EQ(line.transactions.size(), 2U);
  EXPECT_THAT(EventsOf(line, line.transactions[1].blocks), ElementsAre(5));
  EXPECT_FALSE(line.transactions[1].commit.has_value());
}

TEST(JournalTimeline, AnEscapedCopyIsWrittenHomeWithItsMagic) {
  JournalLog log(true);
  auto bytes = Block('e');
  const uint8_t magic[4] = {0xc0, 0x3b, 0x39, 0x98};
  std::copy(magic, magic + 4, bytes.begin());
  log.Begin();
  log.Commit({.writes = {{3000, bytes}}, .revokes = {}});  // 1 to 3
  log.WriteHome(3000, bytes);                              // 4
  bytes[0] = 0;
  log.WriteHome(3000, bytes);  // 5: as it lies in the journal, which is not what belongs there
  const JournalTimeline line = Decode(log);
  EXPECT_EQ(RoleOf(line, 4), BlockRole::kCheckpoint);
  EXPECT_EQ(RoleOf(line, 5), BlockRole::kOther);
}

TEST(JournalTimeline, ARevokedBlockIsNoLongerTheJournals) {
  JournalLog log(true);
  log.Begin();
  log.Commit({.writes = {{3000, Block('a')}}, .revokes = {}});      // 1 to 3
  log.Commit({.writes = {{3001, Block('b')}}, .revokes = {3000}});  // 4 to 7
  log.WriteHome(3000, Block('a'));                                  // 8
  log.Commit({.writes = {{3000, Block('c')}}, .revokes = {}});      // 9 to 11
  log.WriteHome(3000, Block('c'));                                  // 12
  const JournalTimeline line = Decode(log);
  EXPECT_EQ(RoleOf(line, 8), BlockRole::kOther);
  EXPECT_EQ(RoleOf(line, 12), BlockRole::kCheckpoint);
  EXPECT_EQ(line.WritesOf(12)[0].transaction, 2U);
}

TEST(JournalTimeline, TheLogWrapsAndADescriptorMayReachOverItsEnd) {
  JournalLog log(true, 1022);
  log.Begin();
  log.Commit({.writes = {{3000, Block('a')}, {3001, Block('b')}}, .revokes = {}});
  const JournalTimeline line = Decode(log);
  EXPECT_EQ(RoleOf(line, 3), BlockRole::kDataCopy);
  EXPECT_EQ(line.WritesOf(3)[0].home, 3001U);
  EXPECT_EQ(line.wraps, 1U);
  log.Commit({.writes = {{3000, Block('c')}}, .revokes = {}});
  EXPECT_EQ(Decode(log).wraps, 1U);

  JournalLog wrapped(true, 1020);
  wrapped.Begin();
  wrapped.Commit({.writes = {{3000, Block('a')}}, .revokes = {}});
  wrapped.Commit({.writes = {{3001, Block('b')}}, .revokes = {}});
  EXPECT_EQ(Decode(wrapped).wraps, 1U);
}

TEST(JournalTimeline, APartOfABlockHasTheRoleOfItsPlaceAtMost) {
  JournalLog log(true);
  log.Begin();
  log.Commit({.writes = {{3000, Block('a')}}, .revokes = {}});  // 1 to 3
  const std::vector<uint8_t> bytes(512, 'a');
  log.WriteAt(3000 * kLogBlock, bytes, 0);                                  // 4
  log.WriteAt(log.journal().blocks[2] * kLogBlock, bytes, 0);               // 5
  log.WriteAt(log.journal().blocks[0] * kLogBlock + 512, bytes, 0);         // 6
  log.WriteAt(3000 * kLogBlock - 512, std::vector<uint8_t>(2048, 'a'), 0);  // 7: three blocks
  const JournalTimeline line = Decode(log);
  EXPECT_EQ(RoleOf(line, 4), BlockRole::kOther);
  EXPECT_EQ(RoleOf(line, 5), BlockRole::kJournalOther);
  EXPECT_EQ(RoleOf(line, 6), BlockRole::kJournalSuper);
  EXPECT_EQ(line.supers.size(), 1U);
  const auto writes = line.WritesOf(7);
  ASSERT_EQ(writes.size(), 3U);
  EXPECT_FALSE(writes[0].whole);
  EXPECT_EQ(writes[1].role, BlockRole::kCheckpoint);
  EXPECT_FALSE(writes[2].whole);
}

TEST(JournalTimeline, OrphansAreThoseOfTheSuperblockThatRecoveryLeaves) {
  JournalLog log(true);
  std::vector<uint8_t> super(log.base().begin() + 1024, log.base().begin() + 2048);
  std::vector<uint8_t> with_orphan = super;
  with_orphan[0xe8] = 12;
  log.Begin();                                                // 0
  log.Commit({.writes = {{1, with_orphan}}, .revokes = {}});  // 1 to 3: from 3 on
  log.WriteHome(3600, Block('d'));                            // 4
  log.Commit({.writes = {{1, super}}, .revokes = {}});        // 5 to 7: until 6
  EXPECT_EQ(Decode(log).orphan_cuts, 4U);
  log.MoveTail(9, 0);             // 8
  log.WriteHome(1, with_orphan);  // 9
  EXPECT_EQ(Decode(log).orphan_cuts, 5U);
}

TEST(JournalTimeline, ADiscardedBlockIsChangedByWhatItHeld) {
  JournalLog log(true);
  log.WriteHome(3000, Block('a'));  // 0
  log.Discard(2990, 20);
  log.WriteHome(3000, Block('a'));  // 2
  log.WriteHome(3000, Block('a'));  // 3
  const std::vector<uint8_t> zeroes(kLogBlock);
  log.WriteHome(3001, zeroes);  // 4: as in the base, but not known to be zero now
  log.WriteHome(3010, zeroes);  // 5: outside the discard
  const JournalTimeline line = Decode(log);
  EXPECT_TRUE(line.WritesOf(0)[0].changes);
  EXPECT_TRUE(line.WritesOf(2)[0].changes);
  EXPECT_FALSE(line.WritesOf(3)[0].changes);
  EXPECT_TRUE(line.WritesOf(4)[0].changes);
  EXPECT_FALSE(line.WritesOf(5)[0].changes);
}

TEST(JournalTimeline, WithoutAJournalThereAreNoRoles) {
  JournalLog log(true);
  WriteSmallLife(log);
  const JournalTimeline line = DecodeJournal(log.history(), log.base(), {});
  EXPECT_THAT(line.writes, IsEmpty());
  EXPECT_EQ(line.first_write.size(), log.entries() + 1);
  const JournalTimeline plain = DecodeJournal(log.history(), log.base(), {{}, kLogBlock});
  EXPECT_EQ(plain.transactions.size(), 0U);
  EXPECT_EQ(RoleOf(plain, 0), BlockRole::kOther);
}

void ExpectSound(const JournalTimeline& line, size_t events) {
  ASSERT_EQ(line.first_write.size(), events + 1);
  ASSERT_EQ(line.first_write.back(), line.writes.size());
  std::set<size_t> seen;
  for (uint32_t t = 0; t < line.transactions.size(); ++t) {
    const JournalTransaction& transaction = line.transactions[t];
    ASSERT_TRUE(std::is_sorted(transaction.blocks.begin(), transaction.blocks.end()));
    for (const size_t write : transaction.blocks) {
      ASSERT_LT(write, line.writes.size());
      ASSERT_EQ(line.writes[write].transaction, t);
      ASSERT_TRUE(seen.insert(write).second) << "one block, two transactions";
    }
    if (transaction.commit) {
      ASSERT_EQ(line.writes[*transaction.commit].role, BlockRole::kCommit);
    }
    for (const size_t write : transaction.checkpoints) {
      ASSERT_EQ(line.writes[write].role, BlockRole::kCheckpoint);
    }
    if (transaction.dropped_by) {
      ASSERT_LT(*transaction.dropped_by, line.supers.size());
    }
  }
  for (size_t i = 0; i + 1 < line.writes.size(); ++i) {
    ASSERT_LE(line.writes[i].event, line.writes[i + 1].event);
  }
}

// Logs whose blocks claim to be anything, at any place.
TEST(JournalTimeline, HostileLogsAreReadToTheirEnd) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Prng prng(seed);
    JournalLog log(prng.Chance(500));
    if (prng.Chance(800)) log.Begin();
    for (int i = 0; i < 60; ++i) {
      auto bytes = Block(static_cast<char>(prng.Below(256)));
      if (prng.Chance(700)) {
        const uint8_t head[12] = {0xc0, 0x3b, 0x39, 0x98,
                                  0,    0,    0,    static_cast<uint8_t>(1 + prng.Below(5)),
                                  0,    0,    0,    static_cast<uint8_t>(7 + prng.Below(4))};
        std::copy(std::begin(head), std::end(head), bytes.begin());
        for (size_t at = 12; at < 64; ++at) {
          bytes[at] = prng.Chance(600) ? 0 : static_cast<uint8_t>(prng.Next());
        }
      }
      const uint64_t place = prng.Chance(200) ? 0 : prng.Below(12);
      const uint64_t block = prng.Chance(700) ? log.journal().blocks[place] : prng.Below(4000);
      const uint64_t shift = prng.Chance(100) ? 512 : 0;
      log.WriteAt(block * kLogBlock + shift, bytes, 0);
      if (prng.Chance(100)) log.Discard(prng.Below(3000), 1 + prng.Below(1000));
    }
    const auto& history = log.history();
    ExpectSound(DecodeJournal(history, log.base(), log.journal()), history.events.size());
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace plugpull::crashstate
