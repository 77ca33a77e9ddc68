// SPDX-License-Identifier: Apache-2.0
// Lines of the kernel's trace as trace_pipe prints them, with the option record-tgid, and the
// probes that they come from. Tried with 6.1 and 6.12, on x86-64.
// Sources: kernel/trace/trace_output.c, Documentation/trace/ftrace.rst and kprobetrace.rst.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plugpull::timeline {

inline constexpr int kArgumentsMax = 12;  // of a program that are recorded

struct Probe {
  std::string definition;  // a line for kprobe_events
  std::string name;        // of the event, in the group "plugpull"
  std::string filter;      // empty: none
  bool needed = true;      // false: older kernels lack the function
};

// System calls are probed at their entry, where their arguments are in the saved registers
// (arch/x86/include/asm/syscall_wrapper.h). What the caller's pages do not hold at that moment
// reads "(fault)"; path_mount and do_filp_open have the kernel's own copies.
std::vector<Probe> Probes();

// Events of the kernel's own, as folders of tracefs' `events`.
std::vector<std::string> TraceEvents();

struct TraceLine {
  uint32_t thread = 0;
  uint32_t process = 0;    // thread group; the thread itself where the kernel did not know
  uint64_t at_ns = 0;      // in steps of a microsecond
  std::string_view event;  // "mount", "sched_process_fork", "sys_mount" of "sys_mount -> 0x0"
  std::string_view rest;   // behind "event: ", or behind "-> "
};

// Nothing for what is no such line: headings, the second line of a text with line breaks.
std::optional<TraceLine> ParseTraceLine(std::string_view line);

// n of "CPU:1 [LOST 12 EVENTS]".
std::optional<uint64_t> ParseLost(std::string_view line);

// Values of `keys`, in the order in which the event prints them, without their quotes; "(fault)"
// becomes nothing, and so does a key that is not there.
std::vector<std::optional<std::string>> FieldsOf(std::string_view rest,
                                                 const std::vector<std::string>& keys);

// A number as the trace prints it: "42", "0x2a", "-1". 0 for what is none.
int64_t NumberOf(std::string_view text);

}  // namespace plugpull::timeline
