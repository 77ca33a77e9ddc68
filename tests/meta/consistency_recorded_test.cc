// SPDX-License-Identifier: Apache-2.0
// The consistency check against e2fsck on crash states of recordings, recovered by e2fsck.
// PLUGPULL_CONSISTENCY_RECORDING: a recording's folder to take instead of the golden ones;
// PLUGPULL_CONSISTENCY_STATES: how many states of each kind.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "framework/base/prng.h"
#include "framework/crashstate/state_cursor.h"
#include "framework/ext4/consistency.h"
#include "framework/image/cow_image.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/work_image.h"
#include "framework/os/file.h"
#include "recorded.h"

namespace plugpull::run {
namespace {

using ext4::ConsistencyChecker;
using ext4::ConsistencyVerdict;
using Clock = std::chrono::steady_clock;

double Micros(Clock::time_point since) {
  return std::chrono::duration<double, std::micro>(Clock::now() - since).count();
}

// A checker that is moved over the images that recovery leaves in a file.
class Follower {
 public:
  Follower(std::span<const uint8_t> base, uint32_t block_bytes)
      : base_(base), store_(block_bytes), image_(base, store_), checker_(image_) {}

  // Makes the image what the file holds.
  void Follow(std::span<const uint8_t> bytes, int fd) {
    image_.ClearChanges();
    std::vector<uint64_t> holes;
    image_.ForEachDifference(
        [&](uint64_t block, const image::Content&) { holes.push_back(block); });
    for (const uint64_t block : holes) SetFrom(block, bytes);
    const auto extents = os::DataExtents(fd, Bytes(bytes.size()));
    ASSERT_TRUE(extents.ok());
    for (const os::Extent& extent : *extents) {
      const uint64_t end = extent.end.value / store_.block_bytes();
      for (uint64_t block = extent.start.value / store_.block_bytes(); block < end; ++block) {
        const uint64_t at = block * store_.block_bytes();
        if (std::memcmp(&bytes[at], image_.Block(block).data(), store_.block_bytes()) != 0) {
          SetFrom(block, bytes);
        }
      }
    }
  }
  ConsistencyVerdict Check() { return checker_.Check(image_.changes()); }
  ConsistencyVerdict CheckFresh() { return ConsistencyChecker(image_).Check({}); }

 private:
  void SetFrom(uint64_t block, std::span<const uint8_t> bytes) {
    image_.SetCopy(block, bytes.subspan(block * store_.block_bytes(), store_.block_bytes()));
  }
  std::span<const uint8_t> base_;
  image::ContentStore store_;
  image::CowImage image_;
  ConsistencyChecker checker_;
};

std::vector<std::string> Recordings() {
  const std::string folder = os::GetEnv("PLUGPULL_CONSISTENCY_RECORDING", "");
  if (!folder.empty()) return {folder};
  return {GoldenRecording("ordered"), GoldenRecording("writeback_nobarrier")};
}

class ConsistencyRecorded : public ::testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    if (GetParam() >= Recordings().size()) GTEST_SKIP() << "one recording was asked for";
    recorded_.emplace(Recordings()[GetParam()]);
    ASSERT_TRUE(recorded_->ok());
    auto work =
        oracle::WorkImage::Make(recorded_->source->base(), recorded_->source->base_extents());
    ASSERT_TRUE(work.ok());
    work_.emplace(*std::move(work));
    auto fsck = oracle::Fsck::Find();
    ASSERT_TRUE(fsck.ok());
    fsck_.emplace(*std::move(fsck));
    follower_.emplace(recorded_->source->base(), 1024);
    cursor_.emplace(recorded_->space());
  }

  void Judge(size_t cut, const std::vector<size_t>& lost) {
    cursor_->MoveTo(cut, lost, false);
    work_->Load(cursor_->image());
    const auto recovery = fsck_->Recover(*work_, recorded_->source->journal());
    ASSERT_TRUE(work_->Scan(recorded_->source->journal()).ok());
    if (recovery.outcome != oracle::Outcome::kHolds) return;
    follower_->Follow(work_->bytes(), work_->fd());
    const auto begun = Clock::now();
    const ConsistencyVerdict verdict = follower_->Check();
    incremental_us_.push_back(Micros(begun));
    if (incremental_us_.size() % 7 == 1) {
      const auto fresh_begun = Clock::now();
      const ConsistencyVerdict fresh = follower_->CheckFresh();
      first_us_.push_back(Micros(fresh_begun));
      EXPECT_EQ(fresh.outcome, verdict.outcome) << fresh.reason << "\n" << verdict.reason;
    }
    const bool holds = fsck_->Check(*work_).outcome == oracle::Outcome::kHolds;
    ++table_[static_cast<size_t>(verdict.outcome)][holds ? 0 : 1];
    if (verdict.outcome == ConsistencyVerdict::Outcome::kClean) {
      EXPECT_TRUE(holds) << "cut " << cut << ", " << lost.size() << " lost";
    } else if (holds) {
      fmt::print("cut {}, {} lost: e2fsck holds, but: {}\n", cut, lost.size(), verdict.reason);
    }
  }

  static double Median(std::vector<double> values) {
    if (values.empty()) return 0;
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
  }
  void Print() const {
    double sum = 0;
    for (const double us : incremental_us_) sum += us;
    fmt::print(
        "{} states: clean/holds {}, clean/violated {}, suspect/holds {}, "
        "suspect/violated {}, unjudged/holds {}, unjudged/violated {}; incremental {:.1f} us "
        "(median {:.1f}), first {:.0f} us\n",
        incremental_us_.size(), table_[0][0], table_[0][1], table_[1][0], table_[1][1],
        table_[2][0], table_[2][1], sum / static_cast<double>(incremental_us_.size()),
        Median(incremental_us_), Median(first_us_));
  }

  std::optional<Recorded> recorded_;
  std::optional<oracle::WorkImage> work_;
  std::optional<oracle::Fsck> fsck_;
  std::optional<Follower> follower_;
  std::optional<crashstate::StateCursor> cursor_;
  std::array<std::array<uint64_t, 2>, 3> table_{};  // by outcome; e2fsck holds, or not
  std::vector<double> incremental_us_;
  std::vector<double> first_us_;
};

TEST_P(ConsistencyRecorded, AgreesWithE2fsck) {
  const uint64_t states = std::stoull(os::GetEnv("PLUGPULL_CONSISTENCY_STATES", "60"));
  const auto& space = recorded_->space();
  const size_t cuts = space.last_cut() - space.first_cut() + 1;
  for (size_t i = 0; i < std::min<uint64_t>(states, cuts) && !HasFatalFailure(); ++i) {
    Judge(space.first_cut() + (cuts <= states ? i : i * cuts / states), {});
  }
  Print();
  // Every clean state costs e2fsck when it is not seen to be clean.
  EXPECT_EQ(table_[1][0] + table_[2][0], 0U);
  table_ = {};
  incremental_us_.clear();
  first_us_.clear();
  Prng prng(3);
  for (uint64_t i = 0; i < states && !HasFatalFailure(); ++i) {
    const size_t cut = space.first_cut() + prng.Below(cuts);
    std::vector<size_t> volatile_events;
    space.VolatileEvents(cut, volatile_events);
    const auto permille = static_cast<uint32_t>(prng.Below(1000));
    std::erase_if(volatile_events, [&](size_t) { return !prng.Chance(permille); });
    Judge(cut, volatile_events);
  }
  Print();
  EXPECT_LE((table_[1][0] + table_[2][0]) * 20, states);
}

INSTANTIATE_TEST_SUITE_P(All, ConsistencyRecorded, ::testing::Values(0, 1));

}  // namespace
}  // namespace plugpull::run
