// SPDX-License-Identifier: Apache-2.0
// What is counted of a history, on a log that is put together by hand.
#include "framework/run/coverage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ext4_tools.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/log_writer.h"
#include "journal_builder.h"

namespace plugpull::run {
namespace {

using ext4::Image;
using ext4::JournalBuilder;
using ext4::TransactionParts;

constexpr uint32_t kBlock = 1024;

class CoverageTest : public testing::Test {
 protected:
  void WritePlace(std::span<const uint8_t> image, uint32_t place, uint64_t flags = 0) {
    const uint64_t at = journal_.blocks[place] * kBlock;
    writer_.Write(Bytes(at), image.subspan(at, kBlock), flags);
  }
  CoverageReport Measure() {
    log_ = *blocklog::ReadLog(writer_.bytes(), {});
    history_ = *blocklog::MakeHistory(log_, {Bytes(base_.size()), Bytes(0)});
    return MeasureCoverage(history_, crashstate::DecodeJournal(history_, base_, journal_));
  }

  Image base_ = ext4::MakeExt4();
  ext4::JournalLayout journal_ = *ext4::FindJournal(base_);
  blocklog::LogWriter writer_;
  blocklog::BlockLog log_;
  blocklog::History history_;
};

TEST_F(CoverageTest, NothingIsWeak) {
  const auto report = Measure();
  EXPECT_EQ(report.log_entries(), 0U);
  EXPECT_TRUE(report.weak());
  EXPECT_FALSE(report.blind_spot().empty());
  for (const char* field : {"commits", "tail_moves", "checkpoints", "revokes", "wraps"}) {
    EXPECT_TRUE(
        report.GetReflection()->HasField(report, report.GetDescriptor()->FindFieldByName(field)))
        << field << ": zeroes are shown";
  }
}

TEST_F(CoverageTest, CountsWhatTheJournalDid) {
  Image image = base_;
  JournalBuilder builder(image, journal_.blocks, kBlock, {.start = 1020});
  for (uint64_t i = 0; i < 2; ++i) {
    TransactionParts parts;
    parts.writes = {{3000 + i, std::vector<uint8_t>(kBlock, 'x')}};
    if (i == 1) parts.revokes = {3500};
    builder.Add(parts);
  }
  builder.Finish();
  WritePlace(image, 0, blocklog::kFlagFua);  // the journal is in use from here
  for (const auto& places : builder.places()) {
    for (const uint32_t place : places) WritePlace(image, place);
    writer_.Flush();
  }
  const std::vector<uint8_t> block(kBlock, 'x');
  writer_.Write(Bytes(3000 * kBlock), block);  // home: a checkpoint
  writer_.Write(Bytes(3002 * kBlock), block);  // no home of anything
  writer_.Discard(Bytes(3600 * kBlock), Bytes(kBlock));
  writer_.Mark("a mark");
  builder.Place(0)[0x1b] += 1;  // s_sequence: the tail moves
  builder.SealJournalSuper();
  WritePlace(image, 0, blocklog::kFlagFua | blocklog::kFlagFlush);

  const auto report = Measure();
  EXPECT_EQ(report.commits(), 2U);
  EXPECT_EQ(report.revokes(), 1U);
  EXPECT_EQ(report.checkpoints(), 1U);
  EXPECT_EQ(report.tail_moves(), 1U);
  EXPECT_EQ(report.wraps(), 1U);
  EXPECT_EQ(report.discards(), 1U);
  EXPECT_EQ(report.marks(), 1U);
  EXPECT_EQ(report.fua_writes(), 2U);
  EXPECT_EQ(report.flushes(), 3U);
  EXPECT_EQ(report.writes(), 2U + 7U + 2U);
  EXPECT_FALSE(report.weak());
  EXPECT_EQ(report.dropped_bytes(), 0U);
}

TEST_F(CoverageTest, SaysWhatOfTheLogWasNotRead) {
  writer_.Write(Bytes(0), std::vector<uint8_t>(kBlock, 'x'));
  writer_.Write(Bytes(0), std::vector<uint8_t>(kBlock, 'y'));
  auto bytes = writer_.bytes();
  bytes.resize(bytes.size() - 512);
  log_ = *blocklog::ReadLog(bytes, {});
  history_ = *blocklog::MakeHistory(log_, {Bytes(base_.size()), Bytes(0)});
  const auto report =
      MeasureCoverage(history_, crashstate::DecodeJournal(history_, base_, journal_));
  EXPECT_EQ(report.writes(), 1U);
  EXPECT_EQ(report.dropped_bytes(), 1024U);
  EXPECT_FALSE(report.dropped_reason().empty());
}

TEST_F(CoverageTest, WhatWasBeforeTheBaseIsNotCounted) {
  writer_.Write(Bytes(0), std::vector<uint8_t>(kBlock, 'x'));
  writer_.Flush();
  writer_.Write(Bytes(0), std::vector<uint8_t>(kBlock, 'y'));
  Measure();
  history_.base = 2;
  const auto report =
      MeasureCoverage(history_, crashstate::DecodeJournal(history_, base_, journal_));
  EXPECT_EQ(report.log_entries(), 1U);
  EXPECT_EQ(report.writes(), 1U);
  EXPECT_EQ(report.flushes(), 0U);
}

TEST_F(CoverageTest, WithoutAJournalOnlyTheLogIsCounted) {
  journal_ = {};
  writer_.Write(Bytes(0), std::vector<uint8_t>(kBlock, 'x'));
  const auto report = Measure();
  EXPECT_EQ(report.writes(), 1U);
  EXPECT_EQ(report.commits(), 0U);
  EXPECT_TRUE(report.weak());
}

}  // namespace
}  // namespace plugpull::run
