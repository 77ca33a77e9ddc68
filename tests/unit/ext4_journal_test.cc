// SPDX-License-Identifier: Apache-2.0
// Journals written by debugfs and by journal_builder.h; e2fsck says what replaying them gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "ext4_tools.h"
#include "framework/base/prng.h"
#include "framework/ext4/journal.h"
#include "framework/ext4/superblock.h"
#include "journal_builder.h"

namespace plugpull::ext4 {
namespace {

using Outcome = JournalInspection::Outcome;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint32_t kBlock = 1024;
constexpr uint64_t kFirstFree = 3000;  // blocks from here on hold nothing in the fresh image

// A fresh file system; made once.
const Image& Fresh() {
  static const Image image = MakeExt4();
  return image;
}

const JournalLayout& Layout() {
  static const JournalLayout layout = *FindJournal(Fresh());
  return layout;
}

std::vector<uint8_t> RandomBlock(Prng& prng) {
  std::vector<uint8_t> bytes(kBlock);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(prng.Next());
  if (prng.Chance(150)) {  // must be escaped
    const uint8_t magic[] = {0xc0, 0x3b, 0x39, 0x98};
    std::copy(std::begin(magic), std::end(magic), bytes.begin());
  }
  return bytes;
}

TransactionParts RandomTransaction(Prng& prng, uint64_t number) {
  TransactionParts parts;
  parts.commit_seconds = 1000 + number;
  std::set<uint64_t> homes;
  const size_t writes = prng.Chance(150) ? 70 + prng.Below(80) : prng.Below(6);
  while (homes.size() < writes) homes.insert(kFirstFree + prng.Below(200));
  for (const uint64_t home : homes) parts.writes.emplace_back(home, RandomBlock(prng));
  const size_t revokes = prng.Chance(400) ? prng.Below(5) : 0;
  for (size_t i = 0; i < revokes; ++i) parts.revokes.push_back(kFirstFree + prng.Below(200));
  return parts;
}

std::vector<uint32_t> AllPlaces(const JournalBuilder& builder, size_t transactions) {
  std::vector<uint32_t> places;
  for (size_t i = 0; i < transactions; ++i) {
    places.insert(places.end(), builder.places()[i].begin(), builder.places()[i].end());
  }
  return places;
}

std::span<const uint8_t> BlockOf(const Image& image, uint64_t block) {
  return std::span(image).subspan(block * kBlock, kBlock);
}

// Replays with e2fsck and compares what was written home.
void ExpectReplaysTo(Image image, const std::map<uint64_t, std::vector<uint8_t>>& homes) {
  const Image before = image;
  const ToolEnd recovered = E2fsck(image, {"-y", "-E", "journal_only"});
  ASSERT_EQ(recovered.status, 0) << recovered.out;
  EXPECT_EQ(ReadJournalSuper(image, Layout())->start, 0U);
  EXPECT_FALSE(ParseSuperblock(image)->needs_recovery());
  for (uint64_t block = kFirstFree; block < kFirstFree + 200; ++block) {
    const auto it = homes.find(block);
    const auto expected =
        it != homes.end() ? std::span<const uint8_t>(it->second) : BlockOf(before, block);
    ASSERT_TRUE(std::ranges::equal(BlockOf(image, block), expected)) << "block " << block;
  }
}

std::vector<JournalFormat> Formats() {
  std::vector<JournalFormat> formats;
  for (const int checksum : {0, 2, 3}) {
    for (const bool wide : {false, true}) formats.push_back({checksum, wide, 7, 1});
  }
  return formats;
}

std::string Words(const JournalFormat& format) {
  return "checksum " + std::to_string(format.checksum) + (format.wide ? ", 64bit" : "");
}

TEST(JournalOfDebugfs, IsReadWhole) {
  Prng prng(1);
  const auto block = RandomBlock(prng);
  const std::string bytes(block.begin(), block.end());
  for (const char* open : {"journal_open", "journal_open -c -v 2", "journal_open -c -v 3"}) {
    for (const char* wide : {"64bit", "^64bit"}) {
      SCOPED_TRACE(std::string(open) + " " + wide);
      Image image = MakeExt4({.features = std::string(kFeatures) + "," + wide});
      const auto layout = FindJournal(image);
      ASSERT_TRUE(layout.ok());
      EXPECT_EQ(layout->blocks.size(), 1024U);
      EXPECT_EQ(InspectJournal(image, *layout).outcome, Outcome::kEmpty);
      Debugfs(image,
              {open, "journal_write -b 3000 @input", "journal_write -b 3001,3002 @input",
               "journal_write -r 3000", "journal_write -b 3003 -c @input", "journal_close"},
              bytes + bytes);
      const auto inspection = InspectJournal(image, *layout);
      EXPECT_EQ(inspection.outcome, Outcome::kReplays) << inspection.reason;
      EXPECT_EQ(inspection.transactions, 3U);
      EXPECT_THAT(inspection.used, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
      const auto tags =
          ParseTags(*ReadJournalSuper(image, *layout), BlockOf(image, layout->blocks[4]));
      ASSERT_EQ(tags.size(), 2U);
      EXPECT_EQ(tags[0].block, 3001U);
      EXPECT_EQ(tags[1].block, 3002U);
    }
  }
}

TEST(Journal, ATransactionThatWasNeverCommittedIsNone) {
  Prng prng(2);
  Image image = Fresh();
  JournalBuilder builder(image, Layout().blocks, kBlock, {});
  TransactionParts torn;
  torn.writes = {{kFirstFree, RandomBlock(prng)}};
  torn.commit = false;
  builder.Add(torn);
  builder.Finish();
  const auto inspection = InspectJournal(image, Layout());
  EXPECT_EQ(inspection.outcome, Outcome::kEmpty);
  EXPECT_THAT(inspection.used, IsEmpty());
  EXPECT_EQ(ReadJournalSuper(image, Layout())->start, 1U);
  ExpectReplaysTo(image, {});
}

TEST(Journal, IsReplayedAsInspected) {
  for (JournalFormat format : Formats()) {
    for (uint64_t seed = 0; seed < 6; ++seed) {
      SCOPED_TRACE(Words(format) + ", seed " + std::to_string(seed));
      Prng prng(seed);
      Image image = Fresh();
      for (const uint64_t block : Layout().blocks) {  // what is left of older logs
        if (block == Layout().blocks[0]) continue;
        const auto bytes = RandomBlock(prng);
        std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<int64_t>(block * kBlock));
      }
      format.start = seed % 2 == 0 ? 1 : static_cast<uint32_t>(1015 + seed);
      format.sequence = seed % 3 == 0 ? 0xfffffffe : 40;  // numbers come round too
      JournalBuilder builder(image, Layout().blocks, kBlock, format);
      const size_t transactions = 1 + prng.Below(6);
      for (size_t i = 0; i < transactions; ++i) builder.Add(RandomTransaction(prng, i));
      if (prng.Chance(500)) {
        auto torn = RandomTransaction(prng, 9);
        torn.commit = false;
        builder.Add(torn);
      }
      builder.Finish();
      const auto inspection = InspectJournal(image, Layout());
      ASSERT_EQ(inspection.outcome, Outcome::kReplays) << inspection.reason;
      EXPECT_EQ(inspection.transactions, transactions);
      EXPECT_EQ(inspection.used, AllPlaces(builder, transactions));
      ExpectReplaysTo(image, builder.Homes());
    }
  }
}

// The claim of `used`: recovery cannot tell what else the log holds.
TEST(Journal, WhatIsNotUsedShapesNothing) {
  Prng prng(5);
  Image image = Fresh();
  JournalBuilder builder(image, Layout().blocks, kBlock, {});
  for (size_t i = 0; i < 4; ++i) builder.Add(RandomTransaction(prng, i));
  builder.Finish();
  const auto inspection = InspectJournal(image, Layout());
  const std::set<uint32_t> used(inspection.used.begin(), inspection.used.end());
  for (int round = 0; round < 4; ++round) {
    for (uint32_t place = 1; place < Layout().blocks.size(); ++place) {
      if (used.contains(place)) continue;
      const auto bytes = RandomBlock(prng);
      std::copy(bytes.begin(), bytes.end(), builder.Place(place).begin());
    }
    EXPECT_EQ(InspectJournal(image, Layout()).used, inspection.used);
    ExpectReplaysTo(image, builder.Homes());
  }
}

TEST(Journal, StaleTransactionsAtTheEndAreANormalEnd) {
  Prng prng(6);
  Image image = Fresh();
  JournalBuilder old(image, Layout().blocks, kBlock, {.sequence = 3});
  for (size_t i = 0; i < 30; ++i) old.Add(RandomTransaction(prng, i));
  JournalBuilder builder(image, Layout().blocks, kBlock, {.sequence = 33});
  for (size_t i = 0; i < 2; ++i) builder.Add(RandomTransaction(prng, 100 + i));
  builder.Finish();
  const auto inspection = InspectJournal(image, Layout());
  EXPECT_EQ(inspection.outcome, Outcome::kReplays) << inspection.reason;
  EXPECT_EQ(inspection.transactions, 2U);
  ExpectReplaysTo(image, builder.Homes());
}

// A journal of three transactions, each with a revoke block, a descriptor and two data blocks.
struct ThreeTransactions {
  explicit ThreeTransactions(const JournalFormat& format)
      : image(Fresh()), builder(image, Layout().blocks, kBlock, format) {
    Prng prng(8);
    for (uint64_t i = 0; i < 3; ++i) {
      TransactionParts parts;
      for (uint64_t j = 0; j < 2; ++j) {
        parts.writes.emplace_back(kFirstFree + 10 * i + j, RandomBlock(prng));
      }
      parts.revokes = {kFirstFree + 100 + i};
      parts.commit_seconds = 1000 + i;
      builder.Add(parts);
    }
    builder.Finish();
  }
  // In a transaction: 0 the revoke block, 1 the descriptor, 2 and 3 data, 4 the commit.
  uint8_t& Byte(size_t transaction, size_t part, size_t at) {
    return builder.Place(builder.places()[transaction][part])[at];
  }
  JournalInspection Inspect() const { return InspectJournal(image, Layout()); }

  Image image;
  JournalBuilder builder;
};

TEST(Journal, AFlippedByteOfACompleteTransactionIsRefused) {
  for (const int checksum : {2, 3}) {
    ThreeTransactions three({.checksum = checksum});
    ASSERT_EQ(three.Inspect().outcome, Outcome::kReplays);
    for (size_t transaction = 0; transaction < 3; ++transaction) {
      for (size_t part = 0; part < 5; ++part) {
        for (size_t at = 0; at < kBlock; ++at) {
          const bool data = part == 2 || part == 3;
          if (!data && at < 12) continue;                  // ends the log there, see below
          if (part == 4 && at >= 48 && at < 56) continue;  // may look like an older commit
          three.Byte(transaction, part, at) ^= 0x40;
          const auto inspection = three.Inspect();
          ASSERT_EQ(inspection.outcome, Outcome::kRefused)
              << "v" << checksum << " transaction " << transaction << " part " << part << " byte "
              << at;
          ASSERT_FALSE(inspection.reason.empty());
          three.Byte(transaction, part, at) ^= 0x40;
        }
      }
    }
    EXPECT_EQ(three.Inspect().outcome, Outcome::kReplays);
  }
}

TEST(Journal, ACommitBlockThatIsWholeInItsHeaderAloneIsDisputed) {
  for (const int checksum : {2, 3}) {
    ThreeTransactions three({.checksum = checksum});
    for (size_t at = 16; at < kBlock; ++at) {
      if (at >= 48 && at < 56) continue;  // may look like an older commit
      three.Byte(1, 4, at) ^= 0x40;
      const auto inspection = three.Inspect();
      ASSERT_EQ(inspection.outcome, Outcome::kRefused);
      ASSERT_EQ(inspection.disputed, at >= 64) << at;
      if (at >= 64) {
        EXPECT_THAT(inspection.reason, AllOf(HasSubstr("Linux 6.11"), HasSubstr("transaction 8")));
      }
      three.Byte(1, 4, at) ^= 0x40;
    }
    // Other blocks are nobody's to make whole.
    three.Byte(1, 1, 900) ^= 1;
    EXPECT_FALSE(three.Inspect().disputed);
  }
}

TEST(Journal, AReasonNamesTheTransaction) {
  ThreeTransactions three({});
  three.Byte(1, 2, 500) ^= 1;
  EXPECT_THAT(three.Inspect().reason, HasSubstr("transaction 8"));
  EXPECT_THAT(three.Inspect().reason, HasSubstr("home: block 3010"));
}

TEST(Journal, WithoutChecksumsNoFlippedByteIsSeen) {
  ThreeTransactions three({.checksum = 0});
  for (size_t part = 2; part < 5; ++part) three.Byte(1, part, 700) ^= 1;
  EXPECT_EQ(three.Inspect().outcome, Outcome::kReplays);
  EXPECT_EQ(three.Inspect().transactions, 3U);
}

TEST(Journal, ABrokenHeaderEndsTheLog) {
  for (size_t transaction = 0; transaction < 3; ++transaction) {
    for (const size_t part : {0, 1, 4}) {
      for (const size_t at : {0, 3, 11}) {
        ThreeTransactions three({});
        three.Byte(transaction, part, at) ^= 0x40;
        const auto inspection = three.Inspect();
        EXPECT_EQ(inspection.outcome, transaction == 0 ? Outcome::kEmpty : Outcome::kReplays);
        EXPECT_EQ(inspection.transactions, transaction);
        EXPECT_EQ(inspection.used, AllPlaces(three.builder, transaction));
      }
    }
  }
}

TEST(Journal, ARevokedBlockMayBeDamaged) {
  Prng prng(9);
  Image image = Fresh();
  JournalBuilder builder(image, Layout().blocks, kBlock, {});
  TransactionParts first;
  first.writes = {{kFirstFree, RandomBlock(prng)}, {kFirstFree + 1, RandomBlock(prng)}};
  builder.Add(first);
  TransactionParts second;
  second.writes = {{kFirstFree + 2, RandomBlock(prng)}};
  second.revokes = {kFirstFree};
  builder.Add(second);
  builder.Finish();
  builder.Place(builder.places()[0][1])[100] ^= 1;
  EXPECT_EQ(InspectJournal(image, Layout()).outcome, Outcome::kReplays);
  ExpectReplaysTo(image, builder.Homes());
  builder.Place(builder.places()[0][2])[100] ^= 1;
  EXPECT_EQ(InspectJournal(image, Layout()).outcome, Outcome::kRefused);
}

TEST(Journal, AWrongChecksumUnderAnOlderCommitTimeIsAStaleEnd) {
  for (const size_t part : {0, 1, 4}) {
    ThreeTransactions three({});
    three.Byte(2, part, 600) ^= 1;
    for (size_t at = 48; at < 56; ++at) three.Byte(2, 4, at) = 0;
    const auto inspection = three.Inspect();
    EXPECT_EQ(inspection.outcome, Outcome::kReplays) << inspection.reason;
    EXPECT_EQ(inspection.transactions, 2U);
  }
}

TEST(Journal, AnIncompleteTransactionMayHoldAnything) {
  Prng prng(10);
  Image image = Fresh();
  JournalBuilder builder(image, Layout().blocks, kBlock, {});
  builder.Add(RandomTransaction(prng, 0));
  TransactionParts torn;
  torn.writes = {{kFirstFree, RandomBlock(prng)}};
  torn.commit = false;
  builder.Add(torn);
  builder.Finish();
  for (const uint32_t place : builder.places()[1]) builder.Place(place)[900] ^= 1;
  const auto inspection = InspectJournal(image, Layout());
  EXPECT_EQ(inspection.outcome, Outcome::kReplays) << inspection.reason;
  EXPECT_EQ(inspection.transactions, 1U);
}

TEST(JournalSuperblock, ThatNoKernelTakesIsRefused) {
  struct Case {
    size_t at;
    uint32_t value;
    const char* why;
  };
  const Case kCases[] = {
      {0x0c, 4096, "blocks of 4096"}, {0x10, 1025, "1025 blocks"}, {0x14, 0, "first 0"},
      {0x14, 1024, "first 1024"},     {0x1c, 1024, "start 1024"},  {0x1c, ~0U, "start 4294967295"},
  };
  for (const Case& c : kCases) {
    ThreeTransactions three({});
    for (size_t i = 0; i < 4; ++i) {
      three.builder.Place(0)[c.at + i] = static_cast<uint8_t>(c.value >> (24 - 8 * i));
    }
    three.builder.SealJournalSuper();
    EXPECT_EQ(three.Inspect().outcome, Outcome::kRefused) << c.why;
    EXPECT_THAT(three.Inspect().reason, HasSubstr(c.why));
  }
  ThreeTransactions three({});
  three.builder.Place(0)[0] ^= 1;
  EXPECT_EQ(three.Inspect().outcome, Outcome::kRefused);
  EXPECT_FALSE(ReadJournalSuper(three.image, Layout()).ok());
}

TEST(JournalSuperblock, EveryByteIsUnderItsChecksum) {
  for (const int checksum : {2, 3}) {
    ThreeTransactions three({.checksum = checksum});
    for (size_t at = 0; at < 1024; ++at) {
      if (at >= 0x24 && at < 0x2c) continue;  // features: may say that there is no checksum
      three.builder.Place(0)[at] ^= 0x40;
      ASSERT_EQ(three.Inspect().outcome, Outcome::kRefused) << "byte " << at;
      three.builder.Place(0)[at] ^= 0x40;
    }
  }
}

TEST(JournalSuperblock, FastCommitsAreLeftToOthers) {
  ThreeTransactions three({});
  three.builder.Place(0)[0x2b] |= 0x20;
  three.builder.SealJournalSuper();
  EXPECT_EQ(three.Inspect().outcome, Outcome::kNotRead);
}

TEST(JournalSuperblock, IsReadAsWritten) {
  ThreeTransactions three({.checksum = 2, .sequence = 99, .start = 44});
  const auto super = ReadJournalSuper(three.image, Layout());
  ASSERT_TRUE(super.ok());
  EXPECT_EQ(super->block_bytes, kBlock);
  EXPECT_EQ(super->blocks, 1024U);
  EXPECT_EQ(super->first, 1U);
  EXPECT_EQ(super->sequence, 99U);
  EXPECT_EQ(super->start, 44U);
  EXPECT_EQ(super->error, 0);
  EXPECT_TRUE(super->checksum_v2());
  EXPECT_TRUE(super->has_64bit());
  EXPECT_FALSE(super->checksum_v3());
  EXPECT_EQ(super->uuid.size(), 16U);
}

TEST(Journal, WithoutAJournalThereIsNothing) {
  Image image = MakeExt4({.features = std::string(kFeatures) + ",^has_journal", .more = {}});
  const auto layout = FindJournal(image);
  ASSERT_TRUE(layout.ok());
  EXPECT_THAT(layout->blocks, IsEmpty());
  EXPECT_EQ(InspectJournal(image, *layout).outcome, Outcome::kEmpty);
  EXPECT_FALSE(ReadJournalSuper(image, *layout).ok());
  EXPECT_FALSE(DiscardJournal(image, *layout).ok());
}

TEST(Journal, ALayoutOutsideTheImageIsRefused) {
  JournalLayout far = Layout();
  far.blocks[5] = 1ULL << 40;
  ThreeTransactions three({});
  EXPECT_EQ(InspectJournal(three.image, far).outcome, Outcome::kRefused);
  far.blocks[0] = 1ULL << 40;
  EXPECT_EQ(InspectJournal(three.image, far).outcome, Outcome::kRefused);
  EXPECT_FALSE(ReadJournalSuper(three.image, far).ok());
}

TEST(DiscardJournal, LeavesWhatE2fsckPasses) {
  for (const JournalFormat& format : Formats()) {
    SCOPED_TRACE(Words(format));
    ThreeTransactions three(format);
    three.builder.Finish(/*needs_recovery=*/false);
    EXPECT_EQ(three.Inspect().outcome, Outcome::kReplays) << "nothing to discard";
    ASSERT_TRUE(DiscardJournal(three.image, Layout()).ok());
    EXPECT_EQ(three.Inspect().outcome, Outcome::kEmpty);
    const ToolEnd checked = E2fsck(three.image, {"-fn"});
    EXPECT_EQ(checked.status, 0) << checked.out;
    for (uint64_t block = kFirstFree; block < kFirstFree + 200; ++block) {
      ASSERT_TRUE(std::ranges::equal(BlockOf(three.image, block), BlockOf(Fresh(), block)));
    }
  }
}

TEST(HostileJournal, RandomLogsNeverCrash) {
  Prng prng(11);
  size_t outcomes[4] = {};
  for (int i = 0; i < 3000; ++i) {
    ThreeTransactions three({.checksum = static_cast<int>(prng.Below(2)) * 3});
    const size_t damages = 1 + prng.Below(12);
    for (size_t d = 0; d < damages; ++d) {
      const auto place = static_cast<uint32_t>(prng.Below(17));
      const auto block = three.builder.Place(place);
      const size_t at = prng.Chance(500) ? prng.Below(64) : prng.Below(kBlock);
      block[at] = static_cast<uint8_t>(prng.Chance(500) ? 0xff : prng.Next());
    }
    if (prng.Chance(700)) three.builder.SealJournalSuper();
    ++outcomes[static_cast<size_t>(three.Inspect().outcome)];
  }
  EXPECT_GT(outcomes[static_cast<size_t>(Outcome::kReplays)], 0U);
  EXPECT_GT(outcomes[static_cast<size_t>(Outcome::kRefused)], 0U);
}

TEST(HostileJournal, ARevokeBlockThatCountsTooMuchIsRefused) {
  ThreeTransactions three({.checksum = 0});
  for (const uint8_t byte : {0x04, 0x7f, 0xff}) {
    three.Byte(1, 0, 14) = byte;
    EXPECT_EQ(three.Inspect().outcome, Outcome::kRefused);
    EXPECT_THAT(three.Inspect().reason, HasSubstr("revoke block"));
  }
  three.Byte(1, 0, 14) = 0;
  three.Byte(1, 0, 15) = 0;  // fewer bytes than its header
  EXPECT_EQ(three.Inspect().outcome, Outcome::kReplays);
}

// Descriptors without a last tag that follow each other round the log for ever.
TEST(HostileJournal, ALogWithoutAnEndIsRefused) {
  ThreeTransactions three({.checksum = 0});
  std::vector<uint8_t> descriptor(three.builder.Place(three.builder.places()[0][1]).begin(),
                                  three.builder.Place(three.builder.places()[0][1]).end());
  std::fill(descriptor.begin() + 12, descriptor.end(), 2);
  for (uint32_t place = 1; place < Layout().blocks.size(); ++place) {
    std::copy(descriptor.begin(), descriptor.end(), three.builder.Place(place).begin());
  }
  const auto inspection = three.Inspect();
  EXPECT_EQ(inspection.outcome, Outcome::kRefused);
  EXPECT_THAT(inspection.reason, HasSubstr("no end"));
}

TEST(ParseTags, StopsAtTheEndOfTheBlock) {
  JournalSuper super;
  for (const uint32_t incompat : {0U, 2U, 8U, 10U, 0x10U, 0x12U}) {
    super.feature_incompat = incompat;
    const std::vector<uint8_t> same_uuid(kBlock, 2);  // no tag says that it is the last
    const size_t tag =
        super.checksum_v3() ? 16 : 8 + (super.checksum_v2() ? 2 : 0) + (super.has_64bit() ? 4 : 0);
    const size_t room = kBlock - 12 - (incompat >= 8 ? 4 : 0);
    EXPECT_EQ(ParseTags(super, same_uuid).size(), room / tag) << incompat;
  }
}

TEST(ParseJournalHeader, NeedsTheMagicAndAKnownType) {
  std::vector<uint8_t> block = {0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 2, 1, 2, 3, 4};
  EXPECT_EQ(ParseJournalHeader(block).type, JournalBlockType::kCommit);
  EXPECT_EQ(ParseJournalHeader(block).sequence, 0x01020304U);
  for (const uint8_t type : {0, 6, 255}) {
    block[7] = type;
    EXPECT_EQ(ParseJournalHeader(block).type, JournalBlockType::kNone);
  }
  block[7] = 1;
  EXPECT_EQ(ParseJournalHeader(std::span(block).first(11)).type, JournalBlockType::kNone);
  EXPECT_EQ(ParseJournalHeader({}).type, JournalBlockType::kNone);
  block[0] = 0;
  EXPECT_EQ(ParseJournalHeader(block).type, JournalBlockType::kNone);
}

}  // namespace
}  // namespace plugpull::ext4
