// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/kubelet_process.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <span>

#include "framework/os/file.h"

namespace plugpull::guest {
namespace {

constexpr char kProgram[] = "/usr/bin/plugpull-kubelet";
constexpr int kNotStarted = 127;

}  // namespace

Result<std::unique_ptr<KubeletProcess>> KubeletProcess::Start() {
  if (!os::Exists(kProgram)) {
    return UserError(std::string("the guest has no ") + kProgram +
                     "; build it with the rest of plugpull");
  }
  int commands[2];
  int reports[2];
  if (::pipe2(commands, O_CLOEXEC) != 0) return EnvironmentError("pipe failed");
  std::unique_ptr<KubeletProcess> process(new KubeletProcess());
  const os::Fd commands_read(commands[0]);
  process->commands_ = os::Fd(commands[1]);
  if (::pipe2(reports, O_CLOEXEC) != 0) return EnvironmentError("pipe failed");
  process->reports_ = os::Fd(reports[0]);
  const os::Fd reports_write(reports[1]);
  ::fcntl(process->reports_.get(), F_SETFL, O_NONBLOCK);
  const pid_t pid = ::fork();
  if (pid < 0) return EnvironmentError("fork failed: " + os::ErrnoText(errno));
  if (pid == 0) {
    ::setsid();
    ::dup2(commands_read.get(), STDIN_FILENO);
    ::dup2(reports_write.get(), STDOUT_FILENO);
    ::execl(kProgram, kProgram, static_cast<char*>(nullptr));
    ::_exit(kNotStarted);
  }
  process->pid_ = pid;
  return process;
}

KubeletProcess::~KubeletProcess() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
}

Status KubeletProcess::Send(const KubeletCommand& command) {
  PP_ASSIGN_OR_RETURN(const std::string frame, vm::EncodeFrame(command));
  return os::WriteAll(commands_.get(),
                      {reinterpret_cast<const uint8_t*>(frame.data()), frame.size()});
}

Result<std::vector<KubeletReport>> KubeletProcess::Read() {
  uint8_t buffer[4096];
  for (;;) {
    const ssize_t count = ::read(reports_.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    frames_.Append(std::span<const uint8_t>(buffer, static_cast<size_t>(count)));
  }
  std::vector<KubeletReport> reports;
  for (;;) {
    PP_ASSIGN_OR_RETURN(auto report, frames_.Next<KubeletReport>());
    if (!report) return reports;
    reports.push_back(*std::move(report));
  }
}

}  // namespace plugpull::guest
