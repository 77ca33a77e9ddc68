// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/state_command.h"

#include <fmt/format.h>

#include "framework/oracle/kernel_mount.h"

namespace plugpull::oracle {
namespace {

constexpr size_t kOutputShown = 1000;  // bytes, the last ones
constexpr size_t kKernelLinesShown = 8;
constexpr int kCannotExecute = 126;  // sh(1)
constexpr int kNotFound = 127;

std::string LastOutput(const std::string& output) {
  std::string text = output;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.empty()) return "it printed nothing";
  if (text.size() > kOutputShown) {
    text.erase(0, text.size() - kOutputShown);
    // From a whole line on, where there is one.
    if (const size_t end = text.find('\n'); end != std::string::npos) text.erase(0, end + 1);
  }
  return "it printed:\n" + text;
}

}  // namespace

CommandVerdict JudgeCommand(const MountSeen& seen) {
  if (seen.end == MountSeen::End::kPanicked) {
    return {Outcome::kViolated, "the kernel panics on the state: " + seen.words};
  }
  if (seen.end == MountSeen::End::kLost) return {Outcome::kUnknown, seen.words};
  const StateReport& report = seen.report;
  if (const auto trouble = GuestTrouble(report)) return {Outcome::kUnknown, *trouble};
  if (report.mount_error() != 0) {
    return {Outcome::kViolated,
            fmt::format("the kernel does not mount the state ({}), so the checker has nothing to "
                        "look at; the kernel logged:\n{}",
                        ErrnoName(report.mount_error()), KernelLines(report, kKernelLinesShown))};
  }
  if (!report.command_ran()) {
    return {Outcome::kUnknown, "the checker was not started: " + report.command_problem()};
  }
  const std::string said = LastOutput(report.command_output());
  if (report.command_timed_out()) {
    return {Outcome::kUnknown,
            "the checker did not end in time (timeout_ms of the check's command); " + said};
  }
  const int status = report.command_status();
  if (status == 0) return {Outcome::kHolds, {}};
  if (status == kCannotExecute || status == kNotFound) {
    return {Outcome::kUnknown,
            fmt::format("the checker ended with {}, as a shell does that cannot run a program (is "
                        "it listed under guest.program?); {}",
                        status, said)};
  }
  return {Outcome::kViolated, fmt::format("the checker ended with {}; {}", status, said)};
}

}  // namespace plugpull::oracle
