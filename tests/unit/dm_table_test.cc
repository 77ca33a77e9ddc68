// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dm-targets/table/table.h"
#include "framework/base/prng.h"

namespace plugpull::dm {
namespace {

using ::testing::HasSubstr;

Linear AnyLinear(Prng& prng) {
  return {Sectors(prng.Below(1ULL << 40)),
          Sectors(prng.Between(1, 1ULL << 40)),
          {static_cast<uint32_t>(prng.Below(DeviceNumber::kMajorMax + 1)),
           static_cast<uint32_t>(prng.Below(DeviceNumber::kMinorMax + 1))},
          Sectors(prng.Below(1ULL << 40))};
}

LogWrites AnyLogWrites(Prng& prng) {
  const Linear a = AnyLinear(prng);
  const Linear b = AnyLinear(prng);
  return {a.start, a.length, a.device, b.device};
}

Snapshot AnySnapshot(Prng& prng) {
  const Linear a = AnyLinear(prng);
  const Linear b = AnyLinear(prng);
  const bool zeroes = prng.Chance(300);
  return {a.start,
          a.length,
          a.device,
          b.device,
          Sectors(1ULL << prng.Below(12)),
          static_cast<Snapshot::Kind>(prng.Below(3)),
          zeroes,
          zeroes && prng.Chance(500)};
}

// One that a kernel would take.
Flakey AnyFlakey(Prng& prng) {
  const Linear a = AnyLinear(prng);
  Flakey flakey{.start = a.start, .length = a.length, .device = a.device, .offset = a.offset};
  flakey.up_s = static_cast<uint32_t>(prng.Below(1000));
  flakey.down_s = static_cast<uint32_t>(prng.Between(1, 1000));
  const bool fails_reads = flakey.error_reads = prng.Chance(300);
  flakey.drop_writes = prng.Chance(300);
  flakey.error_writes = !flakey.drop_writes && prng.Chance(300);
  const bool passes_writes = !flakey.drop_writes && !flakey.error_writes;
  if (prng.Chance(400) && (!fails_reads || passes_writes)) {
    const bool writes = fails_reads || (passes_writes && prng.Chance(500));
    flakey.corrupt_byte = {static_cast<uint32_t>(prng.Between(1, UINT32_MAX)),
                           writes ? Flakey::Direction::kWrite : Flakey::Direction::kRead,
                           static_cast<uint8_t>(prng.Below(256)),
                           static_cast<uint32_t>(prng.Below(1ULL << 32))};
  }
  const auto chance = [&] { return static_cast<uint32_t>(prng.Below(Flakey::kChanceMax) + 1); };
  if (!fails_reads && prng.Chance(300)) flakey.random_read_corrupt = chance();
  if (passes_writes && prng.Chance(300)) flakey.random_write_corrupt = chance();
  return flakey;
}

Delay AnyDelay(Prng& prng) {
  const Linear a = AnyLinear(prng);
  const auto leg = [&]() -> Delay::Leg {
    const Linear b = AnyLinear(prng);
    return {b.device, b.offset, static_cast<uint32_t>(prng.Below(Delay::kDelayMsMax + 1))};
  };
  Delay delay{a.start, a.length, leg(), {}, {}};
  if (prng.Chance(600)) delay.write = leg();
  if (delay.write && prng.Chance(500)) delay.flush = leg();
  return delay;
}

Striped AnyStriped(Prng& prng) {
  const Linear a = AnyLinear(prng);
  Striped striped{a.start, {}, Sectors(prng.Between(1, 4096)), {}};
  const uint64_t count = prng.Between(1, 8);
  for (uint64_t i = 0; i < count; ++i) {
    const Linear b = AnyLinear(prng);
    striped.stripes.push_back({b.device, b.offset});
  }
  striped.length = Sectors(striped.chunk.value * count * prng.Between(1, 1000));
  return striped;
}

Target AnyTarget(Prng& prng) {
  const Linear any = AnyLinear(prng);
  switch (prng.Below(9)) {
    case 0:
      return any;
    case 1:
      return AnyLogWrites(prng);
    case 2:
      return AnyFlakey(prng);
    case 3:
      return AnyDelay(prng);
    case 4:
      return AnyStriped(prng);
    case 5:
      return ErrorTarget{any.start, any.length};
    case 6:
      return Zero{any.start, any.length};
    case 7:
      return SnapshotOrigin{any.start, any.length, any.device};
    default:
      return AnySnapshot(prng);
  }
}

TEST(DeviceNumberTest, ReadsWhatTheKernelWrites) {
  const auto number = DeviceNumber::Parse("254:1048575");
  ASSERT_TRUE(number.ok());
  EXPECT_EQ(*number, (DeviceNumber{254, 1048575}));
  EXPECT_EQ(number->ToString(), "254:1048575");
}

TEST(DeviceNumberTest, RefusesEverythingElse) {
  for (const char* text :
       {"", ":", "254", "254:", ":3", "4096:0", "0:1048576", "-1:0", "+1:0", "1:2:3", "a:b", " 1:2",
        "1:2 ", "0x1:2", "18446744073709551616:0", "/dev/vda"}) {
    const auto number = DeviceNumber::Parse(text);
    ASSERT_FALSE(number.ok()) << text;
    EXPECT_EQ(number.error().code, ErrorCode::kUser);
  }
}

TEST(TableLineTest, BuildsTheLinesThatDmsetupWouldShow) {
  const Linear linear{Sectors(0), Sectors(131072), {254, 0}, Sectors(2048)};
  EXPECT_EQ(linear.Line(), "0 131072 linear 254:0 2048");
  const LogWrites log{Sectors(0), Sectors(133120), {254, 0}, {254, 16}};
  EXPECT_EQ(log.Line(), "0 133120 log-writes 254:0 254:16");
  const Snapshot view{Sectors(0), Sectors(8192), {254, 1}, {254, 16}, Sectors(16)};
  EXPECT_EQ(view.Line(), "0 8192 snapshot 254:1 254:16 N 16");
  EXPECT_EQ(ToString({linear, log}),
            "0 131072 linear 254:0 2048\n0 133120 log-writes 254:0 254:16");
}

TEST(TableLineTest, EveryTargetSurvivesItsLine) {
  Prng prng(11);
  for (int i = 0; i < 2000; ++i) {
    const Target target = AnyTarget(prng);
    const auto parsed = ParseLine(LineOf(target));
    ASSERT_TRUE(parsed.ok()) << parsed.error().ToString();
    EXPECT_EQ(*parsed, target) << LineOf(target);
    EXPECT_EQ(LineOf(*parsed), LineOf(target));
  }
}

TEST(TableLineTest, ADifferentFieldIsADifferentTarget) {
  Prng prng(12);
  for (int i = 0; i < 200; ++i) {
    const Linear linear = AnyLinear(prng);
    Linear other = linear;
    switch (prng.Below(4)) {
      case 0:
        other.start += Sectors(1);
        break;
      case 1:
        other.length += Sectors(1);
        break;
      case 2:
        other.device.minor ^= 1;
        break;
      default:
        other.offset += Sectors(1);
    }
    EXPECT_NE(linear, other);
    const LogWrites log{linear.start, linear.length, linear.device, linear.device};
    EXPECT_NE(Target(log), Target(linear));
  }
}

TEST(TableLineTest, AChangedLineNeverParsesAsTheSameTarget) {
  Prng prng(13);
  for (int i = 0; i < 5000; ++i) {
    const Target target = AnyTarget(prng);
    std::string line = LineOf(target);
    const size_t at = prng.Below(line.size());
    const char old = line[at];
    line[at] = static_cast<char>(prng.Below(256));
    const auto parsed = ParseLine(line);
    if (line[at] == old || !parsed.ok()) continue;
    EXPECT_NE(*parsed, target) << line;
  }
}

TEST(TableLineTest, SaysWhatIsWrong) {
  const auto message = [](std::string_view line) { return ParseLine(line).error().ToString(); };
  EXPECT_THAT(message(""), HasSubstr("START LENGTH TYPE"));
  EXPECT_THAT(message("0 10"), HasSubstr("START LENGTH TYPE"));
  EXPECT_THAT(message("x 10 linear 1:2 0"), HasSubstr("start sector"));
  EXPECT_THAT(message("0 99999999999999999 linear 1:2 0"), HasSubstr("length in sectors"));
  EXPECT_THAT(message("0 10 thin 1:2 0"), HasSubstr("unknown target type thin; known are linear"));
  EXPECT_THAT(message("0 10 linear 1:2"), HasSubstr("1 parameters, a linear target has 2"));
  EXPECT_THAT(message("0 10 linear 1:2 0 0"), HasSubstr("3 parameters"));
  EXPECT_THAT(message("0 10 linear /dev/vda 0"), HasSubstr("MAJOR:MINOR"));
  EXPECT_THAT(message("0 10 log-writes 1:2 vdb"), HasSubstr("MAJOR:MINOR"));
  EXPECT_THAT(message("0 10 snapshot 1:2 1:3 Q 16"), HasSubstr("N, P and PO are known"));
  EXPECT_THAT(message("0 10 snapshot 1:2 1:3 N x"), HasSubstr("chunk size"));
  EXPECT_THAT(message("0 10 snapshot 1:2 1:3 N"), HasSubstr("3 parameters"));
  EXPECT_THAT(Linear::Parse("0 10 log-writes 1:2 1:3").error().ToString(),
              HasSubstr("expected is linear"));
  EXPECT_THAT(LogWrites::Parse("0 10 linear 1:2 0").error().ToString(),
              HasSubstr("expected is log-writes"));
}

TEST(TableLineTest, SpacesAreNotCounted) {
  const auto parsed = ParseLine("  0 10   linear 1:2 0 ");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, Target(Linear{Sectors(0), Sectors(10), {1, 2}, Sectors(0)}));
}

Target LinearAt(uint64_t start, uint64_t length, uint64_t offset = 0) {
  return Linear{Sectors(start), Sectors(length), {254, 0}, Sectors(offset)};
}

TEST(ValidateTest, AcceptsTargetsThatFollowEachOther) {
  EXPECT_TRUE(Validate({LinearAt(0, 8)}).ok());
  EXPECT_TRUE(Validate({LinearAt(0, 8), LinearAt(8, 1), LinearAt(9, 100)}).ok());
  constexpr uint64_t kMax = (uint64_t{1} << 63) / 512;
  EXPECT_TRUE(Validate({LinearAt(0, kMax)}).ok());
}

TEST(ValidateTest, RefusesWhatTheKernelWould) {
  constexpr uint64_t kMax = (uint64_t{1} << 63) / 512;
  EXPECT_FALSE(Validate({}).ok());
  EXPECT_FALSE(Validate({LinearAt(1, 8)}).ok());
  EXPECT_FALSE(Validate({LinearAt(0, 0)}).ok());
  EXPECT_FALSE(Validate({LinearAt(0, 8), LinearAt(9, 8)}).ok());
  EXPECT_FALSE(Validate({LinearAt(0, 8), LinearAt(7, 8)}).ok());
  EXPECT_FALSE(Validate({LinearAt(0, kMax + 1)}).ok());
  EXPECT_FALSE(Validate({LinearAt(0, 8), LinearAt(8, kMax - 7)}).ok());
  EXPECT_FALSE(Validate({LinearAt(0, 8, kMax)}).ok());
  EXPECT_FALSE(Validate(Table(kTargetsMax + 1, LinearAt(0, 1))).ok());
}

TEST(LogWritesStatusTest, ReadsBothForms) {
  const auto running = LogWritesStatus::Parse("1234 99999");
  ASSERT_TRUE(running.ok());
  EXPECT_EQ(*running, (LogWritesStatus{1234, Sectors(99999), false}));
  const auto stopped = LogWritesStatus::Parse("0 0 logging_disabled");
  ASSERT_TRUE(stopped.ok());
  EXPECT_EQ(*stopped, (LogWritesStatus{0, Sectors(0), true}));
}

TEST(LogWritesStatusTest, EveryStatusSurvivesItsLine) {
  Prng prng(14);
  for (int i = 0; i < 500; ++i) {
    const LogWritesStatus status{prng.Next(), Sectors(prng.Next()), prng.Chance(500)};
    const auto parsed = LogWritesStatus::Parse(status.Line());
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, status);
  }
}

TEST(LogWritesStatusTest, RefusesEverythingElse) {
  for (const char* line : {"", "1", "1 2 3", "a 2", "1 b", "1 2 logging_enabled",
                           "1 2 logging_disabled x", "-1 2", "99999999999999999999 1"}) {
    EXPECT_FALSE(LogWritesStatus::Parse(line).ok()) << line;
  }
}

}  // namespace
}  // namespace plugpull::dm
