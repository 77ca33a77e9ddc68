// SPDX-License-Identifier: Apache-2.0
// Faults happen exactly when and where they were asked for: read back from the recording, which is
// made by a guest that does not know what is expected of it. PLUGPULL_FAULT_RUNS: how often the
// same seed is run; every run must give the same fault at the same operation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
#include <optional>

#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/mark.h"
#include "framework/recording/recording.h"
#include "tests/support/program.h"

namespace plugpull {
namespace {

using ::testing::HasSubstr;

constexpr Millis kRunMax{300'000};
constexpr uint64_t kDiskBytes = 16 << 20;

constexpr char kScenario[] = R"(
name: "faults"
disk { name: "vol" size_mib: 16 layer { log_writes {} } layer { name: "top" linear {} } }
disk { name: "bare" size_mib: 8 }
guest { program: "dd" }
step { mkfs { disk: "vol" option: "-b 1024" option: "-J size=1" } }
step { mount { disk: "vol" at: "/data" } }
step { fault { disk: "vol" layer: "top" flakey { drop_writes: true } } when { after_operations: 30 } }
step { fault { disk: "vol" layer: "top" linear {} } when { after_operations: 60 } }
step { workload { at: "/data" seed: 7 files { count: 60 size_kib_max: 8 } } }
step { fault { disk: "vol" layer: "top" delay { read_ms: 1 } } }
step { device_fault { disk: "bare" io_error { op: READ nth: 2 } } }
step { command { argv: "/bin/sh" argv: "-c" argv: "for d in /sys/block/*/serial; do [ \"$(cat $d)\" = bare ] && n=$(basename $(dirname $d)); done; for i in 0 1 2; do dd if=/dev/$n of=/dev/null bs=4096 count=1 skip=$i iflag=direct && exit_of=${exit_of}0 || exit_of=${exit_of}1; done; [ $exit_of = 010 ]" } }
step { unmount { at: "/data" } }
)";

struct Seen {
  std::vector<std::string> faults;         // as recorded, without times
  std::vector<std::string> marks_between;  // the two faults
  uint64_t writes_between = 0;             // of the file system
  uint64_t writes_before = 0;
  uint64_t writes_behind = 0;
  bool operator==(const Seen&) const = default;
};

// What the recording says.
Seen Look(const std::string& folder) {
  Seen seen;
  const auto reader = recording::Reader::Open(folder);
  EXPECT_TRUE(reader.ok()) << reader.error().ToString();
  if (!reader.ok()) return seen;
  EXPECT_FALSE(reader->manifest().has_incomplete_reason())
      << reader->manifest().incomplete_reason();
  for (const RecordedFault& fault : reader->manifest().fault()) {
    std::string words = std::to_string(fault.step()) + " " + fault.what() + " after " +
                        std::to_string(fault.operations());
    for (const std::string& line : fault.table()) words += "; " + line.substr(0, line.find("253"));
    for (const std::string& error : fault.request_error()) words += "; " + error;
    seen.faults.push_back(words);
  }
  const auto bytes = reader->ReadLog(reader->manifest().disk(0));
  EXPECT_TRUE(bytes.ok()) << bytes.error().ToString();
  if (!bytes.ok()) return seen;
  const auto log = blocklog::ReadLog(*bytes, {});
  EXPECT_TRUE(log.ok()) << log.error().ToString();
  if (!log.ok()) return seen;
  int faults = 0;
  for (const auto& entry : log->entries) {
    if (const auto mark = blocklog::DecodeMark(entry.data)) {
      faults += mark->kind == "fault";
      if (faults == 1) seen.marks_between.push_back(mark->kind + " " + mark->text);
      continue;
    }
    if (entry.is_mark() || entry.length.value == 0 || entry.offset.value >= kDiskBytes) continue;
    ++(faults == 0 ? seen.writes_before : faults == 1 ? seen.writes_between : seen.writes_behind);
  }
  return seen;
}

int Runs() {
  const std::string text = os::GetEnv("PLUGPULL_FAULT_RUNS", "1");
  int runs = 1;
  std::from_chars(text.data(), text.data() + text.size(), runs);
  return runs;
}

TEST(FaultStepsTest, EachHappensWhenAndWhereItWasAskedFor) {
  const TestFolder folder("faults");
  ASSERT_TRUE(os::WriteFileAtomic(folder / "faults.textproto", kScenario).ok());
  std::optional<Seen> first;
  for (int run = 0; run < Runs(); ++run) {
    SCOPED_TRACE(run);
    const ProgramEnd end =
        RunPlugpull(folder, {"record", "faults.textproto", "--out", "out"}, kRunMax);
    ASSERT_EQ(end.status, 0) << end.out << end.err;
    const Seen seen = Look(folder / "out/faults/default/recording");
    // Only what had to be dropped is missing: nothing reaches the log between the two faults,
    // though syncs were acknowledged there.
    EXPECT_EQ(seen.writes_between, 0u);
    EXPECT_GT(seen.writes_before, 50u);
    EXPECT_GT(seen.writes_behind, 3u);
    ASSERT_GT(seen.marks_between.size(), 10u);
    EXPECT_EQ(seen.marks_between.front(), "fault 3");
    EXPECT_THAT(seen.marks_between.back(), HasSubstr("ack 0."));
    ASSERT_EQ(seen.faults.size(), 4u);
    EXPECT_THAT(seen.faults, ::testing::Contains(
                                 HasSubstr("3 fault on vol: layer top becomes flakey after 30")));
    EXPECT_THAT(seen.faults, ::testing::Contains(
                                 HasSubstr("4 fault on vol: layer top becomes linear after 60")));
    EXPECT_THAT(
        seen.faults,
        ::testing::Contains(HasSubstr("device fault on bare: READ 2 fails once after 0; read: ")));
    if (!first) first = seen;
    EXPECT_EQ(seen, *first);
  }
}

TEST(FaultStepsTest, WhatTheKernelLacksIsRefusedBeforeAnythingRuns) {
  const TestFolder folder("faults-kernel");
  std::string scenario = kScenario;
  const std::string drop = "drop_writes: true";
  scenario.replace(scenario.find(drop), drop.size(), "error_reads: true");
  ASSERT_TRUE(os::WriteFileAtomic(folder / "faults.textproto", scenario).ok());
  const ProgramEnd end = RunPlugpull(folder, {"run", "faults.textproto", "--out", "out"}, kRunMax);
  EXPECT_EQ(end.status, 2) << end.out << end.err;
  EXPECT_THAT(end.err + end.out,
              HasSubstr("not supported by this kernel: flakey error_reads needs >= 6.5"));
  EXPECT_THAT(end.err + end.out, HasSubstr("faults.textproto:8:41: "));
}

}  // namespace
}  // namespace plugpull
