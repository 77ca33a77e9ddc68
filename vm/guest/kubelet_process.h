// SPDX-License-Identifier: Apache-2.0
// plugpull-kubelet as a child of PID 1: outside every agent's control group, so that what it does
// is nobody's. Guest only; one thread.
#pragma once

#include <sys/types.h>

#include <memory>
#include <vector>

#include "framework/base/result.h"
#include "framework/os/fd.h"
#include "framework/proto/guest.pb.h"
#include "vm/framing.h"

namespace plugpull::guest {

class KubeletProcess {
 public:
  // A user error when the guest does not have the program.
  static Result<std::unique_ptr<KubeletProcess>> Start();
  KubeletProcess(const KubeletProcess&) = delete;
  // Kills it.
  ~KubeletProcess();

  Status Send(const KubeletCommand& command);
  // What it has reported since; does not wait.
  Result<std::vector<KubeletReport>> Read();
  pid_t pid() const { return pid_; }
  int fd() const { return reports_.get(); }
  // It has ended by itself, which it should not.
  void Ended() { pid_ = -1; }

 private:
  KubeletProcess() = default;

  pid_t pid_ = -1;
  os::Fd commands_;
  os::Fd reports_;
  vm::FrameReader frames_;
};

}  // namespace plugpull::guest
