// SPDX-License-Identifier: Apache-2.0
// Two logs of one run agree, however the requests between them were merged, split and overlapped;
// two logs that cannot be of one run are told apart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "framework/crashstate/log_agreement.h"
#include "two_logs.h"

namespace plugpull::crashstate {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kSeeds = 400;

LogAgreement Compare(const TwoLogs& logs, double in_flight_share_max = kInFlightShareMax) {
  const ReadBackLog guest(logs.guest);
  const ReadBackLog host(logs.host);
  AgreementOptions options;
  options.in_flight_share_max = in_flight_share_max;
  const auto agreement = CompareLogs(guest.history(), host.history(), options);
  EXPECT_TRUE(agreement.ok()) << (agreement.ok() ? "" : agreement.error().ToString());
  return agreement.ok() ? *agreement : LogAgreement();
}

std::string FirstWords(const LogAgreement& agreement) {
  return agreement.contradictions.empty() ? "" : agreement.contradictions[0].words;
}

LoggedEntry Write(uint64_t sector, std::vector<uint8_t> fills) {
  return {'W', sector, std::move(fills), ""};
}
LoggedEntry Forced(uint64_t sector, uint8_t fill) { return {'A', sector, {fill}, ""}; }
LoggedEntry Flush() { return {'F', 0, {}, ""}; }
LoggedEntry Mark(const std::string& text) { return {'M', kTwoLogsSectors, {0}, text}; }

std::vector<LoggedEntry> operator+(std::vector<LoggedEntry> a, const std::vector<LoggedEntry>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const std::vector<LoggedEntry>& End() {
  static const std::vector<LoggedEntry> end = {Mark("end x"), Mark("drain "), Flush()};
  return end;
}

// A commit as ext4 makes it, in the guest's log and in the host's, which merges its blocks.
std::vector<LoggedEntry> GuestCommit(uint64_t sector, uint8_t fill) {
  return {Write(sector, {fill}), Write(sector + 1, {fill}), Flush(), Forced(sector + 2, fill),
          Mark("ack 0." + std::to_string(fill))};
}
std::vector<LoggedEntry> HostCommit(uint64_t sector, uint8_t fill) {
  return {Write(sector, {fill, fill}), Flush(), Write(sector + 2, {fill}), Flush(),
          Mark("ack 0." + std::to_string(fill))};
}

// Many commits in a row, with nothing else in flight.
TwoLogs Commits(uint8_t count) {
  TwoLogs logs;
  for (uint8_t i = 1; i <= count; ++i) {
    const uint64_t sector = 3 * (i % 20U);
    logs.guest = logs.guest + GuestCommit(sector, i);
    logs.host = logs.host + HostCommit(sector, i);
  }
  logs.guest = logs.guest + End();
  logs.host = logs.host + End();
  return logs;
}

TEST(LogAgreement, MergedAndSplitRequestsAgreeAtEveryPoint) {
  const LogAgreement agreement = Compare(Commits(30));
  EXPECT_THAT(agreement.contradictions, IsEmpty()) << FirstWords(agreement);
  EXPECT_EQ(agreement.flushes.compared, 30U);
  EXPECT_EQ(agreement.flushes.agree, 30U);
  EXPECT_EQ(agreement.marks.compared, 31U);
  EXPECT_EQ(agreement.marks.agree, 31U);
  EXPECT_EQ(agreement.guest_writes, 90U);
  EXPECT_EQ(agreement.found, 90U);
  EXPECT_EQ(agreement.host_writes, 60U);
  EXPECT_EQ(agreement.host_flushes, 60U);
  EXPECT_EQ(agreement.first_in_flight, "");
}

TEST(LogAgreement, WriteMergedWithAMarkIsBoth) {
  TwoLogs logs;
  logs.guest = {Write(63, {7}), Mark("note a"), Flush()};
  logs.host = {{'M', 63, {7, 0}, "note a"}, Flush()};
  logs.guest = logs.guest + End();
  logs.host = logs.host + End();
  const LogAgreement agreement = Compare(logs);
  EXPECT_THAT(agreement.contradictions, IsEmpty()) << FirstWords(agreement);
  EXPECT_EQ(agreement.found, 1U);
  EXPECT_EQ(agreement.flushes.agree, 1U);
}

// What real recorders could have made of one run is never accused, whatever was in flight.
TEST(LogAgreement, LegalDifferencesAreNotAccused) {
  uint64_t compared = 0;
  uint64_t in_flight = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    TwoLogsOptions options;
    options.threads = 1 + static_cast<int>(seed % 4);
    options.flushes = seed % 7 != 0;
    const LogAgreement agreement = Compare(SimulateTwoLogs(seed, options), 1);
    ASSERT_THAT(agreement.contradictions, IsEmpty())
        << "seed " << seed << ": " << FirstWords(agreement);
    EXPECT_EQ(agreement.found, agreement.guest_writes) << seed;
    compared += agreement.flushes.compared;
    in_flight += agreement.flushes.compared - agreement.flushes.agree;
  }
  EXPECT_GT(compared, 1000U);
  EXPECT_GT(in_flight, 100U);  // the model does make what must be told from faults
}

// Flushes that are marked forced let others overtake them. Where those flush a newer write of a
// block that they flush too, the guest's log is wrong, and that alone may be said.
TEST(LogAgreement, OvertakenFlushesAreNotAccused) {
  uint64_t wrong = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    TwoLogsOptions options;
    options.threads = 1 + static_cast<int>(seed % 4);
    options.forced_flushes = true;
    const LogAgreement agreement = Compare(SimulateTwoLogs(seed, options), 1);
    for (const Contradiction& one : agreement.contradictions) {
      ASSERT_THAT(one.words, HasSubstr("other way round")) << "seed " << seed;
    }
    EXPECT_EQ(agreement.found, agreement.guest_writes) << seed;
    wrong += agreement.contradictions.empty() ? 0 : 1;
  }
  EXPECT_GT(wrong, 0U);
  EXPECT_LT(wrong, kSeeds / 2);
}

TEST(LogAgreement, ForcedWriteAndPlainOneOfUnknownOrderMaySwap) {
  TwoLogs logs;
  logs.guest = {Forced(3, 1), Write(3, {2}), Flush()};
  logs.host = {Write(3, {2}), Write(3, {1}), Flush()};
  logs.guest = logs.guest + End();
  logs.host = logs.host + End();
  EXPECT_THAT(Compare(logs).contradictions, IsEmpty());
  logs.guest[0].kind = 'W';  // two plain ones may not
  EXPECT_THAT(FirstWords(Compare(logs)), HasSubstr("other way round"));
}

TEST(LogAgreement, AnyLostWriteIsCaught) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const TwoLogs logs = SimulateTwoLogs(seed, {});
    for (const bool from_guest : {true, false}) {
      TwoLogs broken = logs;
      auto& entries = from_guest ? broken.guest : broken.host;
      // Not a mark, and not the last flush.
      size_t at = seed * 7 % entries.size();
      while (entries[at].kind != 'W' && entries[at].kind != 'A') at = (at + 1) % entries.size();
      const uint64_t sector = entries[at].sector;
      entries.erase(entries.begin() + static_cast<ptrdiff_t>(at));
      const LogAgreement agreement = Compare(broken, 1);
      ASSERT_FALSE(agreement.contradictions.empty()) << seed;
      EXPECT_THAT(FirstWords(agreement), HasSubstr("no such write")) << seed << " " << sector;
    }
  }
}

TEST(LogAgreement, ChangedByteIsCaughtOnBothSides) {
  TwoLogs logs = Commits(5);
  logs.host[0].fills[1] ^= 1;
  const LogAgreement agreement = Compare(logs);
  ASSERT_THAT(agreement.contradictions, SizeIs(::testing::Ge(2U)));
  EXPECT_THAT(agreement.contradictions[0].words, HasSubstr("sectors 4 to 4"));
  EXPECT_EQ(agreement.contradictions[0].guest_entry, 1U);
  EXPECT_EQ(agreement.contradictions[1].host_entry, 0U);
}

TEST(LogAgreement, LostAndInventedMarksAreCaught) {
  TwoLogs logs = Commits(5);
  std::erase_if(logs.host, [](const LoggedEntry& entry) { return entry.mark == "ack 0.3"; });
  EXPECT_THAT(FirstWords(Compare(logs)), HasSubstr("\"ack 0.3\", entry 14 of the guest's log"));
  std::swap(logs.guest, logs.host);
  EXPECT_THAT(FirstWords(Compare(logs)), HasSubstr("of the host's log, is not in the guest's"));
}

// The guest's log says that writes were flushed which the host has behind the flush.
TEST(LogAgreement, FlushThatTheGuestHasTooLateIsCaught) {
  TwoLogs logs = Commits(10);
  // W W F A M W W F ...: the third flush goes behind the first write that follows it.
  const auto flush = logs.guest.begin() + 2 * 5 + 2;
  ASSERT_EQ(flush->kind, 'F');
  std::rotate(flush, flush + 1, flush + 4);
  const LogAgreement agreement = Compare(logs);
  ASSERT_FALSE(agreement.contradictions.empty());
  EXPECT_THAT(FirstWords(agreement), HasSubstr("is a flush that cannot be one of the guest's"));
}

// The host's log says so of writes that the guest has behind it.
TEST(LogAgreement, FlushThatTheHostHasTooEarlyIsCaught) {
  TwoLogs logs = Commits(10);
  const auto flush = logs.host.begin() + 4 * 5 + 1;
  ASSERT_EQ(flush->kind, 'F');
  std::rotate(flush - 2, flush, flush + 1);  // in front of the commit's blocks and the mark
  EXPECT_THAT(FirstWords(Compare(logs)), HasSubstr("is a flush that cannot be one of the guest's"));
}

TEST(LogAgreement, LostFlushesAreCaughtWhenTheyAreMany) {
  TwoLogs logs = Commits(40);
  uint64_t seen = 0;
  // Every fourth flush before a commit block is gone from the host's log.
  std::erase_if(logs.host,
                [&](const LoggedEntry& entry) { return entry.kind == 'F' && ++seen % 8 == 1; });
  const LogAgreement agreement = Compare(logs);
  ASSERT_FALSE(agreement.contradictions.empty());
  EXPECT_THAT(FirstWords(agreement), HasSubstr("too many to be requests in flight"));
  EXPECT_EQ(agreement.flushes.compared - agreement.flushes.agree, 10U);
}

// One is like a commit block that was complete while the flush was under way: counted, not accused.
TEST(LogAgreement, OneLostFlushIsCounted) {
  TwoLogs logs = Commits(40);
  logs.host.erase(logs.host.begin() + 5 * 10 + 1);
  const LogAgreement agreement = Compare(logs);
  EXPECT_THAT(agreement.contradictions, IsEmpty()) << FirstWords(agreement);
  EXPECT_EQ(agreement.flushes.agree, 39U);
  EXPECT_THAT(agreement.first_in_flight, HasSubstr("flush, entry 52 of the guest's log"));
}

TEST(LogAgreement, WriteThatIsLateByFlushesIsCaught) {
  TwoLogs logs = Commits(10);
  // In the guest's log the first write of all comes with the fourth commit.
  std::rotate(logs.guest.begin(), logs.guest.begin() + 1, logs.guest.begin() + 15);
  const LogAgreement agreement = Compare(logs);
  ASSERT_FALSE(agreement.contradictions.empty());
  EXPECT_THAT(FirstWords(agreement), HasSubstr("is behind its flush"));
  EXPECT_THAT(FirstWords(agreement), HasSubstr("sectors 3 to 3"));
}

TEST(LogAgreement, NothingMayBeInFlightWhileTheLogIsDrained) {
  TwoLogs logs;
  logs.guest = {Write(1, {1}), Mark("drain "), Write(2, {2}), Flush(), Write(3, {3})};
  logs.host = {Write(1, {1}), Write(2, {2}), Mark("drain "), Flush(), Write(3, {3})};
  // The first flush behind a drain mark is its own.
  logs.guest = logs.guest + End();
  logs.host = logs.host + End();
  EXPECT_THAT(FirstWords(Compare(logs)), HasSubstr("nothing is in flight"));
}

TEST(LogAgreement, WhatComesBehindTheEndMayBeInOneLogOnly) {
  TwoLogs logs = Commits(3);
  logs.host.push_back(Write(1, {99}));
  logs.host.push_back(Flush());
  EXPECT_THAT(Compare(logs).contradictions, IsEmpty());
}

TEST(LogAgreement, RequestsAreSplitAsTheGuestWrote) {
  const TwoLogs logs = Commits(3);
  const ReadBackLog guest(logs.guest);
  const ReadBackLog host(logs.host);
  const auto split = SplitAsWritten(guest.history(), host.history());
  ASSERT_EQ(split.events.size(), host.history().events.size() + 3);
  uint64_t writes = 0;
  for (size_t i = 0; i < split.events.size(); ++i) {
    const auto& event = split.events[i];
    EXPECT_EQ(event.entry, i);
    if (event.kind != blocklog::Event::Kind::kWrite) continue;
    EXPECT_EQ(event.length, Bytes(512));
    EXPECT_EQ(event.data.size(), 512U);
    ++writes;
  }
  EXPECT_EQ(writes, 9U);
  // What is cut is the same run still.
  const auto agreement = CompareLogs(guest.history(), split, {});
  ASSERT_TRUE(agreement.ok());
  EXPECT_THAT(agreement->contradictions, IsEmpty());
  EXPECT_EQ(agreement->flushes.agree, 3U);
}

TEST(LogAgreement, RefusesLogsOfOtherDisksAndLogsWithoutAnEnd) {
  const TwoLogs logs = Commits(2);
  const ReadBackLog guest(logs.guest);
  const ReadBackLog host(logs.host);
  blocklog::History other = host.history();
  other.device_size = Bytes(4096);
  const auto sizes = CompareLogs(guest.history(), other, {});
  ASSERT_FALSE(sizes.ok());
  EXPECT_THAT(sizes.error().message, HasSubstr("a disk of 32768 bytes, the host's of one of 4096"));
  blocklog::History cut = host.history();
  std::erase_if(cut.events, [](const auto& event) { return event.mark.kind == "end"; });
  const auto ends = CompareLogs(guest.history(), cut, {});
  ASSERT_FALSE(ends.ok());
  EXPECT_THAT(ends.error().message, HasSubstr("the host's log lacks its last mark"));
}

}  // namespace
}  // namespace plugpull::crashstate
