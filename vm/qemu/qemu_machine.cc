// SPDX-License-Identifier: Apache-2.0
#include "vm/qemu/qemu_machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "framework/os/file.h"
#include "vm/qemu/command_line.h"
#include "vm/qemu/console.h"

namespace plugpull::vm {
namespace {

constexpr char kQemuName[] = "qemu-system-x86_64";
constexpr char kQemuPackage[] = "qemu-system-x86";
constexpr Millis kQemuStartMax{30'000};  // until QMP answers
constexpr Millis kQemuExitMax{3'000};    // between the guest's end and QEMU's
constexpr Millis kSendStallMax{30'000};
constexpr Millis kConsoleCheckInterval{500};
constexpr Millis kQemuVersionMax{10'000};
constexpr size_t kConsoleTailBytes = 256u << 10;
constexpr size_t kConsoleLinesShown = 20;
constexpr size_t kQemuWordsBytesMax = 4096;
constexpr uint32_t kProtocolVersion = 1;

std::string LastBytes(int fd, size_t bytes_max) {
  const auto size = os::FileSize(fd);
  if (!size.ok()) return {};
  std::string text(std::min<uint64_t>(size->value, bytes_max), '\0');
  const Status read = os::PreadAll(fd, {reinterpret_cast<uint8_t*>(text.data()), text.size()},
                                   Bytes(size->value - text.size()));
  return read.ok() ? text : std::string();
}

// Such as "guest-shutdown" or "guest-reset"; empty when QEMU did not say.
std::string ShutdownReason(const Result<std::optional<QmpEvent>>& event) {
  if (!event.ok() || !event->has_value() || !(*event)->data.is_object()) return {};
  const auto reason = (*event)->data.find("reason");
  return reason != (*event)->data.end() && reason->is_string() ? reason->get<std::string>()
                                                               : std::string();
}

}  // namespace

Result<std::unique_ptr<QemuMachine>> QemuMachine::Start(const MachineOptions& options) {
  PP_ASSIGN_OR_RETURN(auto arguments, QemuArguments(options));
  PP_ASSIGN_OR_RETURN(const std::string program, os::FindProgram(kQemuName, kQemuPackage));
  PP_ASSIGN_OR_RETURN(auto qmp, os::MakeSocketPair());
  PP_ASSIGN_OR_RETURN(auto port, os::MakeSocketPair());
  std::unique_ptr<QemuMachine> machine(new QemuMachine);
  PP_ASSIGN_OR_RETURN(machine->stderr_, os::MakeMemFile("qemu-stderr", Bytes(0)));

  os::SubprocessOptions child;
  child.argv = {program};
  child.argv.insert(child.argv.end(), arguments.begin(), arguments.end());
  child.stderr_fd = machine->stderr_.get();
  child.no_core_dump = true;  // QEMU aborts where kvm is broken, which is looked for
  child.pass_fds = {{qmp.theirs.get(), kQmpChildFd}, {port.theirs.get(), kPortChildFd}};
  os::Fd console_for_qemu;
  if (options.interactive) {
    machine->terminal_.emplace(0);
    child.stdin_fd = 0;
    child.stdout_fd = 1;
  } else {
    machine->console_path_ = options.console_log;
    std::string path = options.console_log;
    if (path.empty()) {
      PP_ASSIGN_OR_RETURN(machine->console_, os::MakeMemFile("console", Bytes(0)));
      path = fmt::format("/proc/self/fd/{}", machine->console_.get());
    }
    PP_ASSIGN_OR_RETURN(console_for_qemu, os::OpenForAppending(path));
    if (!machine->console_.valid()) {
      PP_ASSIGN_OR_RETURN(machine->console_, os::OpenForReading(path));
    }
    child.pass_fds.emplace_back(console_for_qemu.get(), kConsoleChildFd);
  }
  int disk_fd = kFirstDiskChildFd;
  for (const auto& disk : options.disks) child.pass_fds.emplace_back(disk.fd, disk_fd++);
  for (const auto& disk : options.disks) {
    if (disk.log_fd >= 0) child.pass_fds.emplace_back(disk.log_fd, disk_fd++);
  }

  PP_ASSIGN_OR_RETURN(auto process, os::Subprocess::Start(child));
  machine->process_.emplace(std::move(process));
  machine->port_ = std::move(port.ours);
  // Ours are closed, so that QEMU's end is seen as the end of the sockets.
  qmp.theirs.Reset();
  port.theirs.Reset();
  auto client = QmpClient::Connect(std::move(qmp.ours), os::Deadline::After(kQemuStartMax));
  if (!client.ok()) {
    const auto exit = machine->process_->Wait(os::Deadline::After(Millis(500)));
    const std::string end = exit.ok() && exit->has_value() ? (*exit)->ToString() : "no QMP server";
    const std::string words = machine->QemuWords();
    return EnvironmentError(fmt::format("{} did not start ({}): {}", program, end,
                                        words.empty() ? client.error().ToString() : words));
  }
  machine->qmp_.emplace(std::move(*client));
  machine->disks_.emplace(*machine->qmp_, options.disks);
  return machine;
}

Result<Hello> QemuMachine::WaitForHello(const os::Deadline& deadline) {
  PP_ASSIGN_OR_RETURN(GuestMessage message, Receive(deadline));
  if (!message.has_hello()) return AboutGuest("the guest's first message is no hello");
  if (message.hello().protocol_version() != kProtocolVersion) {
    return GuestError(fmt::format(
        "the guest speaks version {} of the protocol, this program {}: build both from one source",
        message.hello().protocol_version(), kProtocolVersion));
  }
  doing_ = "waiting for a request";
  return std::move(*message.mutable_hello());
}

Status QemuMachine::Send(const GuestRequest& request) {
  PP_ASSIGN_OR_RETURN(const std::string frame, EncodeFrame(request));
  doing_ = fmt::format("carrying out {} (request {})", RequestName(request), request.id());
  PP_ASSIGN_OR_RETURN(
      const auto sent,
      os::SendAll(port_.get(), {reinterpret_cast<const uint8_t*>(frame.data()), frame.size()},
                  kSendStallMax));
  switch (sent) {
    case os::SendEnd::kSent:
      return OkStatus();
    case os::SendEnd::kPeerGone:
      return Ended();
    case os::SendEnd::kTimedOut:
      return AboutGuest(fmt::format("the guest took nothing of the request {} for {} ms",
                                    RequestName(request), kSendStallMax.count()));
  }
  return InternalError("SendAll gave an unknown end");
}

Result<GuestMessage> QemuMachine::Receive(const os::Deadline& deadline) {
  const Millis patience = deadline.Left();
  for (;;) {
    auto message = frames_.Next<GuestMessage>();
    if (!message.ok()) return AboutGuest(message.error().message);
    if (*message) return std::move(**message);
    PP_ASSIGN_OR_RETURN(const auto more, Fill(deadline));
    if (!more) return Silent(patience);
    if (!*more) return Ended();
  }
}

Status QemuMachine::WaitForEnd(const os::Deadline& deadline) {
  const Millis patience = deadline.Left();
  doing_ = "switching off";
  for (;;) {
    PP_ASSIGN_OR_RETURN(const auto more, Fill(deadline));
    if (!more) return Silent(patience);
    if (!*more) break;
  }
  const std::string reason =
      ShutdownReason(qmp_->WaitEvent("SHUTDOWN", os::Deadline::After(kQemuExitMax)));
  PP_ASSIGN_OR_RETURN(const auto exit, process_->Wait(os::Deadline::After(kQemuExitMax)));
  if (!exit) return AboutGuest("QEMU closed its sockets but did not end");
  if (exit->signaled || exit->code != 0) {
    return EnvironmentError(fmt::format("QEMU ended with {}: {}", exit->ToString(), QemuWords()));
  }
  if (const auto panic = FindPanic(ConsoleTail(kConsoleTailBytes))) {
    return AboutGuest(fmt::format("the guest's kernel panicked: {}", *panic));
  }
  if (reason != "guest-shutdown") {
    return AboutGuest(fmt::format("the guest was to switch itself off, but QEMU reports \"{}\"",
                                  reason.empty() ? "nothing" : reason));
  }
  return OkStatus();
}

std::optional<std::string> QemuMachine::Panic() {
  return FindPanic(ConsoleTail(kConsoleTailBytes));
}

Result<std::optional<bool>> QemuMachine::Fill(const os::Deadline& deadline) {
  std::array<uint8_t, 65536> chunk;
  for (;;) {
    // In slices: a kernel that has panicked and does not get to its reboot is not waited for.
    const auto slice = os::Deadline::After(std::min(deadline.Left(), kConsoleCheckInterval));
    PP_ASSIGN_OR_RETURN(const auto n, os::ReadSome(port_.get(), chunk, slice));
    if (n) {
      frames_.Append({chunk.data(), *n});
      return std::optional<bool>(*n > 0);
    }
    if (deadline.Passed()) return std::optional<bool>();
    if (FindPanic(ConsoleTail(kConsoleTailBytes))) {
      PP_ASSIGN_OR_RETURN(const bool closed,
                          os::WaitReadable(port_.get(), os::Deadline::After(kQemuExitMax)));
      if (!closed) return std::optional<bool>(false);
    }
  }
}

Error QemuMachine::Ended() {
  const std::string reason =
      ShutdownReason(qmp_->WaitEvent("SHUTDOWN", os::Deadline::After(kQemuExitMax)));
  const auto exit = process_->Wait(os::Deadline::After(kQemuExitMax));
  if (const auto panic = FindPanic(ConsoleTail(kConsoleTailBytes))) {
    return AboutGuest(fmt::format("the guest's kernel panicked: {}", *panic));
  }
  if (exit.ok() && exit->has_value() && ((*exit)->signaled || (*exit)->code != 0)) {
    return EnvironmentError(fmt::format("QEMU ended with {} while the guest was {}: {}",
                                        (*exit)->ToString(), doing_, QemuWords()));
  }
  if (reason == "guest-reset") {
    return AboutGuest(fmt::format("the guest rebooted while {}", doing_));
  }
  return AboutGuest(fmt::format("the guest switched itself off too early, while {}", doing_));
}

Error QemuMachine::Silent(Millis silence) {
  if (const auto panic = FindPanic(ConsoleTail(kConsoleTailBytes))) {
    return AboutGuest(fmt::format("the guest's kernel panicked: {}", *panic));
  }
  return AboutGuest(
      fmt::format("the guest said nothing for {} ms while {}", silence.count(), doing_));
}

Error QemuMachine::AboutGuest(const std::string& what) {
  std::string message = what;
  const std::string lines = LastLines(ConsoleTail(kConsoleTailBytes), kConsoleLinesShown);
  if (!lines.empty()) {
    message += "\nlast lines of the guest's console:\n" + lines;
  } else if (console_.valid()) {
    message += "\nthe guest's console is empty";
  }
  if (!console_path_.empty()) {
    message += (message.back() == '\n' ? "all of it: " : "\nthe console log: ") + console_path_;
  } else if (message.back() == '\n') {
    message.pop_back();
  }
  return GuestError(message);
}

std::string QemuMachine::ConsoleTail(size_t bytes_max) {
  return console_.valid() ? LastBytes(console_.get(), bytes_max) : std::string();
}

std::string QemuMachine::QemuWords() const {
  std::string words = LastBytes(stderr_.get(), kQemuWordsBytesMax);
  while (!words.empty() && (words.back() == '\n' || words.back() == '\r')) words.pop_back();
  return words;
}

Result<std::unique_ptr<Machine>> StartQemu(const MachineOptions& options) {
  PP_ASSIGN_OR_RETURN(std::unique_ptr<Machine> machine, QemuMachine::Start(options));
  return machine;
}

Result<std::string> QemuVersion() {
  PP_ASSIGN_OR_RETURN(const std::string program, os::FindProgram(kQemuName, kQemuPackage));
  os::SubprocessOptions options;
  options.argv = {program, "--version"};
  PP_ASSIGN_OR_RETURN(const auto output, os::RunProgram(options, kQemuVersionMax));
  if (output.exit.signaled || output.exit.code != 0) {
    return EnvironmentError(
        fmt::format("{} --version ended with {}: {}", program, output.exit.ToString(), output.out));
  }
  return output.out.substr(0, output.out.find('\n'));
}

}  // namespace plugpull::vm
