// SPDX-License-Identifier: Apache-2.0
// Torn writes, on random histories: what they leave is worked out again from the definition.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <set>

#include "crash_reference.h"
#include "framework/blocklog/format.h"
#include "framework/crashstate/torn.h"

namespace plugpull::crashstate {
namespace {

using ::testing::HasSubstr;

Check CheckOf(const std::string& text) {
  Check check;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString("disk: 'vol' " + text, &check)) << text;
  return check;
}

std::vector<DeviceModel> Models() {
  return {{.atomic_unit = 512},
          {.lying = true, .atomic_unit = 512},
          {.window = 2, .atomic_unit = 512},
          {.atomic_unit = 512, .discard_keeps = true}};
}

template <typename Body>
void ForEachSpace(const RandomOptions& options, uint64_t histories, const Body& body) {
  ForEachDisk(Models(), options, histories, body);
}

// The disk behind a cut where one write arrived sector by sector, or did not.
std::string ImageOf(const RandomDisk& disk, const DeviceModel& model, size_t cut, size_t torn,
                    const std::set<size_t>& sectors_arrived, const std::set<size_t>& lost) {
  std::string image = disk.first_image;
  for (size_t i = 0; i < cut; ++i) {
    const Told& told = disk.told[i];
    if (lost.contains(i)) continue;
    if (told.kind == Told::Kind::kDiscard && !model.discard_keeps) {
      image.replace(told.first_sector * 512, told.sectors * 512, told.sectors * 512, '\0');
    }
    if (told.kind != Told::Kind::kWrite) continue;
    for (size_t s = 0; s < told.sectors; ++s) {
      if (i == torn && !sectors_arrived.contains(s)) continue;
      image.replace((told.first_sector + s) * 512, 512, told.bytes, s * 512, 512);
    }
  }
  return image;
}

std::set<size_t> SectorsOf(const Tear& tear, size_t sectors) {
  std::set<size_t> arrived;
  for (size_t s = 0; s < sectors; ++s) {
    const bool first = tear.kind == Tear::Kind::kFirst && s < tear.number;
    const bool last = tear.kind == Tear::Kind::kLast && s >= sectors - tear.number;
    const bool without = tear.kind == Tear::Kind::kWithout && s != tear.number;
    if (first || last || without) arrived.insert(s);
  }
  return arrived;
}

constexpr char kTorn[] = "enumerate { torn {} } max_states: 100000";

TEST(Torn, EveryStateIsLegalAndIsTheImageThatTheDefinitionGives) {
  size_t states = 0;
  size_t forced = 0;
  ForEachSpace({.events_max = 14}, 60,
               [&](const RandomDisk& disk, const DeviceModel& model, const CrashSpace& space) {
                 const Reference reference(disk, model);
                 const auto listed = EnumerateStates(space, CheckOf(kTorn), 1);
                 EXPECT_TRUE(listed.enumerators[0].exhaustive);
                 for (const StateSpec& spec : listed.states) {
                   const auto id = CrashStateId::Parse(IdOf(space, spec).ToString());
                   ASSERT_TRUE(id.ok()) << id.error().ToString();
                   ASSERT_EQ(id->selection, spec.selection);
                   const auto torn = space.TornWrites(*space.CutOfEntry(id->cut), id->selection);
                   ASSERT_TRUE(torn.ok()) << torn.error().ToString();
                   ASSERT_EQ(torn->size(), 1U);
                   const size_t event = torn->front().event;
                   const auto may_be_lost = reference.Volatile(spec.cut);
                   const bool in_flight = event + 1 == spec.cut;
                   ASSERT_TRUE(in_flight || std::find(may_be_lost.begin(), may_be_lost.end(),
                                                      event) != may_be_lost.end());
                   forced += disk.told[event].fua && in_flight ? 1 : 0;
                   ++states;
                   if (spec.overlapping_older) continue;
                   const auto arrived = SectorsOf(torn->front().tear, disk.told[event].sectors);
                   ASSERT_FALSE(arrived.empty());
                   ASSERT_LT(arrived.size(), disk.told[event].sectors);
                   ASSERT_EQ(BytesOf(space, spec.cut, spec.selection, false),
                             ImageOf(disk, model, spec.cut, event, arrived, {}))
                       << IdOf(space, spec).ToString();
                 }
               });
  EXPECT_GT(states, 1000U);
  EXPECT_GT(forced, 50U) << "forced writes in flight";
}

TEST(Torn, ComposesWithLostWrites) {
  size_t composed = 0;
  ForEachSpace({.events_max = 14, .flush_permille = 50}, 40,
               [&](const RandomDisk& disk, const DeviceModel& model, const CrashSpace& space) {
                 std::vector<size_t> may_be_lost;
                 for (size_t cut = space.first_cut() + 1; cut <= space.last_cut(); ++cut) {
                   space.VolatileEvents(cut, may_be_lost);
                   if (may_be_lost.size() < 2 || space.UnitsOf(may_be_lost.back()) < 2) continue;
                   const auto& events = space.history().events;
                   const size_t torn = may_be_lost.back();
                   const size_t lost = may_be_lost.front();
                   Selection selection;
                   selection.kind = Selection::Kind::kLose;
                   selection.entries = {events[lost].entry};
                   selection.torn = {{events[torn].entry, Tear::Kind::kLast, 1}};
                   ASSERT_TRUE(space.TornWrites(cut, selection).ok());
                   ASSERT_EQ(
                       BytesOf(space, cut, selection, false),
                       ImageOf(disk, model, cut, torn,
                               SectorsOf(selection.torn[0], disk.told[torn].sectors), {lost}));
                   ++composed;
                 }
               });
  EXPECT_GT(composed, 50U);
}

TEST(Torn, ListsEveryTearOfEveryWriteInFlightOnce) {
  ForEachSpace({.events_max = 12}, 20,
               [&](const RandomDisk& disk, const DeviceModel&, const CrashSpace& space) {
                 const auto listed = EnumerateStates(space, CheckOf(kTorn), 1);
                 std::set<std::string> ids;
                 for (const StateSpec& spec : listed.states) {
                   ASSERT_TRUE(ids.insert(IdOf(space, spec).ToString()).second);
                 }
                 for (size_t event = space.first_cut(); event < space.last_cut(); ++event) {
                   const size_t sectors = disk.told[event].sectors;
                   if (disk.told[event].kind != Told::Kind::kWrite) continue;
                   for (uint64_t n = 1; n < sectors; ++n) {
                     for (const auto kind : {Tear::Kind::kFirst, Tear::Kind::kLast}) {
                       StateSpec spec;
                       spec.cut = event + 1;
                       spec.selection.torn = {{space.history().events[event].entry, kind, n}};
                       ASSERT_TRUE(ids.contains(IdOf(space, spec).ToString()));
                     }
                   }
                 }
               });
}

TEST(Torn, BudgetAndSeedAreKept) {
  const RandomDisk disk(3, {.events_min = 30, .events_max = 40});
  const TestSpace test(disk, {.atomic_unit = 512});
  const auto ids = [&](uint64_t budget, uint64_t seed) {
    const auto listed = EnumerateStates(
        *test.space, CheckOf("enumerate { torn {} } max_states: " + std::to_string(budget)), seed);
    std::vector<std::string> all;
    for (const StateSpec& spec : listed.states) {
      if (!spec.overlapping_older) all.push_back(IdOf(*test.space, spec).ToString());
    }
    EXPECT_EQ(listed.enumerators[0].name, "torn");
    return std::pair(all, listed.enumerators[0].exhaustive);
  };
  const auto [all, exhaustive] = ids(10000, 1);
  EXPECT_TRUE(exhaustive);
  ASSERT_GT(all.size(), 10U);
  EXPECT_EQ(ids(10000, 1).first, all);
  EXPECT_NE(ids(10000, 2).first, all);
  const auto [some, whole] = ids(10, 1);
  EXPECT_FALSE(whole);
  ASSERT_EQ(some.size(), 10U);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin()));
}

TEST(Torn, NamesNothingWithoutAUnit) {
  const RandomDisk disk(3, {});
  const TestSpace test(disk, {});
  EXPECT_TRUE(EnumerateStates(*test.space, CheckOf(kTorn), 1).states.empty());
}

TEST(Torn, TheOtherEnumeratorsNameTheSameImagesAsWithoutAUnit) {
  const std::string all =
      "enumerate { prefix {} } enumerate { lose_one {} } enumerate { lose_subset {} } "
      "max_states: 500";
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const RandomDisk disk(seed, {.events_max = 20});
    const TestSpace whole(disk, {});
    const TestSpace torn(disk, {.atomic_unit = 512});
    const auto a = EnumerateStates(*whole.space, CheckOf(all), 1);
    const auto b = EnumerateStates(*torn.space, CheckOf(all), 1);
    ASSERT_EQ(a.states.size(), b.states.size());
    for (size_t i = 0; i < a.states.size(); ++i) {
      const StateSpec& spec = a.states[i];
      ASSERT_EQ(spec.selection, b.states[i].selection);
      ASSERT_EQ(BytesOf(*whole.space, spec.cut, spec.selection, spec.overlapping_older),
                BytesOf(*torn.space, spec.cut, spec.selection, spec.overlapping_older));
    }
  }
}

// Three writes of 1 KiB: volatile, then a flush, a forced one, and a volatile one.
class TornLegality : public testing::Test {
 protected:
  TornLegality() {
    const std::vector<uint8_t> bytes(1024, 'x');
    writer_.Write(Bytes(0), bytes);
    writer_.Flush();
    writer_.Write(Bytes(1024), bytes, blocklog::kFlagFua);
    writer_.Write(Bytes(2048), bytes);
    log_ = *blocklog::ReadLog(writer_.bytes(), {});
    history_ = *blocklog::MakeHistory(log_, {Bytes(sizeof base_), Bytes(0)});
  }
  Status Try(const std::string& text, uint32_t unit = 512) {
    const auto space = CrashSpace::Make(history_, base_, {.atomic_unit = unit}, "vol");
    if (!space.ok()) return space.error();
    const auto id = CrashStateId::Parse("vol:cache.u512@" + text);
    if (!id.ok()) return id.error();
    PP_ASSIGN_OR_RETURN(const size_t cut, (*space)->CutOfEntry(id->cut));
    const auto torn = (*space)->TornWrites(cut, id->selection);
    return torn.ok() ? OkStatus() : Status(torn.error());
  }

  uint8_t base_[4096] = {};
  blocklog::LogWriter writer_;
  blocklog::BlockLog log_;
  blocklog::History history_;
};

TEST_F(TornLegality, VolatileWritesAndTheOneInFlightCanTear) {
  for (const char* id : {"1-torn.0.first.1", "1-torn.0.last.1", "1-torn.0.without.0",
                         "3-torn.2.first.1", "4-torn.3.without.1"}) {
    EXPECT_TRUE(Try(id).ok()) << id;
  }
}

TEST_F(TornLegality, NothingElseCan) {
  for (const char* id :
       {"2-torn.0.first.1", "3-torn.0.first.1", "4-torn.2.first.1", "3-torn.3.first.1",
        "2-torn.1.first.1", "4-torn.3.first.2", "4-torn.3.last.2", "4-torn.3.without.2",
        "4-torn.99.first.1", "4-lose.3-torn.3.first.1"}) {
    const Status status = Try(id);
    ASSERT_FALSE(status.ok()) << id;
    EXPECT_EQ(status.error().code, ErrorCode::kUser);
  }
}

TEST_F(TornLegality, TheUnitDividesTheLog) {
  EXPECT_TRUE(Try("1", 1024).ok());
  const Status status = Try("1", 2048);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("2048"));
  EXPECT_THAT(status.error().message, HasSubstr("1024"));
}

}  // namespace
}  // namespace plugpull::crashstate
