// SPDX-License-Identifier: Apache-2.0
// The logs that the benchmark makes are real ext4 and jbd2 activity to e2fsck: what a power cut
// leaves behind any write recovers, without a word about the journal, to a file system that it has
// nothing to say against. A log that breaks the rules does not pass.
#include "tests/bench/journal_workload.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>

#include "framework/base/prng.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/log_writer.h"
#include "framework/run/disk_source.h"
#include "framework/run/state_engine.h"
#include "tests/bench/classic.h"
#include "tests/bench/engine.h"
#include "tests/bench/ext4_files.h"
#include "tests/support/program.h"

namespace plugpull::bench {
namespace {

class JournalWorkload : public testing::Test {
 protected:
  JournalActivity Make(const WorkloadShape& shape) {
    const auto made = MakeJournalWorkload(shape, folder_ / "base", folder_ / "log");
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    return made.ok() ? *made : JournalActivity();
  }
  std::unique_ptr<run::DiskSource> Open() {
    auto source = run::DiskSource::FromLogFile({folder_ / "log", folder_ / "base", false, {}});
    EXPECT_TRUE(source.ok()) << source.error().ToString();
    return source.ok() ? std::move(*source) : nullptr;
  }
  // What e2fsck says of `wanted` cuts spread over the log, and of the last one.
  static std::string Verdicts(const run::DiskSource& source, size_t wanted) {
    const size_t events = source.history().events.size();
    std::vector<size_t> cuts;
    Prng prng(5);
    for (size_t i = 0; i < wanted; ++i) {
      const size_t first = events * i / wanted;
      cuts.push_back(first + prng.Below(events * (i + 1) / wanted - first));
    }
    cuts.push_back(events);
    const auto measured = RunClassic(source, cuts);
    EXPECT_TRUE(measured.ok()) << measured.error().ToString();
    return measured.ok() ? measured->verdicts : "";
  }
  std::string Log() { return *os::ReadFile(folder_ / "log", Mebibytes(1024)); }

  TestFolder folder_{"journal-workload"};
};

TEST_F(JournalWorkload, EveryPrefixRecovers) {
  for (const uint32_t block_bytes : {1024U, 4096U}) {
    SCOPED_TRACE(block_bytes);
    const JournalActivity made =
        Make({.writes = 9000, .disk_mib = 32, .block_bytes = block_bytes, .journal_mib = 4});
    EXPECT_GE(made.writes, 9000U);
    EXPECT_GT(made.wraps, 0U);
    EXPECT_GT(made.checkpoints, 1U);
    EXPECT_GT(made.home_writes, 100U);
    EXPECT_GT(made.revokes, 50U);
    EXPECT_GT(made.escapes, 10U);
    const auto source = Open();
    ASSERT_NE(source, nullptr);
    EXPECT_EQ(Verdicts(*source, 60), std::string(61, 'h'));
  }
}

// All of a log that is long enough for full folders to grow while folders are made in them.
TEST_F(JournalWorkload, EveryPrefixOfALongLogHolds) {
  Make({.writes = 19'000, .disk_mib = 128, .block_bytes = 1024});
  const auto source = Open();
  ASSERT_NE(source, nullptr);
  const auto& history = source->history();
  std::vector<size_t> cuts;
  for (size_t i = history.base; i < history.events.size(); ++i) {
    if (history.events[i].ChangesBlocks()) cuts.push_back(i + 1);
  }
  ASSERT_GE(cuts.size(), 19'000U);
  const auto measured = RunEngine(*source, cuts, true);
  ASSERT_TRUE(measured.ok()) << measured.error().ToString();
  EXPECT_EQ(measured->verdicts.find_first_not_of('h'), std::string::npos);
}

// Recovery follows a log whose tail moves on and that wraps; around each forced write (a commit, or
// the tail) it comes to what recovery of the state by itself comes to.
TEST_F(JournalWorkload, RecoveryDoesNotDependOnTheStatesBefore) {
  Make({.writes = 6000, .disk_mib = 16, .block_bytes = 1024});
  const auto source = Open();
  ASSERT_NE(source, nullptr);
  auto fsck = oracle::Fsck::Find();
  ASSERT_TRUE(fsck.ok()) << fsck.error().ToString();
  const auto make = [&] {
    return std::make_unique<run::StateEngine>(source->space(), source->journal(),
                                              source->base_extents(), *fsck, run::EngineOptions(),
                                              nullptr);
  };
  const auto& history = source->history();
  const uint64_t tail = source->journal().blocks[0] * 1024;
  const auto walking = make();
  size_t tails = 0;
  size_t compared = 0;
  crashstate::StateSpec spec;
  for (spec.cut = history.base; spec.cut < history.events.size(); ++spec.cut) {
    const auto walked = walking->MoveTo(spec);
    ASSERT_TRUE(walked.ok()) << walked.error().ToString();
    const size_t last = std::max<size_t>(spec.cut, 1) - 1;
    const blocklog::Event& event = history.events[last];
    const bool moved = event.fua && event.offset.value == tail;
    tails += moved ? 1 : 0;
    if (!moved && spec.cut % 101 != 0) continue;
    ++compared;
    const auto alone = make()->MoveTo(spec);
    ASSERT_TRUE(alone.ok()) << alone.error().ToString();
    EXPECT_EQ(walked->said.outcome, alone->said.outcome) << "cut " << spec.cut;
    EXPECT_TRUE(walked->fingerprint == alone->fingerprint) << "cut " << spec.cut;
  }
  EXPECT_GT(tails, 3U);
  EXPECT_GT(compared, 50U);
}

// What transactions say they write is all that changes, but for blocks that are free.
TEST_F(JournalWorkload, AFullFolderThatGrowsIsJournaled) {
  Make({.writes = 1, .disk_mib = 16, .block_bytes = 1024});
  auto disk = MemoryDisk::Open(folder_ / "base", 1024);
  ASSERT_TRUE(disk.ok()) << disk.error().ToString();
  auto files = Ext4Files::Open(*disk, 1);
  ASSERT_TRUE(files.ok()) << files.error().ToString();
  const auto blocks = static_cast<uint64_t>(disk->bytes().size() / 1024);
  std::vector<uint8_t> written(disk->bytes().begin(), disk->bytes().end());
  constexpr uint32_t kRoot = 2;
  for (int i = 0; i < 40; ++i) {
    SCOPED_TRACE(i);
    const auto made = files->MakeFolder(kRoot, fmt::format("{:0200}", i));  // five fill a block
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    for (const uint64_t block : files->TakeTransaction().metadata) {
      std::copy_n(disk->Block(block).begin(), 1024,
                  written.begin() + static_cast<ptrdiff_t>(block * 1024));
    }
    for (uint64_t block = 2; block < blocks; ++block) {
      ASSERT_EQ(std::memcmp(disk->Block(block).data(), written.data() + block * 1024, 1024), 0)
          << "block " << block;
    }
  }
}

TEST_F(JournalWorkload, TheSameShapeGivesTheSameBytes) {
  const WorkloadShape shape{.writes = 300, .disk_mib = 32, .block_bytes = 1024};
  Make(shape);
  const std::string first = Log();
  Make(shape);
  EXPECT_TRUE(Log() == first);
  Make({.writes = 300, .disk_mib = 32, .block_bytes = 1024, .seed = 2});
  EXPECT_FALSE(Log() == first);
}

// The healthy log again, but home writes of every checkpoint never arrive, as when the tail of the
// journal moves too early: e2fsck must find that.
TEST_F(JournalWorkload, ALogWithoutItsCheckpointWritesDoesNotPass) {
  Make({.writes = 9000, .disk_mib = 32, .block_bytes = 1024, .journal_mib = 4});
  const auto healthy = Open();
  ASSERT_NE(healthy, nullptr);
  const auto& journal = healthy->journal().blocks;
  const std::set<uint64_t> of_journal(journal.begin(), journal.end());
  blocklog::LogWriter broken;
  for (const blocklog::Event& event : healthy->history().events) {
    if (event.kind == blocklog::Event::Kind::kFlush) broken.Flush();
    if (event.kind != blocklog::Event::Kind::kWrite) continue;
    // A checkpoint's writes are of one block outside the journal; so are some of data.
    const bool home =
        event.length.value == 1024 && !event.fua && !of_journal.contains(event.offset.value / 1024);
    if (!home) broken.Write(event.offset, event.data, event.fua ? blocklog::kFlagFua : 0);
  }
  const auto& bytes = broken.bytes();
  WriteText(folder_ / "log", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const auto source = Open();
  ASSERT_NE(source, nullptr);
  EXPECT_THAT(Verdicts(*source, 20), testing::HasSubstr("i"));
}

}  // namespace
}  // namespace plugpull::bench
