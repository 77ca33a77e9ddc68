// SPDX-License-Identifier: Apache-2.0
// Child processes as objects. A child never outlives this process: the kernel kills it when the
// *thread* that started it ends (PR_SET_PDEATHSIG), so start it from a thread that lives as long.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/os/fd.h"

namespace plugpull::os {

struct SubprocessOptions {
  std::vector<std::string> argv;  // argv[0] is an absolute path
  // "NAME=value" added to (or replacing in) this process's environment.
  std::vector<std::string> environment;
  // Descriptors given to the child: {ours, number in the child}. Numbers from 3 on.
  std::vector<std::pair<int, int>> pass_fds;
  int stdin_fd = -1;   // -1: /dev/null
  int stdout_fd = -1;  // -1: /dev/null
  int stderr_fd = -1;  // -1: /dev/null
  std::string folder;  // working folder; empty: ours
  // The child leads a process group of its own, and Kill ends the whole group.
  bool own_process_group = false;
  bool no_core_dump = false;  // leaves no core file, however it ends
};

// How a child ended.
struct ExitState {
  bool signaled = false;
  int code = 0;  // exit status, or signal number when signaled
  // "exit status N" or "killed by signal N".
  std::string ToString() const;
};

class Subprocess {
 public:
  // Fails with an environment error when the program cannot be started.
  static Result<Subprocess> Start(const SubprocessOptions& options);
  Subprocess(Subprocess&& other) noexcept;
  Subprocess& operator=(Subprocess&& other) noexcept;
  ~Subprocess();  // kills and reaps a child that still runs

  pid_t pid() const { return pid_; }
  // The end state when the child ends by the deadline, nothing when it still runs.
  Result<std::optional<ExitState>> Wait(const Deadline& deadline);
  // SIGKILL, to the whole group if it has its own, then waits for the end of the child.
  void Kill();

 private:
  Subprocess(pid_t pid, Fd pid_fd, bool leads_group)
      : pid_(pid), leads_group_(leads_group), pid_fd_(std::move(pid_fd)) {}
  pid_t pid_ = -1;
  bool leads_group_ = false;
  Fd pid_fd_;  // pidfd_open: lets Wait sleep in poll
  std::optional<ExitState> ended_;
};

struct RunOutput {
  ExitState exit;
  std::string out;  // stdout and stderr together
  bool truncated = false;
};

// Runs a program to its end and captures what it prints (at most `output_max`; the rest is read
// and dropped). An environment error when it cannot start or outlives the timeout.
Result<RunOutput> RunProgram(SubprocessOptions options, Millis timeout,
                             Bytes output_max = Bytes(1 << 20));

}  // namespace plugpull::os
