// SPDX-License-Identifier: Apache-2.0
// Recovery in this process against e2fsck, block by block, on crash states of real recordings: the
// kept ones, and the folders that PLUGPULL_TEST_RECORDINGS names (with ':' between them). How many
// states of each: PLUGPULL_TEST_STATES.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "framework/base/prng.h"
#include "framework/crashstate/state_cursor.h"
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

size_t StatesWanted() {
  const std::string wanted = os::GetEnv("PLUGPULL_TEST_STATES", "");
  return wanted.empty() ? kStates : std::strtoul(wanted.c_str(), nullptr, 10);
}

// A raw image that is moved from state to state.
class RawStates {
 public:
  explicit RawStates(const DiskSource& source) : cursor_(source.space()) {}

  const image::CowImage& Move(size_t cut, const std::vector<size_t>& lost = {},
                              bool overlapping_older = false) {
    cursor_.image().ClearChanges();
    cursor_.MoveTo(cut, lost, overlapping_older);
    return cursor_.image();
  }

  const image::CowImage& raw() const { return cursor_.image(); }
  const std::vector<uint64_t>& changed() const { return cursor_.image().changes(); }

 private:
  crashstate::StateCursor cursor_;
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

  // Recovers the loaded state with e2fsck, too, and says where the two differ.
  bool Disagrees(const ext4::RecoveryReport& report, const JournalRecovery& recovery,
                 oracle::WorkImage& work, const std::string& state) {
    if (report.outcome == Recovered::kElsewhere) return false;
    const auto expected = fsck_.Recover(work, journal());
    const bool refused = report.outcome == Recovered::kRefused;
    const auto differing =
        refused ? std::vector<uint64_t>() : Differing(work, recovery.recovered());
    const bool wrong = expected.outcome == oracle::Outcome::kUnknown ||
                       refused != (expected.outcome == oracle::Outcome::kViolated) ||
                       !differing.empty();
    if (wrong) {
      ADD_FAILURE() << state << ": outcome " << static_cast<int>(report.outcome) << " "
                    << report.reason << "; e2fsck: " << expected.evidence << "; blocks "
                    << testing::PrintToString(differing);
    }
    const auto scanned = work.Scan(journal());
    EXPECT_TRUE(scanned.ok());
    if (!refused && scanned.ok()) {
      EXPECT_EQ(recovery.fingerprint(), *scanned) << state;
      distinct_.insert(*scanned);
    }
    return wrong;
  }

  Recorded recorded_{GetParam()};
  oracle::Fsck fsck_ = *oracle::Fsck::Find();
  std::set<image::Fingerprint> distinct_;  // recovered images
};
INSTANTIATE_TEST_SUITE_P(Recorded, RecoveredStates, testing::ValuesIn(RecordingsToTest()));

TEST_P(RecoveredStates, AreWhatE2fsckMakesOfThem) {
  auto work = *oracle::WorkImage::Make(recorded_.source->base(), recorded_.source->base_extents());
  RawStates states(*recorded_.source);
  JournalRecovery recovery(states.raw(), journal());
  Prng prng(5);
  std::map<Recovered, size_t> outcomes;
  size_t disagreements = 0;
  const size_t all = recorded_.states.size();
  const size_t wanted = std::min(StatesWanted(), all);
  for (size_t i = 0; i < wanted && disagreements < 10; ++i) {
    const auto& spec = recorded_.states[wanted == all ? i : prng.Below(all)];
    work.Load(states.Move(spec.cut, recorded_.LostOf(spec), spec.overlapping_older));
    const auto report = recovery.Update(states.changed());
    ++outcomes[report.outcome];
    disagreements += Disagrees(report, recovery, work, recorded_.IdOf(spec)) ? 1 : 0;
  }
  RecordProperty("states", static_cast<int>(wanted));
  RecordProperty("disagreements", static_cast<int>(disagreements));
  for (const auto& [outcome, count] : outcomes) {
    std::printf("outcome %d: %zu of %zu states\n", static_cast<int>(outcome), count, wanted);
  }
  EXPECT_GT(outcomes[Recovered::kRecovered], wanted / 3);
  EXPECT_GT(distinct_.size(), 20U);
  // Recovery that leaves everything to e2fsck would agree with it, too.
  EXPECT_LT(outcomes[Recovered::kElsewhere], wanted / 20 + 1);
}

// The file system is made in the log: the base has none, and the first states have half of one.
TEST_P(RecoveredStates, FromMkfsOnAreWhatE2fsckMakesOfThem) {
  auto model = ModelOf(recorded_.check.model());
  model.from_mkfs = true;
  const auto source = *DiskSource::FromRecording(*recorded_.reader, recorded_.check.disk(), model);
  auto work = *oracle::WorkImage::Make(source->base(), source->base_extents());
  RawStates states(*source);
  JournalRecovery recovery(states.raw(), source->journal());
  Prng prng(7);
  std::map<Recovered, size_t> outcomes;
  const size_t first = source->space().first_cut();
  const size_t cuts = source->space().last_cut() - first + 1;
  size_t disagreements = 0;
  for (size_t i = 0; i < StatesWanted() / 2 && disagreements < 10; ++i) {
    const size_t cut = first + prng.Below(cuts);
    std::vector<size_t> lost;
    source->space().VolatileEvents(cut, lost);
    std::erase_if(lost, [&](size_t) { return !prng.Chance(100); });
    work.Load(states.Move(cut, lost));
    const auto report = recovery.Update(states.changed());
    ++outcomes[report.outcome];
    disagreements += Disagrees(report, recovery, work, "cut " + std::to_string(cut)) ? 1 : 0;
  }
  for (const auto& [outcome, count] : outcomes) {
    std::printf("from mkfs on: outcome %d: %zu states\n", static_cast<int>(outcome), count);
  }
  EXPECT_GT(outcomes[Recovered::kRecovered], 0U);
}

TEST_P(RecoveredStates, DoNotDependOnTheWayToThem) {
  RawStates states(*recorded_.source);
  JournalRecovery recovery(states.raw(), journal());
  Prng prng(6);
  size_t at = 0;
  for (size_t i = 0; i < std::min<size_t>(StatesWanted() / 2, recorded_.states.size()); ++i) {
    // Mostly a small step, sometimes a leap.
    at = prng.Chance(700) ? at + 1 + prng.Below(3) : prng.Below(recorded_.states.size());
    at %= recorded_.states.size();
    const auto& spec = recorded_.states[at];
    states.Move(spec.cut, recorded_.LostOf(spec), spec.overlapping_older);
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

}  // namespace
}  // namespace plugpull::run
