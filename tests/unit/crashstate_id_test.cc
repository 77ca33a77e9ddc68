// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/prng.h"
#include "framework/crashstate/crash_state_id.h"

namespace plugpull::crashstate {
namespace {

using ::testing::HasSubstr;
using Kind = Selection::Kind;

CrashStateId RandomId(Prng& prng) {
  CrashStateId id;
  id.disk = prng.Chance(500) ? "vol" : "data-2";
  id.model.lying = prng.Chance(500);
  id.model.window = prng.Chance(500) ? 0 : prng.Next();
  id.model.discard_keeps = prng.Chance(500);
  id.model.from_mkfs = prng.Chance(500);
  id.model.atomic_unit = prng.Chance(500) ? 0 : 512U << prng.Below(4);
  id.cut = prng.Chance(100) ? ~0ULL : prng.Below(100000);
  id.overlapping_older = prng.Chance(300);
  id.selection.kind = static_cast<Kind>(prng.Below(4));
  if (id.selection.kind == Kind::kSample) {
    id.selection.seed = prng.Next();
    id.selection.lose_permille = static_cast<uint32_t>(prng.Below(1001));
    id.selection.last = prng.Chance(500) ? 0 : 1 + prng.Below(1000);
  } else if (id.selection.kind != Kind::kAllArrived) {
    uint64_t entry = prng.Below(3);
    const uint64_t count = prng.Between(id.selection.kind == Kind::kLose ? 1 : 0, 40);
    for (uint64_t i = 0; i < count; ++i) {
      id.selection.entries.push_back(entry);
      entry += 1 + prng.Below(1000);
    }
  }
  const bool tears = id.selection.kind == Kind::kLose || id.selection.kind == Kind::kAllArrived;
  if (tears && id.model.atomic_unit != 0) {
    uint64_t entry = 50000;  // behind all that are lost
    for (uint64_t i = prng.Below(3); i > 0; --i) {
      const auto kind = static_cast<Tear::Kind>(prng.Below(3));
      const uint64_t least = kind == Tear::Kind::kWithout ? 0 : 1;
      id.selection.torn.push_back({entry, kind, least + prng.Below(300)});
      entry += 1 + prng.Below(1000);
    }
  }
  return id;
}

TEST(CrashStateId, PrintsAsDocumented) {
  const auto text = [](const char* id) {
    const auto parsed = CrashStateId::Parse(id);
    EXPECT_TRUE(parsed.ok()) << id;
    return parsed.ok() ? parsed->ToString() : "";
  };
  for (const char* id :
       {"vol:cache@1042", "vol:cache@1042-lose.1031.1040", "vol:lying@2210-keep.1500",
        "vol:cache@2210-sample.1f3a.500", "vol:cache.w64@2210-sample.7.100.64", "vol:lying@5-keep",
        "vol:cache.w3.keep.mkfs@0-lose.0-older", "a-b:cache@1-older",
        "vol:cache.u512@1042-torn.1041.first.3", "vol:lying.w3.u4096.keep@7-torn.3.last.1",
        "vol:cache.u512@1042-lose.1031-torn.1041.without.0",
        "vol:cache.u512@1042-torn.1041.without.0.2.5",
        "vol:cache.u1024@9-lose.1.5-torn.3.first.1-torn.7.last.2-older"}) {
    EXPECT_EQ(text(id), id);
  }
}

TEST(CrashStateId, EveryIdIsReadBackAsItWas) {
  Prng prng(1);
  for (int i = 0; i < 5000; ++i) {
    const CrashStateId id = RandomId(prng);
    const auto parsed = CrashStateId::Parse(id.ToString());
    ASSERT_TRUE(parsed.ok()) << id.ToString() << ": " << parsed.error().ToString();
    EXPECT_EQ(*parsed, id) << id.ToString();
  }
}

TEST(CrashStateId, WhatIsNoIdIsRefusedWithTheReason) {
  const char* const kBad[] = {"",
                              "@",
                              ":",
                              "vol",
                              "vol:cache",
                              "vol@1",
                              ":cache@1",
                              "vol:cache@",
                              "vol:cache@x",
                              "vol:cache@-1",
                              "vol:cache@+1",
                              "vol:cache@ 1",
                              "vol:cache@1 ",
                              "vol:cache@18446744073709551616",
                              "vol:@1",
                              "vol:disk@1",
                              "vol:cache.@1",
                              "vol:cache.w@1",
                              "vol:cache.w0@1",
                              "vol:cache.wx@1",
                              "vol:cache.w-1@1",
                              "vol:cache.Keep@1",
                              "vol:cache@1-",
                              "vol:cache@1-lose",
                              "vol:cache@1-lose.",
                              "vol:cache@1-lose.x",
                              "vol:cache@1-lose.2.2",
                              "vol:cache@1-lose.3.2",
                              "vol:cache@1-lose.1.",
                              "vol:cache@1-keep.",
                              "vol:cache@1-sample",
                              "vol:cache@1-sample.1",
                              "vol:cache@1-sample.g.1",
                              "vol:cache@1-sample.1.1001",
                              "vol:cache@1-sample.1.1.0",
                              "vol:cache@1-sample.1.1.1.1",
                              "vol:cache@1-older-older",
                              "vol:cache@1-older-lose.1",
                              "vol:cache@1-lose.1-lose.2",
                              "vol:cache@1@2",
                              "vol:cache@1-LOSE.1",
                              "vol:cache@1-torn.0.first.1",
                              "vol:cache.u0@1",
                              "vol:cache.u@1",
                              "vol:cache.u256@1",
                              "vol:cache.u513@1",
                              "vol:cache.u8192@1",
                              "vol:cache.u18446744073709551616@1",
                              "vol:cache.u512@1-torn",
                              "vol:cache.u512@1-torn.0",
                              "vol:cache.u512@1-torn.0.first",
                              "vol:cache.u512@1-torn.0.first.0",
                              "vol:cache.u512@1-torn.0.last.0",
                              "vol:cache.u512@1-torn.0.first.x",
                              "vol:cache.u512@1-torn.0.middle.1",
                              "vol:cache.u512@1-torn.0.first.1.1",
                              "vol:cache.u512@1-torn.0.without.",
                              "vol:cache.u512@1-torn.0.without.1.1",
                              "vol:cache.u512@1-torn.0.without.2.1",
                              "vol:cache.u512@1-tornado.0.first.1",
                              "vol:cache.u512@1-torn.0.first.1-torn.0.last.1",
                              "vol:cache.u512@1-torn.1.first.1-torn.0.last.1",
                              "vol:cache.u512@1-lose.0-torn.0.first.1",
                              "vol:cache.u512@1-torn.0.first.1-lose.1",
                              "vol:cache.u512@1-keep.0-torn.0.first.1",
                              "vol:cache.u512@1-sample.1.1-torn.0.first.1",
                              "vol:cache.u512@1-older-torn.0.first.1"};
  for (const char* text : kBad) {
    const auto parsed = CrashStateId::Parse(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kUser) << text;
    EXPECT_THAT(parsed.error().ToString(), HasSubstr("vol:cache@1042")) << "no example: " << text;
  }
  const auto parsed = CrashStateId::Parse("vol:cache@12-lose.x");
  EXPECT_THAT(parsed.error().ToString(), HasSubstr("'lose.x'"));
}

TEST(CrashStateId, TheReasonNamesWhatIsWrong) {
  const auto says = [](const char* text) {
    const auto parsed = CrashStateId::Parse(text);
    return parsed.ok() ? "" : parsed.error().ToString();
  };
  EXPECT_THAT(says("vol:cache@9-lose.3.2"), HasSubstr("has 2 after 3, but has to ascend"));
  EXPECT_THAT(says("vol:cache@9-keep.2.2"), HasSubstr("names 2 twice"));
  EXPECT_THAT(says("vol:cache@9-lose.x"), HasSubstr("has 'x' for a log entry"));
  EXPECT_THAT(says("vol:cache@-5"),
              HasSubstr("'-5' is no cut: that is the number of a log entry, from 0 on"));
  EXPECT_THAT(says("vol:cache@9-older-lose.3"), HasSubstr("'older' comes last in an id"));
  EXPECT_THAT(says("vol:cache@9-older-older"), HasSubstr("'older' comes last in an id, and once"));
  EXPECT_THAT(says("vol:cache@9-lose.1-lose.2"), HasSubstr("named once, right behind the cut"));
  EXPECT_THAT(says("vol:cache.u512@9-torn.1.without.4.3"), HasSubstr("has 3 after 4"));
  EXPECT_THAT(says("vol:cache.u512@9-torn.1.first.0"), HasSubstr("lets no unit arrive"));
  EXPECT_THAT(says("vol:cache.u512@9-lose.1-torn.1.first.1"), HasSubstr("tears entry 1, which is"));
  EXPECT_THAT(says("vol:cache.u512@9-torn.2.first.1-torn.1.first.1"),
              HasSubstr("comes behind the tear of entry 2"));
}

TEST(CrashStateId, TheLengthIsBounded) {
  std::string text = "vol:cache@1-lose.0";
  for (uint64_t i = 1; text.size() <= 65536; ++i) text += "." + std::to_string(i);
  const auto parsed = CrashStateId::Parse(text);
  ASSERT_FALSE(parsed.ok());
  EXPECT_THAT(parsed.error().ToString(), HasSubstr("65536"));
}

TEST(CrashStateId, DamagedIdsNeverCrashAndAreStable) {
  Prng prng(2);
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = RandomId(prng).ToString();
    const size_t changes = 1 + prng.Below(3);
    for (size_t c = 0; c < changes && !text.empty(); ++c) {
      const size_t at = prng.Below(text.size());
      if (prng.Chance(300)) {
        text.erase(at, 1 + prng.Below(4));
      } else if (prng.Chance(500)) {
        text[at] = static_cast<char>(prng.Below(256));
      } else {
        text.insert(at, 1, "0123456789.-@:wxlku"[prng.Below(19)]);
      }
    }
    const auto parsed = CrashStateId::Parse(text);
    if (!parsed.ok()) continue;
    ++accepted;
    const auto again = CrashStateId::Parse(parsed->ToString());
    ASSERT_TRUE(again.ok()) << text;
    EXPECT_EQ(*again, *parsed) << text;
  }
  EXPECT_GT(accepted, 0);
}

TEST(Tear, SaysWhichUnitsArrived) {
  const auto arrived = [](const Tear& tear, uint64_t units) {
    std::string shown;
    for (uint64_t i = 0; i < units; ++i) shown += tear.Arrived(i, units) ? '1' : '0';
    return shown;
  };
  EXPECT_EQ(arrived({0, Tear::Kind::kFirst, 1}, 4), "1000");
  EXPECT_EQ(arrived({0, Tear::Kind::kLast, 3}, 4), "0111");
  EXPECT_EQ(arrived({0, Tear::Kind::kWithout, 2}, 4), "1101");
  EXPECT_TRUE((Tear{0, Tear::Kind::kFirst, 3}).Fits(4));
  EXPECT_FALSE((Tear{0, Tear::Kind::kFirst, 4}).Fits(4)) << "nothing is missing";
  EXPECT_FALSE((Tear{0, Tear::Kind::kWithout, 0}).Fits(1)) << "nothing is left";
}

TEST(Tear, HasOneNameForEachSetOfUnits) {
  for (uint64_t units = 2; units <= 9; ++units) {
    for (uint64_t mask = 1; mask + 1 < (1ULL << units); ++mask) {
      std::vector<uint64_t> missing;
      for (uint64_t unit = 0; unit < units; ++unit) {
        if ((mask >> unit & 1) != 0) missing.push_back(unit);
      }
      const Tear tear = Tear::Without(7, missing, units);
      EXPECT_TRUE(tear.Fits(units));
      for (uint64_t unit = 0; unit < units; ++unit) {
        EXPECT_EQ(tear.Arrived(unit, units), (mask >> unit & 1) == 0) << units << " " << mask;
      }
      CrashStateId id;
      id.disk = "vol";
      id.model.atomic_unit = 512;
      id.selection.torn = {tear};
      EXPECT_EQ(*CrashStateId::Parse(id.ToString()), id) << id.ToString();
    }
  }
  EXPECT_FALSE((Tear{0, Tear::Kind::kWithout, 0, {1}}).Fits(2)) << "nothing is left";
  EXPECT_FALSE((Tear{0, Tear::Kind::kWithout, 0, {4}}).Fits(4)) << "past the end";
}

TEST(DeviceModel, SaysInWordsWhatItIs) {
  DeviceModel model;
  EXPECT_EQ(model.ToWords(), "volatile cache");
  model = {
      .lying = true, .window = 64, .atomic_unit = 2048, .discard_keeps = true, .from_mkfs = true};
  EXPECT_THAT(model.ToWords(), HasSubstr("lying"));
  EXPECT_THAT(model.ToWords(), HasSubstr("64"));
  EXPECT_THAT(model.ToWords(), HasSubstr("2048"));
  EXPECT_THAT(model.ToWords(), HasSubstr("keep"));
  EXPECT_THAT(model.ToWords(), HasSubstr("mkfs"));
}

}  // namespace
}  // namespace plugpull::crashstate
