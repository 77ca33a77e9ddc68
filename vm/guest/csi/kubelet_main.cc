// SPDX-License-Identifier: Apache-2.0
// plugpull-kubelet: calls CSI node plugins in a guest as PID 1 says. Of no use by itself.
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "vm/guest/csi/kubelet.h"

int main() {
  if (::isatty(STDIN_FILENO) == 1) {
    std::fputs("plugpull-kubelet is started by PID 1 of plugpull's virtual machines\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const auto served = plugpull::csi::RunKubelet(STDIN_FILENO, STDOUT_FILENO);
  if (served.ok()) return 0;
  std::fprintf(stderr, "plugpull-kubelet: %s\n", served.error().ToString().c_str());
  return 3;
}
