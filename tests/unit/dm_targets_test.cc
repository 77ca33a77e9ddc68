// SPDX-License-Identifier: Apache-2.0
// The targets that fail, delay and spread requests. Lines called "reported" are what the kernels
// 5.10, 6.1, 6.12 and 7.2 of Debian gave for `dmsetup table` and `dmsetup status`;
// tests/guest/dm_stack_test.cc asks real ones again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dm-targets/table/support.h"
#include "dm-targets/table/table.h"
#include "framework/base/prng.h"

namespace plugpull::dm {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Message(std::string_view line) {
  const auto parsed = ParseLine(line);
  return parsed.ok() ? "parsed" : parsed.error().ToString();
}

Flakey FlakeyOf(const std::string& features) {
  const auto parsed = Flakey::Parse("0 8192 flakey 254:0 0 0 1 " + features);
  EXPECT_TRUE(parsed.ok()) << parsed.error().ToString();
  return parsed.ok() ? *parsed : Flakey{};
}

struct Reported {
  const char* line;
  Target target;
};

TEST(ReportedLineTest, ParsesToWhatWasAskedFor) {
  const DeviceNumber vda{254, 0};
  const Sectors zero(0);
  const Sectors size(8192);
  Flakey plain{.start = zero, .length = size, .device = vda};
  Flakey drop = plain;
  drop.drop_writes = true;
  drop.offset = Sectors(8);
  Flakey corrupt = plain;
  corrupt.corrupt_byte = {224, Flakey::Direction::kWrite, 0, 32};
  Flakey both = plain;
  both.drop_writes = true;
  both.corrupt_byte = {32, Flakey::Direction::kRead, 1, 0};
  Flakey random = plain;
  random.random_read_corrupt = 5;
  random.random_write_corrupt = 7;
  const Delay::Leg read{vda, zero, 5};
  const Delay::Leg write{vda, Sectors(8), 6};
  const Delay::Leg flush{vda, Sectors(16), 7};
  const std::vector<Reported> reported = {
      {"0 8192 flakey 254:0 0 0 1 0 ", plain},
      {"0 8192 flakey 254:0 8 0 1 1 drop_writes ", drop},
      {"0 8192 flakey 254:0 8 0 1 1 drop_writes", drop},
      {"0 8192 flakey 254:0 0 0 1 5 corrupt_bio_byte 224 w 0 32 ", corrupt},
      {"0 8192 flakey 254:0 0 0 1 6 drop_writes corrupt_bio_byte 32 r 1 0", both},
      {"0 8192 flakey 254:0 0 0 1 4 random_read_corrupt 5 random_write_corrupt 7", random},
      {"0 8192 error ", ErrorTarget{zero, size}},
      {"0 8192 zero ", Zero{zero, size}},
      {"0 8192 delay 254:0 0 5", Delay{zero, size, read, {}, {}}},
      {"0 8192 delay 254:0 0 5 254:0 8 6", Delay{zero, size, read, write, {}}},
      {"0 8192 delay 254:0 0 5 254:0 8 6 254:0 16 7", Delay{zero, size, read, write, flush}},
      {"0 8192 striped 2 128 254:0 0 254:0 8192",
       Striped{zero, size, Sectors(128), {{vda, zero}, {vda, size}}}},
      {"0 8192 striped 1 8 254:0 0", Striped{zero, size, Sectors(8), {{vda, zero}}}},
      {"0 8192 snapshot-origin 254:0", SnapshotOrigin{zero, size, vda}},
      {"0 8192 snapshot 254:0 253:0 PO 16",
       Snapshot{zero, size, vda, {253, 0}, Sectors(16), Snapshot::Kind::kPersistentOverflow}},
      {"0 8192 snapshot 254:0 253:0 N 16 2 discard_zeroes_cow discard_passdown_origin",
       Snapshot{zero, size, vda, {253, 0}, Sectors(16), Snapshot::Kind::kTransient, true, true}},
  };
  for (const auto& [line, target] : reported) {
    const auto parsed = ParseLine(line);
    ASSERT_TRUE(parsed.ok()) << parsed.error().ToString();
    EXPECT_EQ(*parsed, target) << line;
    EXPECT_TRUE(Validate({*parsed}).ok()) << line;
  }
}

TEST(ReportedLineTest, AFlakeyTargetWithoutFeaturesIsTheSameInTheWordsOfNewerKernels) {
  const Table asked = {FlakeyOf("0")};
  EXPECT_NE(asked, Table{FlakeyOf("2 error_reads error_writes")});
  EXPECT_TRUE(SameMeaning(asked, {FlakeyOf("2 error_reads error_writes")}));
  EXPECT_TRUE(SameMeaning({FlakeyOf("")}, asked));
  EXPECT_FALSE(SameMeaning(asked, {FlakeyOf("1 error_writes")}));
  EXPECT_FALSE(SameMeaning(asked, {}));
  EXPECT_FALSE(SameMeaning(asked, {asked[0], asked[0]}));
}

TEST(FlakeyTest, SaysWhatIsWrong) {
  const std::string flakey = "0 8 flakey 1:2 0 0 1 ";
  EXPECT_THAT(Message(flakey + "1 drop_reads"), HasSubstr("unknown feature \"drop_reads\""));
  EXPECT_THAT(Message(flakey + "2 drop_writes drop_writes"), HasSubstr("drop_writes twice"));
  EXPECT_THAT(Message(flakey + "2 drop_writes"), HasSubstr("says 2 feature words and has 1"));
  EXPECT_THAT(Message(flakey + "0 drop_writes"), HasSubstr("says 0 feature words"));
  EXPECT_THAT(Message(flakey + "99"), HasSubstr("number of feature words"));
  EXPECT_THAT(Message(flakey + "5 corrupt_bio_byte 0 r 1 0"), HasSubstr("from 1"));
  EXPECT_THAT(Message(flakey + "5 corrupt_bio_byte 1 x 1 0"), HasSubstr("r or w is expected"));
  EXPECT_THAT(Message(flakey + "5 corrupt_bio_byte 1 r 256 0"), HasSubstr("value of a byte"));
  EXPECT_THAT(Message(flakey + "1 corrupt_bio_byte"), HasSubstr("ends before its number"));
  EXPECT_THAT(Message(flakey + "2 random_read_corrupt 1000000001"), HasSubstr("chance"));
  EXPECT_THAT(Message("0 8 flakey 1:2 0 0"), HasSubstr("4 to 16"));
  EXPECT_THAT(Message("0 8 flakey 1:2 0 -1 1"), HasSubstr("up interval"));
}

TEST(FlakeyTest, WhatEveryKernelRefusesIsRefusedFirst) {
  const auto refused = [](const std::string& features) {
    const Status valid = Validate({FlakeyOf(features)});
    return valid.ok() ? std::string("accepted") : valid.error().message;
  };
  EXPECT_EQ(refused("2 error_reads drop_writes"), "accepted");
  EXPECT_THAT(refused("2 drop_writes error_writes"), HasSubstr("contradict"));
  EXPECT_THAT(refused("6 drop_writes corrupt_bio_byte 1 w 1 0"), HasSubstr("cannot be corrupted"));
  EXPECT_THAT(refused("3 error_writes random_write_corrupt 1"), HasSubstr("cannot be corrupted"));
  EXPECT_THAT(refused("6 error_reads corrupt_bio_byte 1 r 1 0"), HasSubstr("reads that fail"));
  EXPECT_THAT(refused("3 error_reads random_read_corrupt 1"), HasSubstr("reads that fail"));
  Flakey never = FlakeyOf("0");
  never.down_s = 0;
  EXPECT_FALSE(Validate({never}).ok());
  never.down_s = UINT32_MAX;
  never.up_s = 1;
  EXPECT_FALSE(Validate({never}).ok());
}

TEST(StripedTest, MustComeOutEven) {
  const auto valid = [](std::string_view line) {
    const auto parsed = ParseLine(line);
    return parsed.ok() && Validate({*parsed}).ok();
  };
  EXPECT_TRUE(valid("0 512 striped 2 128 1:2 0 1:3 0"));
  EXPECT_FALSE(valid("0 500 striped 2 128 1:2 0 1:3 0"));
  EXPECT_FALSE(valid("0 384 striped 2 128 1:2 0 1:3 0"));
  EXPECT_FALSE(valid("0 512 striped 2 0 1:2 0 1:3 0"));
  EXPECT_THAT(Message("0 512 striped 3 128 1:2 0 1:3 0"), HasSubstr("says 3 stripes"));
  EXPECT_THAT(Message("0 512 striped 65 128 1:2 0 1:3 0"), HasSubstr("number of stripes"));
  EXPECT_FALSE(Validate({Striped{Sectors(0), Sectors(8), Sectors(8), {}}}).ok());
}

TEST(DelayTest, TakesOneTwoOrThreeLegs) {
  EXPECT_THAT(Message("0 8 delay 1:2 0 5 1:2"), HasSubstr("3, 6 or 9"));
  EXPECT_THAT(Message("0 8 delay 1:2 0 3600001"), HasSubstr("delay in ms"));
  const Delay::Leg leg{{1, 2}, Sectors(0), 1};
  EXPECT_FALSE(Validate({Delay{Sectors(0), Sectors(8), leg, {}, leg}}).ok());
}

TEST(SnapshotTest, ReadsEveryStatus) {
  for (const char* line : {"16/65536 16", "Invalid", "Overflow", "Merge failed", "Unknown"}) {
    const auto status = SnapshotStatus::Parse(line);
    ASSERT_TRUE(status.ok()) << line;
    EXPECT_EQ(status->Line(), line);
  }
  EXPECT_EQ(SnapshotStatus::Parse("16/65536 8")->total, Sectors(65536));
  for (const char* line :
       {"", "16", "16/65536", "16 65536 8", "a/1 2", "1/b 2", "1/2 c", "invalid"}) {
    EXPECT_FALSE(SnapshotStatus::Parse(line).ok()) << line;
  }
  EXPECT_THAT(Message("0 8 snapshot 1:2 1:3 N 16 1 discard"), HasSubstr("discard_zeroes_cow"));
  EXPECT_THAT(Message("0 8 snapshot 1:2 1:3 N 16 2 discard_zeroes_cow"), HasSubstr("says 2"));
  EXPECT_FALSE(Validate({*ParseLine("0 8 snapshot 1:2 1:3 N 12")}).ok());
  EXPECT_FALSE(Validate({*ParseLine("0 8 snapshot 1:2 1:3 N 16 1 discard_passdown_origin")}).ok());
}

TEST(SupportTest, TheReleaseDecides) {
  const auto lacking = [](const std::string& features, std::string_view release) {
    const auto kernel = KernelRelease::Parse(release);
    EXPECT_TRUE(kernel.ok());
    return Unsupported(FlakeyOf(features), *kernel);
  };
  EXPECT_EQ(lacking("1 error_reads", "6.1.0-56-cloud-amd64"),
            "not supported by this kernel: flakey error_reads needs >= 6.5, this is 6.1");
  EXPECT_THAT(lacking("3 drop_writes random_read_corrupt 5", "5.10"),
              HasSubstr("flakey random_read_corrupt needs >= 6.5"));
  EXPECT_THAT(lacking("1 drop_writes", "5.10"), IsEmpty());
  EXPECT_THAT(lacking("0", "5.10"), IsEmpty());
  EXPECT_THAT(lacking("1 error_reads", "6.5"), IsEmpty());
  EXPECT_THAT(lacking("1 error_reads", "6.12.117+deb13-cloud-amd64"), IsEmpty());
  EXPECT_THAT(lacking("1 error_reads", "7.2"), IsEmpty());
  for (const char* text : {"", "6", "6.", ".1", "six.one", "99999999999.1"}) {
    EXPECT_FALSE(KernelRelease::Parse(text).ok()) << text;
  }
}

// Whatever words stand in a line, parsing ends, and what parses builds a line that parses alike.
TEST(TargetLineTest, AnyWordsAreParsedOrRefused) {
  constexpr std::string_view kWords[] = {"0",
                                         "1",
                                         "2",
                                         "5",
                                         "8",
                                         "254:0",
                                         "r",
                                         "w",
                                         "N",
                                         "PO",
                                         "9999999999",
                                         "corrupt_bio_byte",
                                         "-",
                                         "x:y",
                                         "drop_writes",
                                         "error_reads",
                                         "1:",
                                         "random_write_corrupt",
                                         "",
                                         "error",
                                         "18446744073709551616"};
  constexpr std::string_view kTypes[] = {"linear",          "log-writes", "snapshot",
                                         "snapshot-origin", "flakey",     "delay",
                                         "striped",         "error",      "zero"};
  Prng prng(15);
  int parsed_count = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string line = "0 8 " + std::string(kTypes[prng.Below(std::size(kTypes))]);
    for (uint64_t n = prng.Below(12); n > 0; --n) {
      line += " " + std::string(kWords[prng.Below(std::size(kWords))]);
    }
    const auto parsed = ParseLine(line);
    if (!parsed.ok()) continue;
    ++parsed_count;
    (void)Validate({*parsed});
    const auto again = ParseLine(LineOf(*parsed));
    ASSERT_TRUE(again.ok()) << line;
    EXPECT_EQ(*again, *parsed) << line;
  }
  EXPECT_GT(parsed_count, 50);
}

}  // namespace
}  // namespace plugpull::dm
