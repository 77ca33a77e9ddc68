// SPDX-License-Identifier: Apache-2.0
// Faults happen exactly when and where they were asked for: read back from the recording, which is
// made by a guest that does not know what is expected of it. PLUGPULL_FAULT_RUNS: how often the
// same seed is run; every run must give the same faults at the same operations and requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
#include <optional>
#include <regex>

#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/mark.h"
#include "framework/recording/recording.h"
#include "tests/support/program.h"

namespace plugpull {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr Millis kRunMax{300'000};
constexpr uint64_t kDiskBytes = 16 << 20;

constexpr char kScenario[] = R"(
name: "faults"
disk { name: "vol" size_mib: 16 layer { log_writes {} } layer { name: "top" linear {} } }
disk { name: "bare" size_mib: 8 }
guest { program: "dd" program: "cat" }
step { mkfs { disk: "vol" option: "-b 1024" option: "-J size=1" } }
step { mount { disk: "vol" at: "/data" } }
step { fault { disk: "vol" layer: "top" flakey { drop_writes: true } } when { after_operations: 30 } }
step { fault { disk: "vol" layer: "top" linear {} } when { after_operations: 60 } }
step { fault { disk: "vol" layer: "top" flakey { error_writes: true } } when { after_mark: "ack 0.75" } }
step { workload { at: "/data" seed: 7 files { count: 60 size_kib_max: 8 } } }
step { fault { disk: "vol" layer: "top" linear {} } }
step { device_fault { disk: "bare" io_error { op: READ nth: 2 } } }
step { command { argv: "/bin/sh" argv: "-c" argv: "for d in /sys/block/*/serial; do [ \"$(cat $d)\" = bare ] && n=${d#/sys/block/} && n=/dev/${n%/serial}; done; ln -s $n /bare; for i in 0 1 2; do dd if=/bare of=/dev/null bs=4096 count=1 skip=$i iflag=direct && exits=${exits}0 || exits=${exits}1; done; [ $exits = 010 ]" } }
step { device_fault { disk: "bare" io_error { op: READ sector: 37 once: false } } }
step { command { argv: "/bin/sh" argv: "-c" argv: "for i in 3 4 5 4; do dd if=/bare of=/dev/null bs=4096 count=1 skip=$i iflag=direct && exits=${exits}0 || exits=${exits}1; done; [ $exits = 0101 ]" } }
step { device_fault { disk: "bare" io_error { op: WRITE nth: 3 } } }
step { command { argv: "/bin/sh" argv: "-c" argv: "for i in 10 11 12 13; do dd if=/dev/zero of=/bare bs=4096 count=1 seek=$i oflag=direct conv=notrunc && exits=${exits}0 || exits=${exits}1; done; [ $exits = 0010 ]" } }
step { unmount { at: "/data" } }
)";

// The number of an operation in a mark "ack WORKLOAD.OPERATION".
int OperationOf(const std::string& mark) {
  int operation = -1;
  const size_t dot = mark.rfind('.');
  if (mark.starts_with("ack ") && dot != std::string::npos) {
    std::from_chars(mark.data() + dot + 1, mark.data() + mark.size(), operation);
  }
  return operation;
}

// Between two moments of the log.
struct Stretch {
  std::vector<std::string> marks;
  uint64_t writes = 0;  // of the file system
};

struct Seen {
  std::vector<std::string> faults;  // as recorded, without times
  std::vector<std::string> failed;  // requests, as the guest's kernel saw them: "SECTOR READ"
  // Begun by the base, and by each fault on the logged disk.
  std::vector<Stretch> stretches = {{}};
};

std::vector<std::string> FailedRequests(const std::string& console) {
  std::vector<std::string> failed;
  const std::regex pattern(
      "I/O error, dev vd[a-z]+, sector ([0-9]+) op 0x[0-9a-f]+:\\(([A-Z]+)\\)");
  for (std::sregex_iterator it(console.begin(), console.end(), pattern), end; it != end; ++it) {
    failed.push_back((*it)[1].str() + " " + (*it)[2].str());
  }
  return failed;
}

void LookAtLog(const recording::Reader& reader, Seen& seen) {
  const auto bytes = reader.ReadLog(reader.manifest().disk(0));
  ASSERT_TRUE(bytes.ok()) << bytes.error().ToString();
  const auto log = blocklog::ReadLog(*bytes, {});
  ASSERT_TRUE(log.ok()) << log.error().ToString();
  for (const auto& entry : log->entries) {
    if (const auto mark = blocklog::DecodeMark(entry.data)) {
      if (mark->kind == "base") seen.stretches = {{}};
      if (mark->kind == "fault") seen.stretches.emplace_back();
      seen.stretches.back().marks.push_back(mark->kind + " " + mark->text);
    } else if (!entry.is_mark() && entry.length.value > 0 && entry.offset.value < kDiskBytes) {
      ++seen.stretches.back().writes;
    }
  }
}

// What the recording says.
Seen Look(const std::string& folder) {
  Seen seen;
  const auto reader = recording::Reader::Open(folder);
  EXPECT_TRUE(reader.ok()) << reader.error().ToString();
  if (!reader.ok()) return seen;
  EXPECT_FALSE(reader->manifest().has_incomplete_reason())
      << reader->manifest().incomplete_reason();
  EXPECT_EQ(reader->manifest().unmet_demand_size(), 0);
  for (const RecordedFault& fault : reader->manifest().fault()) {
    std::string words = std::to_string(fault.step()) + " " + fault.what() + " after " +
                        std::to_string(fault.operations());
    for (const std::string& line : fault.table()) words += "; " + line.substr(0, line.find("253"));
    for (const std::string& error : fault.request_error()) words += "; " + error;
    seen.faults.push_back(words);
  }
  LookAtLog(*reader, seen);
  const auto console = os::ReadFile(folder + "/console.log", Mebibytes(16));
  EXPECT_TRUE(console.ok());
  if (console.ok()) seen.failed = FailedRequests(*console);
  return seen;
}

int Runs() {
  const std::string text = os::GetEnv("PLUGPULL_FAULT_RUNS", "1");
  int runs = 1;
  std::from_chars(text.data(), text.data() + text.size(), runs);
  return runs;
}

// The layers of the logged disk: after 30 operations, after 60, after the mark of operation 75, and
// at a place in the list.
void ExpectLayerFaults(const Seen& seen) {
  ASSERT_EQ(seen.stretches.size(), 5u);
  for (size_t i = 1; i < 5; ++i) {
    const int step = i < 4 ? static_cast<int>(i) + 2 : 7;
    EXPECT_EQ(seen.stretches[i].marks.front(), "fault " + std::to_string(step));
  }
  // The operations that were acknowledged on either side of each moment.
  const auto last = [&](size_t i) { return OperationOf(seen.stretches[i].marks.back()); };
  const auto first = [&](size_t i) { return OperationOf(seen.stretches[i].marks.at(1)); };
  EXPECT_LT(last(0), 30);
  EXPECT_GE(last(0), 28);
  EXPECT_GE(first(1), 30);
  EXPECT_LE(first(1), 32);
  EXPECT_LT(last(1), 60);
  EXPECT_GE(last(1), 58);
  EXPECT_GE(first(2), 60);
  EXPECT_LE(first(2), 62);
  EXPECT_EQ(seen.stretches[2].marks.back(), "ack 0.75");
  // Dropped are all writes between the first two, and no others, while syncs go on to be
  // acknowledged. All fail from the third on; ext4 acknowledges syncs of folders all the same.
  EXPECT_GT(seen.stretches[0].writes, 50u);
  EXPECT_EQ(seen.stretches[1].writes, 0u);
  EXPECT_GT(seen.stretches[1].marks.size(), 10u);
  EXPECT_GT(seen.stretches[2].writes, 20u);
  EXPECT_EQ(seen.stretches[3].writes, 0u);
  EXPECT_THAT(seen.stretches[4].marks, Each(::testing::Not(StartsWith("ack"))));
  const std::string top = " fault on vol: layer top becomes ";
  EXPECT_THAT(seen.faults, Contains(StartsWith("3" + top + "flakey after 30;")));
  EXPECT_THAT(seen.faults, Contains(StartsWith("4" + top + "linear after 60;")));
  EXPECT_THAT(seen.faults, Contains(StartsWith("5" + top + "flakey after 75;")));
}

// The second read, the two that touch sector 37, the third write.
void ExpectDeviceFaults(const Seen& seen) {
  const std::string on = " device fault on bare: ";
  const std::string error = ": Input/output error";
  EXPECT_THAT(seen.failed, ElementsAre("8 READ", "32 READ", "32 READ", "96 WRITE"));
  for (const std::string& fault :
       {"8" + on + "READ 2 fails once after 0; read" + error,
        "10" + on + "READ of sector 37 fails from then on after 0; read" + error + "; read" + error,
        "12" + on + "WRITE 3 fails once after 0; write" + error}) {
    EXPECT_THAT(seen.faults, Contains(fault));
  }
}

TEST(FaultStepsTest, EachHappensWhenAndWhereItWasAskedFor) {
  const TestFolder folder("faults");
  ASSERT_TRUE(os::WriteFileAtomic(folder / "faults.textproto", kScenario).ok());
  std::optional<Seen> before;
  for (int run = 0; run < Runs(); ++run) {
    SCOPED_TRACE(run);
    const ProgramEnd end =
        RunPlugpull(folder, {"record", "faults.textproto", "--out", "out"}, kRunMax);
    ASSERT_EQ(end.status, 0) << end.out << end.err;
    const Seen seen = Look(folder / "out/faults/default/recording");
    ExpectLayerFaults(seen);
    ExpectDeviceFaults(seen);
    if (::testing::Test::HasFailure()) return;
    if (before) {
      EXPECT_EQ(seen.faults, before->faults);
      EXPECT_EQ(seen.failed, before->failed);
      // What ext4 does once it is told of an error depends on when its threads get to run.
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(seen.stretches[i].marks, before->stretches[i].marks);
      }
    }
    before = seen;
  }
}

// A run that fails while a fault waits, a layer is late and a file system is mounted.
TEST(FaultStepsTest, NothingIsLeftOfARunThatFailed) {
  const TestFolder folder("faults-failed");
  const std::string mark = "PLUGPULL_TEST_RUN=" + folder.path();
  ASSERT_TRUE(os::WriteFileAtomic(folder / "failed.textproto", R"(
name: "failed"
disk { name: "vol" size_mib: 16 layer { log_writes {} } layer { name: "top" linear {} } }
guest { program: "sleep" }
step { mkfs { disk: "vol" option: "-b 1024" option: "-J size=1" } }
step { mount { disk: "vol" at: "/data" } }
step { fault { disk: "vol" layer: "top" delay { write_ms: 60000 } } }
step { fault { disk: "vol" layer: "top" linear {} } when { kernel_log: "never" } }
step { command { argv: "sleep" argv: "100" } timeout_ms: 500 }
)")
                  .ok());
  const ProgramEnd end =
      RunPlugpull(folder, {"run", "failed.textproto", "--out", "out"}, kRunMax, {mark});
  EXPECT_EQ(end.status, 3) << end.out << end.err;
  EXPECT_THAT(end.out + end.err, HasSubstr("did not end within 500 ms"));
  EXPECT_THAT(ProcessesWith(mark), IsEmpty());
  EXPECT_FALSE(os::Exists(folder / "out/failed/default/recording"));
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
