// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/prng.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/history.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/log_writer.h"
#include "framework/blocklog/mark.h"

namespace plugpull::blocklog {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> Pattern(size_t bytes, uint8_t fill) {
  return std::vector<uint8_t>(bytes, fill);
}

// 40 writes of 1 to 4 sectors with flushes, a FUA write, a discard and a mark between them.
std::vector<uint8_t> SampleLog(uint32_t sector_bytes = 512) {
  LogWriter writer(sector_bytes);
  Prng prng(7);
  for (int i = 0; i < 40; ++i) {
    writer.Write(Bytes(prng.Below(100) * sector_bytes),
                 Pattern(prng.Between(1, 4) * sector_bytes, static_cast<uint8_t>(i)),
                 i % 10 == 9 ? kFlagFua | kFlagFlush : 0);
    if (i % 7 == 6) writer.Flush();
  }
  writer.Discard(Bytes(0), Bytes(sector_bytes * 8));
  writer.Mark("hello");
  writer.Mark(kTeardownMark);
  return writer.bytes();
}

TEST(LogReader, ReadsWhatTheWriterWrote) {
  for (const uint32_t sector_bytes : {512U, 4096U}) {
    const auto bytes = SampleLog(sector_bytes);
    const auto log = ReadLog(bytes, {});
    ASSERT_TRUE(log.ok()) << log.error().ToString();
    EXPECT_EQ(log->sector_bytes, sector_bytes);
    EXPECT_EQ(log->entries.size(), log->counted_entries);
    EXPECT_EQ(log->entries.size(), 40 + 5 + 3);
    EXPECT_FALSE(log->dropped);
    EXPECT_TRUE(log->torn_down);
    EXPECT_EQ(log->end.value, bytes.size());
    EXPECT_TRUE(log->entries[45].discard());
    EXPECT_EQ(log->entries[46].mark, "hello");
  }
}

TEST(LogReader, RefusesWhatIsNoLog) {
  EXPECT_EQ(ReadLog({}, {}).error().code, ErrorCode::kUser);
  auto bytes = SampleLog();
  bytes[0] ^= 1;
  EXPECT_NE(ReadLog(bytes, {}).error().message.find("begins with"), std::string::npos);
  bytes = SampleLog();
  bytes[8] = 2;
  EXPECT_NE(ReadLog(bytes, {}).error().message.find("version 2"), std::string::npos);
  bytes = SampleLog();
  bytes[24] = 1;
  EXPECT_NE(ReadLog(bytes, {}).error().message.find("sector size"), std::string::npos);
}

TEST(LogReader, CutAtEverySectorSaysWhatIsMissing) {
  const auto whole = SampleLog();
  const size_t entries = ReadLog(whole, {})->entries.size();
  for (size_t cut = 512; cut < whole.size(); cut += 512) {
    const std::vector<uint8_t> bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(cut));
    const auto log = ReadLog(bytes, {.scan_past_end = cut % 1024 == 0, .device_size = {}});
    ASSERT_TRUE(log.ok()) << cut;
    EXPECT_LT(log->entries.size(), entries) << cut;
    ASSERT_TRUE(log->dropped) << cut;
    EXPECT_FALSE(log->dropped->reason.empty());
    EXPECT_EQ(log->end.value + log->dropped->bytes.value, cut);
  }
  for (size_t cut = 0; cut < 512; ++cut) {
    const std::vector<uint8_t> bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(cut));
    const auto log = ReadLog(bytes, {});
    if (cut < kSuperBytes) {
      EXPECT_EQ(log.error().code, ErrorCode::kUser) << cut;
    } else {
      ASSERT_TRUE(log.ok());
      EXPECT_TRUE(log->dropped) << cut;
    }
  }
}

TEST(LogReader, EveryFlippedBitInAHeaderIsSurvived) {
  const auto whole = SampleLog();
  const auto healthy = ReadLog(whole, {});
  for (const Entry& entry : healthy->entries) {
    for (size_t byte = 0; byte < kEntryHeaderBytes; ++byte) {
      for (int bit = 0; bit < 8; ++bit) {
        auto bytes = whole;
        bytes[entry.header_at.value + byte] ^= static_cast<uint8_t>(1 << bit);
        const auto log = ReadLog(bytes, {.scan_past_end = false, .device_size = Bytes(110 * 512)});
        ASSERT_TRUE(log.ok());
        EXPECT_TRUE(log->dropped || log->entries.size() == healthy->entries.size());
        for (const Entry& read : log->entries) {
          if (!read.data.empty()) {
            EXPECT_LE(read.offset.value + read.length.value, 110 * 512U);
            EXPECT_GE(read.data.data(), bytes.data());
            EXPECT_LE(read.data.data() + read.data.size(), bytes.data() + bytes.size());
          }
        }
      }
    }
  }
}

TEST(LogReader, CountThatLagsIsScannedPastOnlyWhenAsked) {
  auto bytes = SampleLog();
  const size_t entries = ReadLog(bytes, {})->entries.size();
  bytes[16] = 10;
  bytes.resize(bytes.size() + 4096);
  EXPECT_EQ(ReadLog(bytes, {})->entries.size(), 10U);
  const auto scanned = ReadLog(bytes, {.scan_past_end = true, .device_size = {}});
  EXPECT_EQ(scanned->entries.size(), entries);
  EXPECT_FALSE(scanned->dropped);
}

TEST(LogReader, CountThatIsTooHighIsReported) {
  auto bytes = SampleLog();
  bytes[16] = 200;
  const auto log = ReadLog(bytes, {});
  ASSERT_TRUE(log->dropped);
  EXPECT_NE(log->dropped->reason.find("of 200 counted"), std::string::npos);
  bytes.resize(bytes.size() + 8192);
  EXPECT_NE(ReadLog(bytes, {})->dropped->reason.find("is empty"), std::string::npos);
}

TEST(Mark, RoundTripsAndRefusesOtherSectors) {
  const Mark mark{"ack", "0.17"};
  const auto sector = EncodeMark(mark);
  EXPECT_EQ(DecodeMark(sector), mark);
  EXPECT_FALSE(DecodeMark(Pattern(512, 0)));
  EXPECT_FALSE(DecodeMark({}));
  auto cut = sector;
  for (auto& byte : cut) byte = byte == '\n' ? 0 : byte;
  EXPECT_FALSE(DecodeMark(cut));
}

TEST(History, TakesMarksFromTheStripAndDropsTheFlushOfADrain) {
  LogWriter writer;
  const Bytes size(64 * 512);
  const auto mark = [&](const char* kind, const char* text) {
    writer.Write(size, EncodeMark({kind, text}));
  };
  writer.Write(Bytes(0), Pattern(512, 1));
  mark("drain", "");
  writer.Flush();
  mark("base", "");
  writer.Write(Bytes(512), Pattern(1024, 2));
  writer.Flush();
  writer.Write(Bytes(0), Pattern(512, 3), kFlagFlush | kFlagFua);
  mark("ack", "0.1");
  mark("end", "");
  const auto log = ReadLog(writer.bytes(), {});
  const auto history = MakeHistory(*log, {size, Bytes(512)});
  ASSERT_TRUE(history.ok());
  std::string kinds;
  for (const Event& event : history->events) {
    switch (event.kind) {
      case Event::Kind::kFlush:
        kinds += 'F';
        break;
      case Event::Kind::kWrite:
        kinds += event.fua ? 'A' : 'W';
        break;
      case Event::Kind::kDiscard:
        kinds += 'D';
        break;
      case Event::Kind::kMark:
        kinds += 'M';
        break;
    }
  }
  EXPECT_EQ(kinds, "WMMWFAMM");
  EXPECT_EQ(history->base, 3U);
  EXPECT_TRUE(history->ended);
  EXPECT_TRUE(history->events[5].flush_first);
}

TEST(History, AMergedRequestOverTheEndIsAWriteAndAMark) {
  LogWriter writer;
  const Bytes size(64 * 512);
  auto request = Pattern(3 * 512, 1);
  const auto mark = EncodeMark({"base", "vol"});
  std::copy(mark.begin(), mark.end(), request.begin() + 2 * 512);
  writer.Write(Bytes(62 * 512), request);
  const auto log = ReadLog(writer.bytes(), {});
  const auto history = MakeHistory(*log, {size, Bytes(512), true});
  ASSERT_TRUE(history.ok()) << history.error().ToString();
  ASSERT_EQ(history->events.size(), 2U);
  EXPECT_EQ(history->events[0].length, Bytes(1024));
  EXPECT_EQ(history->events[0].data.size(), 1024U);
  EXPECT_EQ(history->events[1].mark, (Mark{"base", "vol"}));
  EXPECT_TRUE(history->events[1].in_band);
  EXPECT_EQ(history->base, 2U);
  EXPECT_FALSE(MakeHistory(*log, {size, Bytes(512)}).ok()) << "only where requests are merged";
}

TEST(History, WriteOverTheEndIsRefused) {
  LogWriter writer;
  writer.Write(Bytes(63 * 512), Pattern(1024, 1));
  const auto log = ReadLog(writer.bytes(), {});
  const auto history = MakeHistory(*log, {Bytes(64 * 512), Bytes(512)});
  ASSERT_FALSE(history.ok());
  EXPECT_EQ(history.error().code, ErrorCode::kUser);
}

TEST(History, ADiscardOverTheEndIsRefusedLikeAWrite) {
  const auto made = [](Bytes offset, Bytes length, Bytes size, Bytes strip) {
    LogWriter writer;
    writer.Write(Bytes(0), Pattern(64 * 512, 1));
    writer.Discard(offset, length);
    const auto log = ReadLog(writer.bytes(), {});
    return MakeHistory(*log, {size, strip});
  };
  const Bytes size(64 * 512);
  for (const Bytes strip : {Bytes(0), Bytes(512)}) {
    const auto across = made(Bytes(63 * 512), Bytes(1024), size, strip);
    ASSERT_FALSE(across.ok());
    EXPECT_EQ(across.error().code, ErrorCode::kUser);
    EXPECT_THAT(across.error().ToString(),
                HasSubstr("log entry 1 discards bytes 32256 to 33280 of a disk of 32768 bytes"));
    EXPECT_THAT(across.error().ToString(), HasSubstr("plugpull log show"));
    EXPECT_TRUE(made(Bytes(63 * 512), Bytes(512), size, strip).ok());
  }
  EXPECT_FALSE(made(Bytes(65 * 512), Bytes(512), size, Bytes(0)).ok()) << "behind the end";
  // Where the size is what the writes say, the disk may well be larger.
  const auto guessed = made(Bytes(63 * 512), Bytes(1024), Bytes(0), Bytes(0));
  ASSERT_TRUE(guessed.ok());
  EXPECT_EQ(guessed->device_size, size);
  EXPECT_EQ(guessed->events.back().length, Bytes(512));
  EXPECT_EQ(made(Bytes(65 * 512), Bytes(512), Bytes(0), Bytes(0))->events.size(), 1u);
}

}  // namespace
}  // namespace plugpull::blocklog
