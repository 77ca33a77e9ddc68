// SPDX-License-Identifier: Apache-2.0
// The command line that the reference agent and the broken ones share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "vm/guest/agents/decisions.h"

namespace plugpull::agents {

// Exit statuses.
inline constexpr int kExitMounted = 0;    // every volume is as it should be
inline constexpr int kExitGivenUp = 1;    // one was given up, the rest is mounted
inline constexpr int kExitUsage = 2;      // the command line or the configuration is wrong
inline constexpr int kExitTrouble = 3;    // its state, its lock or /proc cannot be used
inline constexpr int kExitUnsettled = 4;  // something is waited for: a disk, or the next attempt
inline constexpr int kExitBusy = 5;       // of `unmount`: a volume is still mounted

struct CommandLine {
  enum class Verb { kRun, kSettle, kOnce, kUnmount, kReset, kStatus };
  Verb verb = Verb::kStatus;
  std::string config;                // path
  std::vector<std::string> serials;  // of unmount and reset; empty: all volumes
};

// A user error when the words make no sense.
Result<CommandLine> ParseCommandLine(const std::vector<std::string>& words);

// What it does, for --help and for errors.
std::string Usage(std::string_view program);

// Runs the agent with these decisions on the machine. The exit status.
int RunAgent(const std::string& program, const std::vector<std::string>& words,
             const Decisions& decisions);

}  // namespace plugpull::agents
