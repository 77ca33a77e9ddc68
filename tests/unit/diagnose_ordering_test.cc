// SPDX-License-Identifier: Apache-2.0
// Each rule of ordering, broken on purpose in a small history over a real ext4, and its healthy
// twins, in which nothing is broken.
#include <gmock/gmock.h>

#include <deque>

#include "ext4_tools.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/log_writer.h"
#include "framework/diagnose/explain.h"
#include "framework/diagnose/ordering.h"
#include "framework/ext4/file_system.h"
#include "framework/ext4/superblock.h"
#include "journal_builder.h"

namespace plugpull::diagnose {
namespace {

using ext4::Image;
using ext4::JournalBuilder;
using ext4::TransactionParts;
using Kind = BrokenRule::Kind;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr uint32_t kBlock = 1024;
constexpr uint64_t kHome = 3000;  // a free block, written home by transaction 7
constexpr uint64_t kFlags = blocklog::kFlagFlush | blocklog::kFlagFua;

// The life of a journal by hand. Every method appends to the log and says which event that is.
class OrderingTest : public testing::Test {
 protected:
  OrderingTest() {
    // Transactions 7 and 8, in places 1 to 7: a revoke, a descriptor, a copy and a commit; then a
    // descriptor, a copy and a commit.
    JournalBuilder builder(image_, journal_.blocks, kBlock, {.sequence = 7, .start = 1});
    TransactionParts seven;
    seven.writes = {{kHome, std::vector<uint8_t>(kBlock, 'x')}};
    seven.revokes = {3500};
    builder.Add(seven);
    TransactionParts eight;
    eight.writes = {{kHome + 1, std::vector<uint8_t>(kBlock, 'y')}};
    builder.Add(eight);
    builder.Finish();
    places_ = builder.places();
  }

  size_t Write(uint64_t block, std::span<const uint8_t> bytes, uint64_t flags = 0) {
    writer_.Write(Bytes(block * kBlock), bytes, flags);
    return events_++;
  }
  size_t Place(uint32_t place, uint64_t flags = 0) {
    const uint64_t block = journal_.blocks[place];
    return Write(block, std::span(image_).subspan(block * kBlock, kBlock), flags);
  }
  size_t Flush() {
    writer_.Flush();
    return events_++;
  }
  // The first superblock of a mount: needs_recovery.
  size_t Super(uint64_t flags = 0) {
    return Write(1, std::span(image_).subspan(kBlock, kBlock), flags);
  }
  size_t Home(char letter = 'x', uint64_t at = kHome, uint64_t flags = 0) {
    return Write(at, std::vector<uint8_t>(kBlock, static_cast<uint8_t>(letter)), flags);
  }
  // The journal superblock that says that the log begins at a transaction in a place.
  size_t Tail(uint8_t sequence, uint8_t place, uint64_t flags = 0) {
    JournalBuilder builder(image_, journal_.blocks, kBlock, {});
    builder.Place(0)[0x1b] = sequence;
    builder.Place(0)[0x1f] = place;
    builder.SealJournalSuper();
    const auto bytes = builder.Place(0);
    tails_.emplace_back(bytes.begin(), bytes.end());
    return Write(journal_.blocks[0], tails_.back(), flags);
  }
  // Revoke, descriptor, copy and commit of transaction 7; the events are in order.
  size_t Seven() {
    const size_t first = events_;
    for (const uint32_t place : places_[0]) Place(place);
    return first;
  }
  size_t Eight() {
    const size_t first = events_;
    for (const uint32_t place : places_[1]) Place(place);
    return first;
  }

  void Decode() {
    log_ = *blocklog::ReadLog(writer_.bytes(), {});
    history_ = *blocklog::MakeHistory(log_, {Bytes(base_.size()), Bytes(0)});
    ASSERT_EQ(history_.events.size(), events_);
    timeline_ = crashstate::DecodeJournal(history_, base_, journal_);
  }
  // What losing `lost` breaks at a cut behind the last event.
  std::vector<BrokenRule> Broken(const std::vector<size_t>& lost, size_t cut = SIZE_MAX) {
    Decode();
    state_ = {std::min(cut, events_), lost, torn_};
    const WriteNames names(history_, timeline_, base_, nullptr);
    OrderingInput input = Input();
    input.words_of = [&](const auto& write) { return names.WordsOf(write); };
    input.is_file_data = [](uint64_t block) { return block == 3900; };
    return FindBrokenRules(input);
  }
  OrderingInput Input() {
    OrderingInput input;
    input.history = &history_;
    input.base = base_;
    input.timeline = &timeline_;
    input.state = &state_;
    input.sync_mark = sync_mark_;
    input.sync_words = "fsync of /d3/f80 (operation 311)";
    input.prefer_sync = sync_mark_.has_value();
    if (synced_) input.is_synced = [&](const auto&) { return *synced_; };
    input.data_mode = data_mode_;
    if (reached_by_) input.reached_by = [&](const auto&) { return reached_by_; };
    input.atomic_unit = 512;
    input.units_words = [](const TornUnits&) { return std::string("half of it"); };
    return input;
  }
  void ExpectOne(const std::vector<BrokenRule>& rules, Kind kind, size_t lost, size_t arrived,
                 const std::string& says) {
    ASSERT_EQ(rules.size(), 1u);
    EXPECT_STREQ(BrokenRuleName(rules[0].kind), BrokenRuleName(kind));
    EXPECT_EQ(rules[0].lost, lost);
    EXPECT_EQ(rules[0].arrived, arrived);
    EXPECT_THAT(rules[0].sentence, HasSubstr(says));
  }

  Image base_ = ext4::MakeExt4();
  Image image_ = base_;
  ext4::JournalLayout journal_ = *ext4::FindJournal(base_);
  std::vector<std::vector<uint32_t>> places_;
  std::deque<std::vector<uint8_t>> tails_;
  blocklog::LogWriter writer_;
  size_t events_ = 0;
  blocklog::BlockLog log_;
  blocklog::History history_;
  crashstate::JournalTimeline timeline_;
  CutAndLost state_;
  std::vector<TornUnits> torn_;
  std::optional<size_t> sync_mark_;
  std::optional<bool> synced_;  // whether the sync covers lost data
  std::optional<ext4::DataMode> data_mode_;
  std::optional<uint32_t> reached_by_;  // position of a transaction
};

TEST_F(OrderingTest, TheJournalBlocksOfATransactionComeBeforeItsCommitBlock) {
  Super();
  Tail(7, 1);
  const size_t revoke = Seven();
  const size_t commit = revoke + 3;
  ExpectOne(Broken({revoke}), Kind::kJournalBeforeCommit, revoke, commit,
            "the commit block of transaction 7 (entry 5) reached the disk before the revoke block "
            "of transaction 7 (entry 2)");
  ExpectOne(Broken({revoke + 1}), Kind::kJournalBeforeCommit, revoke + 1, commit,
            "journal descriptor of transaction 7 (entry 3)");
  ExpectOne(Broken({revoke + 2}), Kind::kJournalBeforeCommit, revoke + 2, commit,
            "journal copy of block 3000");
  // Without the commit block there is no transaction, and none of it is missed.
  EXPECT_THAT(Broken({revoke, revoke + 1, commit}), IsEmpty());
  EXPECT_THAT(Broken({revoke + 1}, commit), IsEmpty());
}

TEST_F(OrderingTest, AGivenUpTransactionMissesNothing) {
  Super();
  Tail(7, 1);
  const size_t revoke = Seven();
  Eight();
  Home();
  Tail(8, 5);
  EXPECT_THAT(Broken({revoke + 1}), IsEmpty());
}

TEST_F(OrderingTest, BlocksAreAtHomeBeforeTheTailMovesPastTheirTransaction) {
  Super();
  Tail(7, 1);
  Seven();
  Eight();
  const size_t home = Home();
  const size_t tail = Tail(8, 5);
  ExpectOne(Broken({home}), Kind::kHomeBeforeTail, home, tail,
            "the journal's tail moved from transaction 7 to 8 (entry 10) before the checkpoint "
            "write of block 3000");
  EXPECT_THAT(Broken({home}, tail), IsEmpty()) << "the journal still has it";
  EXPECT_THAT(Broken({home, tail}), IsEmpty());
}

TEST_F(OrderingTest, ABlockThatWentHomeAgainBeforeTheTailMovedIsNotMissed) {
  Super();
  Tail(7, 1);
  Seven();
  Eight();
  const size_t home = Home();
  Home('z');
  Home('x');
  Tail(8, 5);
  EXPECT_THAT(Broken({home}), IsEmpty());
}

TEST_F(OrderingTest, AnEmptiedJournalGivesUpAllOfIt) {
  Super();
  Tail(7, 1);
  Seven();
  const size_t home = Home();
  const size_t tail = Tail(8, 0);
  ExpectOne(Broken({home}), Kind::kHomeBeforeTail, home, tail, "the journal was emptied (entry 7)");
}

TEST_F(OrderingTest, ATransactionCommitsBeforeItsBlocksGoHome) {
  Super();
  Tail(7, 1);
  const size_t commit = Seven() + 3;
  const size_t home = Home();
  ExpectOne(Broken({commit}), Kind::kCommitBeforeCheckpoint, commit, home,
            "the checkpoint write of block 3000 (for what is not known) of transaction 7 (entry 6) "
            "reached the disk before the commit block of transaction 7 (entry 5)");
  EXPECT_THAT(Broken({commit}, home), IsEmpty());
  EXPECT_THAT(Broken({commit, home}), IsEmpty());
}

TEST_F(OrderingTest, TransactionsCommitInTheirOrder) {
  Super();
  Tail(7, 1);
  const size_t seven = Seven() + 3;
  const size_t eight = Eight() + 2;
  ExpectOne(Broken({seven}), Kind::kCommitsInOrder, seven, eight,
            "the commit block of transaction 8 (entry 8) reached the disk before the commit block "
            "of transaction 7 (entry 5)");
}

TEST_F(OrderingTest, NothingIsReplayedBeforeTheSuperblocksSaySo) {
  const size_t super = Super();
  const size_t begin = Tail(7, 1);
  const size_t commit = Seven() + 3;
  ExpectOne(Broken({super}), Kind::kRecoveryBeforeCommit, super, commit, "needs_recovery");
  ExpectOne(Broken({begin}), Kind::kLogBeginBeforeCommit, begin, commit,
            "journal superblock that begins the log at transaction 7");
  EXPECT_THAT(Broken({super, begin}, commit), IsEmpty());
}

TEST_F(OrderingTest, ASuperblockThatChangesSomethingElseBreaksNoRule) {
  Super();
  Tail(7, 1);
  image_[kBlock + 0x30] ^= 1;  // s_wtime
  const size_t again = Super();
  Seven();
  EXPECT_THAT(Broken({again}), IsEmpty());
}

TEST_F(OrderingTest, TheTailIsDurableBeforeItsSpaceIsUsedAgain) {
  Super();
  Tail(7, 1);
  Seven();
  Eight();
  Home();
  const size_t tail = Tail(8, 5);
  Home('q', 3100);
  // Place 2 held the descriptor of transaction 7.
  const size_t over = Write(journal_.blocks[2], std::vector<uint8_t>(kBlock, 'n'));
  ExpectOne(Broken({tail}), Kind::kTailBeforeReuse, tail, over, "was written over transaction 7");
  EXPECT_THAT(Broken({tail}, over), IsEmpty());
  EXPECT_THAT(Broken({tail, over}), IsEmpty());
}

TEST_F(OrderingTest, WhatASyncCoversIsDurableWhenItReturns) {
  Super();
  Tail(7, 1);
  const size_t data = Write(3900, std::vector<uint8_t>(kBlock, 'd'));
  const size_t commit = Seven() + 3;
  writer_.Mark("returned");
  sync_mark_ = events_++;
  ExpectOne(Broken({commit}), Kind::kSyncBeforeReturn, commit, *sync_mark_,
            "fsync of /d3/f80 (operation 311) returned (entry 7) before the commit block of "
            "transaction 7 (entry 6)");
  ExpectOne(Broken({data}), Kind::kSyncBeforeReturn, data, *sync_mark_, "write of block 3900");
  // A checkpoint write is none of a sync's business.
  sync_mark_.reset();
  const size_t home = Home();
  writer_.Mark("returned");
  sync_mark_ = events_++;
  EXPECT_THAT(Broken({home}), IsEmpty());
}

TEST_F(OrderingTest, ASyncHasNothingToDoWithOtherFilesOrWhatTheJournalGaveUp) {
  Super();
  Tail(7, 1);
  const size_t data = Write(3900, std::vector<uint8_t>(kBlock, 'd'));
  const size_t commit = Seven() + 3;
  Home();
  Tail(8, 5);
  writer_.Mark("returned");
  sync_mark_ = events_++;
  synced_ = true;
  EXPECT_THAT(Broken({data}), Not(IsEmpty()));
  synced_ = false;
  EXPECT_THAT(Broken({data}), IsEmpty());
  for (const BrokenRule& rule : Broken({commit})) EXPECT_NE(rule.kind, Kind::kSyncBeforeReturn);
}

TEST_F(OrderingTest, TheSyncIsNamedLastWhereItIsNotAskedAbout) {
  Super();
  Tail(7, 1);
  const size_t commit = Seven() + 3;
  Home();
  writer_.Mark("returned");
  sync_mark_ = events_++;
  Decode();
  state_ = {events_, {commit}};
  OrderingInput input = Input();
  const WriteNames names(history_, timeline_, base_, nullptr);
  input.words_of = [&](const auto& write) { return names.WordsOf(write); };
  input.is_file_data = [](uint64_t) { return false; };
  EXPECT_EQ(FindBrokenRules(input)[0].kind, Kind::kSyncBeforeReturn);
  input.prefer_sync = false;
  EXPECT_EQ(FindBrokenRules(input)[0].kind, Kind::kCommitBeforeCheckpoint);
}

TEST_F(OrderingTest, WritesThatAreInNoRuleAreNotPressedIntoOne) {
  Super();
  Tail(7, 1);
  const size_t other = Home('o', 3700);
  const size_t again = Place(0);  // changes nothing
  Seven();
  Home();
  EXPECT_THAT(Broken({other, again}), IsEmpty());
}

// ---- file data

TEST_F(OrderingTest, UnderOrderedFileDataComesBeforeTheCommitThatMakesItReachable) {
  Super();
  Tail(7, 1);
  const size_t data = Write(3900, std::vector<uint8_t>(kBlock, 'd'));
  const size_t seven = Seven() + 3;
  const size_t eight = Eight() + 2;
  data_mode_ = ext4::DataMode::kOrdered;
  EXPECT_THAT(Broken({data}), IsEmpty()) << "nothing makes it reachable";
  reached_by_ = 0;  // transaction 7
  ExpectOne(Broken({data}), Kind::kDataBeforeCommit, data, seven,
            "the commit block of transaction 7 (entry 6), which makes it reachable, reached the "
            "disk before the write of block 3900");
  reached_by_ = 1;
  ExpectOne(Broken({data}), Kind::kDataBeforeCommit, data, eight, "transaction 8 (entry 9)");
  EXPECT_THAT(Broken({data}, eight), IsEmpty()) << "not committed yet";
  const auto both = Broken({data, eight});
  EXPECT_THAT(both, IsEmpty()) << "its commit block is lost, too";
  EXPECT_THAT(Broken({eight + 1 - 3}), testing::SizeIs(1)) << "a block of the log is no file data";
}

TEST_F(OrderingTest, FileDataThatWasWrittenAgainIsNotMissed) {
  Super();
  Tail(7, 1);
  const size_t data = Write(3900, std::vector<uint8_t>(kBlock, 'd'));
  const size_t again = Write(3900, std::vector<uint8_t>(kBlock, 'e'));
  Seven();
  data_mode_ = ext4::DataMode::kOrdered;
  reached_by_ = 0;
  EXPECT_THAT(Broken({data}), IsEmpty());
  EXPECT_THAT(Broken({data, again}), testing::SizeIs(2));
}

TEST_F(OrderingTest, NoOtherDataModeHasThatRule) {
  Super();
  Tail(7, 1);
  const size_t data = Write(3900, std::vector<uint8_t>(kBlock, 'd'));
  const size_t commit = Seven() + 3;
  reached_by_ = 0;
  for (const auto mode :
       {std::optional(ext4::DataMode::kWriteback), std::optional(ext4::DataMode::kJournal),
        std::optional<ext4::DataMode>()}) {
    data_mode_ = mode;
    EXPECT_THAT(Broken({data}), IsEmpty());
    const WriteNames names(history_, timeline_, base_, nullptr);
    OrderingInput input = Input();
    input.is_file_data = [](uint64_t block) { return block == 3900; };
    const auto reachable = FindReachableData(input);
    ASSERT_EQ(reachable.size(), 1u);
    EXPECT_EQ(reachable[0].lost, data);
    EXPECT_EQ(reachable[0].commit, commit);
  }
  // What a sync has promised is another rule.
  writer_.Mark("returned");
  sync_mark_ = events_++;
  data_mode_ = ext4::DataMode::kWriteback;
  ExpectOne(Broken({data}), Kind::kSyncBeforeReturn, data, *sync_mark_, "write of block 3900");
}

// ---- torn writes

TEST_F(OrderingTest, ABlockIsNotAtomicOnADiskThatTears) {
  Super();
  Tail(7, 1);
  const size_t commit = Seven() + 3;
  torn_ = {{commit, {1}}};
  ExpectOne(Broken({}), Kind::kBlockIsAtomic, commit, commit,
            "the commit block of transaction 7 (entry 5) arrived in part (half of it): a block of "
            "1024 bytes is not atomic on a disk that tears at 512 bytes; a transaction has "
            "committed when its commit block is there, and not in part");
  // What tore proves nothing: the lost copy breaks no rule by it.
  EXPECT_THAT(Broken({commit - 1}), testing::SizeIs(1));
}

TEST_F(OrderingTest, OfAWriteOfManyBlocksOnlyTheTornOnesAreTorn) {
  Super();
  Tail(7, 1);
  Seven();
  Eight();
  // Blocks 3000 (of transaction 7), and two that are nobody's.
  std::vector<uint8_t> three(3 * kBlock, 'x');
  std::fill(three.begin() + kBlock, three.end(), 'n');
  const size_t home = Write(kHome, three);
  const size_t tail = Tail(8, 5);
  torn_ = {{home, {0, 1}}};
  ExpectOne(Broken({}), Kind::kHomeBeforeTail, home, tail, "checkpoint write of block 3000");
  torn_ = {{home, {1}}};
  ExpectOne(Broken({}), Kind::kBlockIsAtomic, home, home, "ext4 writes metadata home as one");
  torn_ = {{home, {2, 3}}};
  EXPECT_THAT(Broken({}), IsEmpty()) << "a whole block that is in no rule";
}

// ---- who is at fault

class BlameTest : public OrderingTest {
 protected:
  Explanation ExplainLoss(const std::vector<size_t>& lost, const DiskUse& use = {}) {
    Decode();
    state_ = {events_, lost, torn_};
    const WriteNames names(history_, timeline_, base_, nullptr);
    return Explain(Input(), names, use, true, 100);
  }
};

TEST_F(BlameTest, WithoutAFlushTheMountOrTheLayerIsNamedAndElseNobody) {
  Super();
  Tail(7, 1);
  const size_t copy = Seven() + 2;
  EXPECT_THAT(ExplainLoss({copy}, {.nobarrier = true}).verdict,
              AllOf(StartsWith("No flush lies between the two"), HasSubstr("nobarrier")));
  EXPECT_THAT(ExplainLoss({copy}, {.drops_flushes = true}).verdict,
              HasSubstr("The disk is at fault, not the file system"));
  EXPECT_THAT(ExplainLoss({copy}).verdict, HasSubstr("which of the two is not known"));
}

TEST_F(BlameTest, AFlushBetweenTheTwoThatWasNotKeptIsTheDisksFault) {
  Super();
  Tail(7, 1);
  Place(places_[0][0]);
  Place(places_[0][1]);
  const size_t copy = Place(places_[0][2]);
  Place(places_[0][3], kFlags);
  const Explanation explanation = ExplainLoss({copy});
  ASSERT_EQ(explanation.rules.size(), 1u);
  EXPECT_EQ(explanation.rules[0].name, "journal-before-commit");
  EXPECT_EQ(explanation.rules[0].promised_entry, 5u);
  EXPECT_THAT(explanation.verdict, AllOf(StartsWith("The disk is at fault"),
                                         HasSubstr("entry 5 flushed what came before it")));
}

TEST_F(BlameTest, AForcedWriteThatIsLostIsTheDisksFault) {
  Super();
  Tail(7, 1);
  for (size_t i = 0; i < 3; ++i) Place(places_[0][i]);
  const size_t commit = Place(places_[0][3], kFlags);
  Home();
  EXPECT_THAT(ExplainLoss({commit}).verdict, HasSubstr("entry 5 was a forced write (FUA)"));
}

TEST_F(BlameTest, AFlushElsewhereIsNoExcuse) {
  Super();
  Flush();
  Tail(7, 1);
  const size_t copy = Seven() + 2;
  EXPECT_THAT(ExplainLoss({copy}).verdict, HasSubstr("the log has flushes elsewhere"));
}

TEST_F(BlameTest, NoRuleIsSaidToBeBrokenWhereNoneIs) {
  Super();
  Tail(7, 1);
  const size_t other = Home('o', 3700);
  Seven();
  const Explanation explanation = ExplainLoss({other});
  EXPECT_THAT(explanation.rules, IsEmpty());
  EXPECT_THAT(explanation.without_rule, testing::ElementsAre(2));
  EXPECT_THAT(explanation.verdict, StartsWith("No rule of ext4's was broken by what was lost."));
  EXPECT_THAT(ExplainLoss({}).verdict, StartsWith("Nothing was lost"));
  EXPECT_THAT(ExplainLoss({}).cut_after, HasSubstr("commit block of transaction 7"));
}

TEST_F(BlameTest, ATornWriteIsSaidUnitByUnitAndTheDiskIsNamed) {
  Super();
  Tail(7, 1);
  const size_t commit = Seven() + 3;
  torn_ = {{commit, {0}}};
  const Explanation in_flight = ExplainLoss({});
  ASSERT_EQ(in_flight.torn.size(), 1u);
  EXPECT_EQ(in_flight.torn[0].words,
            "entry 5: commit block of transaction 7; of its 2 units of 512 bytes unit 1 arrived, "
            "unit 0 did not");
  ASSERT_EQ(in_flight.rules.size(), 1u);
  EXPECT_EQ(in_flight.rules[0].name, "block-is-atomic");
  EXPECT_FALSE(in_flight.rules[0].promised_entry.has_value());
  EXPECT_THAT(in_flight.verdict,
              AllOf(StartsWith("The disk tears writes at 512 bytes"),
                    HasSubstr("one that writes blocks of 1024 bytes whole leaves no such state")));
  Flush();
  EXPECT_EQ(ExplainLoss({}).rules[0].promised_entry, 6u);
  EXPECT_THAT(ExplainLoss({}).verdict, HasSubstr("had acknowledged all of entry 5, by entry 6"));
}

TEST_F(BlameTest, LostFileDataIsRemarkedOnByTheDataMode) {
  ext4::Debugfs(base_, {"write @input f"}, std::string(kBlock, 't'));
  const auto roles = ext4::BlockRoles::Make(base_);
  ASSERT_TRUE(roles.ok());
  uint64_t block = 0;
  while (roles->UseOf(block).kind != ext4::BlockUse::Kind::kFile) ++block;
  Super();
  Tail(7, 1);
  const size_t data = Write(block, std::vector<uint8_t>(kBlock, 'd'));
  Seven();
  Decode();
  state_ = {events_, {data}};
  reached_by_ = 0;
  const WriteNames names(history_, timeline_, base_, &*roles);
  const auto remarks = [&](std::optional<ext4::DataMode> mode) {
    data_mode_ = mode;
    const Explanation said = Explain(Input(), names, {}, false, 100);
    EXPECT_LE(said.remarks.size(), 1u);
    return said.remarks.empty() ? "" : said.remarks[0];
  };
  EXPECT_EQ(remarks(ext4::DataMode::kOrdered), "");
  EXPECT_THAT(remarks(ext4::DataMode::kWriteback),
              AllOf(StartsWith("entry 2 is file data that transaction 7 (commit block: entry 6)"),
                    HasSubstr("under data=writeback no rule orders the two")));
  EXPECT_THAT(remarks(std::nullopt), HasSubstr("is not known"));
}

TEST_F(BlameTest, LostWritesAreNamedByWhatTheyWereFor) {
  Super();
  const size_t begin = Tail(7, 1);
  const size_t first = Seven();
  const size_t home = Home();
  const size_t tail = Tail(8, 0);
  writer_.Discard(Bytes(3600 * kBlock), Bytes(kBlock));
  const size_t discard = events_++;
  const auto lost =
      ExplainLoss({begin, first, first + 1, first + 2, first + 3, home, tail, discard}).lost;
  std::vector<std::string> words;
  for (const auto& one : lost) words.push_back(one.words);
  EXPECT_THAT(
      words,
      testing::ElementsAre(
          "entry 1: journal superblock that begins the log at transaction 7",
          "entry 2: revoke block of transaction 7", "entry 3: journal descriptor of transaction 7",
          "entry 4: journal copy of block 3000 (for what is not known) in transaction 7",
          "entry 5: commit block of transaction 7",
          "entry 6: checkpoint write of block 3000 (for what is not known) of transaction 7",
          "entry 7: journal superblock that empties the journal",
          "entry 8: discard of 1024 bytes at byte 3686400"));
}

// With the roles of an image: inodes whose bytes a write changed, and paths.
TEST(WriteNamesOfInodes, TheInodesThatAWriteChangedAreNamed) {
  Image base = ext4::MakeExt4();
  ext4::Debugfs(base, {"mkdir d", "write @input d/f", "write @input d/g"}, "text");
  const auto roles = ext4::BlockRoles::Make(base);
  ASSERT_TRUE(roles.ok());
  const uint64_t table = [&] {
    for (uint64_t block = 0;; ++block) {
      const auto use = roles->UseOf(block);
      if (use.kind == ext4::BlockUse::Kind::kInodeTable && roles->FirstInodeOf(block) <= 13 &&
          roles->FirstInodeOf(block) + kBlock / roles->inode_bytes() > 13) {
        return block;
      }
    }
  }();
  std::vector<uint8_t> bytes(base.begin() + static_cast<ptrdiff_t>(table * kBlock),
                             base.begin() + static_cast<ptrdiff_t>((table + 1) * kBlock));
  bytes[(13 - roles->FirstInodeOf(table)) * roles->inode_bytes() + 8] ^= 1;  // i_atime
  blocklog::LogWriter writer;
  writer.Write(Bytes(table * kBlock), bytes);
  const auto log = *blocklog::ReadLog(writer.bytes(), {});
  const auto history = *blocklog::MakeHistory(log, {Bytes(base.size()), Bytes(0)});
  const auto timeline = crashstate::DecodeJournal(history, base, *ext4::FindJournal(base));
  const WriteNames names(history, timeline, base, &*roles);
  EXPECT_THAT(names.EventInWords(0),
              AllOf(HasSubstr("inode table of group 0"), HasSubstr("changes /d/f (inode 13)")));
  EXPECT_THAT(names.EventInWords(0), testing::Not(HasSubstr("/d/g")));
}

}  // namespace
}  // namespace plugpull::diagnose
