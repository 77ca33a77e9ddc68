// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <set>

#include "framework/crashstate/journal_guided.h"
#include "journal_log.h"

namespace plugpull::crashstate {
namespace {

using ::testing::Contains;
using ::testing::Not;

const auto Block = JournalLog::Block;

Check CheckOf(uint64_t max_states) {
  Check check;
  check.set_disk("vol");
  check.set_max_states(static_cast<uint32_t>(max_states));
  check.add_enumerate()->mutable_journal_guided();
  return check;
}

struct Named {
  Named(JournalLog& log, const DeviceModel& model, uint64_t max_states, uint64_t seed = 1) {
    space = *CrashSpace::Make(log.history(), log.base(), model, "vol");
    const auto timeline = DecodeJournal(log.history(), log.base(), log.journal());
    listed = EnumerateStates(*space, CheckOf(max_states), seed, &timeline);
    for (const StateSpec& spec : listed.states) {
      const std::string id = IdOf(*space, spec).ToString();
      ids.push_back(id.substr(id.find('@') + 1));
    }
  }
  std::unique_ptr<CrashSpace> space;
  Enumeration listed;
  std::vector<std::string> ids;  // from the cut on
};

// A life in which the log comes round: transaction 9 lies where 7 lay. Entries in the comments.
void WriteRound(JournalLog& log) {
  log.Begin();                                                                      // 0
  log.WriteHome(3600, Block('d'));                                                  // 1
  log.WriteHome(3601, Block('e'));                                                  // 2
  log.Commit({.writes = {{3000, Block('a')}, {3001, Block('b')}}, .revokes = {}});  // 3 to 6
  log.Mark();                                                                       // 7
  log.Commit({.writes = {{3001, Block('c')}}, .revokes = {3500}});                  // 8 to 11
  log.Mark();                                                                       // 12
  log.WriteHome(3000, Block('a'));                                                  // 13
  log.WriteHome(3001, Block('c'));                                                  // 14
  log.Flush();                                                                      // 15
  log.MoveTail(9, 1);                                                               // 16
}

constexpr uint32_t kRoundStart = 1023 - 7;  // eight places to the end of the log

TEST(JournalGuided, LosesWhatTheJournalReliedOn) {
  JournalLog log(false, kRoundStart);
  WriteRound(log);
  // 17 to 19 are at places 1 to 3; a log that comes round once more is the next test.
  log.Commit({.writes = {{3002, Block('f')}}, .revokes = {}});
  const Named named(log, {.lying = true}, 1000);
  EXPECT_TRUE(named.listed.enumerators[0].exhaustive);
  const char* const kExpected[] = {
      "8",             // behind the commit and its mark, nothing lost
      "8-lose.3.4.5",  // all but the commit
      "8-lose.3",      // the descriptor
      "8-lose.4",      // a copy
      "8-lose.5",      //
      "8-lose.6",      // the commit
      "8-lose.1.2",    // the file data before it
      "8-lose.1",      // a write of it
      "13-lose.8.9.10",
      "13-lose.8",
      "13-lose.9",
      "13-lose.10",
      "13-lose.11",
      "14-lose.3.4.5.6",    // written home, and its transaction is not in the log
      "15-lose.8.9.10.11",  //
      "14-lose.6",          // its commit is not
      "17-lose.13.14",      // the tail moved over what is not home
      "17-lose.13",
      "17-lose.14",
      "8-lose.0",    // the journal superblock of the log's beginning
      "20-lose.16",  // of the move
      "20",
  };
  for (const char* id : kExpected) EXPECT_THAT(named.ids, Contains(id));
  EXPECT_THAT(named.ids, Not(Contains("8-lose.13"))) << "behind the cut";
}

TEST(JournalGuided, AnOldTailPointsAtWhatWentOverIt) {
  JournalLog log(false, kRoundStart);
  WriteRound(log);
  std::vector<size_t> last;
  for (char fill = 'A'; last.empty() || log.builder().places().back()[0] < kRoundStart; ++fill) {
    std::vector<std::pair<uint64_t, std::vector<uint8_t>>> writes;
    for (uint64_t i = 0; i < 50; ++i) writes.emplace_back(3100 + i, Block(fill));
    last = log.Commit({.writes = writes, .revokes = {}});
    const auto& places = log.builder().places().back();
    if (std::find(places.begin(), places.end(), kRoundStart) != places.end()) break;
  }
  const Named named(log, {}, 100000);
  EXPECT_THAT(named.ids, Contains(std::to_string(last.back() + 1) + "-lose.16"));
}

TEST(JournalGuided, WithBarriersOnlyTheHealthySidesAreLeft) {
  JournalLog log(true, kRoundStart);
  WriteRound(log);
  const Named named(log, {}, 1000);
  EXPECT_TRUE(named.listed.enumerators[0].exhaustive);
  for (const StateSpec& spec : named.listed.states) {
    EXPECT_EQ(spec.selection.kind, Selection::Kind::kAllArrived);
  }
  for (const char* id : {"8", "13", "14", "15", "17"}) EXPECT_THAT(named.ids, Contains(id));
}

TEST(JournalGuided, AMissingFlushBeforeTheTailMovesIsFound) {
  JournalLog log(true, kRoundStart);
  log.Begin();                                                  // 0
  log.Commit({.writes = {{3000, Block('a')}}, .revokes = {}});  // 1 to 3
  log.WriteHome(3000, Block('a'));                              // 4
  const size_t super = log.entries();                           // forced, but no flush before it
  const auto place = log.builder().Place(0);
  place[0x1b] = 8;
  place[0x1e] = static_cast<uint8_t>((kRoundStart + 3) >> 8);
  place[0x1f] = static_cast<uint8_t>(kRoundStart + 3);
  log.builder().SealJournalSuper();
  log.WritePlace(0, blocklog::kFlagFua);
  const Named named(log, {}, 1000);
  EXPECT_THAT(named.ids, Contains(std::to_string(super + 1) + "-lose.4"));
}

TEST(JournalGuided, TheFirstStatesCoverAllKinds) {
  JournalLog log(false, kRoundStart);
  WriteRound(log);
  const Named named(log, {.lying = true}, 12);
  EXPECT_FALSE(named.listed.enumerators[0].exhaustive);
  ASSERT_EQ(named.ids.size(), 12U);
  std::set<std::string> cuts;
  for (const std::string& id : named.ids) cuts.insert(id.substr(0, id.find('-')));
  EXPECT_THAT(cuts, Contains("17")) << "the tail's move";
  EXPECT_GE(cuts.size(), 4U);
}

TEST(JournalGuided, ASmallerBudgetNamesTheFirstOfALargerOne) {
  JournalLog log(false, kRoundStart);
  WriteRound(log);
  const Named all(log, {}, 1000);
  ASSERT_TRUE(all.listed.enumerators[0].exhaustive);
  for (const size_t budget : {size_t{1}, size_t{5}, all.ids.size() - 1, all.ids.size()}) {
    const Named some(log, {}, budget);
    ASSERT_EQ(some.ids.size(), budget);
    EXPECT_TRUE(std::equal(some.ids.begin(), some.ids.end(), all.ids.begin()));
    EXPECT_EQ(some.listed.enumerators[0].exhaustive, budget == all.ids.size()) << budget;
  }
}

TEST(JournalGuided, TheSeedDecidesTheOrderAndNothingElse) {
  JournalLog log(false, kRoundStart);
  WriteRound(log);
  const Named one(log, {}, 1000, 1);
  const Named again(log, {}, 1000, 1);
  const Named two(log, {}, 1000, 2);
  EXPECT_EQ(one.ids, again.ids);
  EXPECT_NE(one.ids, two.ids);
  EXPECT_EQ(std::set(one.ids.begin(), one.ids.end()), std::set(two.ids.begin(), two.ids.end()));
}

TEST(JournalGuided, EveryStateIsLegalAndNamedOnce) {
  for (const bool barriers : {false, true}) {
    JournalLog log(barriers, kRoundStart);
    WriteRound(log);
    log.Commit({.writes = {{3002, Block('f')}}, .revokes = {3001}});
    for (const DeviceModel& model :
         std::vector<DeviceModel>{{}, {.lying = true}, {.window = 3}, {.discard_keeps = true}}) {
      SCOPED_TRACE(model.ToWords());
      const Named named(log, model, 1000);
      EXPECT_FALSE(named.ids.empty());
      EXPECT_EQ(std::set(named.ids.begin(), named.ids.end()).size(),
                named.ids.size() - named.listed.order_unknown);
      for (const StateSpec& spec : named.listed.states) {
        const auto id = CrashStateId::Parse(IdOf(*named.space, spec).ToString());
        ASSERT_TRUE(id.ok());
        const auto cut = named.space->CutOfEntry(id->cut);
        ASSERT_TRUE(cut.ok());
        EXPECT_EQ(*cut, spec.cut);
        const auto lost = named.space->LostEvents(*cut, id->selection);
        ASSERT_TRUE(lost.ok()) << lost.error().ToString();
        EXPECT_EQ(lost->size(), spec.selection.entries.size());
      }
    }
  }
}

TEST(JournalGuided, NamesNothingWithoutAJournal) {
  JournalLog log(false);
  WriteSmallLife(log);
  const auto space = *CrashSpace::Make(log.history(), log.base(), {}, "vol");
  const auto listed = EnumerateStates(*space, CheckOf(100), 1);
  EXPECT_TRUE(listed.states.empty());
  EXPECT_EQ(listed.enumerators[0].name, "journal_guided");
}

}  // namespace
}  // namespace plugpull::crashstate
