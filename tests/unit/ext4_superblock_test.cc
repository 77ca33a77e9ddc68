// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "ext4_tools.h"
#include "framework/base/prng.h"
#include "framework/ext4/superblock.h"
#include "journal_builder.h"

namespace plugpull::ext4 {
namespace {

using ::testing::HasSubstr;

TEST(Crc32c, HasTheKnownValues) {
  const auto crc = [](const std::string& text) {
    return ~Crc32c(~0U, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  EXPECT_EQ(crc("123456789"), 0xe3069283U);  // the catalogue's check value of CRC-32C
  // RFC 3720, B.4.
  EXPECT_EQ(crc(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc(std::string(32, '\xff')), 0x62a8ab43U);
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending += static_cast<char>(i);
  EXPECT_EQ(crc(ascending), 0x46dd794eU);
  EXPECT_EQ(Crc32c(0x1234, {}), 0x1234U);
}

TEST(Crc32c, IsTheSlowOneAtEveryLengthAndInPieces) {
  Prng prng(1);
  for (size_t length = 0; length < 200; ++length) {
    std::vector<uint8_t> bytes(length);
    for (auto& byte : bytes) byte = static_cast<uint8_t>(prng.Next());
    const auto seed = static_cast<uint32_t>(prng.Next());
    const uint32_t whole = Crc32c(seed, bytes);
    EXPECT_EQ(whole, SlowCrc32c(seed, bytes));
    const size_t cut = length / 3;
    EXPECT_EQ(whole,
              Crc32c(Crc32c(seed, std::span(bytes).first(cut)), std::span(bytes).subspan(cut)));
  }
}

TEST(Superblock, IsReadFromARealOne) {
  const Image image = MakeExt4();
  const auto super = ParseSuperblock(image);
  ASSERT_TRUE(super.ok());
  EXPECT_EQ(super->block_bytes, 1024U);
  EXPECT_EQ(super->blocks_count, 4096U);
  EXPECT_EQ(super->state, kStateValid);
  EXPECT_TRUE(super->has_journal());
  EXPECT_FALSE(super->needs_recovery());
  EXPECT_FALSE(super->has_orphans());
  EXPECT_EQ(super->journal_inode, 8U);
  EXPECT_EQ(super->error_count, 0U);
  EXPECT_NE(super->feature_ro_compat & kRoCompatMetadataCsum, 0U);
  EXPECT_TRUE(super->checksum_valid);
}

TEST(Superblock, OfFourKilobyteBlocksAndWithoutChecksumsAndJournal) {
  const Image image = MakeExt4({.features = std::string(kFeatures) + ",^has_journal,^metadata_csum",
                                .block_bytes = "4096",
                                .mib = 8,
                                .more = {}});
  const auto super = ParseSuperblock(image);
  ASSERT_TRUE(super.ok());
  EXPECT_EQ(super->block_bytes, 4096U);
  EXPECT_EQ(super->blocks_count, 2048U);
  EXPECT_FALSE(super->has_journal());
  EXPECT_TRUE(super->checksum_valid);
}

TEST(Superblock, FieldsAreWhereDebugfsPutsThem) {
  Image image = MakeExt4();
  Debugfs(image, {"set_super_value state 2", "set_super_value last_orphan 13",
                  "set_super_value error_count 5", "feature needs_recovery"});
  const auto super = ParseSuperblock(image);
  ASSERT_TRUE(super.ok());
  EXPECT_EQ(super->state, kStateErrors);
  EXPECT_EQ(super->last_orphan, 13U);
  EXPECT_TRUE(super->has_orphans());
  EXPECT_EQ(super->error_count, 5U);
  EXPECT_TRUE(super->needs_recovery());
  EXPECT_TRUE(super->checksum_valid) << "debugfs computes it again";
}

TEST(Superblock, EveryByteUnderTheChecksumIsSeen) {
  Image image = MakeExt4();
  for (size_t at = kSuperblockAt; at < kSuperblockAt + 1024; ++at) {
    image[at] ^= 0x10;
    const auto super = ParseSuperblock(image);
    if (super.ok() && (super->feature_ro_compat & kRoCompatMetadataCsum) != 0) {
      ASSERT_FALSE(super->checksum_valid) << "byte " << at;
    }
    image[at] ^= 0x10;
  }
  EXPECT_TRUE(ParseSuperblock(image)->checksum_valid);
}

TEST(Superblock, WhatIsNoneIsAUserError) {
  const Image whole = MakeExt4();
  const auto refused = [](const Image& image, const char* why) {
    const auto super = ParseSuperblock(image);
    ASSERT_FALSE(super.ok());
    EXPECT_EQ(super.error().code, ErrorCode::kUser);
    EXPECT_THAT(super.error().ToString(), HasSubstr(why));
  };
  refused({}, "0 bytes");
  refused(Image(whole.begin(), whole.begin() + 2047), "2047 bytes");
  refused(Image(4096), "magic");
  Image image = whole;
  image[kSuperblockAt + 0x18] = 7;
  refused(image, "log_block_size 7");
  image[kSuperblockAt + 0x1b] = 0xff;
  refused(image, "log_block_size");
}

bool Covers(const std::vector<ByteRange>& ranges, uint64_t at) {
  for (const ByteRange& range : ranges) {
    if (at >= range.start && at < range.end) return true;
  }
  return false;
}

TEST(CounterRanges, CoverCountersAndNeverWhatTheKernelKnowsOfErrors) {
  Superblock super;
  for (const bool valid : {false, true}) {
    super.checksum_valid = valid;
    const auto ranges = CounterRanges(super);
    // Bytes of struct ext4_super_block: s_state, s_errors, s_last_orphan, s_feature_*,
    // s_inodes_count, s_free_*, the errors' times, places and counts, s_encoding,
    // s_orphan_file_inum.
    const std::pair<uint64_t, uint64_t> kNever[] = {
        {0x00, 0x2c},   {0x38, 0x40},   {0x48, 0x150},  {0x150, 0x178},
        {0x180, 0x270}, {0x270, 0x274}, {0x276, 0x277}, {0x278, 0x3fc},
    };
    for (const auto& [start, end] : kNever) {
      for (uint64_t at = start; at < end; ++at) {
        EXPECT_FALSE(Covers(ranges, kSuperblockAt + at)) << "byte " << at;
      }
    }
    for (const uint64_t at : {0x2c, 0x30, 0x34, 0x35, 0x40, 0x178, 0x17f, 0x274, 0x275, 0x277}) {
      EXPECT_TRUE(Covers(ranges, kSuperblockAt + at)) << "byte " << at;
    }
    EXPECT_EQ(Covers(ranges, kSuperblockAt + 0x3fc), valid);
    EXPECT_FALSE(Covers(ranges, kSuperblockAt + 0x36)) << "s_max_mnt_count is a setting";
    EXPECT_FALSE(Covers(ranges, kSuperblockAt + 1024));
    EXPECT_FALSE(Covers(ranges, kSuperblockAt - 1));
  }
}

TEST(CounterRanges, AreWhereDebugfsPutsThem) {
  const Image before = MakeExt4();
  const std::pair<const char*, bool> kFields[] = {
      {"mtime 0x12345678", true},
      {"mnt_count 77", true},
      {"lastcheck 0x12345678", true},
      {"kbytes_written 999", true},
      {"state 3", false},
      {"errors 2", false},
      {"error_count 1", false},
      {"first_error_time 5", false},
      {"last_error_block 5", false},
      {"last_orphan 12", false},
      {"max_mnt_count 9", false},
      {"checkinterval 9", false},
      {"free_blocks_count 9", false},
  };
  for (const auto& [field, counter] : kFields) {
    Image after = before;
    Debugfs(after, {std::string("set_super_value ") + field});
    const auto super = ParseSuperblock(after);
    ASSERT_TRUE(super.ok() && super->checksum_valid);
    const auto ranges = CounterRanges(*super);
    bool outside = false;
    bool changed = false;
    for (uint64_t at = kSuperblockAt; at < kSuperblockAt + 1024; ++at) {
      if (before[at] == after[at]) continue;
      changed = true;
      outside |= !Covers(ranges, at);
    }
    EXPECT_TRUE(changed) << field;
    EXPECT_EQ(outside, !counter) << field;
  }
}

TEST(Superblock, SaysWhatItAsksOfEveryMount) {
  const auto with = [](const std::vector<std::string>& commands) {
    Image image = MakeExt4();
    Debugfs(image, commands);
    const auto super = ParseSuperblock(image);
    EXPECT_TRUE(super.ok());
    return *super;
  };
  const Superblock plain = with({"set_super_value default_mount_opts 0xc"});
  EXPECT_FALSE(plain.default_data_mode.has_value());
  EXPECT_FALSE(plain.default_nobarrier);
  EXPECT_EQ(plain.mount_options, "");
  EXPECT_EQ(with({"set_super_value default_mount_opts 0x20"}).default_data_mode,
            DataMode::kJournal);
  EXPECT_EQ(with({"set_super_value default_mount_opts 0x40"}).default_data_mode,
            DataMode::kOrdered);
  const Superblock all = with({"set_super_value default_mount_opts 0x160",
                               "set_super_value mount_opts data=journal,nodelalloc"});
  EXPECT_EQ(all.default_data_mode, DataMode::kWriteback);
  EXPECT_TRUE(all.default_nobarrier);
  EXPECT_EQ(all.mount_options, "data=journal,nodelalloc");
}

}  // namespace
}  // namespace plugpull::ext4
