// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/shell.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "framework/base/units.h"
#include "framework/os/fd.h"
#include "vm/guest/program.h"

namespace plugpull::guest {
namespace {

constexpr const char* kShells[] = {"/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"};
// /dev/console itself can be nobody's controlling terminal.
constexpr char kTerminal[] = "/dev/ttyS0";
constexpr Millis kPollInterval{50};

[[noreturn]] void BecomeShell(const char* shell) {
  ::setsid();
  const int terminal = ::open(kTerminal, O_RDWR);
  if (terminal < 0 || ::ioctl(terminal, TIOCSCTTY, 1) != 0) ::_exit(126);
  for (int fd = 0; fd <= 2; ++fd) ::dup2(terminal, fd);
  if (terminal > 2) ::close(terminal);
  ::execl(shell, shell, "-i", static_cast<char*>(nullptr));
  ::_exit(127);
}

}  // namespace

Status RunConsoleShell(const std::string& greeting) {
  const char* shell = nullptr;
  for (const char* candidate : kShells) {
    if (shell == nullptr && ::access(candidate, X_OK) == 0) shell = candidate;
  }
  if (shell == nullptr) {
    return EnvironmentError("the guest has no bash and no sh; list bash under guest.program");
  }
  const os::Fd terminal(::open(kTerminal, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.valid()) {
    return EnvironmentError(fmt::format("cannot open {}: {}", kTerminal, os::ErrnoText(errno)));
  }
  PP_RETURN_IF_ERROR(os::WriteAll(
      terminal.get(), {reinterpret_cast<const uint8_t*>(greeting.data()), greeting.size()}));
  const pid_t pid = ::fork();
  if (pid < 0) return EnvironmentError("fork failed: " + os::ErrnoText(errno));
  if (pid == 0) BecomeShell(shell);
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(pid, &status, WNOHANG);
    if (ended < 0 && errno != EINTR) {
      return EnvironmentError("waitpid failed: " + os::ErrnoText(errno));
    }
    if (ended == pid) {
      if (WIFEXITED(status) && WEXITSTATUS(status) < 126) return OkStatus();
      return EnvironmentError(fmt::format("{} could not run on {}", shell, kTerminal));
    }
    ReapOrphans(pid);
    std::this_thread::sleep_for(kPollInterval);
  }
}

}  // namespace plugpull::guest
