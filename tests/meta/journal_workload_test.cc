// SPDX-License-Identifier: Apache-2.0
// The logs that the benchmark makes are real ext4 and jbd2 activity to e2fsck: what a power cut
// leaves behind any write recovers, without a word about the journal, to a file system that it has
// nothing to say against. A log that breaks the rules does not pass.
#include "tests/bench/journal_workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "framework/base/prng.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/log_writer.h"
#include "framework/run/disk_source.h"
#include "tests/bench/classic.h"
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
