// SPDX-License-Identifier: Apache-2.0
// plugpull is killed, without a chance to tidy up, at several points of a run: nothing of it goes
// on running, nothing half done is taken for whole, and the next run is not in its way.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <thread>

#include "framework/os/stream.h"
#include "framework/recording/recording.h"
#include "tests/support/program.h"

namespace plugpull {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// As the golden recordings' scenario, with more to check than anybody waits for.
constexpr char kScenario[] = R"(
name: "killed"
disk { name: "vol" size_mib: 16 layer { log_writes {} } }
step { mkfs { disk: "vol" option: "-b 1024" option: "-J size=1" option: "-N 128" } }
step {
  mount { disk: "vol" at: "/data" option: "data=writeback" option: "nobarrier" }
}
step { workload { at: "/data" seed: 11 files { count: 40 size_kib_max: 6 files_max: 12 } } }
step { unmount { at: "/data" } }
check {
  disk: "vol"
  enumerate { lose_subset {} }
  max_states: 100000
  oracle: FSCK
  oracle: CONTENT
}
)";
constexpr Millis kEventMax{120'000};
constexpr Millis kGoneMax{30'000};

class KillTest : public ::testing::Test {
 protected:
  KillTest() : folder_("kill"), mark_("PLUGPULL_TEST_RUN=" + folder_.path()) {}

  void SetUp() override { WriteText(folder_ / "s.textproto", kScenario); }

  std::string RecordingFolder() const { return folder_ / "out/killed/default/recording"; }

  // Runs until `event` is on stderr, and kills it there. `background`: as a shell's background job,
  // which is started with SIGINT ignored.
  void RunAndKillAt(const std::string& event, int signal = SIGKILL, bool background = false) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
    const os::Fd read_end(pipe_fds[0]);
    os::Fd write_end(pipe_fds[1]);
    os::SubprocessOptions options;
    options.argv = {PlugpullPath(), "run", "s.textproto", "--out", "out"};
    if (background) {
      const std::vector<std::string> shell = {"/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh"};
      options.argv.insert(options.argv.begin(), shell.begin(), shell.end());
    }
    options.environment = {mark_};
    options.folder = folder_.path();
    options.stderr_fd = write_end.get();
    auto child = os::Subprocess::Start(options);
    ASSERT_TRUE(child.ok()) << child.error().ToString();
    write_end.Reset();
    std::string said;
    const auto deadline = os::Deadline::After(kEventMax);
    while (said.find(event) == std::string::npos) {
      uint8_t buffer[4096];
      const auto got = os::ReadSome(read_end.get(), buffer, deadline);
      ASSERT_TRUE(got.ok() && got->has_value() && **got > 0) << "no '" << event << "' in: " << said;
      said.append(reinterpret_cast<const char*>(buffer), **got);
    }
    const bool in_guest = event.find(" ") != std::string::npos && !event.starts_with("checking");
    if (in_guest) {
      EXPECT_THAT(ProcessesWith(mark_), Contains(HasSubstr("qemu")));
    } else {
      EXPECT_THAT(ProcessesWith(mark_), Not(IsEmpty()));
    }
    ASSERT_EQ(::kill(child->pid(), signal), 0);
    const auto end = child->Wait(os::Deadline::After(kGoneMax));
    ASSERT_TRUE(end.ok() && end->has_value()) << "signal " << signal << " was ignored";
    EXPECT_TRUE((*end)->signaled) << "it had ended before: " << said;
    EXPECT_EQ((*end)->code, signal);
  }

  void ExpectNothingRuns(const std::string& event) {
    const auto deadline = os::Deadline::After(kGoneMax);
    while (!ProcessesWith(mark_).empty() && !deadline.Passed()) {
      std::this_thread::sleep_for(Millis(20));
    }
    EXPECT_THAT(ProcessesWith(mark_), IsEmpty()) << "killed at '" << event << "'";
  }

  TestFolder folder_;
  std::string mark_;
};

TEST_F(KillTest, NothingRunsOnAndTheNextRunWorks) {
  for (const char* event : {"booting", "mkfs of vol", "workload at /data", "draining the log",
                            "checking crash states"}) {
    SCOPED_TRACE(event);
    ASSERT_NO_FATAL_FAILURE(RunAndKillAt(event));
    ExpectNothingRuns(event);
    const ProgramEnd report = RunPlugpull(folder_, {"report", "out"});
    EXPECT_EQ(report.status, 2) << "there was no end, so there is no report: " << report.out;
    const bool recorded = std::string(event).starts_with("checking");
    EXPECT_EQ(recording::Reader::Open(RecordingFolder()).ok(), recorded);
    if (recorded) continue;
    const ProgramEnd check = RunPlugpull(folder_, {"check", RecordingFolder()});
    EXPECT_EQ(check.status, 2);
    EXPECT_THAT(check.out, HasSubstr("is no recording"));
  }
  const ProgramEnd next =
      RunPlugpull(folder_, {"record", "s.textproto", "--out", "out"}, kEventMax, {mark_});
  EXPECT_EQ(next.status, 0) << next.err;
  EXPECT_THAT(*os::ListFolder(folder_ / "out/killed/default"), ::testing::ElementsAre("recording"));
  const ProgramEnd check =
      RunPlugpull(folder_, {"check", RecordingFolder(), "--max-states", "200"});
  EXPECT_EQ(check.status, 1) << check.out << check.err;  // nothing is expected, and much is found
  EXPECT_THAT(ProcessesWith(mark_), IsEmpty());
}

// `kill -INT` of a script's background job.
TEST_F(KillTest, AnInterruptIsHeardInTheBackground) {
  ASSERT_NO_FATAL_FAILURE(RunAndKillAt("workload at /data", SIGINT, true));
  ExpectNothingRuns("workload at /data");
}

}  // namespace
}  // namespace plugpull
