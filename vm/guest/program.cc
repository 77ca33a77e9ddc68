// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "framework/os/fd.h"
#include "framework/os/file.h"
#include "framework/os/subprocess.h"

namespace plugpull::guest {
namespace {

constexpr int kSignalExitBase = 128;
// How long the program's own end may go unnoticed while its output is quiet.
constexpr Millis kReapInterval{20};
constexpr int kLastReadsMax = 8;
constexpr int kReapOrphansMax = 1024;  // at one go

// Reads what is there now. False at the end of the stream.
bool ReadAvailable(int fd, Tail& tail) {
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n > 0) {
      tail.Append({buffer, static_cast<size_t>(n)});
      // A program that prints without pause must not keep us from looking at the clock.
      if (static_cast<size_t>(n) == sizeof buffer) return true;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    return n < 0 && errno == EAGAIN;
  }
}

Result<std::string> ResolveProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  auto found = os::FindProgram(name, name);
  if (found.ok()) return found;
  return EnvironmentError(
      fmt::format("the guest has no program \"{}\" on its PATH; list it under guest.program in the "
                  "scenario",
                  name));
}

std::function<void(pid_t, int)>& OrphanSink() {
  static std::function<void(pid_t, int)> sink;
  return sink;
}

}  // namespace

void Tail::Append(std::string_view data) {
  if (data.size() > size_max_) data.remove_prefix(data.size() - size_max_);
  text_ += data;
  // Cut only now and then: each cut moves what is kept.
  if (text_.size() > 2 * size_max_) text_.erase(0, text_.size() - size_max_);
}

std::string Tail::Take() {
  if (text_.size() > size_max_) text_.erase(0, text_.size() - size_max_);
  return std::move(text_);
}

void SetOrphanSink(std::function<void(pid_t, int)> sink) { OrphanSink() = std::move(sink); }

void ReapOrphans(pid_t keep) {
  for (int i = 0; i < kReapOrphansMax; ++i) {
    // Looked at before it is reaped, since `keep` is somebody else's to wait for.
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    if (info.si_pid == keep) return;
    int status = 0;
    if (::waitpid(info.si_pid, &status, WNOHANG) == info.si_pid && OrphanSink()) {
      OrphanSink()(info.si_pid, status);
    }
  }
}

Result<ProgramOutcome> RunGuestCommand(const std::vector<std::string>& argv,
                                       const std::vector<std::string>& environment, Millis timeout,
                                       const std::string& folder,
                                       const std::function<void()>& meanwhile) {
  if (argv.empty() || argv[0].empty()) return UserError("a program to run has no name");
  if (timeout.count() < 1 || timeout > kProgramTimeoutMax) {
    return UserError(fmt::format("the timeout of {} is {} ms; 1 to {} are possible", argv[0],
                                 timeout.count(), kProgramTimeoutMax.count()));
  }
  os::SubprocessOptions options;
  options.argv = argv;
  PP_ASSIGN_OR_RETURN(options.argv[0], ResolveProgram(argv[0]));
  options.environment = environment;
  options.folder = folder;
  options.own_process_group = true;
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) {
    return EnvironmentError("pipe failed: " + os::ErrnoText(errno));
  }
  const os::Fd read_end(pipe_fds[0]);
  os::Fd write_end(pipe_fds[1]);
  ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  options.stdout_fd = write_end.get();
  options.stderr_fd = write_end.get();

  const auto deadline = os::Deadline::After(timeout);
  PP_ASSIGN_OR_RETURN(os::Subprocess child, os::Subprocess::Start(options));
  write_end.Reset();
  ProgramOutcome outcome;
  Tail tail(kOutputTailMax);
  bool open = true;
  for (;;) {
    if (meanwhile) meanwhile();
    const auto pause = os::Deadline::After(std::min(deadline.Left(), kReapInterval));
    if (open) {
      PP_RETURN_IF_ERROR(os::WaitReadable(read_end.get(), pause));
      open = ReadAvailable(read_end.get(), tail);
    }
    PP_ASSIGN_OR_RETURN(const auto ended,
                        child.Wait(open ? os::Deadline::After(Millis(0)) : pause));
    if (ended) {
      outcome.exit_status = ended->signaled ? kSignalExitBase + ended->code : ended->code;
      break;
    }
    ReapOrphans(child.pid());
    if (deadline.Passed()) {
      child.Kill();
      outcome.timed_out = true;
      outcome.exit_status = kSignalExitBase + SIGKILL;
      break;
    }
  }
  // What the pipe still holds; somebody whom the program left running may write on and on.
  for (int i = 0; open && i < kLastReadsMax; ++i) open = ReadAvailable(read_end.get(), tail);
  outcome.output = tail.Take();
  return outcome;
}

}  // namespace plugpull::guest
