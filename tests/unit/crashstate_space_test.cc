// SPDX-License-Identifier: Apache-2.0
// The device model against crash_reference.h, on random histories of small disks: every cut, every
// subset.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "crash_reference.h"
#include "framework/blocklog/format.h"
#include "framework/crashstate/enumerate.h"

namespace plugpull::crashstate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kHistories = 150;

std::vector<DeviceModel> Models() {
  return {
      {},
      {.lying = true},
      {.window = 2},
      {.discard_keeps = true},
      {.from_mkfs = true},
      {.lying = true, .window = 3, .discard_keeps = true},
      {.lying = true, .from_mkfs = true},
  };
}

// Runs `body(space, reference)` for many disks under every model.
template <typename Body>
void ForEachSpace(const RandomOptions& options, uint64_t histories, const Body& body) {
  ForEachDisk(Models(), options, histories,
              [&](const RandomDisk& disk, const DeviceModel& model, const CrashSpace& space) {
                body(space, Reference(disk, model));
              });
}

std::vector<size_t> AsList(const std::set<size_t>& set) { return {set.begin(), set.end()}; }

TEST(CrashSpace, NamesExactlyTheImagesOfTheDefinition) {
  ForEachSpace({}, kHistories, [](const CrashSpace& space, const Reference& reference) {
    ASSERT_EQ(space.first_cut(), reference.base());
    StateCursor cursor(space);
    std::vector<size_t> volatile_events;
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      space.VolatileEvents(cut, volatile_events);
      ASSERT_EQ(volatile_events, reference.Volatile(cut)) << "cut " << cut;
      std::set<std::string> images;
      for (const auto& lost : Subsets(volatile_events)) {
        for (const bool older : {false, true}) {
          cursor.MoveTo(cut, AsList(lost), older);
          images.insert(BytesOf(cursor.image()));
        }
      }
      ASSERT_EQ(images, reference.Images(cut)) << "cut " << cut;
    }
  });
}

TEST(CrashSpace, EveryStateIsTheImageThatItsLostWritesGive) {
  ForEachSpace({}, kHistories, [](const CrashSpace& space, const Reference& reference) {
    StateCursor cursor(space);
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      for (const auto& lost : Subsets(reference.Volatile(cut))) {
        for (const bool older : {false, true}) {
          cursor.MoveTo(cut, AsList(lost), older);
          ASSERT_EQ(BytesOf(cursor.image()), reference.Image(cut, lost, older))
              << "cut " << cut << ", " << lost.size() << " lost, older " << older;
        }
      }
    }
  });
}

TEST(CrashSpace, WhereTheOrderDecidesItIsSaidToBeUnknown) {
  size_t unknown = 0;
  ForEachSpace({.fua_permille = 400}, kHistories,
               [&](const CrashSpace& space, const Reference& reference) {
                 for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
                   for (const auto& lost : Subsets(reference.Volatile(cut))) {
                     if (reference.Image(cut, lost, false) == reference.Image(cut, lost, true)) {
                       continue;
                     }
                     ++unknown;
                     ASSERT_TRUE(space.OrderUnknown(cut, AsList(lost))) << "cut " << cut;
                   }
                 }
               });
  EXPECT_GT(unknown, 100U);
}

TEST(CrashSpace, HonestOrderIsNotSaidToBeUnknownWithoutForcedWrites) {
  ForEachSpace({.fua_permille = 0}, 30, [](const CrashSpace& space, const Reference&) {
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      ASSERT_FALSE(space.OrderUnknown(cut, {}));
    }
  });
}

// Moves a cursor about; every state is the definition's.
void WalkAtRandom(const CrashSpace& space, const Reference& reference) {
  StateCursor cursor(space);
  Prng prng(7);
  std::vector<size_t> scratch;
  std::vector<size_t> lost;
  for (int i = 0; i < 60; ++i) {
    const size_t cut = prng.Between(space.first_cut(), space.last_cut());
    Selection sample;
    sample.kind = Selection::Kind::kSample;
    sample.seed = prng.Next();
    sample.lose_permille = 400;
    space.LostEventsInto(cut, sample, scratch, lost);
    const bool older = prng.Chance(300);
    cursor.MoveTo(cut, lost, older);
    ASSERT_EQ(BytesOf(cursor.image()), reference.Image(cut, {lost.begin(), lost.end()}, older))
        << "cut " << cut << ", step " << i;
  }
}

// Also where a block of the image has several units, and a last one that the disk does not fill.
TEST(StateCursor, GivesTheSameFromWhereverItComes) {
  for (const uint32_t block_bytes : {512U, 1024U, 4096U}) {
    for (uint64_t seed = 0; seed < 40; ++seed) {
      const RandomDisk disk(seed, {.events_max = 20});
      for (const DeviceModel& model : Models()) {
        const TestSpace test(disk, model, block_bytes);
        const CrashSpace& space = *test.space;
        const Reference reference(disk, model);
        WalkAtRandom(space, reference);
      }
    }
  }
}
TEST(StateCursor, EqualImagesHaveEqualSums) {
  ForEachSpace({}, 40, [](const CrashSpace& space, const Reference& reference) {
    std::set<std::string> images;
    std::set<image::DifferenceSum> sums;
    StateCursor cursor(space);
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      for (const auto& lost : Subsets(reference.Volatile(cut))) {
        cursor.MoveTo(cut, AsList(lost), false);
        sums.insert(cursor.image().sum());
        images.insert(BytesOf(cursor.image()));
      }
    }
    ASSERT_EQ(images.size(), sums.size());
  });
}

TEST(CrashSpace, AnIdBuildsItsImageAgain) {
  ForEachSpace({.events_max = 16}, 60, [](const CrashSpace& space, const Reference&) {
    Prng prng(3);
    std::vector<size_t> scratch;
    std::vector<size_t> lost;
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      StateSpec spec;
      spec.cut = cut;
      spec.selection.kind = Selection::Kind::kSample;
      spec.selection.seed = prng.Next();
      spec.selection.lose_permille = 500;
      spec.selection.last = prng.Below(4);
      spec.overlapping_older = prng.Chance(500);
      space.LostEventsInto(cut, spec.selection, scratch, lost);
      const std::string image = BytesOf(space, cut, lost, spec.overlapping_older);
      const auto id = CrashStateId::Parse(IdOf(space, spec).ToString());
      ASSERT_TRUE(id.ok());
      EXPECT_EQ(id->model, space.model());
      const auto cut_again = space.CutOfEntry(id->cut);
      ASSERT_TRUE(cut_again.ok());
      ASSERT_EQ(*cut_again, cut);
      const auto lost_again = space.LostEvents(*cut_again, id->selection);
      ASSERT_TRUE(lost_again.ok());
      EXPECT_EQ(*lost_again, lost);
      EXPECT_EQ(BytesOf(space, *cut_again, *lost_again, id->overlapping_older), image);
    }
  });
}

TEST(CrashSpace, ListsOfLostAndOfKeptWritesMeanTheSame) {
  ForEachSpace({}, 60, [](const CrashSpace& space, const Reference& reference) {
    const auto& events = space.history().events;
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      const auto volatile_events = reference.Volatile(cut);
      for (const auto& lost : Subsets(volatile_events)) {
        Selection lose{Selection::Kind::kLose, {}};
        Selection keep{Selection::Kind::kKeep, {}};
        for (const size_t event : volatile_events) {
          (lost.contains(event) ? lose : keep).entries.push_back(events[event].entry);
        }
        const auto by_lose = space.LostEvents(cut, lose);
        const auto by_keep = space.LostEvents(cut, keep);
        ASSERT_TRUE(by_lose.ok() && by_keep.ok());
        ASSERT_EQ(*by_lose, AsList(lost));
        ASSERT_EQ(*by_keep, AsList(lost));
      }
    }
  });
}

TEST(CrashSpace, AnEntryThatIsNotVolatileThereIsRefused) {
  ForEachSpace({}, 60, [](const CrashSpace& space, const Reference& reference) {
    const auto& events = space.history().events;
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      const auto volatile_events = reference.Volatile(cut);
      for (size_t event = 0; event < events.size(); ++event) {
        const bool known = std::find(volatile_events.begin(), volatile_events.end(), event) !=
                           volatile_events.end();
        for (const auto kind : {Selection::Kind::kLose, Selection::Kind::kKeep}) {
          const auto lost = space.LostEvents(cut, {kind, {events[event].entry}});
          ASSERT_EQ(lost.ok(), known);
          if (!known) {
            EXPECT_EQ(lost.error().code, ErrorCode::kUser);
          }
        }
      }
    }
  });
}

TEST(CrashSpace, OnlyCutsOfTheHistoryAreEntries) {
  ForEachSpace({}, 30, [](const CrashSpace& space, const Reference&) {
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      const auto again = space.CutOfEntry(space.EntryOfCut(cut));
      ASSERT_TRUE(again.ok());
      EXPECT_EQ(*again, cut);
    }
    const auto behind = space.CutOfEntry(space.EntryOfCut(space.last_cut()) + 1);
    ASSERT_FALSE(behind.ok());
    EXPECT_THAT(behind.error().ToString(), HasSubstr("cannot be cut at"));
    if (space.first_cut() > 0) {
      EXPECT_FALSE(space.CutOfEntry(space.EntryOfCut(space.first_cut()) - 1).ok());
    }
    EXPECT_FALSE(space.CutOfEntry(~0ULL).ok());
  });
}

// A disk of four blocks of 512 bytes, all 'o', and a log that is written by hand.
class ByHand : public testing::Test {
 protected:
  static std::vector<uint8_t> Block(char fill) {
    return std::vector<uint8_t>(512, static_cast<uint8_t>(fill));
  }
  void Write(size_t block, char fill, uint64_t flags = 0) {
    writer_.Write(Bytes(block * 512), Block(fill), flags);
  }
  // The first bytes of the four blocks.
  std::string Build(const DeviceModel& model, size_t cut, const std::vector<size_t>& lost,
                    bool older = false) {
    log_ = *blocklog::ReadLog(writer_.bytes(), {});
    history_ = *blocklog::MakeHistory(log_, {Bytes(2048), Bytes(512)});
    space_ = *CrashSpace::Make(history_, base_, model, "vol");
    const std::string image = BytesOf(*space_, cut, lost, older);
    return {image[0], image[512], image[1024], image[1536]};
  }

  blocklog::LogWriter writer_;
  std::vector<uint8_t> base_ = std::vector<uint8_t>(2048, 'o');
  blocklog::BlockLog log_;
  blocklog::History history_;
  std::unique_ptr<CrashSpace> space_;
};

TEST_F(ByHand, AFlushWithAWriteMakesDurableWhatWasBeforeAndNotTheWrite) {
  Write(0, 'a');
  Write(1, 'b', blocklog::kFlagFlush);
  EXPECT_EQ(Build({}, 2, {1}), "aooo");
  EXPECT_FALSE(space_->LostEvents(2, {Selection::Kind::kLose, {0}}).ok());
  EXPECT_EQ(Build({.lying = true}, 2, {0}), "oboo");
}

TEST_F(ByHand, AForcedWriteAtTheCutIsAbsentAndBehindItPresent) {
  Write(0, 'a');
  Write(1, 'A', blocklog::kFlagFua);
  EXPECT_EQ(Build({}, 1, {}), "aooo");
  EXPECT_EQ(Build({}, 2, {0}), "oAoo");
  EXPECT_FALSE(space_->LostEvents(2, {Selection::Kind::kLose, {1}}).ok());
}

TEST_F(ByHand, AWriteBehindAnOverlappingForcedOneMayBeOlder) {
  Write(0, 'A', blocklog::kFlagFua);
  Write(0, 'b');
  Write(1, 'c');
  EXPECT_EQ(Build({}, 3, {}), "bcoo");
  EXPECT_EQ(Build({}, 3, {}, true), "Acoo");
  EXPECT_TRUE(space_->OrderUnknown(3, {}));
  EXPECT_FALSE(space_->OrderUnknown(3, {1}));
  EXPECT_FALSE(space_->OrderUnknown(1, {}));
}

TEST_F(ByHand, AFlushDoesNotTellTheOrderOfWhatWasBeforeIt) {
  Write(0, 'A', blocklog::kFlagFua);
  Write(0, 'b');
  writer_.Flush();
  Write(1, 'c');
  EXPECT_EQ(Build({}, 4, {}, true), "Acoo");
  EXPECT_TRUE(space_->OrderUnknown(4, {}));
}

TEST_F(ByHand, NothingIsInFlightWhileTheLogIsDrained) {
  Write(0, 'A', blocklog::kFlagFua);
  writer_.Write(Bytes(2048), blocklog::EncodeMark({"drain", ""}));
  writer_.Flush();
  Write(0, 'b');
  EXPECT_EQ(Build({}, 3, {}, true), "booo");
  EXPECT_FALSE(space_->OrderUnknown(3, {}));
  EXPECT_EQ(Build({.lying = true}, 3, {0}, true), "booo");
}

TEST_F(ByHand, ALyingDiskTooKeepsTheOrderAcrossFlushes) {
  Write(0, 'A', blocklog::kFlagFua);
  writer_.Flush();
  Write(0, 'b');
  Write(1, 'C', blocklog::kFlagFua);
  Write(1, 'd');
  EXPECT_EQ(Build({.lying = true}, 5, {}, true), "bCoo");
  EXPECT_FALSE(space_->OrderUnknown(3, {}));
}

TEST_F(ByHand, DiscardsYieldZeroesOrTheOldBytes) {
  writer_.Discard(Bytes(0), Bytes(1024));
  Write(1, 'b');
  EXPECT_EQ(Build({}, 2, {}), std::string("\0boo", 4));
  EXPECT_EQ(Build({}, 2, {0}), "oboo");
  EXPECT_EQ(Build({.discard_keeps = true}, 2, {}), "oboo");
  std::vector<size_t> volatile_events;
  space_->VolatileEvents(2, volatile_events);
  EXPECT_THAT(volatile_events, ElementsAre(1U));
}

TEST_F(ByHand, BlocksAreAsLargeAsEveryWriteAllows) {
  writer_.Write(Bytes(1024), std::vector<uint8_t>(1024, 'w'));
  Build({}, 1, {});
  EXPECT_EQ(CommonBlockBytes(history_), 1024U);
  Write(3, 'x');
  Build({}, 2, {});
  EXPECT_EQ(CommonBlockBytes(history_), 512U);
  EXPECT_EQ(CommonBlockBytes(blocklog::History{}), 4096U);
}

TEST_F(ByHand, AnEmptyHistoryHasOneState) {
  EXPECT_EQ(Build({}, 0, {}), "oooo");
  EXPECT_EQ(space_->last_cut(), 0U);
}

// A log without marks, with an ext4 superblock written at byte 1024.
blocklog::History LogWithSuperblocks(blocklog::LogWriter& writer, blocklog::BlockLog& log,
                                     std::initializer_list<uint32_t> incompats) {
  for (const uint32_t incompat : incompats) {
    std::vector<uint8_t> super(1024);
    super[56] = 0x53;
    super[57] = 0xef;
    std::memcpy(&super[96], &incompat, sizeof incompat);
    writer.Write(Bytes(1024), super);
  }
  log = *blocklog::ReadLog(writer.bytes(), {});
  return *blocklog::MakeHistory(log, {Bytes(4096), Bytes(0)});
}

TEST(ChooseBase, IsTheFirstSuperblockOfAMountedFileSystem) {
  blocklog::LogWriter writer;
  blocklog::BlockLog log;
  auto history = LogWithSuperblocks(writer, log, {0x2c2, 0x2c2, 0x2c6, 0x2c2});
  ASSERT_TRUE(ChooseBase(history, {}, false).ok());
  EXPECT_EQ(history.base, 2U);
  ASSERT_TRUE(ChooseBase(history, {.from_mkfs = true}, false).ok());
  EXPECT_EQ(history.base, 0U);
}

TEST(ChooseBase, WithoutAMountItAsksForABase) {
  blocklog::LogWriter writer;
  blocklog::BlockLog log;
  auto history = LogWithSuperblocks(writer, log, {0x2c2});
  const Status refused = ChooseBase(history, {}, false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kUser);
  EXPECT_THAT(refused.error().ToString(), HasSubstr("--base"));
  ASSERT_TRUE(ChooseBase(history, {}, true).ok());
  EXPECT_EQ(history.base, 0U);
}

}  // namespace
}  // namespace plugpull::crashstate
