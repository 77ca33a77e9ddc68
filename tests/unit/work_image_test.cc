// SPDX-License-Identifier: Apache-2.0
// The moving image against a plain copy, while others write and punch holes into it.
#include "framework/oracle/work_image.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <set>

#include "ext4_tools.h"
#include "framework/base/prng.h"
#include "framework/ext4/superblock.h"

namespace plugpull::oracle {
namespace {

using ext4::Image;
using image::Content;
using image::ContentStore;
using image::CowImage;
using image::Fingerprint;

using State = std::vector<std::pair<uint64_t, const Content*>>;

constexpr ext4::JournalLayout kNoJournal{};

std::vector<os::Extent> Whole(const Image& base) { return {{Bytes(0), Bytes(base.size())}}; }

Fingerprint Scan(WorkImage& work, const ext4::JournalLayout& journal = kNoJournal) {
  const auto fingerprint = work.Scan(journal);
  EXPECT_TRUE(fingerprint.ok());
  return *fingerprint;
}

// A sparse base, and images that differ from it in some blocks, with a handful of contents.
class Random {
 public:
  Random(uint64_t seed, uint32_t block_bytes, size_t bytes)
      : prng_(seed), base_(bytes), store_(block_bytes) {
    for (size_t page = 0; page < bytes / 4096; ++page) {
      if (prng_.Chance(500)) continue;  // a hole
      extents_.push_back({Bytes(page * 4096), Bytes((page + 1) * 4096)});
      for (size_t i = 0; i < 4096; ++i) base_[page * 4096 + i] = static_cast<uint8_t>(prng_.Next());
    }
    for (uint64_t block = 0; block < bytes / block_bytes; ++block) {
      if (prng_.Chance(300)) blocks_.push_back(block);
    }
    contents_.push_back(store_.zeroes());
    for (int i = 0; i < 12; ++i) {
      std::vector<uint8_t> content(block_bytes);
      for (auto& byte : content) byte = static_cast<uint8_t>(prng_.Next());
      contents_.push_back(store_.InternCopy(content));
    }
    image_ = std::make_unique<CowImage>(base_, store_);
  }

  // Null: as in the base.
  State NewState() {
    State state;
    for (const uint64_t block : blocks_) {
      const bool differs = prng_.Chance(400);
      state.emplace_back(block, differs ? contents_[prng_.Below(contents_.size())] : nullptr);
    }
    return state;
  }
  const CowImage& ImageOf(const State& state) {
    for (const auto& [block, content] : state) image_->Set(block, content);
    return *image_;
  }
  std::vector<uint8_t> Plain(const State& state) const {
    std::vector<uint8_t> plain = base_;
    for (const auto& [block, content] : state) {
      if (content == nullptr) continue;
      const size_t size = store_.block_bytes();
      std::copy(content->bytes, content->bytes + size,
                plain.begin() + static_cast<int64_t>(block * size));
    }
    return plain;
  }
  // What e2fsck may do to its file, done to `plain` too.
  void Modify(WorkImage& work, std::vector<uint8_t>& plain) {
    const size_t changes = prng_.Below(6);
    for (size_t i = 0; i < changes; ++i) {
      const size_t at = prng_.Below(plain.size());
      const size_t length = std::min<size_t>(1 + prng_.Below(9000), plain.size() - at);
      const uint64_t how = prng_.Below(3);
      if (how == 0) {
        const size_t start = at / 4096 * 4096;
        const size_t n = std::min<size_t>(8192, plain.size() - start);
        ASSERT_EQ(::fallocate(work.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              static_cast<off_t>(start), static_cast<off_t>(n)),
                  0);
        std::memset(&plain[start], 0, n);
        continue;
      }
      std::vector<uint8_t> bytes(length, static_cast<uint8_t>(prng_.Next()));
      if (how == 1) {
        ASSERT_TRUE(os::PwriteAll(work.fd(), bytes, Bytes(at)).ok());
      } else {
        std::copy(bytes.begin(), bytes.end(), work.bytes().begin() + static_cast<int64_t>(at));
      }
      std::copy(bytes.begin(), bytes.end(), plain.begin() + static_cast<int64_t>(at));
    }
  }

  Prng prng_;
  std::vector<uint8_t> base_;
  std::vector<os::Extent> extents_;
  ContentStore store_;
  std::vector<uint64_t> blocks_;
  std::vector<const Content*> contents_;
  std::unique_ptr<CowImage> image_;
};

bool Holds(WorkImage& work, const std::vector<uint8_t>& plain) {
  return std::memcmp(work.bytes().data(), plain.data(), plain.size()) == 0;
}

TEST(WorkImage, IsThePlainCopyWhateverOthersDoToIt) {
  for (const uint32_t block_bytes : {512U, 1024U, 4096U}) {
    for (uint64_t seed = 0; seed < 8; ++seed) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", blocks of " << block_bytes);
      // Not a whole number of pages.
      Random random(seed, block_bytes, 40 * 4096 + (block_bytes < 4096 ? block_bytes : 0));
      auto work = WorkImage::Make(random.base_, random.extents_);
      ASSERT_TRUE(work.ok());
      ASSERT_TRUE(Holds(*work, random.base_));
      std::map<std::vector<uint8_t>, Fingerprint> seen;
      for (int round = 0; round < 40; ++round) {
        const State state = random.NewState();
        work->Load(random.ImageOf(state));
        auto plain = random.Plain(state);
        ASSERT_TRUE(Holds(*work, plain)) << "round " << round;
        random.Modify(*work, plain);
        ASSERT_TRUE(Holds(*work, plain));
        const Fingerprint fingerprint = Scan(*work);
        const auto [it, added] = seen.try_emplace(plain, fingerprint);
        ASSERT_EQ(it->second, fingerprint);
      }
      std::set<Fingerprint> distinct;
      for (const auto& [plain, fingerprint] : seen) distinct.insert(fingerprint);
      EXPECT_EQ(distinct.size(), seen.size()) << "different images have different fingerprints";
    }
  }
}

TEST(WorkImage, EqualImagesReachedByDifferentWaysHaveOneFingerprint) {
  Random random(3, 1024, 32 * 4096);
  auto by_state = *WorkImage::Make(random.base_, random.extents_);
  auto by_hand = *WorkImage::Make(random.base_, random.extents_);
  auto by_hand_twice = *WorkImage::Make(random.base_, Whole(random.base_));
  for (int round = 0; round < 20; ++round) {
    const State state = random.NewState();
    const auto plain = random.Plain(state);
    by_state.Load(random.ImageOf(state));
    by_hand.Load(CowImage(random.base_, random.store_));
    ASSERT_TRUE(os::PwriteAll(by_hand.fd(), plain, Bytes(0)).ok());
    by_hand_twice.Load(random.ImageOf(random.NewState()));
    std::memset(by_hand_twice.bytes().data(), 0x11, plain.size());
    std::copy(plain.begin(), plain.end(), by_hand_twice.bytes().begin());
    const Fingerprint expected = Scan(by_state);
    EXPECT_EQ(Scan(by_hand), expected);
    EXPECT_EQ(Scan(by_hand_twice), expected);
  }
}

TEST(WorkImage, AHoleWhereTheStateHasDataIsSeenAndUndone) {
  Random random(5, 4096, 16 * 4096);
  auto work = *WorkImage::Make(random.base_, random.extents_);
  const State state = random.NewState();
  work.Load(random.ImageOf(state));
  const Fingerprint before = Scan(work);
  ASSERT_EQ(::fallocate(work.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 16 * 4096), 0);
  EXPECT_NE(Scan(work), before);
  work.Load(random.ImageOf(state));
  EXPECT_TRUE(Holds(work, random.Plain(state)));
  EXPECT_EQ(Scan(work), before);
}

// A fresh ext4: all changes come from others.
class Ext4WorkImage : public testing::Test {
 protected:
  Fingerprint After(uint64_t at, uint8_t flip) {
    work_.Load(unchanged_);
    work_.bytes()[at] ^= flip;
    return Scan(work_, journal_);
  }

  Image base_ = ext4::MakeExt4();
  ext4::JournalLayout journal_ = *ext4::FindJournal(base_);
  ContentStore store_{1024};
  CowImage unchanged_{base_, store_};
  WorkImage work_ = *WorkImage::Make(base_, Whole(base_));
  Fingerprint clean_ = After(0, 0);
};

void SealSuperblock(std::span<uint8_t> image) {
  const uint32_t crc = ext4::Crc32c(~0U, image.subspan(1024, 0x3fc));
  std::memcpy(image.data() + 1024 + 0x3fc, &crc, sizeof crc);
}

TEST_F(Ext4WorkImage, CountersDoNotCountAndEverythingElseDoes) {
  for (uint64_t field = 0; field < 0x3fc; ++field) {
    work_.Load(unchanged_);
    work_.bytes()[1024 + field] ^= 0x40;
    SealSuperblock(work_.bytes());
    const bool counter = (field >= 0x2c && field < 0x36) || (field >= 0x40 && field < 0x44) ||
                         (field >= 0x178 && field < 0x180) || field == 0x274 || field == 0x275 ||
                         field == 0x277;
    EXPECT_EQ(Scan(work_, journal_) == clean_, counter) << "byte " << field;
  }
}

TEST_F(Ext4WorkImage, AWrongChecksumIsSeen) {
  for (uint64_t at = 1024 + 0x3fc; at < 2048; ++at) EXPECT_NE(After(at, 1), clean_);
  // Also one that reads as a right one does when it is masked.
  work_.Load(unchanged_);
  work_.bytes()[1024 + 0x3a] ^= 2;  // s_state
  SealSuperblock(work_.bytes());
  const Fingerprint right = Scan(work_, journal_);
  std::memset(&work_.bytes()[1024 + 0x3fc], 0, 4);
  EXPECT_NE(Scan(work_, journal_), right);
}

TEST_F(Ext4WorkImage, LogBlocksDoNotCountOnceTheJournalIsEmpty) {
  for (const size_t place : {1UL, 2UL, 700UL, 1023UL}) {
    EXPECT_EQ(After(journal_.blocks[place] * 1024 + 17, 1), clean_) << "place " << place;
  }
  EXPECT_NE(After(journal_.blocks[0] * 1024 + 0x20, 1), clean_) << "s_errno";
  work_.Load(unchanged_);
  work_.bytes()[journal_.blocks[0] * 1024 + 0x1f] = 1;  // s_start
  const Fingerprint in_use = Scan(work_, journal_);
  EXPECT_NE(in_use, clean_);
  work_.bytes()[journal_.blocks[5] * 1024] ^= 1;
  EXPECT_NE(Scan(work_, journal_), in_use);
}

TEST_F(Ext4WorkImage, AnyOtherByteCounts) {
  Prng prng(6);
  std::set<uint64_t> log(journal_.blocks.begin() + 1, journal_.blocks.end());
  for (int i = 0; i < 300; ++i) {
    const uint64_t at = prng.Below(base_.size());
    if (log.contains(at / 1024) || at / 1024 == 1) continue;
    EXPECT_NE(After(at, 1), clean_) << "byte " << at;
  }
  work_.Load(unchanged_);
  EXPECT_EQ(Scan(work_, journal_), clean_);
}

}  // namespace
}  // namespace plugpull::oracle
