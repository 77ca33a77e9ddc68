// SPDX-License-Identifier: Apache-2.0
// Programs that the guest runs, and messages over the port.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "framework/os/fd.h"
#include "framework/os/file.h"
#include "vm/guest/executor.h"
#include "vm/guest/port.h"
#include "vm/guest/program.h"

namespace plugpull::guest {
namespace {

using ::testing::HasSubstr;

Result<ProgramOutcome> Shell(const std::string& script, Millis timeout = Millis(20'000),
                             const std::vector<std::string>& environment = {}) {
  return RunGuestCommand({"/bin/sh", "-c", script}, environment, timeout);
}

TEST(TailTest, KeepsTheLastBytes) {
  Tail tail(Bytes(10));
  std::string all;
  for (int i = 0; i < 100; ++i) {
    const std::string piece = std::to_string(i * 7919);
    tail.Append(piece);
    all += piece;
  }
  EXPECT_EQ(tail.Take(), all.substr(all.size() - 10));
  Tail other(Bytes(10));
  other.Append("abc");
  EXPECT_EQ(other.Take(), "abc");
  Tail third(Bytes(4));
  third.Append("a long piece");
  EXPECT_EQ(third.Take(), "iece");
}

TEST(RunGuestCommandTest, ExitStatusAndBothStreams) {
  const auto outcome = Shell("echo out; echo err >&2; exit 7");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->exit_status, 7);
  EXPECT_FALSE(outcome->timed_out);
  EXPECT_EQ(outcome->output, "out\nerr\n");
}

TEST(RunGuestCommandTest, SignalsAreToldApart) {
  const auto outcome = Shell("kill -TERM $$");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->exit_status, 128 + SIGTERM);
}

TEST(RunGuestCommandTest, ProgramsAreLookedUpOnPath) {
  const auto outcome = RunGuestCommand({"true"}, {}, Millis(20'000));
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->exit_status, 0);
  const auto missing = RunGuestCommand({"no-such-program-here"}, {}, Millis(20'000));
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, HasSubstr("no-such-program-here"));
  EXPECT_FALSE(RunGuestCommand({"/no/such/program"}, {}, Millis(20'000)).ok());
  EXPECT_FALSE(RunGuestCommand({}, {}, Millis(20'000)).ok());
  EXPECT_FALSE(RunGuestCommand({"true"}, {}, Millis(0)).ok());
}

TEST(RunGuestCommandTest, EnvironmentIsAdded) {
  const auto outcome = Shell("echo $WHERE-$HOME_OF", Millis(20'000), {"WHERE=x y", "HOME_OF=z"});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->output, "x y-z\n");
}

TEST(RunGuestCommandTest, OnlyTheTailOfLongOutputIsKept) {
  const auto outcome = Shell("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->output.size(), kOutputTailMax.value);
  EXPECT_TRUE(outcome->output.ends_with("line 19998\nline 19999\n"));
}

TEST(RunGuestCommandTest, ATimeoutKillsTheWholeGroup) {
  const std::string path = ::testing::TempDir() + "/guest_program_pid";
  const auto outcome =
      Shell("echo begun; sleep 300 & echo $! > " + path + "; sleep 300", Millis(700));
  ASSERT_TRUE(outcome.ok());
  EXPECT_TRUE(outcome->timed_out);
  EXPECT_EQ(outcome->exit_status, 128 + SIGKILL);
  EXPECT_EQ(outcome->output, "begun\n");
  int pid = 0;
  std::ifstream(path) >> pid;
  ASSERT_GT(pid, 1);
  // Killed at once; whoever adopts it reaps it in its own time, so a zombie is as good as gone.
  bool gone = false;
  for (int i = 0; i < 100 && !gone; ++i) {
    std::string stat;
    std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), stat);
    gone = stat.empty() || stat.find(") Z ") != std::string::npos;
    std::this_thread::sleep_for(Millis(20));
  }
  EXPECT_TRUE(gone);
  ASSERT_TRUE(os::RemoveAll(path).ok());
}

TEST(RunGuestCommandTest, AProgramThatLeavesSomethingRunningDoesNotKeepUs) {
  const auto begun = std::chrono::steady_clock::now();
  const auto outcome = Shell("sleep 20 & echo done");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->exit_status, 0);
  EXPECT_EQ(outcome->output, "done\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

TEST(ReapOrphansTest, ReapsAllButTheOneThatIsKept) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const auto outcome = Shell("(sleep 0.2 &) ; (exit 0 &) ; true");
  ASSERT_TRUE(outcome.ok());
  std::this_thread::sleep_for(Millis(600));
  ReapOrphans(-1);
  siginfo_t info{};
  const int result = ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
  EXPECT_TRUE(result != 0 || info.si_pid == 0);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(PortTest, RequestsAndMessagesGoThroughASocketPair) {
  auto pair = os::MakeSocketPair();
  ASSERT_TRUE(pair.ok());
  Port port(std::move(pair->theirs));
  GuestRequest request;
  request.set_id(42);
  request.mutable_sync_all();
  std::string body = request.SerializeAsString();
  std::string frame{static_cast<char>(body.size()), 0, 0, 0};
  frame += body;
  for (const char& c : frame) {  // in as many pieces as possible
    ASSERT_TRUE(os::WriteAll(pair->ours.get(), {reinterpret_cast<const uint8_t*>(&c), 1}).ok());
  }
  const auto soon = [] { return os::Deadline::After(Millis(5'000)); };
  const auto received = port.Receive(soon());
  ASSERT_TRUE(received.ok()) << received.error().ToString();
  ASSERT_TRUE(received->has_value());
  EXPECT_EQ((*received)->id(), 42u);
  EXPECT_TRUE((*received)->has_sync_all());

  // Two at once, and the beginning of a third.
  const std::string more = frame + frame + frame.substr(0, 3);
  ASSERT_TRUE(
      os::WriteAll(pair->ours.get(), {reinterpret_cast<const uint8_t*>(more.data()), more.size()})
          .ok());
  EXPECT_TRUE(port.Receive(soon())->has_value());
  EXPECT_TRUE(port.Receive(soon())->has_value());
  EXPECT_FALSE(port.Receive(os::Deadline::After(Millis(30)))->has_value());

  GuestMessage message;
  message.mutable_answer()->set_id(42);
  ASSERT_TRUE(port.Send(message).ok());
  uint8_t head[4];
  ASSERT_EQ(::read(pair->ours.get(), head, 4), 4);
  EXPECT_EQ(head[0], message.ByteSizeLong());
  EXPECT_EQ(head[1] | head[2] | head[3], 0);
}

TEST(PortTest, RefusesLengthsAboveTheLimitAndNonsense) {
  auto pair = os::MakeSocketPair();
  ASSERT_TRUE(pair.ok());
  Port port(std::move(pair->theirs));
  const uint8_t huge[] = {1, 0, 0, 4};
  ASSERT_TRUE(os::WriteAll(pair->ours.get(), huge).ok());
  const auto received = port.Receive(os::Deadline::After(Millis(5'000)));
  ASSERT_FALSE(received.ok());
  EXPECT_THAT(received.error().message, HasSubstr("67108865"));

  auto other = os::MakeSocketPair();
  ASSERT_TRUE(other.ok());
  Port other_port(std::move(other->theirs));
  const uint8_t nonsense[] = {3, 0, 0, 0, 0xff, 0xff, 0xff};
  ASSERT_TRUE(os::WriteAll(other->ours.get(), nonsense).ok());
  EXPECT_FALSE(other_port.Receive(os::Deadline::After(Millis(5'000))).ok());
}

TEST(ExecutorTest, UnknownRequestsAndUnknownDisksAreInfrastructureErrors) {
  Executor executor([](const GuestMessage&) { return OkStatus(); }, "a module is missing");
  GuestRequest request;
  request.set_id(5);
  Answer answer = executor.Execute(request);
  EXPECT_EQ(answer.id(), 5u);
  EXPECT_TRUE(answer.error().infrastructure());
  EXPECT_THAT(answer.error().message(), HasSubstr("does not know this kind of request"));
  EXPECT_THAT(answer.error().message(), HasSubstr("a module is missing"));
  request.mutable_drain()->set_disk("vol");
  answer = executor.Execute(request);
  EXPECT_TRUE(answer.error().infrastructure());
  EXPECT_THAT(answer.error().message(), HasSubstr("\"vol\" is not set up"));
}

TEST(ExecutorTest, RefusalsOfTheKernelAreNotOurFault) {
  Executor executor([](const GuestMessage&) { return OkStatus(); });
  GuestRequest request;
  request.mutable_unmount()->set_at("/no/such/mount/point");
  const Answer answer = executor.Execute(request);
  EXPECT_FALSE(answer.error().infrastructure());
  EXPECT_EQ(answer.error().error_number(), ENOENT);
}

TEST(ExecutorTest, ProgramsAndWorkloadsRun) {
  std::string folder = ::testing::TempDir() + "/executor.XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  int results = 0;
  Executor executor([&results](const GuestMessage& message) {
    results += message.progress().result_size();
    return OkStatus();
  });
  GuestRequest request;
  auto& program = *request.mutable_run_program();
  for (const char* word : {"/bin/sh", "-c", "echo hello; exit 3"}) program.add_argv(word);
  program.set_timeout_ms(20'000);
  Answer answer = executor.Execute(request);
  EXPECT_FALSE(answer.has_error()) << answer.error().message();
  EXPECT_EQ(answer.exit_status(), 3);
  EXPECT_EQ(answer.output(), "hello\n");

  auto& workload = *request.mutable_run_workload();
  workload.set_at(folder);
  auto& operation = *workload.add_operation();
  operation.set_kind(Operation::MKDIR);
  operation.set_path("d");
  answer = executor.Execute(request);
  EXPECT_FALSE(answer.has_error()) << answer.error().message();
  EXPECT_EQ(results, 1);
  EXPECT_TRUE(os::Exists(folder + "/d"));
  workload.set_drain_every_bytes(1);
  EXPECT_TRUE(executor.Execute(request).error().infrastructure());
  ASSERT_TRUE(os::RemoveAll(folder).ok());
}

TEST(FindPortTest, LooksForTheName) {
  std::string folder = ::testing::TempDir() + "/ports.XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  for (const auto& [port, name] :
       {std::pair("vport1p1", "org.other\n"), std::pair("vport1p2", "plugpull.0\n")}) {
    ASSERT_TRUE(os::MakeFolders(folder + "/" + port).ok());
    ASSERT_TRUE(os::WriteFileAtomic(folder + "/" + port + "/name", name).ok());
  }
  const auto found = FindPort(kPortName, os::Deadline::After(Millis(0)), folder);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, "/dev/vport1p2");
  EXPECT_FALSE(FindPort("else", os::Deadline::After(Millis(0)), folder).ok());
  ASSERT_TRUE(os::RemoveAll(folder).ok());
}

}  // namespace
}  // namespace plugpull::guest
