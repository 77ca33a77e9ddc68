// SPDX-License-Identifier: Apache-2.0
// Recovery in this process against e2fsck, block by block, on crash states of real recordings: the
// kept ones, and the folders that PLUGPULL_TEST_RECORDINGS names (with ':' between them). How many
// states of each: PLUGPULL_TEST_STATES.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <set>

#include "framework/base/prng.h"
#include "framework/ext4/journal_recovery.h"
#include "framework/ext4/superblock.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/work_image.h"
#include "framework/os/file.h"
#include "recorded.h"

namespace plugpull::run {
namespace {

using ext4::JournalRecovery;
using Recovered = ext4::RecoveryReport::Outcome;

constexpr size_t kStates = 150;  // in CI

std::vector<std::string> Folders() {
  std::vector<std::string> folders = {GoldenRecording("ordered"),
                                      GoldenRecording("writeback_nobarrier")};
  std::string more = os::GetEnv("PLUGPULL_TEST_RECORDINGS", "");
  while (!more.empty()) {
    const size_t stop = std::min(more.find(':'), more.size());
    folders.push_back(more.substr(0, stop));
    more.erase(0, stop + 1);
  }
  return folders;
}

size_t StatesWanted() {
  const std::string wanted = os::GetEnv("PLUGPULL_TEST_STATES", "");
  return wanted.empty() ? kStates : std::strtoul(wanted.c_str(), nullptr, 10);
}

// A raw image that is moved from state to state.
class RawStates {
 public:
  explicit RawStates(const Recorded& recorded)
      : recorded_(recorded),
        builder_(recorded.space()),
        store_(recorded.source->journal().block_bytes),
        raw_(recorded.source->base(), store_),
        now_(recorded.space().table().base_state()) {}

  // Gives the state in the table's terms; the blocks that it changed are changed().
  const image::ImageState& Move(const crashstate::StateSpec& spec) {
    return Move(builder_.Build(spec.cut, recorded_.LostOf(spec), spec.overlapping_older));
  }
  const image::ImageState& MoveToCut(size_t cut) { return Move(builder_.Build(cut, {}, false)); }

  const image::CowImage& raw() const { return raw_; }
  const std::vector<uint64_t>& changed() const { return changed_; }

 private:
  const image::ImageState& Move(const image::ImageState& next) {
    const auto& table = recorded_.space().table();
    std::map<uint64_t, std::vector<uint8_t>> blocks;
    const uint64_t size = store_.block_bytes();
    for (size_t rank = 0; rank < next.size(); ++rank) {
      if (next[rank] == now_[rank]) continue;
      const auto bytes = table.Content(next[rank]);
      const uint64_t at = table.blocks()[rank] * table.block_bytes();
      for (size_t done = 0; done < bytes.size();) {
        const uint64_t block = (at + done) / size;
        auto& whole = blocks[block];
        if (whole.empty()) whole.assign(raw_.Block(block).begin(), raw_.Block(block).end());
        const size_t within = (at + done) % size;
        const size_t length = std::min<size_t>(bytes.size() - done, size - within);
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(done), length,
                    whole.begin() + static_cast<std::ptrdiff_t>(within));
        done += length;
      }
    }
    changed_.clear();
    for (const auto& [block, bytes] : blocks) {
      raw_.SetCopy(block, bytes);
      changed_.push_back(block);
    }
    now_ = next;
    return now_;
  }

  const Recorded& recorded_;
  crashstate::StateBuilder builder_;
  image::ContentStore store_;
  image::CowImage raw_;
  image::ImageState now_;
  std::vector<uint64_t> changed_;
};

// A block of the superblock without what counts for nothing, in either image.
std::vector<uint8_t> WithoutCounters(std::span<const uint8_t> block, uint64_t at) {
  std::vector<uint8_t> bytes(block.begin(), block.end());
  const auto super = ext4::ParseSuperblockBytes(
      std::span(bytes).subspan(ext4::kSuperblockAt - at, ext4::kSuperblockBytes));
  if (!super.ok()) return bytes;
  EXPECT_TRUE(super->checksum_valid);
  for (const auto& range : ext4::CounterRanges(*super)) {
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(range.start - at),
              bytes.begin() + static_cast<std::ptrdiff_t>(range.end - at), 0);
  }
  return bytes;
}

// Blocks in which the two images differ, counters apart.
std::vector<uint64_t> Differing(oracle::WorkImage& work, const image::CowImage& recovered) {
  const auto bytes = work.bytes();
  auto extents = *os::DataExtents(work.fd(), Bytes(bytes.size()));
  std::set<uint64_t> look;
  const uint64_t size = recovered.block_bytes();
  recovered.ForEachDifference([&](uint64_t block, const image::Content&) { look.insert(block); });
  for (const auto& extent : extents) {
    for (uint64_t block = extent.start.value / size; block * size < extent.end.value; ++block) {
      const uint64_t length = std::min<uint64_t>(size, bytes.size() - block * size);
      const auto expected = bytes.subspan(block * size, length);
      if (std::memcmp(expected.data(), recovered.Block(block).data(), length) != 0) {
        look.insert(block);
      }
    }
  }
  std::vector<uint64_t> differing;
  for (const uint64_t block : look) {
    const uint64_t length = std::min<uint64_t>(size, bytes.size() - block * size);
    const auto expected = bytes.subspan(block * size, length);
    const auto actual = recovered.Block(block).first(length);
    if (std::ranges::equal(expected, actual)) continue;
    const uint64_t at = block * size;
    if (block == ext4::kSuperblockAt / size &&
        WithoutCounters(expected, at) == WithoutCounters(actual, at)) {
      continue;
    }
    differing.push_back(block);
  }
  return differing;
}

class RecoveredStates : public testing::TestWithParam<std::string> {
 protected:
  const ext4::JournalLayout& journal() const { return recorded_.source->journal(); }

  Recorded recorded_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Recorded, RecoveredStates, testing::ValuesIn(Folders()));

TEST_P(RecoveredStates, AreWhatE2fsckMakesOfThem) {
  auto fsck = *oracle::Fsck::Find();
  auto work = *oracle::WorkImage::Make(recorded_.space().table(), recorded_.source->base_extents());
  RawStates states(recorded_);
  JournalRecovery recovery(states.raw(), journal());
  Prng prng(5);
  std::map<Recovered, size_t> outcomes;
  size_t disagreements = 0;
  const size_t all = recorded_.states.size();
  const size_t wanted = std::min(StatesWanted(), all);
  for (size_t i = 0; i < wanted && disagreements < 10; ++i) {
    const auto& spec = recorded_.states[wanted == all ? i : prng.Below(all)];
    ASSERT_TRUE(work.Load(states.Move(spec)).ok());
    const auto report = recovery.Update(states.changed());
    ++outcomes[report.outcome];
    if (report.outcome == Recovered::kElsewhere) continue;
    const auto expected = fsck.Recover(work, journal());
    ASSERT_NE(expected.outcome, oracle::Outcome::kUnknown) << expected.evidence;
    const bool refused = report.outcome == Recovered::kRefused;
    const auto differing =
        refused ? std::vector<uint64_t>() : Differing(work, recovery.recovered());
    if (refused != (expected.outcome == oracle::Outcome::kViolated) || !differing.empty()) {
      ++disagreements;
      ADD_FAILURE() << recorded_.IdOf(spec) << ": " << static_cast<int>(report.outcome) << " "
                    << report.reason << "; e2fsck: " << expected.evidence << "; blocks "
                    << testing::PrintToString(differing);
    }
    ASSERT_TRUE(work.Scan(journal()).ok());
  }
  RecordProperty("states", static_cast<int>(wanted));
  RecordProperty("disagreements", static_cast<int>(disagreements));
  for (const auto& [outcome, count] : outcomes) {
    std::printf("outcome %d: %zu of %zu states\n", static_cast<int>(outcome), count, wanted);
  }
  EXPECT_GT(outcomes[Recovered::kRecovered], wanted / 3);
  // Recovery that leaves everything to e2fsck would agree with it, too.
  EXPECT_LT(outcomes[Recovered::kElsewhere], wanted / 20 + 1);
}

TEST_P(RecoveredStates, DoNotDependOnTheWayToThem) {
  RawStates states(recorded_);
  JournalRecovery recovery(states.raw(), journal());
  Prng prng(6);
  size_t at = 0;
  for (size_t i = 0; i < std::min<size_t>(StatesWanted() / 2, recorded_.states.size()); ++i) {
    // Mostly a small step, sometimes a leap.
    at = prng.Chance(700) ? at + 1 + prng.Below(3) : prng.Below(recorded_.states.size());
    at %= recorded_.states.size();
    states.Move(recorded_.states[at]);
    const auto report = recovery.Update(states.changed());
    JournalRecovery fresh(states.raw(), journal());
    const auto expected = fresh.Update({});
    SCOPED_TRACE(recorded_.IdOf(recorded_.states[at]));
    ASSERT_EQ(report.outcome, expected.outcome);
    ASSERT_EQ(report.reason, expected.reason);
    ASSERT_EQ(report.transactions, expected.transactions);
    ASSERT_EQ(report.blocks_replayed, expected.blocks_replayed);
    ASSERT_EQ(report.revoked, expected.revoked);
    ASSERT_EQ(report.orphans, expected.orphans);
    ASSERT_EQ(recovery.fingerprint(), fresh.fingerprint());
    std::map<uint64_t, const image::Content*> blocks[2];
    recovery.recovered().ForEachDifference(
        [&](uint64_t block, const image::Content& content) { blocks[0][block] = &content; });
    fresh.recovered().ForEachDifference(
        [&](uint64_t block, const image::Content& content) { blocks[1][block] = &content; });
    ASSERT_EQ(blocks[0], blocks[1]);
  }
}

// A bound far above what a step costs, and far below what e2fsck does.
TEST_P(RecoveredStates, AStepTakesMicroseconds) {
  RawStates states(recorded_);
  JournalRecovery recovery(states.raw(), journal());
  std::vector<double> steps;
  for (size_t cut = recorded_.space().first_cut(); cut <= recorded_.space().last_cut(); ++cut) {
    states.MoveToCut(cut);
    const auto start = std::chrono::steady_clock::now();
    recovery.Update(states.changed());
    const auto fingerprint = recovery.fingerprint();
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(fingerprint, recovery.fingerprint());
    recovery.recovered().ClearChanges();
    steps.push_back(took.count());
  }
  const double sum = std::accumulate(steps.begin(), steps.end(), 0.0);
  std::sort(steps.begin(), steps.end());
  std::printf("%zu write prefixes: mean %.1f us, median %.1f us, 99 %% %.1f us, most %.1f us\n",
              steps.size(), sum / static_cast<double>(steps.size()), steps[steps.size() / 2],
              steps[steps.size() * 99 / 100], steps.back());
  EXPECT_LT(steps[steps.size() / 2], 1000.0);
}

}  // namespace
}  // namespace plugpull::run
