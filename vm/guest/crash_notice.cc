// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/crash_notice.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <string>

#include "framework/base/check.h"
#include "framework/proto/guest.pb.h"
#include "vm/framing.h"

namespace plugpull::guest {
namespace {

constexpr int kFatalSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
constexpr char kText[] =
    "the guest's executor crashed; the console log shows the signal, please report it";

std::atomic<int> crash_port_fd{-1};
char crash_frame[256];
std::atomic<size_t> crash_frame_bytes{0};

void OnFatalSignal(int signal_number) {
  char line[] = "\nplugpull-guest: internal error: PID 1 was hit by signal 00\n";
  char* digits = line + sizeof line - 4;
  digits[0] = static_cast<char>('0' + signal_number / 10 % 10);
  digits[1] = static_cast<char>('0' + signal_number % 10);
  (void)!::write(STDERR_FILENO, line, sizeof line - 1);
  const size_t size = crash_frame_bytes.exchange(0);
  if (size > 0) (void)!::write(crash_port_fd, crash_frame, size);
  ::_exit(128 + signal_number);  // the end of PID 1 is a kernel panic, which the host looks for
}

}  // namespace

void InstallCrashNotice(int port_fd) {
  crash_port_fd = port_fd;
  struct sigaction action {};
  action.sa_handler = OnFatalSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  for (const int signal_number : kFatalSignals) ::sigaction(signal_number, &action, nullptr);
  std::set_terminate([] { std::abort(); });
}

void SetCrashAnswer(uint64_t request_id) {
  GuestMessage message;
  message.mutable_answer()->set_id(request_id);
  message.mutable_answer()->mutable_error()->set_message(kText);
  message.mutable_answer()->mutable_error()->set_infrastructure(true);
  const auto frame = vm::EncodeFrame(message);
  PP_CHECK(frame.ok() && frame->size() <= sizeof crash_frame);
  crash_frame_bytes = 0;
  std::copy(frame->begin(), frame->end(), crash_frame);
  crash_frame_bytes = frame->size();
}

void ClearCrashAnswer() { crash_frame_bytes = 0; }

}  // namespace plugpull::guest
