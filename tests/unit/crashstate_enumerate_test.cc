// SPDX-License-Identifier: Apache-2.0
// What the enumerators promise, on random histories and against crash_reference.h.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "crash_reference.h"
#include "framework/crashstate/enumerate.h"

namespace plugpull::crashstate {
namespace {

using blocklog::Event;
using ::testing::ElementsAre;

Check CheckOf(const std::string& text) {
  Check check;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString("disk: 'vol' " + text, &check)) << text;
  return check;
}

std::vector<size_t> LostOf(const CrashSpace& space, const StateSpec& spec) {
  std::vector<size_t> scratch;
  std::vector<size_t> lost;
  space.LostEventsInto(spec.cut, spec.selection, scratch, lost);
  return lost;
}

std::vector<std::string> Ids(const CrashSpace& space, const Enumeration& enumeration) {
  std::vector<std::string> ids;
  for (const auto& spec : enumeration.states) ids.push_back(IdOf(space, spec).ToString());
  return ids;
}

std::set<size_t> CutsOf(const Enumeration& enumeration) {
  std::set<size_t> cuts;
  for (const auto& spec : enumeration.states) cuts.insert(spec.cut);
  return cuts;
}

// States without the twins that the other order adds.
size_t Singles(const Enumeration& enumeration) {
  return enumeration.states.size() - enumeration.order_unknown;
}

std::vector<DeviceModel> Models() {
  return {{}, {.lying = true}, {.window = 2}, {.discard_keeps = true}};
}

template <typename Body>
void ForEachSpace(const RandomOptions& options, uint64_t histories, const Body& body) {
  ForEachDisk(Models(), options, histories,
              [&](const RandomDisk& disk, const DeviceModel& model, const CrashSpace& space) {
                body(space, Reference(disk, model));
              });
}

// The images of a list, with the order of each.
std::set<std::string> ImagesOf(const CrashSpace& space, const Enumeration& enumeration) {
  std::set<std::string> images;
  for (const auto& spec : enumeration.states) {
    images.insert(BytesOf(space, spec.cut, LostOf(space, spec), spec.overlapping_older));
  }
  return images;
}

TEST(LoseSubset, ExhaustiveMeansThatEveryLossyImageIsThere) {
  size_t exhaustive = 0;
  size_t sampled = 0;
  ForEachSpace({}, 150, [&](const CrashSpace& space, const Reference& reference) {
    const auto listed =
        EnumerateStates(space, CheckOf("enumerate { lose_subset {} } max_states: 100000"), 1);
    const auto images = ImagesOf(space, listed);
    std::set<std::string> all;
    std::set<std::string> lossy;
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      all.merge(reference.Images(cut));
      lossy.merge(reference.Images(cut, true));
    }
    for (const auto& image : images) ASSERT_TRUE(all.contains(image)) << "no possible image";
    (listed.enumerators[0].exhaustive ? exhaustive : sampled) += 1;
    if (!listed.enumerators[0].exhaustive) return;
    for (const auto& image : lossy) ASSERT_TRUE(images.contains(image)) << "an image is missing";
  });
  EXPECT_GT(exhaustive, 300U);
  EXPECT_GT(sampled, 0U) << "no history where a window forbids a whole list";
}

TEST(Window, ExhaustiveMeansThatEveryImageOfTheWindowIsThere) {
  size_t exhaustive = 0;
  ForEachSpace({}, 80, [&](const CrashSpace& space, const Reference& reference) {
    const auto listed =
        EnumerateStates(space, CheckOf("enumerate { window { writes: 3 } } max_states: 100000"), 1);
    if (!listed.enumerators[0].exhaustive) return;
    ++exhaustive;
    const auto images = ImagesOf(space, listed);
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      auto last = reference.Volatile(cut);
      if (last.size() > 3) last.erase(last.begin(), last.end() - 3);
      for (const auto& lost : Subsets(last)) {
        if (lost.empty()) continue;
        ASSERT_TRUE(images.contains(reference.Image(cut, lost, false)));
        ASSERT_TRUE(images.contains(reference.Image(cut, lost, true)));
      }
    }
  });
  EXPECT_GT(exhaustive, 50U);
}

TEST(LoseSubset, ListsAllSubsetsWhereTheBudgetAllowsAndNoneTwice) {
  ForEachSpace({.fua_permille = 0}, 60, [](const CrashSpace& space, const Reference& reference) {
    if (space.model().window != 0) return;
    const auto listed =
        EnumerateStates(space, CheckOf("enumerate { lose_subset {} } max_states: 100000"), 1);
    ASSERT_TRUE(listed.enumerators[0].exhaustive);
    std::set<std::pair<size_t, std::vector<size_t>>> seen;
    for (const auto& spec : listed.states) {
      ASSERT_TRUE(seen.emplace(spec.cut, LostOf(space, spec)).second);
    }
    std::map<size_t, size_t> count;
    for (const auto& [cut, lost] : seen) ++count[cut];
    for (const auto& [cut, n] : count) {
      ASSERT_EQ(n, 1ULL << reference.Volatile(cut).size()) << "cut " << cut;
    }
  });
}

TEST(LoseSubset, SamplesLoseSomethingAndNoneIsDrawnTwice) {
  const RandomDisk disk(5, {.events_min = 60, .events_max = 60, .flush_permille = 0});
  const TestSpace test(disk, {.lying = true});
  const auto drawn =
      EnumerateStates(*test.space, CheckOf("enumerate { lose_subset {} } max_states: 500"), 1);
  EXPECT_FALSE(drawn.enumerators[0].exhaustive);
  EXPECT_EQ(Singles(drawn), 500U);
  std::set<std::tuple<size_t, std::vector<size_t>, bool>> seen;
  for (const auto& spec : drawn.states) {
    const auto lost = LostOf(*test.space, spec);
    EXPECT_FALSE(lost.empty());
    EXPECT_TRUE(seen.emplace(spec.cut, lost, spec.overlapping_older).second);
  }
  EXPECT_GT(CutsOf(drawn).size(), 10U) << "samples come from many cuts";
}

TEST(LoseSubset, TheChanceIsTheOneThatWasAskedFor) {
  const RandomDisk disk(6, {.events_min = 200, .events_max = 200, .flush_permille = 0});
  const TestSpace test(disk, {.lying = true});
  const auto drawn = EnumerateStates(
      *test.space, CheckOf("enumerate { lose_subset { lose_permille: 100 } } max_states: 400"), 1);
  std::vector<size_t> volatile_events;
  size_t lost = 0;
  size_t could = 0;
  for (const auto& spec : drawn.states) {
    test.space->VolatileEvents(spec.cut, volatile_events);
    lost += LostOf(*test.space, spec).size();
    could += volatile_events.size();
  }
  EXPECT_NEAR(static_cast<double>(lost) / static_cast<double>(could), 0.1, 0.02);
}

TEST(LoseOne, EveryVolatileWriteAtTheEndOfAnEpochIsLostAlone) {
  ForEachSpace({.events_max = 14}, 80, [](const CrashSpace& space, const Reference& reference) {
    const auto listed =
        EnumerateStates(space, CheckOf("enumerate { lose_one {} } max_states: 100000"), 1);
    ASSERT_TRUE(listed.enumerators[0].exhaustive);
    std::set<std::pair<size_t, size_t>> pairs;
    for (const auto& spec : listed.states) {
      const auto lost = LostOf(space, spec);
      ASSERT_EQ(lost.size(), 1U);
      if (!spec.overlapping_older) {
        ASSERT_TRUE(pairs.emplace(spec.cut, lost[0]).second);
      }
    }
    for (size_t cut = space.first_cut(); cut <= space.last_cut(); ++cut) {
      const bool is_end = cut == space.last_cut() ||
                          (!space.model().lying && space.history().events[cut].HasFlush());
      if (!is_end) continue;
      for (const size_t event : reference.Volatile(cut)) {
        ASSERT_TRUE(pairs.contains({cut, event})) << "cut " << cut << ", event " << event;
      }
    }
  });
}

TEST(LoseOne, BehindAMarkTheLastWritesAreLostToo) {
  blocklog::LogWriter writer;
  const std::vector<uint8_t> block(512, 'x');
  for (uint64_t i = 0; i < 20; ++i) writer.Write(Bytes(i * 512), block);
  writer.Mark("synced");
  for (uint64_t i = 20; i < 25; ++i) writer.Write(Bytes(i * 512), block);
  const auto log = *blocklog::ReadLog(writer.bytes(), {});
  const auto history = *blocklog::MakeHistory(log, {});
  const std::vector<uint8_t> base(history.device_size.value);
  const auto space = *CrashSpace::Make(history, base, {}, "vol");
  const auto listed =
      EnumerateStates(*space, CheckOf("enumerate { lose_one {} } max_states: 1000"), 1);
  std::map<size_t, std::set<size_t>> lost_at;
  for (const auto& spec : listed.states) lost_at[spec.cut].insert(LostOf(*space, spec)[0]);
  ASSERT_EQ(lost_at.size(), 2U);
  EXPECT_EQ(lost_at[21].size(), 16U);
  EXPECT_EQ(*lost_at[21].begin(), 4U);
  EXPECT_EQ(lost_at[26].size(), 25U);
}

TEST(Window, TouchesOnlyTheLastWrites) {
  ForEachSpace({.events_min = 20, .events_max = 30}, 20,
               [](const CrashSpace& space, const Reference& reference) {
                 const auto listed = EnumerateStates(
                     space, CheckOf("enumerate { window { writes: 4 } } max_states: 300"), 1);
                 for (const auto& spec : listed.states) {
                   auto last = reference.Volatile(spec.cut);
                   if (last.size() > 4) last.erase(last.begin(), last.end() - 4);
                   for (const size_t event : LostOf(space, spec)) {
                     ASSERT_TRUE(std::find(last.begin(), last.end(), event) != last.end());
                   }
                 }
               });
}

TEST(Prefix, CutsWhereItIsAskedTo) {
  const std::pair<const char*, bool (*)(const Event&)> kModes[] = {
      {"", [](const Event& event) { return event.ChangesBlocks(); }},
      {"at: EVERY_FLUSH", [](const Event& event) { return event.HasFlush(); }},
      {"at: EVERY_FUA", [](const Event& event) { return event.fua; }},
      {"at: EVERY_MARK", [](const Event& event) { return event.kind == Event::Kind::kMark; }},
      {"at: EVERY_NTH nth: 1", [](const Event&) { return true; }},
  };
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const RandomDisk disk(seed, {.events_min = 30, .events_max = 40});
    const TestSpace test(disk, {});
    for (const auto& [at, wanted] : kModes) {
      const auto listed = EnumerateStates(
          *test.space, CheckOf(std::string("enumerate { prefix { ") + at + " } } max_states: 1000"),
          1);
      EXPECT_TRUE(listed.enumerators[0].exhaustive);
      std::set<size_t> expected = {test.space->last_cut()};
      for (size_t i = test.space->first_cut(); i < test.space->last_cut(); ++i) {
        if (wanted(test.history.events[i])) expected.insert(i + 1);
      }
      EXPECT_EQ(CutsOf(listed), expected) << at;
      for (const auto& spec : listed.states) EXPECT_TRUE(LostOf(*test.space, spec).empty());
    }
  }
}

TEST(Prefix, EveryNthCountsFromTheBase) {
  const RandomDisk disk(3, {.events_min = 30, .events_max = 30, .base_mark = false});
  const TestSpace test(disk, {});
  EXPECT_THAT(CutsOf(EnumerateStates(
                  *test.space,
                  CheckOf("enumerate { prefix { at: EVERY_NTH nth: 7 } } max_states: 1000"), 1)),
              ElementsAre(7U, 14U, 21U, 28U, 30U));
  // Not through a scenario, whose rules forbid it; a manifest may be made by hand.
  EXPECT_EQ(
      CutsOf(EnumerateStates(
                 *test.space,
                 CheckOf("enumerate { prefix { at: EVERY_NTH nth: 0 } } max_states: 1000"), 1))
          .size(),
      30U);
}

TEST(Prefix, ThinnedItKeepsTheLastCutAndSaysSo) {
  const RandomDisk disk(4, {.events_min = 100, .events_max = 100});
  const TestSpace test(disk, {});
  const auto thin =
      EnumerateStates(*test.space, CheckOf("enumerate { prefix {} } max_states: 10"), 1);
  EXPECT_FALSE(thin.enumerators[0].exhaustive);
  EXPECT_EQ(CutsOf(thin).size(), 10U);
  EXPECT_TRUE(CutsOf(thin).contains(test.space->last_cut()));
}

constexpr char kAll[] =
    "enumerate { prefix {} } enumerate { lose_one {} } enumerate { lose_subset {} } "
    "enumerate { window { writes: 5 } } ";

TEST(Enumerate, StaysWithinItsBudgetsAndKeepsItsOrder) {
  ForEachSpace(
      {.events_min = 20, .events_max = 60}, 12, [](const CrashSpace& space, const Reference&) {
        for (const size_t budget : {1U, 2U, 3U, 5U, 17U, 100U, 3000U}) {
          const auto listed =
              EnumerateStates(space, CheckOf(kAll + ("max_states: " + std::to_string(budget))), 9);
          ASSERT_LE(Singles(listed), budget);
          ASSERT_EQ(listed.enumerators.size(), 4U);
          for (size_t i = 1; i < listed.states.size(); ++i) {
            const auto& a = listed.states[i - 1];
            const auto& b = listed.states[i];
            ASSERT_LE(a.enumerator, b.enumerator);
            if (a.enumerator == b.enumerator) {
              ASSERT_LE(a.cut, b.cut);
            }
          }
        }
      });
}

TEST(Enumerate, AnEnumeratorsOwnBoundHolds) {
  const RandomDisk disk(8, {.events_min = 60, .events_max = 60});
  const TestSpace test(disk, {.lying = true});
  const auto listed = EnumerateStates(
      *test.space,
      CheckOf("enumerate { prefix {} max_states: 7 } enumerate { lose_subset {} } max_states: 100"),
      1);
  size_t prefix = 0;
  for (const auto& spec : listed.states) {
    prefix += spec.enumerator == 0 && !spec.overlapping_older ? 1 : 0;
  }
  EXPECT_EQ(prefix, 7U);
  EXPECT_EQ(Singles(listed), 100U) << "what one leaves goes to the others";
}

TEST(Enumerate, IsAPureFunctionOfTheSeed) {
  const RandomDisk disk(10, {.events_min = 60, .events_max = 60});
  const TestSpace test(disk, {.lying = true});
  const Check check = CheckOf(std::string(kAll) + "max_states: 400");
  const auto ids = Ids(*test.space, EnumerateStates(*test.space, check, 1));
  EXPECT_EQ(ids, Ids(*test.space, EnumerateStates(*test.space, check, 1)));
  EXPECT_NE(ids, Ids(*test.space, EnumerateStates(*test.space, check, 2)));
}

TEST(Enumerate, EveryIdBuildsTheImageOfItsState) {
  ForEachSpace({.events_min = 20, .events_max = 50}, 8,
               [](const CrashSpace& space, const Reference& reference) {
                 const auto listed =
                     EnumerateStates(space, CheckOf(std::string(kAll) + "max_states: 200"), 3);
                 for (const auto& spec : listed.states) {
                   const auto id = CrashStateId::Parse(IdOf(space, spec).ToString());
                   ASSERT_TRUE(id.ok());
                   const auto cut = space.CutOfEntry(id->cut);
                   ASSERT_TRUE(cut.ok());
                   const auto lost = space.LostEvents(*cut, id->selection);
                   ASSERT_TRUE(lost.ok()) << lost.error().ToString();
                   ASSERT_EQ(BytesOf(space, *cut, *lost, id->overlapping_older),
                             reference.Image(spec.cut, {lost->begin(), lost->end()},
                                             spec.overlapping_older));
                 }
               });
}

TEST(Enumerate, ATwinFollowsItsStateAndIsAnotherImage) {
  size_t twins = 0;
  ForEachSpace(
      {.events_max = 20, .fua_permille = 400}, 40, [&](const CrashSpace& space, const Reference&) {
        const auto listed =
            EnumerateStates(space, CheckOf(std::string(kAll) + "max_states: 2000"), 3);
        uint64_t counted = 0;
        for (size_t i = 0; i < listed.states.size(); ++i) {
          const auto& spec = listed.states[i];
          const auto lost = LostOf(space, spec);
          if (!spec.overlapping_older) {
            const bool differs =
                BytesOf(space, spec.cut, lost, false) != BytesOf(space, spec.cut, lost, true);
            const bool has_twin =
                i + 1 < listed.states.size() && listed.states[i + 1].overlapping_older;
            ASSERT_EQ(differs, has_twin);
            continue;
          }
          ++counted;
          ASSERT_EQ(listed.states[i - 1].cut, spec.cut);
          ASSERT_EQ(listed.states[i - 1].selection, spec.selection);
          ASSERT_FALSE(listed.states[i - 1].overlapping_older);
        }
        ASSERT_EQ(counted, listed.order_unknown);
        twins += counted;
      });
  EXPECT_GT(twins, 0U);
}

TEST(Enumerate, NamesSayWhatWasAsked) {
  const RandomDisk disk(1, {});
  const TestSpace test(disk, {});
  const auto listed = EnumerateStates(
      *test.space,
      CheckOf("enumerate { prefix { at: EVERY_NTH nth: 3 } } enumerate { prefix {} } "
              "enumerate { lose_one {} } enumerate { lose_subset {} } "
              "enumerate { window { writes: 5 } } max_states: 100"),
      1);
  std::vector<std::string> names;
  for (const auto& enumerator : listed.enumerators) names.push_back(enumerator.name);
  EXPECT_THAT(names, ElementsAre("prefix (every 3th entry)", "prefix (every write)", "lose_one",
                                 "lose_subset", "window (5)"));
}

}  // namespace
}  // namespace plugpull::crashstate
