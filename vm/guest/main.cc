// SPDX-License-Identifier: Apache-2.0
// PID 1 of the guest: boots, says Hello, carries out what the host asks for.
#include <fmt/format.h>
#include <signal.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "vm/guest/agents.h"
#include "vm/guest/boot.h"
#include "vm/guest/crash_notice.h"
#include "vm/guest/executor.h"
#include "vm/guest/port.h"
#include "vm/guest/program.h"

namespace plugpull::guest {
namespace {

constexpr uint32_t kProtocolVersion = 1;
constexpr Millis kReapInterval{1000};
constexpr Millis kTendInterval{20};

Status SayHello(Port& port) {
  utsname names{};
  if (::uname(&names) != 0) return EnvironmentError("uname failed: " + os::ErrnoText(errno));
  GuestMessage message;
  message.mutable_hello()->set_protocol_version(kProtocolVersion);
  message.mutable_hello()->set_kernel_release(names.release);
  message.mutable_hello()->set_kernel_version(names.version);
  return port.Send(message);
}

// The next request; orphans are reaped, and agents tended, while nothing is asked.
Result<GuestRequest> NextRequest(Port& port, Executor& executor) {
  for (;;) {
    ReapOrphans(-1);
    const Millis pause = executor.Tend() ? kTendInterval : kReapInterval;
    // Who sleeps makes a warped clock jump, and the host would miss what happens then.
    const Millis wait = ClockIsWarped() ? Millis(0) : pause;
    PP_ASSIGN_OR_RETURN(auto request, port.Receive(os::Deadline::After(wait)));
    if (request) return *std::move(request);
  }
}

// Returns once the host asked to switch off.
Status Serve(const std::string& boot_problem) {
  PP_ASSIGN_OR_RETURN(const std::string path,
                      FindPort(kPortName, os::Deadline::After(kPortWaitMax)));
  PP_ASSIGN_OR_RETURN(Port port, Port::Open(path));
  InstallCrashNotice(port.fd());
  PP_RETURN_IF_ERROR(SayHello(port));
  Executor executor([&port](const GuestMessage& message) { return port.Send(message); },
                    boot_problem);
  for (;;) {
    PP_ASSIGN_OR_RETURN(const GuestRequest request, NextRequest(port, executor));
    SetCrashAnswer(request.id());
    GuestMessage message;
    *message.mutable_answer() = executor.Execute(request);
    ClearCrashAnswer();
    PP_RETURN_IF_ERROR(port.Send(message));
    // Without removing anything: what a power cut leaves is what the host wants to see. Without
    // sync, for the same reason.
    if (request.has_power_off()) ::reboot(RB_POWER_OFF);
  }
}

// All problems on the way, in words; booting goes on, since the host can only be told later.
std::string Boot() {
  std::string problems;
  const auto note = [&problems](const Status& status) {
    if (!status.ok()) problems += (problems.empty() ? "" : "; ") + status.error().ToString();
  };
  note(MountKernelFileSystems());
  note(OpenConsole());
  SetEnvironment();
  note(LoadModules());
  if (ClockIsWarped()) QuietHousekeeping();
  if (!problems.empty()) ConsoleLine(problems);
  return problems;
}

}  // namespace
}  // namespace plugpull::guest

int main() {
  using plugpull::guest::ConsoleLine;
  if (::getpid() != 1) {
    ConsoleLine("this is PID 1 of plugpull's virtual machines and of no use elsewhere");
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  const auto served = plugpull::guest::Serve(plugpull::guest::Boot());
  ConsoleLine("cannot go on, switching off: " + served.error().ToString());
  ::reboot(RB_POWER_OFF);
}
