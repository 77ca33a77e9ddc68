// SPDX-License-Identifier: Apache-2.0
// SAME_RECOVERY on recoveries that are made by hand from a state of a golden recording: an honest
// one holds however it is cut, and each of those that do one thing wrong is caught. And the real
// e2fsck, from the choice of states to the report.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "framework/ext4/journal_recovery.h"
#include "framework/oracle/recovered_tree.h"
#include "framework/recording/recording.h"
#include "framework/run/check.h"
#include "framework/run/disk_check.h"
#include "framework/run/guest_session.h"
#include "framework/run/materialize.h"
#include "framework/run/nested_cuts.h"
#include "framework/run/recovery_log.h"
#include "framework/run/state_judge.h"
#include "framework/run/workdir.h"
#include "recorded.h"
#include "tests/support/program.h"

namespace plugpull::run {
namespace {

using oracle::Outcome;
using ::testing::HasSubstr;

constexpr uint64_t kSuperBlock = 1;  // of the golden recordings, whose blocks have 1 KiB

// What recovery of one state has to write, block by block.
class Replay {
 public:
  explicit Replay(const Recorded& recorded)
      : source_(*recorded.source), images_(source_), cursor_(source_.space()) {
    ext4::JournalRecovery recovery(cursor_.image(), source_.journal());
    // From the last on: by then there are files.
    for (auto it = recorded.states.rbegin(); it != recorded.states.rend(); ++it) {
      const crashstate::StateSpec& spec = *it;
      cursor_.MoveToSelection(spec.cut, spec.selection, spec.overlapping_older);
      const auto report = recovery.Update(cursor_.image().changes());
      cursor_.image().ClearChanges();
      using Outcome = ext4::RecoveryReport::Outcome;
      if (report.outcome != Outcome::kRecovered || report.blocks_replayed < 8) continue;
      images_.MoveTo(spec);
      spec_ = spec;
      Remember(recovery.recovered());
      return;
    }
    ADD_FAILURE() << "no state replays so much";
  }

  const crashstate::StateSpec& spec() const { return spec_; }
  // Blocks that the journal writes home; the journal's and the file system's superblocks.
  const std::map<uint64_t, std::vector<uint8_t>>& homes() const { return homes_; }
  void WriteHomes(blocklog::LogWriter& log) const {
    for (const auto& [block, bytes] : homes_) Write(log, block, bytes);
  }
  void WriteSupers(blocklog::LogWriter& log) const {
    Write(log, source_.journal().blocks[0], journal_super_);
    Write(log, kSuperBlock, super_);
  }
  static void Write(blocklog::LogWriter& log, uint64_t block, std::span<const uint8_t> bytes) {
    log.Write(Bytes(block * bytes.size()), bytes);
  }

  // A block with the contents of a file, as the recovered image has it.
  std::optional<uint64_t> BlockOfAFile() const {
    const auto block_bytes = source_.journal().block_bytes;
    std::vector<uint8_t> image(source_.base().begin(), source_.base().end());
    const auto place = [&](uint64_t block, std::span<const uint8_t> bytes) {
      std::copy(bytes.begin(), bytes.end(),
                image.begin() + static_cast<ptrdiff_t>(block * block_bytes));
    };
    images_.image().ForEachDifference(
        [&](uint64_t block, const image::Content&) { place(block, images_.image().Block(block)); });
    for (const auto& [block, bytes] : homes_) place(block, bytes);
    place(source_.journal().blocks[0], journal_super_);
    place(kSuperBlock, super_);
    auto fs = ext4::FileSystem::Open(std::span<const uint8_t>(image));
    if (!fs.ok()) return std::nullopt;
    const auto tree = [&] {
      oracle::RecoveredTree reader(*ext4::FileSystem::Open(std::span<const uint8_t>(image)));
      return tree::ReadTree(reader);
    }();
    for (const TreeEntry& entry : tree.entry()) {
      if (entry.kind() != TreeEntry::FILE || entry.size_bytes() < block_bytes) continue;
      const auto node = fs->Lookup(entry.path());
      std::vector<uint8_t> start(block_bytes);
      if (!node.ok() || !*node || !fs->Read((*node)->inode, 0, start).ok()) continue;
      for (uint64_t block = 0; block < image.size() / block_bytes; ++block) {
        const auto at = image.begin() + static_cast<ptrdiff_t>(block * block_bytes);
        const bool log = std::ranges::count(source_.journal().blocks, block) > 0;
        if (start[0] != 0 && !log && std::equal(start.begin(), start.end(), at)) return block;
      }
    }
    return std::nullopt;
  }

  // Writes a recording of a recovery that does what `recover` appends, and checks it.
  RunReport Check(const std::string& folder, Nested::Recovery by,
                  const std::function<void(blocklog::LogWriter&)>& recover) const {
    const Bytes device = source_.history().device_size;
    blocklog::LogWriter log;
    EXPECT_TRUE(AddState(images_, log).ok());
    AddMark(device, "base", "recovery", log);
    recover(log);
    AddMark(device, "end", "recovery", log);
    auto writer = recording::Writer::Start(folder);
    EXPECT_TRUE(writer.ok());
    EXPECT_TRUE(writer->AddCompressed("vol.log.zst", log.bytes()).ok());
    Recording manifest;
    manifest.mutable_recovery()->set_by(by);
    RecordedDisk& disk = *manifest.add_disk();
    disk.set_name("vol");
    disk.set_size_bytes(device.value);
    disk.set_strip_bytes(kStripBytes.value);
    disk.set_log_file("vol.log.zst");
    disk.set_log_bytes(log.bytes().size());
    plugpull::Check& check = *manifest.mutable_scenario()->add_check();
    check.set_disk("vol");
    check.add_enumerate()->mutable_prefix();
    check.add_enumerate()->mutable_lose_one();
    check.add_oracle(FSCK);
    check.add_oracle(SAME_RECOVERY);
    EXPECT_TRUE(writer->Finish(std::move(manifest)).ok());
    RunReport report = CheckRecording(folder, {});
    EXPECT_FALSE(report.has_error()) << report.error();
    return report;
  }

 private:
  void Remember(const image::CowImage& recovered) {
    const image::CowImage& raw = images_.image();
    std::set<uint64_t> blocks;
    const auto note = [&](uint64_t block, const image::Content&) { blocks.insert(block); };
    raw.ForEachDifference(note);
    recovered.ForEachDifference(note);
    for (const uint64_t block : blocks) {
      const auto before = raw.Block(block);
      const auto after = recovered.Block(block);
      if (std::equal(before.begin(), before.end(), after.begin())) continue;
      std::vector<uint8_t> bytes(after.begin(), after.end());
      if (block == source_.journal().blocks[0]) {
        journal_super_ = std::move(bytes);
      } else if (block == kSuperBlock) {
        super_ = std::move(bytes);
      } else {
        homes_[block] = std::move(bytes);
      }
    }
    EXPECT_FALSE(journal_super_.empty() || super_.empty() || homes_.empty());
  }

  const DiskSource& source_;
  StateImages images_;
  crashstate::StateCursor cursor_;
  crashstate::StateSpec spec_;
  std::map<uint64_t, std::vector<uint8_t>> homes_;
  std::vector<uint8_t> journal_super_;
  std::vector<uint8_t> super_;
};

const Finding* Differs(const RunReport& report) {
  for (const DiskReport& disk : report.disk()) {
    for (const Finding& finding : disk.finding()) {
      if (finding.class_() == RECOVERY_DIFFERS) return &finding;
    }
  }
  return nullptr;
}

class SameRecoveryTest : public ::testing::Test {
 protected:
  SameRecoveryTest() : recorded_(GoldenRecording("ordered")), replay_(recorded_) {}

  const Recorded recorded_;
  const Replay replay_;
  const TestFolder folder_{"same-recovery"};
};

TEST_F(SameRecoveryTest, AnHonestRecoveryHolds) {
  for (const auto by : {Nested::KERNEL, Nested::E2FSCK}) {
    const RunReport report = replay_.Check(folder_ / "r", by, [&](blocklog::LogWriter& log) {
      replay_.WriteHomes(log);
      log.Flush();
      replay_.WriteSupers(log);
      log.Flush();
    });
    ASSERT_EQ(report.disk_size(), 1);
    EXPECT_EQ(report.disk(0).finding_size(), 0) << report.ShortDebugString();
    EXPECT_GT(report.disk(0).states().holds(), 2 * replay_.homes().size());
    EXPECT_TRUE(report.as_expected());
  }
}

TEST_F(SameRecoveryTest, AJournalThatIsEmptiedTooEarlyIsCaught) {
  const RunReport report =
      replay_.Check(folder_ / "r", Nested::KERNEL, [&](blocklog::LogWriter& log) {
        replay_.WriteSupers(log);
        replay_.WriteHomes(log);
        log.Flush();
      });
  ASSERT_NE(Differs(report), nullptr) << report.ShortDebugString();
  EXPECT_EQ(Differs(report)->lost_writes(), 0U);  // a cut is enough
}

TEST_F(SameRecoveryTest, AMissingFlushIsCaughtByALostWrite) {
  const RunReport report =
      replay_.Check(folder_ / "r", Nested::KERNEL, [&](blocklog::LogWriter& log) {
        replay_.WriteHomes(log);
        replay_.WriteSupers(log);
        log.Flush();
      });
  const Finding* differs = Differs(report);
  ASSERT_NE(differs, nullptr) << report.ShortDebugString();
  EXPECT_EQ(differs->lost_writes(), 1U);
  EXPECT_EQ(report.disk(0).enumerator(0).found_size(), 0) << "prefix cuts alone do not show it";
  // It is judged again by its id, as `explain` and `minimize` do, and its image is written.
  const auto judge = StateJudge::Open(
      {.recording = folder_ / "r", .log = {}, .base = {}, .id = differs->example()});
  ASSERT_TRUE(judge.ok()) << judge.error().ToString();
  const auto verdicts = (*judge)->Run({(*judge)->state()});
  ASSERT_TRUE(verdicts.ok());
  EXPECT_EQ(verdicts->at(0).same_recovery, Outcome::kViolated);
  const auto written = WriteStateImage({.recording = folder_ / "r",
                                        .log = {},
                                        .base = {},
                                        .id = differs->example(),
                                        .image = folder_ / "broken.img"});
  EXPECT_TRUE(written.ok());
}

TEST_F(SameRecoveryTest, ABlockThatIsNotReplayedIsCaught) {
  const RunReport report =
      replay_.Check(folder_ / "r", Nested::E2FSCK, [&](blocklog::LogWriter& log) {
        for (const auto& [block, bytes] : replay_.homes()) {
          if (block != replay_.homes().rbegin()->first) Replay::Write(log, block, bytes);
        }
        log.Flush();
        replay_.WriteSupers(log);
        log.Flush();
      });
  EXPECT_NE(Differs(report), nullptr) << report.ShortDebugString();
}

TEST_F(SameRecoveryTest, AFileThatChangesBehindTheReplayIsCaught) {
  // Data that no metadata speaks of: e2fsck has nothing to say, and images need not be equal there.
  const std::optional<uint64_t> data = replay_.BlockOfAFile();
  ASSERT_TRUE(data);
  const std::vector<uint8_t> other(1024, 'X');
  const RunReport report =
      replay_.Check(folder_ / "r", Nested::KERNEL, [&](blocklog::LogWriter& log) {
        replay_.WriteHomes(log);
        log.Flush();
        replay_.WriteSupers(log);
        log.Flush();
        Replay::Write(log, *data, other);
        log.Flush();
      });
  ASSERT_NE(Differs(report), nullptr) << report.ShortDebugString();
  EXPECT_THAT(Differs(report)->evidence(), HasSubstr("the files are not those of one recovery"));
  EXPECT_EQ(report.disk(0).finding_size(), 1) << "e2fsck passes it";
}

TEST_F(SameRecoveryTest, WhatIsNoRecoveryIsNotJudged) {
  plugpull::Check check = recorded_.check;
  auto fsck = oracle::Fsck::Find();
  ASSERT_TRUE(fsck.ok());
  check.add_oracle(SAME_RECOVERY);
  const auto report = CheckDisk(*recorded_.source, check, nullptr, *fsck, {});
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().message, HasSubstr("is no recovery"));
}

TEST(ChooseForNestedCutsTest, TakesHeldStatesThatHaveWork) {
  const Recorded recorded(GoldenRecording("ordered"));
  ASSERT_TRUE(recorded.ok());
  std::vector<StateVerdict> verdicts(recorded.states.size());
  for (size_t i = 0; i < verdicts.size(); ++i) {
    verdicts[i].recovered = {i, i};
    if (i % 2 == 0) verdicts[i].structure = Outcome::kViolated;
  }
  const auto chosen = ChooseForNestedCuts(*recorded.source, recorded.states, verdicts, 7, 3);
  ASSERT_EQ(chosen.size(), 7U);
  for (const RecoveryWork& work : chosen) {
    EXPECT_EQ(work.state % 2, 1U);
    EXPECT_GT(work.blocks, 0U);
  }
  const auto again = ChooseForNestedCuts(*recorded.source, recorded.states, verdicts, 7, 3);
  for (size_t i = 0; i < chosen.size(); ++i) EXPECT_EQ(chosen[i].state, again[i].state);
}

// What nested cuts report of a recording all of whose states hold, each with an image of its own.
DiskReport CutRecoveries(const Recorded& recorded, const plugpull::Check& check, oracle::Fsck& fsck,
                         const std::string& folder) {
  std::vector<StateVerdict> verdicts(recorded.states.size());
  for (size_t i = 0; i < verdicts.size(); ++i) verdicts[i].recovered = {i, i};
  DiskReport report;
  NestedOptions options;
  options.recording = folder;
  options.manifest = &recorded.reader->manifest();
  RunNestedCuts(*recorded.source, check, fsck, options, recorded.states, verdicts, report);
  return report;
}

TEST(NestedCutsTest, E2fsckReplaysTwiceWhatItReplaysOnce) {
  const ScopedEnvironment programs("PLUGPULL_GUEST_DIR", std::string(PLUGPULL_BINARY_DIR) + "/bin");
  const Recorded recorded(GoldenRecording("ordered"));
  ASSERT_TRUE(recorded.ok());
  auto fsck = oracle::Fsck::Find();
  ASSERT_TRUE(fsck.ok());
  const TestFolder folder("nested-cuts");
  plugpull::Check check = recorded.check;
  check.mutable_nested()->add_by(Nested::E2FSCK);
  check.mutable_nested()->set_max_recoveries(3);
  check.mutable_nested()->set_max_states(150);
  const DiskReport report = CutRecoveries(recorded, check, *fsck, folder / "recording");
  EXPECT_EQ(report.finding_size(), 0) << report.ShortDebugString();
  ASSERT_EQ(report.note_size(), 2);
  EXPECT_THAT(report.note(1), HasSubstr("3 recoveries recorded, 0 not"));
  EXPECT_THAT(report.note(1), HasSubstr("0 differ, 0 unknown"));
  const auto recoveries = os::ListFolder(Workdir::RecoveriesFolder(folder / "recording"));
  ASSERT_TRUE(recoveries.ok());
  ASSERT_EQ(recoveries->size(), 3U);
  const auto reader =
      recording::Reader::Open(folder / "recoveries/" + recoveries->front() + "/recording");
  ASSERT_TRUE(reader.ok()) << reader.error().ToString();
  EXPECT_EQ(reader->manifest().recovery().parent(), "../../../recording");
  EXPECT_THAT(recoveries->front(), HasSubstr(reader->manifest().recovery().state()));
  EXPECT_THAT(reader->manifest().recovery().version(), HasSubstr("e2fsck"));
}

TEST(NestedCutsTest, WithoutTheRecorderItIsUnknown) {
  const ScopedEnvironment programs("PLUGPULL_GUEST_DIR", "/nonexistent");
  const Recorded recorded(GoldenRecording("ordered"));
  auto fsck = oracle::Fsck::Find();
  ASSERT_TRUE(recorded.ok() && fsck.ok());
  const TestFolder folder("nested-cuts");
  plugpull::Check check = recorded.check;
  check.mutable_nested()->add_by(Nested::E2FSCK);
  check.mutable_nested()->set_max_recoveries(2);
  const DiskReport report = CutRecoveries(recorded, check, *fsck, folder / "recording");
  ASSERT_EQ(report.finding_size(), 1);
  EXPECT_EQ(report.finding(0).kind(), Finding::UNKNOWN);
  EXPECT_EQ(report.finding(0).oracle(), SAME_RECOVERY);
  EXPECT_EQ(report.finding(0).count(), 2U);
  EXPECT_THAT(report.finding(0).evidence(), HasSubstr("could not be recorded"));
}

}  // namespace
}  // namespace plugpull::run
