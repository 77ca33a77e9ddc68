// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/agents.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

#include "framework/base/rpc_code.h"
#include "framework/os/file.h"
#include "framework/os/subprocess.h"
#include "vm/csi_paths.h"
#include "vm/guest/boot.h"
#include "vm/guest/program.h"
#include "vm/machine.h"

namespace plugpull::guest {
namespace {

constexpr char kCgroups[] = "/sys/fs/cgroup";
constexpr size_t kAgentsMax = 16;
constexpr size_t kAlertBytesMax = 300;
constexpr size_t kLineBytesMax = 1 << 16;
constexpr uint64_t kMillisecondNs = 1'000'000;
constexpr uint64_t kStopNs = 5'000 * kMillisecondNs;
// How long an end or a count of bytes may go unnoticed that no trace tells of. Short while
// something happens: a warped clock jumps to the next timer whenever a program waits for a disk,
// and this is the timer that is always there. Long where every request wakes us.
constexpr uint64_t kPauseMinNs = 2 * kMillisecondNs;
constexpr uint64_t kPauseNs = 500 * kMillisecondNs;
constexpr uint64_t kPauseWarpedNs = 10'000 * kMillisecondNs;
constexpr uint64_t kSpinNs = kMillisecondNs;
constexpr Bytes kSmallFileMax(1 << 20);
constexpr int kNotStarted = 127;
constexpr int kGroupsMax = 100'000;  // folders and files below an agent's control group

std::string GroupOf(const std::string& agent) {
  return fmt::format("{}/agent-{}", kCgroups, agent);
}

// Before anything is observed: it is no agent's mount.
Status MountCgroups() {
  if (::mount("cgroup2", kCgroups, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, "") != 0 &&
      errno != EBUSY) {
    return EnvironmentError(
        fmt::format("cannot mount cgroup2 on {}: {}", kCgroups, os::ErrnoText(errno)));
  }
  return OkStatus();
}

Status MakeGroup(const std::string& agent) {
  if (::mkdir(GroupOf(agent).c_str(), 0755) != 0 && errno != EEXIST) {
    return EnvironmentError(
        fmt::format("cannot make {}: {}", GroupOf(agent), os::ErrnoText(errno)));
  }
  return OkStatus();
}

// Those in groups that the agent has made below its own (a service manager does) are its, too.
std::vector<pid_t> ProcessesOf(const std::string& agent) {
  std::vector<pid_t> pids;
  const auto add = [&pids](const std::string& group) {
    const auto text = os::ReadFile(group + "/cgroup.procs", kSmallFileMax);
    if (!text.ok()) return;
    std::istringstream lines(*text);
    for (pid_t pid = 0; lines >> pid;) pids.push_back(pid);
  };
  add(GroupOf(agent));
  std::error_code error;
  std::filesystem::recursive_directory_iterator folder(GroupOf(agent), error);
  for (int i = 0; !error && i < kGroupsMax && folder != decltype(folder)(); ++i) {
    if (folder->is_directory(error)) add(folder->path());
    folder.increment(error);
  }
  return pids;
}

Status Join(const std::string& agent, pid_t pid) {
  const std::string path = GroupOf(agent) + "/cgroup.procs";
  const os::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string text = std::to_string(pid);
  if (fd.valid() && ::write(fd.get(), text.data(), text.size()) > 0) return OkStatus();
  return EnvironmentError(fmt::format("cannot write to {}: {}", path, os::ErrnoText(errno)));
}

int SignalNumber(const std::string& name) {
  if (name == "INT") return SIGINT;
  if (name == "HUP") return SIGHUP;
  return name == "KILL" ? SIGKILL : SIGTERM;
}

// In the child: waits until it is in its group, then becomes the agent. Only calls that are safe
// behind fork.
[[noreturn]] void BecomeAgent(int go, int output, bool own_mounts, char* const* argv,
                              char* const* environment) {
  char byte = 0;
  if (::read(go, &byte, 1) != 1) ::_exit(kNotStarted);
  ::setsid();
  ::signal(SIGPIPE, SIG_DFL);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, 0);
  ::dup2(output, 1);
  ::dup2(output, 2);
  if (own_mounts && (::unshare(CLONE_NEWNS) != 0 ||
                     ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)) {
    ::_exit(kNotStarted);
  }
  ::execve(argv[0], argv, environment);
  ::_exit(kNotStarted);
}

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> EnvironmentOf(const AgentStep& step) {
  std::vector<std::string> words(step.environment().begin(), step.environment().end());
  for (char** word = environ; *word != nullptr; ++word) {
    const std::string_view text(*word);
    const std::string_view name = text.substr(0, text.find('=') + 1);
    const bool replaced =
        std::any_of(step.environment().begin(), step.environment().end(),
                    [&](const std::string& one) { return one.starts_with(name); });
    if (!replaced) words.emplace_back(text);
  }
  return words;
}

}  // namespace

bool ClockIsWarped() {
  static const bool warped = [] {
    const auto line = os::ReadFile("/proc/cmdline", kSmallFileMax);
    return line.ok() && line->find(vm::kWarpedArgument) != std::string::npos;
  }();
  return warped;
}

Agents::~Agents() { SetOrphanSink({}); }

Status Agents::Note(TimelineEvent event) {
  if (!observer_) {
    PP_RETURN_IF_ERROR(MountCgroups());
    PP_ASSIGN_OR_RETURN(observer_, Observer::Start());
    if (ClockIsWarped()) PP_RETURN_IF_ERROR(observer_->WatchRequests());
    SetOrphanSink([this](pid_t pid, int status) { Ended(pid, status); });
  }
  if (event.disk().kind() == DiskChange::DETACHED) {
    observer_->Forget(event.disk().disk());
    disks_[event.disk().disk()].path.clear();
  }
  PP_ASSIGN_OR_RETURN([[maybe_unused]] const bool came, observer_->Drain());
  return observer_->Note(event);
}

Status Agents::NoteAttached(TimelineEvent event, const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return EnvironmentError(fmt::format("cannot look at {}: {}", path, os::ErrnoText(errno)));
  }
  const std::string number = fmt::format("{}:{}", major(status.st_rdev), minor(status.st_rdev));
  std::error_code error;
  const std::string name =
      std::filesystem::read_symlink("/sys/dev/block/" + number, error).filename().string();
  DiskChange& change = *event.mutable_disk();
  change.add_device(path);
  if (!name.empty() && path != "/dev/" + name) change.add_device("/dev/" + name);
  change.add_device(number);
  PP_RETURN_IF_ERROR(Note(event));
  observer_->Count(change.disk(), name);
  disks_[change.disk()] = {change.serial(), path};
  return OkStatus();
}

Result<Agents::Agent*> Agents::Find(const std::string& name) {
  const auto found = agents_.find(name);
  if (found == agents_.end()) {
    return UserError(fmt::format("no agent \"{}\" was started before", name));
  }
  return found->second.get();
}

Status Agents::Start(const AgentStep& step) {
  if (!observer_) return InternalError("an agent is started before the timeline begins");
  if (const auto found = agents_.find(step.name()); found != agents_.end()) {
    if (found->second->pid >= 0 || found->second->start_again_ns) {
      return UserError(
          fmt::format("agent {} runs already; stop it first, or give the second one "
                      "another name",
                      step.name()));
    }
    agents_.erase(found);
  }
  if (agents_.size() >= kAgentsMax) {
    return UserError(fmt::format("{} agents are there; more are not possible", kAgentsMax));
  }
  auto agent = std::make_unique<Agent>();
  agent->step = step;
  if (const int error =
          ::regcomp(&agent->alert, step.alert_pattern().c_str(), REG_EXTENDED | REG_NOSUB);
      error != 0) {
    return UserError(
        fmt::format("alert_pattern \"{}\" is no regular expression", step.alert_pattern()));
  }
  PP_RETURN_IF_ERROR(MakeGroup(step.name()));
  PP_RETURN_IF_ERROR(Launch(*agent, AgentLife::STARTED));
  Agent& started = *agent;
  agents_[step.name()] = std::move(agent);
  return step.has_csi() ? StartKubelet(started) : OkStatus();
}

Status Agents::Launch(Agent& agent, AgentLife::Kind kind) {
  std::vector<std::string> argv(agent.step.argv().begin(), agent.step.argv().end());
  if (argv[0].find('/') == std::string::npos) {
    PP_ASSIGN_OR_RETURN(argv[0], os::FindProgram(argv[0], argv[0]));
  }
  if (!os::Exists(argv[0])) {
    return UserError(
        fmt::format("the guest has no {}; list it under guest.program or guest.file", argv[0]));
  }
  std::vector<std::string> environment = EnvironmentOf(agent.step);
  const auto argv_pointers = Pointers(argv);
  const auto environment_pointers = Pointers(environment);
  int output[2];
  int go[2];
  if (::pipe2(output, O_CLOEXEC) != 0) return EnvironmentError("pipe failed");
  agent.output = os::Fd(output[0]);
  const os::Fd write_end(output[1]);
  if (::pipe2(go, O_CLOEXEC) != 0) return EnvironmentError("pipe failed");
  const os::Fd go_read(go[0]);
  const os::Fd go_write(go[1]);
  ::fcntl(agent.output.get(), F_SETFL, O_NONBLOCK);
  const pid_t pid = ::fork();
  if (pid < 0) return EnvironmentError("fork failed: " + os::ErrnoText(errno));
  if (pid == 0) {
    BecomeAgent(go_read.get(), write_end.get(), agent.step.own_mount_namespace(),
                argv_pointers.data(), environment_pointers.data());
  }
  agent.pid = pid;
  agent.process = os::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  agent.start_again_ns.reset();
  Status joined = Join(agent.step.name(), pid);
  if (joined.ok()) {
    NoteLife(agent, kind, pid, 0);
    const char byte = 1;
    if (::write(go_write.get(), &byte, 1) != 1) joined = EnvironmentError("a pipe was closed");
  }
  return joined;
}

void Agents::NoteLife(const Agent& agent, AgentLife::Kind kind, pid_t pid, int status) {
  TimelineEvent event;
  event.set_agent(agent.step.name());
  event.set_pid(static_cast<uint32_t>(pid));
  event.mutable_life()->set_kind(kind);
  if (kind == AgentLife::ENDED) event.mutable_life()->set_status(status);
  Status noted = observer_->Note(event);
  if (!noted.ok() && problem_.ok()) problem_ = std::move(noted);
}

void Agents::Ended(pid_t pid, int status) {
  for (auto& [name, agent] : agents_) {
    if (agent->kubelet && agent->kubelet->pid() == pid) {
      agent->kubelet->Ended();
      if (problem_.ok()) {
        problem_ = EnvironmentError(
            fmt::format("plugpull-kubelet of agent {} ended by itself, with {}", name, status));
      }
      return;
    }
    if (agent->pid != pid) continue;
    agent->pid = -1;
    agent->process.Reset();
    ReadOutput(*agent);
    Alerts(*agent, true);
    const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (!agent->stopped) NoteLife(*agent, AgentLife::ENDED, pid, code);
    ConsoleLine(fmt::format("agent {} ended: {}", name, code));
    // A supervisor does not start a service beside what is left of it.
    KillGroup(*agent);
    if (agent->step.own_mount_namespace()) observer_->NamespaceEnded(name);
    if (agent->stopped || !agent->step.has_restart() ||
        agent->restarts >= agent->step.restart().max()) {
      return;
    }
    ++agent->restarts;
    agent->start_again_ns = MonotonicNs() + agent->step.restart().delay_ms() * kMillisecondNs;
    return;
  }
}

void Agents::KillGroup(const Agent& agent) {
  for (const pid_t pid : ProcessesOf(agent.step.name())) ::kill(pid, SIGKILL);
}

void Agents::ReadOutput(Agent& agent) {
  char buffer[4096];
  for (int i = 0; i < 256 && agent.output.valid(); ++i) {
    const ssize_t n = ::read(agent.output.get(), buffer, sizeof buffer);
    if (n == 0) agent.output.Reset();
    if (n <= 0) break;
    agent.line.append(buffer, static_cast<size_t>(n));
    Alerts(agent, false);
  }
}

void Agents::Alerts(Agent& agent, bool at_end) {
  if (at_end && !agent.line.empty() && agent.line.back() != '\n') agent.line += '\n';
  size_t begin = 0;
  for (size_t end; (end = agent.line.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::string text;
    for (const char c : agent.line.substr(begin, std::min(end - begin, kAlertBytesMax))) {
      text += c >= 0x20 && c < 0x7f ? c : '?';
    }
    ConsoleLine(fmt::format("agent {}: {}", agent.step.name(), text));
    if (::regexec(&agent.alert, text.c_str(), 0, nullptr, 0) != 0) continue;
    TimelineEvent event;
    event.set_agent(agent.step.name());
    event.mutable_alert()->set_text(text);
    Status noted = observer_->Note(event);
    if (!noted.ok() && problem_.ok()) problem_ = std::move(noted);
  }
  agent.line.erase(0, begin);
  if (agent.line.size() > kLineBytesMax) agent.line.clear();
}

void Agents::Tend() {
  if (!observer_) return;
  for (auto& [name, agent] : agents_) {
    ReadOutput(*agent);
    ReadReports(*agent);
    if (!agent->start_again_ns || MonotonicNs() < *agent->start_again_ns) continue;
    Status launched = Launch(*agent, AgentLife::RESTARTED);
    if (!launched.ok() && problem_.ok()) problem_ = std::move(launched);
  }
  auto drained = observer_->Drain();
  if (!drained.ok()) {
    if (problem_.ok()) problem_ = std::move(drained).error();
    return;
  }
  // Its own notes come back through the trace once: that is no news.
  pause_ns_ =
      *drained ? kPauseMinNs : std::min(2 * pause_ns_, ClockIsWarped() ? kPauseWarpedNs : kPauseNs);
}

void Agents::Pause(uint64_t ns) {
  std::vector<pollfd> fds;
  for (const auto& [name, agent] : agents_) {
    if (agent->start_again_ns) {
      const uint64_t now = MonotonicNs();
      ns = std::min(ns, *agent->start_again_ns - std::min(now, *agent->start_again_ns));
    }
    if (agent->process.valid()) fds.push_back({agent->process.get(), POLLIN, 0});
    if (agent->output.valid()) fds.push_back({agent->output.get(), POLLIN, 0});
    if (agent->kubelet) fds.push_back({agent->kubelet->fd(), POLLIN, 0});
  }
  if (ClockIsWarped() && observer_ && observer_->DisksAreBusy()) {
    // Who sleeps now makes the disk take as long as the nearest timer.
    const uint64_t until = MonotonicNs() + std::min(ns, kSpinNs);
    while (MonotonicNs() < until) ::sched_yield();
    pause_ns_ = kPauseMinNs;
    return;
  }
  if (observer_ && observer_->requests_fd() >= 0) {
    fds.push_back({observer_->requests_fd(), POLLIN, 0});
  }
  ns = std::min(ns, pause_ns_);
  timespec wait{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  ::ppoll(fds.data(), fds.size(), &wait, nullptr);
}

Status Agents::Wait(const AgentWaitStep& step) {
  Agent* agent = nullptr;
  if (step.has_name()) {
    PP_ASSIGN_OR_RETURN(agent, Find(step.name()));
  }
  if (agent == nullptr && !step.has_for_ms()) return UserError("agent_wait names no agent");
  const uint64_t begin = MonotonicNs();
  const uint64_t limit = (step.has_for_ms() ? step.for_ms() : step.wait_max_ms()) * kMillisecondNs;
  for (;;) {
    ReapOrphans(-1);
    Tend();
    PP_RETURN_IF_ERROR(problem_);
    const uint64_t now = MonotonicNs();
    if (step.until_exit() && agent->pid < 0 && !agent->start_again_ns) return OkStatus();
    if (step.has_quiet_ms()) {
      const uint64_t since = std::max(begin, observer_->LastAction(step.name()));
      if (now - std::min(now, since) >= step.quiet_ms() * kMillisecondNs) return OkStatus();
    }
    if (now - begin >= limit) break;
    Pause(limit - (now - begin));
  }
  if (step.has_for_ms()) return OkStatus();
  return UserError(fmt::format(
      "agent {} {} within {} ms of the guest's time; raise wait_max_ms", step.name(),
      step.has_quiet_ms() ? "was never quiet for so long" : "did not end", step.wait_max_ms()));
}

Status Agents::Stop(const AgentStopStep& step) {
  PP_ASSIGN_OR_RETURN(Agent * agent, Find(step.name()));
  Tend();
  agent->stopped = true;
  agent->start_again_ns.reset();
  agent->kubelet.reset();
  NoteLife(*agent, AgentLife::STOPPED, agent->pid, 0);
  if (agent->pid >= 0) ::kill(agent->pid, SignalNumber(step.signal()));
  const uint64_t begin = MonotonicNs();
  while (agent->pid >= 0 && MonotonicNs() - begin < kStopNs) {
    ReapOrphans(-1);
    Tend();
    Pause(10 * kMillisecondNs);
  }
  KillGroup(*agent);
  for (int i = 0; i < 1000 && (agent->pid >= 0 || !ProcessesOf(step.name()).empty()); ++i) {
    ReapOrphans(-1);
    Pause(10 * kMillisecondNs);
  }
  return problem_;
}

// ---- CSI ----

void Agents::AddVolumes(const Agent& agent, KubeletCommand& command) const {
  for (const AgentVolume& volume : agent.step.volume()) {
    KubeletVolume& to = *command.add_volume();
    const auto disk = disks_.find(volume.disk());
    const KnownDisk known = disk == disks_.end() ? KnownDisk() : disk->second;
    to.set_disk(volume.disk());
    to.set_volume_id(known.serial.empty() ? volume.disk() : known.serial);
    to.set_device(known.path);
    to.set_staging_path(
        vm::CsiStagingPath(agent.step.name(), volume.disk(), agent.step.csi().raw_block()));
    to.set_target_path(volume.at());
  }
}

Status Agents::StartKubelet(Agent& agent) {
  PP_ASSIGN_OR_RETURN(agent.kubelet, KubeletProcess::Start());
  KubeletCommand command;
  *command.mutable_agent() = agent.step;
  AddVolumes(agent, command);
  return agent.kubelet->Send(command);
}

void Agents::ReadReports(Agent& agent) {
  if (!agent.kubelet) return;
  auto reports = agent.kubelet->Read();
  if (!reports.ok()) {
    if (problem_.ok()) problem_ = std::move(reports).error();
    return;
  }
  for (KubeletReport& report : *reports) {
    if (report.has_outcome()) agent.outcome = std::move(*report.mutable_outcome());
    if (!report.has_call()) continue;
    TimelineEvent event;
    event.set_agent(agent.step.name());
    ConsoleLine(fmt::format("kubelet: {} {}: {} {}", report.call().method(), report.call().volume(),
                            RpcCodeName(report.call().code()), report.call().message()));
    *event.mutable_csi() = std::move(*report.mutable_call());
    Status noted = observer_->Note(event);
    if (!noted.ok() && problem_.ok()) problem_ = std::move(noted);
  }
}

Result<CsiOutcome> Agents::RunCsi(const plugpull::RunCsi& request) {
  PP_ASSIGN_OR_RETURN(Agent * agent, Find(request.step().agent()));
  if (!agent->kubelet) {
    return UserError(fmt::format("agent {} is no CSI node plugin that runs", agent->step.name()));
  }
  KubeletCommand command;
  command.set_id(++csi_steps_);
  command.set_limit_ms(request.limit_ms());
  *command.mutable_step() = request.step();
  AddVolumes(*agent, command);
  agent->outcome.reset();
  PP_RETURN_IF_ERROR(agent->kubelet->Send(command));
  // The kubelet minds the limit. It waits for the plugin's socket first, as long as a call may
  // take.
  const uint64_t begin = MonotonicNs();
  const uint64_t limit =
      (uint64_t{request.limit_ms()} + 3 * uint64_t{agent->step.csi().call_timeout_ms()}) *
      kMillisecondNs;
  for (;;) {
    ReapOrphans(-1);
    Tend();
    PP_RETURN_IF_ERROR(problem_);
    if (agent->outcome && agent->outcome->id() == csi_steps_) return *agent->outcome;
    const uint64_t now = MonotonicNs();
    if (now - begin >= limit) return EnvironmentError("plugpull-kubelet does not answer");
    Pause(limit - (now - begin));
  }
}

Result<Timeline> Agents::Finish() {
  if (!observer_) return InternalError("there is no timeline");
  Tend();
  for (auto& [name, agent] : agents_) {
    agent->stopped = true;
    agent->start_again_ns.reset();
    agent->kubelet.reset();
  }
  PP_RETURN_IF_ERROR(problem_);
  auto timeline = observer_->Finish();
  for (auto& [name, agent] : agents_) KillGroup(*agent);
  SetOrphanSink({});
  observer_.reset();
  agents_.clear();
  return timeline;
}

}  // namespace plugpull::guest
