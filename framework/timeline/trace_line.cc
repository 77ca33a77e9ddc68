// SPDX-License-Identifier: Apache-2.0
#include "framework/timeline/trace_line.h"

#include <fmt/format.h>

#include <charconv>

namespace plugpull::timeline {
namespace {

// Of struct pt_regs (arch/x86/include/asm/ptrace.h); a system call's arguments in their order.
constexpr int kArgument[] = {112, 104, 96, 56, 72, 64};

std::string Text(const char* name, int argument) {
  return fmt::format("{}=+0(+{}(%di)):ustring", name, kArgument[argument]);
}
std::string Word(const char* name, int argument, const char* type) {
  return fmt::format("{}=+{}(%di):{}", name, kArgument[argument], type);
}

Probe Entry(const std::string& name, const std::string& call, const std::string& fields,
            bool needed) {
  return {fmt::format("p:plugpull/{} __x64_sys_{} {}", name, call, fields), name, "", needed};
}

std::string ExecFields() {
  std::string fields = Text("path", 0);
  for (int i = 0; i < kArgumentsMax; ++i) {
    fields += fmt::format(" p{}=+u{}(+{}(%di)):x64 a{}=+0(+u{}(+{}(%di))):ustring", i, 8 * i,
                          kArgument[1], i, 8 * i, kArgument[1]);
  }
  return fields;
}

bool TakeNumber(std::string_view text, uint64_t& number) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && !text.empty();
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

std::vector<Probe> Probes() {
  return {
      Entry("mount", "mount",
            Text("source", 0) + " " + Text("target", 1) + " " + Text("type", 2) + " " +
                Word("flags", 3, "x64") + " " + Text("data", 4),
            true),
      {"p:plugpull/path_mount path_mount source=+0(%di):string type=+0(%dx):string flags=%cx:x64 "
       "data=+0(%r8):string",
       "path_mount", "", false},
      Entry("umount", "umount", Text("target", 0) + " " + Word("flags", 1, "x32"), true),
      Entry("fsopen", "fsopen", Text("type", 0), false),
      Entry("fsconfig", "fsconfig",
            Word("fd", 0, "s32") + " " + Word("cmd", 1, "u32") + " " + Text("key", 2) + " " +
                Text("value", 3),
            false),
      Entry("fsmount", "fsmount", Word("fd", 0, "s32") + " " + Word("attr", 2, "x32"), false),
      Entry("move_mount", "move_mount", Word("fd", 0, "s32") + " " + Text("target", 3), false),
      Entry("execve", "execve", ExecFields(), true),
      {"p:plugpull/open do_filp_open path=+0(+0(%si)):string flags=+0(%dx):x32", "open",
       "(flags & 3) && path ~ \"/dev/*\"", true},
      {"r64:plugpull/fill ext4_fill_super ret=$retval:s64", "fill", "", false},
  };
}

std::vector<std::string> TraceEvents() {
  return {"syscalls/sys_exit_mount",   "syscalls/sys_exit_umount",
          "syscalls/sys_exit_fsopen",  "syscalls/sys_exit_fsconfig",
          "syscalls/sys_exit_fsmount", "syscalls/sys_exit_move_mount",
          "sched/sched_process_exec",  "sched/sched_process_fork",
          "sched/sched_process_exit",  "printk/console",
          "ext4/ext4_unlink_enter",    "ext4/ext4_allocate_inode"};
}

std::optional<TraceLine> ParseTraceLine(std::string_view line) {
  if (line.empty() || line.front() == '#') return std::nullopt;
  const size_t cpu = line.find(") [");
  if (cpu == std::string_view::npos) return std::nullopt;
  const size_t open = line.rfind('(', cpu);
  if (open == std::string_view::npos) return std::nullopt;
  const std::string_view task = Trimmed(line.substr(0, open));
  const size_t dash = task.rfind('-');
  uint64_t thread = 0;
  if (dash == std::string_view::npos || !TakeNumber(task.substr(dash + 1), thread)) {
    return std::nullopt;
  }
  TraceLine parsed;
  parsed.thread = static_cast<uint32_t>(thread);
  uint64_t process = 0;
  const bool known = TakeNumber(Trimmed(line.substr(open + 1, cpu - open - 1)), process);
  parsed.process = static_cast<uint32_t>(known ? process : thread);
  const size_t flags = line.find("] ", cpu);
  const size_t stop = flags == std::string_view::npos ? flags : line.find(": ", flags);
  if (stop == std::string_view::npos) return std::nullopt;
  std::string_view stamp = Trimmed(line.substr(flags + 2, stop - flags - 2));
  stamp.remove_prefix(stamp.rfind(' ') == std::string_view::npos ? 0 : stamp.rfind(' ') + 1);
  const size_t dot = stamp.find('.');
  uint64_t seconds = 0;
  uint64_t micros = 0;
  if (dot == std::string_view::npos || !TakeNumber(stamp.substr(0, dot), seconds) ||
      !TakeNumber(stamp.substr(dot + 1), micros)) {
    return std::nullopt;
  }
  parsed.at_ns = (seconds * 1'000'000 + micros) * 1000;
  const std::string_view what = line.substr(stop + 2);
  const size_t arrow = what.find(" -> ");
  const size_t colon = what.find(": ");
  if (arrow < colon) {
    parsed.event = what.substr(0, arrow);
    parsed.rest = what.substr(arrow + 4);
  } else if (colon != std::string_view::npos) {
    parsed.event = what.substr(0, colon);
    parsed.rest = what.substr(colon + 2);
  } else {
    return std::nullopt;
  }
  return parsed;
}

std::optional<uint64_t> ParseLost(std::string_view line) {
  const size_t at = line.find("[LOST ");
  if (!line.starts_with("CPU:") || at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = line.substr(at + 6);
  uint64_t lost = 0;
  const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), lost);
  return parsed.ec == std::errc() ? std::max<uint64_t>(lost, 1) : 1;
}

std::vector<std::optional<std::string>> FieldsOf(std::string_view rest,
                                                 const std::vector<std::string>& keys) {
  std::vector<std::optional<std::string>> values(keys.size());
  std::vector<size_t> begins(keys.size(), std::string_view::npos);
  size_t from = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::string word = keys[i] + "=";
    size_t at = rest.find(word, from);
    while (at != std::string_view::npos && at > 0 && rest[at - 1] != ' ') {
      at = rest.find(word, at + 1);
    }
    if (at == std::string_view::npos) continue;
    begins[i] = at;
    from = at + word.size();
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    if (begins[i] == std::string_view::npos) continue;
    size_t end = rest.size();
    for (size_t k = keys.size(); k > i + 1; --k) {
      if (begins[k - 1] != std::string_view::npos) end = begins[k - 1];
    }
    const size_t begin = begins[i] + keys[i].size() + 1;
    std::string_view value = Trimmed(rest.substr(begin, end - begin));
    if (value == "(fault)") continue;
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    values[i] = std::string(value);
  }
  return values;
}

int64_t NumberOf(std::string_view text) {
  const bool negative = text.starts_with("-");
  if (negative) text.remove_prefix(1);
  const bool hex = text.starts_with("0x");
  if (hex) text.remove_prefix(2);
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number, hex ? 16 : 10);
  const auto value = static_cast<int64_t>(number);
  return negative ? -value : value;
}

}  // namespace plugpull::timeline
