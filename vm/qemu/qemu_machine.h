// SPDX-License-Identifier: Apache-2.0
// A machine that is a QEMU process. Nothing of it is left when the owner ends, however it ends:
// sockets have no names, disks are the owner's descriptors, and the kernel kills QEMU with the
// thread that started it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "framework/os/stream.h"
#include "framework/os/subprocess.h"
#include "vm/framing.h"
#include "vm/machine.h"
#include "vm/qemu/qemu_disks.h"
#include "vm/qmp/qmp.h"

namespace plugpull::vm {

class QemuMachine : public Machine {
 public:
  // Starts QEMU and waits until its QMP server answers; the guest boots meanwhile. An environment
  // error with QEMU's own words when it does not start.
  static Result<std::unique_ptr<QemuMachine>> Start(const MachineOptions& options);
  ~QemuMachine() override = default;

  Result<Hello> WaitForHello(const os::Deadline& deadline) override;
  Status Send(const GuestRequest& request) override;
  Result<GuestMessage> Receive(const os::Deadline& deadline) override;
  Status WaitForEnd(const os::Deadline& deadline) override;
  std::optional<std::string> Panic() override;
  DiskControl* disk_control() override { return &*disks_; }

  pid_t pid() const { return process_->pid(); }
  QmpClient& qmp() { return *qmp_; }

 private:
  QemuMachine() = default;

  // Waits for bytes from the guest. False when QEMU closed the port; nothing at the deadline.
  Result<std::optional<bool>> Fill(const os::Deadline& deadline);
  // Why the guest is no longer there.
  Error Ended();
  // Nobody spoke for `silence`.
  Error Silent(Millis silence);
  // `what`, the last lines of the console, and where the rest is.
  Error AboutGuest(const std::string& what);
  // The last part of the console, at most `bytes_max`.
  std::string ConsoleTail(size_t bytes_max);
  // QEMU's stderr.
  std::string QemuWords() const;

  // Destroyed from the last to the first: QEMU is dead before the terminal is put back.
  std::optional<os::TerminalGuard> terminal_;
  os::Fd console_;  // for reading; not valid when interactive
  std::string console_path_;
  os::Fd stderr_;
  os::Fd port_;
  FrameReader frames_;
  std::string doing_ = "booting";
  std::optional<QmpClient> qmp_;
  std::optional<QemuDisks> disks_;  // over qmp_
  std::optional<os::Subprocess> process_;
};

// QemuMachine::Start as a MachineFactory.
Result<std::unique_ptr<Machine>> StartQemu(const MachineOptions& options);

// "QEMU emulator version 7.2.22 (...)".
Result<std::string> QemuVersion();

}  // namespace plugpull::vm
