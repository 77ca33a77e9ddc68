// SPDX-License-Identifier: Apache-2.0
#include <csignal>

#include "framework/cli/commands.h"

int main(int argc, char** argv) {
  // A shell starts its background jobs with these ignored (POSIX, Shell Command Language, 2.11), so
  // that ^C does not reach them. A run that cannot be interrupted is worse: its guests go on. What
  // is ended so leaves none of them behind, for they end with it.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGQUIT, SIG_DFL);
  return plugpull::cli::Main(argc, argv);
}
