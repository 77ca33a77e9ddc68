// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "framework/base/prng.h"
#include "framework/layers/layer_table.h"

namespace plugpull::layers {
namespace {

using ::testing::HasSubstr;

Layer LayerFrom(const std::string& text) {
  Layer layer;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &layer)) << text;
  return layer;
}

// The table of a layer of 1000 sectors on 254:0 from sector 64 on, or the error.
std::string TableOf(const std::string& text) {
  const auto table = MappedTable(LayerFrom(text), Sectors(1000), {254, 0}, Sectors(64));
  return table.ok() ? dm::ToString(*table) : "error: " + table.error().message;
}

TEST(LayerTableTest, EachKindIsATable) {
  EXPECT_EQ(TableOf("linear {}"), "0 1000 linear 254:0 64");
  EXPECT_EQ(TableOf("drop_barriers {}"), "0 1000 linear 254:0 64");
  EXPECT_EQ(TableOf("error {}"), "0 1000 error");
  EXPECT_EQ(TableOf("zero {}"), "0 1000 zero");
  EXPECT_EQ(TableOf("flakey {}"), "0 1000 flakey 254:0 64 0 1 0");
  EXPECT_EQ(TableOf("flakey { up_s: 3 down_s: 4 drop_writes: true }"),
            "0 1000 flakey 254:0 64 3 4 1 drop_writes");
  EXPECT_EQ(TableOf("flakey { corrupt_byte { nth: 7 direction: WRITE value: 255 flags: 8 } }"),
            "0 1000 flakey 254:0 64 0 1 5 corrupt_bio_byte 7 w 255 8");
  EXPECT_EQ(TableOf("delay { read_ms: 1 write_ms: 2 flush_ms: 3 }"),
            "0 1000 delay 254:0 64 1 254:0 64 2 254:0 64 3");
}

TEST(LayerTableTest, WhatEveryKernelDoesIsSaidInWordsThatEveryKernelKnows) {
  EXPECT_EQ(TableOf("flakey { error_reads: true error_writes: true }"),
            "0 1000 flakey 254:0 64 0 1 0");
  const dm::KernelRelease old{5, 10};
  EXPECT_EQ(UnsupportedLayer(LayerFrom("flakey { error_reads: true error_writes: true }"), old),
            "");
  EXPECT_THAT(UnsupportedLayer(LayerFrom("flakey { error_reads: true }"), old),
              HasSubstr("flakey error_reads needs >= 6.5, this is 5.10"));
  EXPECT_EQ(UnsupportedLayer(LayerFrom("flakey { error_reads: true }"), {6, 12}), "");
  EXPECT_EQ(UnsupportedLayer(LayerFrom("delay {}"), old), "");
}

TEST(LayerTableTest, WhatIsOutsideTheRangeIsHandedThrough) {
  EXPECT_EQ(TableOf("error { first_sector: 10 sectors: 5 }"),
            "0 10 linear 254:0 64\n10 5 error\n15 985 linear 254:0 79");
  EXPECT_EQ(TableOf("zero { first_sector: 10 }"), "0 10 linear 254:0 64\n10 990 zero");
  EXPECT_EQ(TableOf("flakey { sectors: 10 error_writes: true }"),
            "0 10 flakey 254:0 64 0 1 1 error_writes\n10 990 linear 254:0 74");
  EXPECT_EQ(TableOf("delay { first_sector: 999 sectors: 1 }"),
            "0 999 linear 254:0 64\n999 1 delay 254:0 1063 0 254:0 1063 0 254:0 1063 0");
}

TEST(LayerTableTest, ARangePastTheEndIsRefused) {
  EXPECT_THAT(TableOf("error { first_sector: 1000 }"), HasSubstr("the layer has 1000"));
  EXPECT_THAT(TableOf("error { first_sector: 999 sectors: 2 }"), HasSubstr("sectors 999 to 1000"));
  EXPECT_THAT(TableOf("zero { sectors: 1001 }"), HasSubstr("its last one is 999"));
  EXPECT_THAT(TableOf("error { first_sector: 18446744073709551615 sectors: 2 }"),
              HasSubstr("error: "));
  EXPECT_THAT(TableOf("log_writes {}"), HasSubstr("no table"));
  EXPECT_THAT(TableOf("flakey { drop_writes: true error_writes: true }"), HasSubstr("contradict"));
}

// Whatever the range, a table that is built covers the layer and each sector keeps its place.
TEST(LayerTableTest, AnyRangeGivesAValidTableOrAnError) {
  Prng prng(21);
  int built = 0;
  for (int i = 0; i < 2000; ++i) {
    const uint64_t length = prng.Between(1, 100);
    const uint64_t first = prng.Below(110);
    const uint64_t sectors = prng.Below(110);
    Layer layer;
    layer.mutable_error()->set_first_sector(first);
    layer.mutable_error()->set_sectors(sectors);
    const auto table = MappedTable(layer, Sectors(length), {254, 0}, Sectors(7));
    ASSERT_EQ(table.ok(), first < length && sectors <= length - first);
    if (!table.ok()) continue;
    ++built;
    EXPECT_TRUE(dm::Validate(*table).ok());
    uint64_t failing = 0;
    for (const auto& target : *table) {
      if (const auto* linear = std::get_if<dm::Linear>(&target)) {
        EXPECT_EQ(linear->offset.value, linear->start.value + 7);
      } else {
        EXPECT_EQ(dm::StartOf(target).value, first);
        failing += dm::LengthOf(target).value;
      }
    }
    EXPECT_EQ(failing, sectors == 0 ? length - first : sectors);
    EXPECT_EQ((dm::StartOf(table->back()) + dm::LengthOf(table->back())).value, length);
  }
  EXPECT_GT(built, 200);
}

TEST(LayerTableTest, AFaultIsTheLayerThatItNames) {
  FaultStep fault;
  fault.mutable_delay()->set_read_ms(5);
  EXPECT_EQ(LayerOf(fault).delay().read_ms(), 5u);
  fault.mutable_linear();
  EXPECT_TRUE(LayerOf(fault).has_linear());
  EXPECT_EQ(LayerWord(LayerOf(fault)), "linear");
  EXPECT_EQ(LayerWord(Layer()), "empty");
  EXPECT_FALSE(IsMapped(LayerFrom("striped {}")));
  EXPECT_FALSE(IsMapped(LayerFrom("log_writes {}")));
  EXPECT_TRUE(IsMapped(LayerFrom("drop_barriers {}")));
}

}  // namespace
}  // namespace plugpull::layers
