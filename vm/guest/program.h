// SPDX-License-Identifier: Apache-2.0
// Runs a program of a scenario, and reaps what programs leave behind.
// One thread, which must live as long as the program does.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::guest {

inline constexpr Bytes kOutputTailMax{64u << 10};
// Thirty days: of a clock that is warped an hour may be seconds.
inline constexpr Millis kProgramTimeoutMax{2'592'000'000};

// The last bytes of a stream of any length.
class Tail {
 public:
  explicit Tail(Bytes size_max) : size_max_(size_max.value) {}
  void Append(std::string_view data);
  std::string Take();

 private:
  size_t size_max_;
  std::string text_;
};

struct ProgramOutcome {
  int exit_status = 0;  // or 128 + signal
  bool timed_out = false;
  std::string output;  // the last kOutputTailMax bytes of stdout and stderr together
};

// Runs it to its end, or kills it and its process group at the timeout. Whatever it started and
// left running stays running, with nobody reading its output. argv[0] without a slash is looked
// up on PATH. `folder`: where it runs; empty: here. `meanwhile`, where there is one, is called
// every few milliseconds until it ends. An environment error when it cannot be started, a user
// error for an empty argv or a timeout out of bounds.
Result<ProgramOutcome> RunGuestCommand(const std::vector<std::string>& argv,
                                       const std::vector<std::string>& environment, Millis timeout,
                                       const std::string& folder = {},
                                       const std::function<void()>& meanwhile = {});

// Is told of every child that ReapOrphans reaps, with its status as waitpid(2) gives it.
void SetOrphanSink(std::function<void(pid_t, int)> sink);

// Reaps ended children other than `keep` (-1: none): PID 1 inherits every orphan.
void ReapOrphans(pid_t keep);

}  // namespace plugpull::guest
