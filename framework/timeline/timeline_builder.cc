// SPDX-License-Identifier: Apache-2.0
#include "framework/timeline/timeline_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace plugpull::timeline {
namespace {

constexpr std::string_view kNotePrefix = "plugpull:";
constexpr size_t kTableMax = 100'000;  // entries of each table of what is under way

struct FlagName {
  uint64_t flag;
  const char* name;
};
// include/uapi/linux/mount.h
constexpr FlagName kMountFlags[] = {{1, "ro"},
                                    {2, "nosuid"},
                                    {4, "nodev"},
                                    {8, "noexec"},
                                    {16, "sync"},
                                    {128, "dirsync"},
                                    {1024, "noatime"},
                                    {2048, "nodiratime"},
                                    {1 << 21, "relatime"},
                                    {1 << 24, "strictatime"},
                                    {1 << 25, "lazytime"}};
constexpr FlagName kAttributes[] = {{1, "ro"},     {2, "nosuid"},     {4, "nodev"},
                                    {8, "noexec"}, {0x10, "noatime"}, {0x80, "nodiratime"}};
constexpr uint64_t kRemount = 32;
// MS_BIND, MS_MOVE, and the changes of propagation.
constexpr uint64_t kBindOrMove = 4096 | 8192 | (0xfULL << 17);
constexpr int64_t kSetFlag = 0;
constexpr int64_t kSetString = 1;
constexpr int64_t kCreate = 6;
constexpr int64_t kCreateExclusive = 8;

// Texts of protocol buffers are UTF-8; the trace may hold any byte.
std::string Printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kTextBytesMax)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out;
}

void AddOptions(std::string_view data, std::vector<std::string>& options) {
  while (!data.empty()) {
    const size_t end = std::min(data.find(','), data.size());
    if (end > 0) options.push_back(Printable(data.substr(0, end)));
    data.remove_prefix(std::min(end + 1, data.size()));
  }
}

template <size_t N>
std::vector<std::string> FlagOptions(const FlagName (&names)[N], uint64_t flags) {
  std::vector<std::string> options;
  for (const FlagName& flag : names) {
    if ((flags & flag.flag) != 0) options.emplace_back(flag.name);
  }
  return options;
}

std::string Trimmed(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// What a system call returned: an error number, or 0.
int ErrorOf(int64_t value) { return value < 0 && value >= -4095 ? static_cast<int>(-value) : 0; }

}  // namespace

std::string NoteText(const TimelineEvent& event) {
  std::string text(kNotePrefix);
  for (const char c : event.SerializeAsString()) {
    text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  }
  return text;
}

void TimelineBuilder::AddLost(uint64_t events, const std::string& why) {
  if (events == 0) return;
  timeline_.set_lost_events(timeline_.lost_events() + events);
  if (!timeline_.has_lost_reason()) timeline_.set_lost_reason(why);
}

TimelineEvent* TimelineBuilder::Add(const TraceLine& line) {
  static thread_local TimelineEvent dropped;
  if (timeline_.event_size() >= kEventsMax) {
    AddLost(1, fmt::format("a timeline holds {} events", kEventsMax));
    dropped.Clear();
    return &dropped;
  }
  TimelineEvent* event = timeline_.add_event();
  event->set_at_ns(line.at_ns);
  event->set_pid(line.process);
  if (const std::string agent = AgentOf(line); !agent.empty()) event->set_agent(agent);
  return event;
}

std::string TimelineBuilder::AgentOf(const TraceLine& line) const {
  auto found = agent_of_.find(line.thread);
  if (found == agent_of_.end()) found = agent_of_.find(line.process);
  return found == agent_of_.end() ? std::string() : found->second;
}

std::string TimelineBuilder::DiskOf(const std::string& device) const {
  const auto found = disk_of_.find(device);
  return found == disk_of_.end() ? std::string() : found->second;
}

void TimelineBuilder::Acted(const std::string& agent, uint64_t at_ns) {
  if (!agent.empty()) last_action_[agent] = at_ns;
}

uint64_t TimelineBuilder::LastAction(const std::string& agent) const {
  const auto found = last_action_.find(agent);
  return found == last_action_.end() ? 0 : found->second;
}

std::vector<TimelineBuilder::NewMount> TimelineBuilder::TakeNewMounts() {
  return std::exchange(new_mounts_, {});
}

void TimelineBuilder::TakeLine(std::string_view text) {
  if (const auto lost = ParseLost(text)) return AddLost(*lost, "the trace buffer overflowed");
  const auto line = ParseTraceLine(text);
  if (!line) return;
  if (line->event == "tracing_mark_write") return TakeNote(*line);
  if (line->event.starts_with("sys_")) return TakeReturn(*line);
  if (line->event.starts_with("sched_process_")) return TakeProcess(*line);
  if (line->event.starts_with("ext4_")) return TakeFile(*line);
  if (line->event == "console") {
    TimelineEvent* event = Add(*line);
    event->clear_agent();
    event->mutable_kernel_line()->set_text(Printable(line->rest));
    return;
  }
  TakeCall(*line);
}

void TimelineBuilder::TakeNote(const TraceLine& line) {
  if (!line.rest.starts_with(kNotePrefix)) return;
  const std::string_view hex = line.rest.substr(kNotePrefix.size());
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(NumberOf("0x" + std::string(hex.substr(i, 2))));
  }
  TimelineEvent note;
  if (!note.ParseFromString(bytes)) return AddLost(1, "a note of plugpull's own was cut");
  TimelineEvent* event = Add(line);
  const uint64_t at_ns = line.at_ns;
  *event = note;
  event->set_at_ns(at_ns);
  if (note.has_life() &&
      (note.life().kind() == AgentLife::STARTED || note.life().kind() == AgentLife::RESTARTED)) {
    agent_of_[note.pid()] = note.agent();
  }
  if (!note.has_disk()) return;
  if (note.disk().kind() == DiskChange::CONTENT) return;
  std::erase_if(disk_of_, [&](const auto& one) { return one.second == note.disk().disk(); });
  if (note.disk().kind() == DiskChange::DETACHED) return;
  for (const std::string& device : note.disk().device()) disk_of_[device] = note.disk().disk();
}

void TimelineBuilder::MountCalled(const TraceLine& line) {
  const auto fields = FieldsOf(line.rest, {"source", "target", "type", "flags", "data"});
  const auto flags = static_cast<uint64_t>(NumberOf(fields[3].value_or("0")));
  TimelineEvent* event = Add(line);
  MountAttempt& mount = *event->mutable_mount();
  mount.set_source(Printable(fields[0].value_or("")));
  mount.set_target(Printable(fields[1].value_or("")));
  mount.set_type(Printable(fields[2].value_or("")));
  mount.set_flags(flags);
  auto options = FlagOptions(kMountFlags, flags);
  if (fields[4]) AddOptions(*fields[4], options);
  mount.mutable_option()->Assign(options.begin(), options.end());
  mount.set_bind_or_move((flags & kBindOrMove) != 0);
  mount.set_remount((flags & kRemount) != 0);
  mount.set_disk(DiskOf(mount.source()));
  mount.set_error_number(EINPROGRESS);
  Acted(event->agent(), line.at_ns);
  if (timeline_.event_size() < kEventsMax) calls_[line.thread] = timeline_.event_size() - 1;
}

// The kernel's copies of what mount(2) was given.
void TimelineBuilder::PathMountCalled(const TraceLine& line) {
  const auto call = calls_.find(line.thread);
  if (call == calls_.end() || !timeline_.event(call->second).has_mount()) return;
  const auto fields = FieldsOf(line.rest, {"source", "type", "flags", "data"});
  MountAttempt& mount = *timeline_.mutable_event(call->second)->mutable_mount();
  if (fields[0]) mount.set_source(Printable(*fields[0]));
  if (fields[1]) mount.set_type(Printable(*fields[1]));
  auto options = FlagOptions(kMountFlags, mount.flags());
  if (fields[3]) AddOptions(*fields[3], options);
  mount.mutable_option()->Assign(options.begin(), options.end());
  mount.set_disk(DiskOf(mount.source()));
}

void TimelineBuilder::FsConfigCalled(const TraceLine& line) {
  const auto fields = FieldsOf(line.rest, {"fd", "cmd", "key", "value"});
  const FdKey key{line.process, NumberOf(fields[0].value_or("-1"))};
  const auto found = contexts_.find(key);
  if (found == contexts_.end()) return;
  FsContext& context = found->second;
  const int64_t command = NumberOf(fields[1].value_or("-1"));
  const std::string name = Printable(fields[2].value_or("?"));
  if (command == kSetString && name == "source") {
    context.source = Printable(fields[3].value_or(""));
  } else if (command == kSetString) {
    context.options.push_back(name + "=" + Printable(fields[3].value_or("?")));
  } else if (command == kSetFlag) {
    context.options.push_back(name);
  } else if (command == kCreate || command == kCreateExclusive) {
    TimelineEvent* event = Add(line);
    MountAttempt& mount = *event->mutable_mount();
    mount.set_api(MountAttempt::FSCONTEXT);
    mount.set_source(context.source);
    mount.set_type(context.type);
    mount.mutable_option()->Assign(context.options.begin(), context.options.end());
    mount.set_disk(DiskOf(context.source));
    mount.set_error_number(EINPROGRESS);
    Acted(event->agent(), line.at_ns);
    if (timeline_.event_size() >= kEventsMax) return;
    context.event = timeline_.event_size() - 1;
    calls_[line.thread] = *context.event;
    fsconfigs_[line.thread] = key;
  }
}

void TimelineBuilder::TakeCall(const TraceLine& line) {
  if (calls_.size() + contexts_.size() + execs_.size() > kTableMax) {
    return AddLost(1, "more calls were under way than are followed");
  }
  if (line.event == "mount") return MountCalled(line);
  if (line.event == "path_mount") return PathMountCalled(line);
  if (line.event == "fsconfig") return FsConfigCalled(line);
  if (line.event == "umount") {
    const auto fields = FieldsOf(line.rest, {"target", "flags"});
    TimelineEvent* event = Add(line);
    UnmountAttempt& unmount = *event->mutable_unmount();
    unmount.set_target(Printable(fields[0].value_or("")));
    unmount.set_flags(static_cast<uint32_t>(NumberOf(fields[1].value_or("0"))));
    unmount.set_error_number(EINPROGRESS);
    for (const Mounted& mounted : mounted_) {
      if (mounted.target == Trimmed(unmount.target())) unmount.set_disk(mounted.disk);
    }
    Acted(event->agent(), line.at_ns);
    if (timeline_.event_size() < kEventsMax) calls_[line.thread] = timeline_.event_size() - 1;
  } else if (line.event == "fsopen") {
    fsopens_[line.thread] = Printable(FieldsOf(line.rest, {"type"})[0].value_or(""));
  } else if (line.event == "fsmount") {
    const auto fields = FieldsOf(line.rest, {"fd", "attr"});
    const FdKey key{line.process, NumberOf(fields[0].value_or("-1"))};
    fsmounts_[line.thread] = key;
    const auto context = contexts_.find(key);
    if (context == contexts_.end() || !context->second.event) return;
    MountAttempt& mount = *timeline_.mutable_event(*context->second.event)->mutable_mount();
    const auto attributes = static_cast<uint64_t>(NumberOf(fields[1].value_or("0")));
    for (std::string& option : FlagOptions(kAttributes, attributes)) {
      mount.add_option(std::move(option));
    }
  } else if (line.event == "move_mount") {
    const auto fields = FieldsOf(line.rest, {"fd", "target"});
    const auto mount = detached_mounts_.find({line.process, NumberOf(fields[0].value_or("-1"))});
    if (mount == detached_mounts_.end()) return;
    moves_[line.thread] = {mount->second, Printable(fields[1].value_or(""))};
  } else if (line.event == "execve") {
    std::vector<std::string> keys = {"path"};
    for (int i = 0; i < kArgumentsMax; ++i) {
      keys.push_back(fmt::format("p{}", i));
      keys.push_back(fmt::format("a{}", i));
    }
    const auto fields = FieldsOf(line.rest, keys);
    std::vector<std::string> argv;
    for (size_t i = 1; i + 1 < fields.size() && NumberOf(fields[i].value_or("0")) != 0; i += 2) {
      argv.push_back(Printable(fields[i + 1].value_or("?")));
    }
    execs_[line.thread] = {Printable(fields[0].value_or("")), std::move(argv)};
  } else if (line.event == "open") {
    const auto fields = FieldsOf(line.rest, {"path", "flags"});
    const std::string disk = DiskOf(fields[0].value_or(""));
    if (disk.empty() || AgentOf(line).empty()) return;
    OpenForWrite& open = *Add(line)->mutable_open_for_write();
    open.set_path(Printable(*fields[0]));
    open.set_disk(disk);
    Acted(AgentOf(line), line.at_ns);
  } else if (line.event == "fill") {
    const auto fields = FieldsOf(line.rest, {"ret"});
    const auto call = calls_.find(line.thread);
    SuperblockFill& fill = *Add(line)->mutable_superblock();
    fill.set_error_number(ErrorOf(static_cast<int32_t>(NumberOf(fields[0].value_or("0")))));
    if (call != calls_.end() && timeline_.event(call->second).has_mount()) {
      fill.set_disk(timeline_.event(call->second).mount().disk());
    }
  }
}

void TimelineBuilder::MountReturned(int event, uint64_t at_ns, int error_number) {
  MountAttempt& mount = *timeline_.mutable_event(event)->mutable_mount();
  mount.set_end_ns(at_ns);
  mount.set_error_number(error_number);
  Acted(timeline_.event(event).agent(), at_ns);
  const bool complete = mount.api() == MountAttempt::MOUNT || !mount.target().empty();
  if (error_number != 0 || mount.disk().empty() || mount.bind_or_move() || mount.remount() ||
      !complete) {
    return;
  }
  mounted_.push_back({Trimmed(mount.target()), mount.disk(), timeline_.event(event).agent()});
  new_mounts_.push_back({mount.disk(), mount.target(), timeline_.event(event).pid()});
}

void TimelineBuilder::UnmountReturned(int event, uint64_t at_ns, int error_number) {
  UnmountAttempt& unmount = *timeline_.mutable_event(event)->mutable_unmount();
  unmount.set_end_ns(at_ns);
  unmount.set_error_number(error_number);
  Acted(timeline_.event(event).agent(), at_ns);
  if (error_number != 0) return;
  const std::string target = Trimmed(unmount.target());
  for (size_t i = mounted_.size(); i > 0; --i) {
    if (mounted_[i - 1].target != target) continue;
    mounted_.erase(mounted_.begin() + static_cast<std::ptrdiff_t>(i - 1));
    return;
  }
}

void TimelineBuilder::TakeReturn(const TraceLine& line) {
  const int64_t value = NumberOf(line.rest);
  const int error_number = ErrorOf(value);
  const auto take = [&line](auto& table) {
    const auto found = table.find(line.thread);
    std::optional<std::remove_cvref_t<decltype(found->second)>> taken;
    if (found == table.end()) return taken;
    taken = std::move(found->second);
    table.erase(found);
    return taken;
  };
  if (line.event == "sys_mount" || line.event == "sys_umount") {
    const auto event = take(calls_);
    if (!event) return;
    if (timeline_.event(*event).has_mount()) return MountReturned(*event, line.at_ns, error_number);
    UnmountReturned(*event, line.at_ns, error_number);
  } else if (line.event == "sys_fsopen") {
    const auto type = take(fsopens_);
    if (type && value >= 0) contexts_[{line.process, value}] = {*type, "", {}, std::nullopt};
  } else if (line.event == "sys_fsconfig") {
    if (!take(fsconfigs_)) return;
    if (const auto event = take(calls_)) MountReturned(*event, line.at_ns, error_number);
  } else if (line.event == "sys_fsmount") {
    const auto key = take(fsmounts_);
    if (!key) return;
    const auto context = contexts_.find(*key);
    if (context == contexts_.end() || !context->second.event) return;
    if (value >= 0) detached_mounts_[{line.process, value}] = *context->second.event;
    contexts_.erase(context);
  } else if (line.event == "sys_move_mount") {
    const auto move = take(moves_);
    if (!move) return;
    timeline_.mutable_event(move->first)->mutable_mount()->set_target(move->second);
    MountReturned(move->first, line.at_ns, error_number);
  }
}

void TimelineBuilder::Program(const TraceLine& line) {
  const auto called = execs_.find(line.thread);
  if (AgentOf(line).empty()) {
    if (called != execs_.end()) execs_.erase(called);
    return;
  }
  TimelineEvent* event = Add(line);
  ProgramRun& program = *event->mutable_program();
  const auto fields = FieldsOf(line.rest, {"filename", "pid", "old_pid"});
  program.set_path(Printable(fields[0].value_or("")));
  if (called != execs_.end()) {
    program.mutable_argv()->Assign(called->second.second.begin(), called->second.second.end());
    execs_.erase(called);
  }
  for (const auto& [device, disk] : disk_of_) {
    const bool named =
        std::any_of(program.argv().begin(), program.argv().end(), [&](const std::string& word) {
          return word == device || (device.starts_with("/dev/") && word.ends_with("=" + device));
        });
    if (named && std::count(program.disk().begin(), program.disk().end(), disk) == 0) {
      program.add_disk(disk);
    }
  }
  Acted(event->agent(), line.at_ns);
  if (timeline_.event_size() < kEventsMax) running_[line.process] = timeline_.event_size() - 1;
}

void TimelineBuilder::TakeProcess(const TraceLine& line) {
  if (line.event == "sched_process_exec") return Program(line);
  if (line.event == "sched_process_fork") {
    const auto fields = FieldsOf(line.rest, {"comm", "pid", "child_comm", "child_pid"});
    const std::string agent = AgentOf(line);
    const auto child = static_cast<uint32_t>(NumberOf(fields[3].value_or("0")));
    if (agent.empty()) {
      agent_of_.erase(child);
    } else {
      agent_of_[child] = agent;
    }
    return;
  }
  if (line.event != "sched_process_exit") return;
  calls_.erase(line.thread);
  execs_.erase(line.thread);
  if (line.thread == line.process) {
    const auto running = running_.find(line.process);
    if (running != running_.end()) {
      timeline_.mutable_event(running->second)->mutable_program()->set_end_ns(line.at_ns);
      running_.erase(running);
    }
    std::erase_if(contexts_, [&](const auto& one) { return one.first.first == line.process; });
    std::erase_if(detached_mounts_,
                  [&](const auto& one) { return one.first.first == line.process; });
  }
  agent_of_.erase(line.thread);
}

// "dev 254,0 ino 12 ...".
void TimelineBuilder::TakeFile(const TraceLine& line) {
  const std::string agent = AgentOf(line);
  if (agent.empty() || !line.rest.starts_with("dev ")) return;
  std::string device(line.rest.substr(4, line.rest.find(' ', 4) - 4));
  std::replace(device.begin(), device.end(), ',', ':');
  const std::string disk = DiskOf(device);
  const size_t ino = line.rest.find(" ino ");
  if (disk.empty() || ino == std::string_view::npos) return;
  const auto inode = static_cast<uint64_t>(NumberOf(line.rest.substr(ino + 5)));
  if (line.event == "ext4_allocate_inode") {
    made_.insert({agent, {device, inode}});
  } else if (line.event == "ext4_unlink_enter" && made_.erase({agent, {device, inode}}) == 0) {
    FileRemoved& removed = *Add(line)->mutable_removed();
    removed.set_disk(disk);
    removed.set_inode(inode);
  }
}

void TimelineBuilder::NamespaceEnded(const std::string& agent, uint64_t at_ns) {
  TraceLine line;
  line.at_ns = at_ns;
  for (size_t i = mounted_.size(); i > 0; --i) {
    const Mounted mounted = mounted_[i - 1];
    if (mounted.agent != agent) continue;
    TimelineEvent* event = Add(line);
    event->mutable_unmount()->set_target(mounted.target);
    event->mutable_unmount()->set_disk(mounted.disk);
    event->mutable_unmount()->set_end_ns(at_ns);
    mounted_.erase(mounted_.begin() + static_cast<std::ptrdiff_t>(i - 1));
  }
}

Timeline TimelineBuilder::Finish(uint64_t begin_ns, uint64_t end_ns) {
  timeline_.set_format_version(1);
  timeline_.set_begin_ns(begin_ns);
  timeline_.set_end_ns(end_ns);
  timeline_.set_lost_events(timeline_.lost_events());
  for (TimelineEvent& event : *timeline_.mutable_event()) {
    if (event.has_program() && event.program().end_ns() == 0) {
      event.mutable_program()->set_end_ns(end_ns);
    }
    if (event.has_mount() && event.mount().end_ns() == 0) event.mutable_mount()->set_end_ns(end_ns);
  }
  std::stable_sort(
      timeline_.mutable_event()->begin(), timeline_.mutable_event()->end(),
      [](const TimelineEvent& a, const TimelineEvent& b) { return a.at_ns() < b.at_ns(); });
  return std::move(timeline_);
}

}  // namespace plugpull::timeline
