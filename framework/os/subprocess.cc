// SPDX-License-Identifier: Apache-2.0
#include "framework/os/subprocess.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

extern char** environ;

namespace plugpull::os {

std::string ExitState::ToString() const {
  return signaled ? fmt::format("killed by signal {}", code) : fmt::format("exit status {}", code);
}

namespace {

std::vector<std::string> MergedEnvironment(const std::vector<std::string>& added) {
  std::vector<std::string> merged;
  const auto replaced = [&](const std::string& entry) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    for (const auto& other : added) {
      if (other.compare(0, name.size(), name) == 0) return true;
    }
    return false;
  };
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!replaced(*entry)) merged.emplace_back(*entry);
  }
  merged.insert(merged.end(), added.begin(), added.end());
  return merged;
}

// Everything the child needs, prepared before vfork: until exec it shares our memory, and only
// async-signal-safe calls are allowed, since other threads may hold locks.
struct ChildPlan {
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<std::pair<int, int>> moves;  // {ours, number in the child}
  const char* folder = nullptr;
  pid_t parent = 0;
  int error_fd = -1;
  bool own_process_group = false;
  bool no_core_dump = false;
};

constexpr int kFdBase = 100;  // where descriptors are parked while they are moved

[[noreturn]] void RunChild(const ChildPlan& plan) {
  const auto fail = [&] {
    const int error = errno;
    (void)!::write(plan.error_fd, &error, sizeof error);
    ::_exit(127);
  };
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != plan.parent) fail();
  if (plan.own_process_group && ::setpgid(0, 0) != 0) fail();
  const rlimit no_core{0, 0};
  if (plan.no_core_dump && ::setrlimit(RLIMIT_CORE, &no_core) != 0) fail();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  // Two rounds, so that no move overwrites a descriptor that another still needs.
  int parked[64];
  int count = 0;
  for (const auto& [from, to] : plan.moves) {
    parked[count] = ::fcntl(from, F_DUPFD_CLOEXEC, kFdBase);
    if (parked[count++] < 0) fail();
  }
  count = 0;
  for (const auto& [from, to] : plan.moves) {
    if (::dup2(parked[count++], to) < 0) fail();
  }
  if (plan.folder != nullptr && ::chdir(plan.folder) != 0) fail();
  ::execve(plan.argv[0], plan.argv.data(), plan.envp.data());
  fail();
  ::_exit(127);
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (auto& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Result<Subprocess> Subprocess::Start(const SubprocessOptions& options) {
  PP_CHECK(!options.argv.empty() && options.pass_fds.size() <= 60);
  auto argv = options.argv;
  auto environment = MergedEnvironment(options.environment);
  const Fd null_fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  int error_pipe[2];
  if (!null_fd.valid() || ::pipe2(error_pipe, O_CLOEXEC) != 0) {
    return EnvironmentError("cannot prepare a child process: " + ErrnoText(errno));
  }
  const Fd error_read(error_pipe[0]);
  Fd error_write(error_pipe[1]);

  ChildPlan plan;
  plan.argv = Pointers(argv);
  plan.envp = Pointers(environment);
  const auto or_null = [&](int fd) { return fd >= 0 ? fd : null_fd.get(); };
  plan.moves = {{or_null(options.stdin_fd), 0},
                {or_null(options.stdout_fd), 1},
                {or_null(options.stderr_fd), 2}};
  plan.moves.insert(plan.moves.end(), options.pass_fds.begin(), options.pass_fds.end());
  plan.folder = options.folder.empty() ? nullptr : options.folder.c_str();
  plan.parent = ::getpid();
  plan.own_process_group = options.own_process_group;
  plan.no_core_dump = options.no_core_dump;
  // The child writes its error through a number that no move can hit.
  Fd high_error(::fcntl(error_write.get(), F_DUPFD_CLOEXEC, kFdBase + 100));
  plan.error_fd = high_error.get();

  // vfork: the page tables of a process with many images are slow to copy, and RunChild touches
  // nothing but its own stack.
  const pid_t pid = ::vfork();
  if (pid < 0) return EnvironmentError("vfork failed: " + ErrnoText(errno));
  if (pid == 0) RunChild(plan);
  error_write.Reset();
  high_error.Reset();
  int child_error = 0;
  ssize_t n;
  do {
    n = ::read(error_read.get(), &child_error, sizeof child_error);
  } while (n < 0 && errno == EINTR);
  if (n == sizeof child_error) {
    ::waitpid(pid, nullptr, 0);
    return EnvironmentError(
        fmt::format("cannot start {}: {}", options.argv[0], ErrnoText(child_error)));
  }
  Fd pid_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return Subprocess(pid, std::move(pid_fd), options.own_process_group);
}

Subprocess::Subprocess(Subprocess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      leads_group_(other.leads_group_),
      pid_fd_(std::move(other.pid_fd_)),
      ended_(other.ended_) {}

Subprocess& Subprocess::operator=(Subprocess&& other) noexcept {
  if (this != &other) {
    Kill();
    pid_ = std::exchange(other.pid_, -1);
    leads_group_ = other.leads_group_;
    pid_fd_ = std::move(other.pid_fd_);
    ended_ = other.ended_;
  }
  return *this;
}

Subprocess::~Subprocess() { Kill(); }

Result<std::optional<ExitState>> Subprocess::Wait(const Deadline& deadline) {
  if (ended_) return ended_;
  PP_CHECK(pid_ > 0);
  if (pid_fd_.valid()) {
    PP_ASSIGN_OR_RETURN(const bool ended, WaitReadable(pid_fd_.get(), deadline));
    if (!ended) return std::optional<ExitState>();
  }
  int status = 0;
  pid_t waited;
  do {
    waited = ::waitpid(pid_, &status, 0);
  } while (waited < 0 && errno == EINTR);
  if (waited < 0) return EnvironmentError("waitpid failed: " + ErrnoText(errno));
  ended_ = WIFSIGNALED(status) ? ExitState{true, WTERMSIG(status)}
                               : ExitState{false, WEXITSTATUS(status)};
  return ended_;
}

void Subprocess::Kill() {
  if (pid_ <= 0 || ended_) return;
  ::kill(leads_group_ ? -pid_ : pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  ended_ = ExitState{true, SIGKILL};
}

Result<RunOutput> RunProgram(SubprocessOptions options, Millis timeout, Bytes output_max) {
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) {
    return EnvironmentError("pipe failed: " + ErrnoText(errno));
  }
  const Fd read_end(pipe_fds[0]);
  Fd write_end(pipe_fds[1]);
  options.stdout_fd = write_end.get();
  options.stderr_fd = write_end.get();
  const Deadline deadline = Deadline::After(timeout);
  PP_ASSIGN_OR_RETURN(Subprocess child, Subprocess::Start(options));
  write_end.Reset();
  RunOutput output;
  char buffer[16384];
  for (;;) {
    PP_ASSIGN_OR_RETURN(const bool readable, WaitReadable(read_end.get(), deadline));
    if (!readable) break;
    const ssize_t n = ::read(read_end.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    const size_t room = output_max.value - output.out.size();
    output.out.append(buffer, std::min(room, static_cast<size_t>(n)));
    output.truncated |= static_cast<size_t>(n) > room;
  }
  PP_ASSIGN_OR_RETURN(const auto ended, child.Wait(deadline));
  if (!ended) {
    child.Kill();
    return EnvironmentError(fmt::format("{} did not end within {} ms and was killed",
                                        options.argv[0], timeout.count()));
  }
  output.exit = *ended;
  return output;
}

}  // namespace plugpull::os
