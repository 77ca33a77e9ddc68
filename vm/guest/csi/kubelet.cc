// SPDX-License-Identifier: Apache-2.0
// One thread decides; each call that is under way has a thread of its own, so that one that hangs
// keeps no other volume waiting.
#include "vm/guest/csi/kubelet.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "framework/os/fd.h"
#include "framework/proto/guest.pb.h"
#include "vm/framing.h"
#include "vm/guest/csi/call_plan.h"
#include "vm/guest/csi/node_client.h"

namespace plugpull::csi {
namespace {

constexpr Millis kListenPause{100};

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
int64_t NowMs() { return NowNs() / 1'000'000; }

Action ActionOf(const CsiStep& step) {
  switch (step.action_case()) {
    case CsiStep::kPublish:
      return Action::kPublish;
    case CsiStep::kUnpublish:
      return Action::kUnpublish;
    case CsiStep::kRepeat:
      return Action::kRepeat;
    case CsiStep::kExpand:
      return Action::kExpand;
    case CsiStep::kStats:
      return Action::kStats;
    case CsiStep::kRestart:
      return Action::kRestart;
    case CsiStep::kForceDetach:
      return Action::kForceDetach;
    case CsiStep::ACTION_NOT_SET:
      break;
  }
  return Action::kNone;
}

struct Ended {
  PlannedCall call;
  CallOutcome outcome;
  int64_t begin_ns = 0;
};

class Kubelet {
 public:
  Kubelet(int commands, int reports) : commands_(commands), reports_(reports) {}
  ~Kubelet() {
    for (auto& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

  Status Run() {
    wake_ = os::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_.valid()) return EnvironmentError("eventfd failed: " + os::ErrnoText(errno));
    while (!ended_) {
      PP_RETURN_IF_ERROR(Wait());
      PP_RETURN_IF_ERROR(TakeEnded());
      PP_RETURN_IF_ERROR(TellOutcome());
      if (plan_) Launch();
    }
    return OkStatus();
  }

 private:
  struct Active {
    uint64_t id = 0;
    std::vector<size_t> volumes;
    int64_t limit_ms = 0;
  };

  Status Report(const KubeletReport& report) {
    PP_ASSIGN_OR_RETURN(const std::string frame, vm::EncodeFrame(report));
    return os::WriteAll(reports_, {reinterpret_cast<const uint8_t*>(frame.data()), frame.size()});
  }

  Status ReportCall(const std::string& method, const std::string& disk, const CallOutcome& outcome,
                    int64_t begin_ns, uint32_t attempt) {
    KubeletReport report;
    CsiCall& call = *report.mutable_call();
    call.set_method(method);
    call.set_volume(disk);
    call.set_code(outcome.code);
    call.set_message(outcome.abnormal ? "abnormal: " + outcome.message : outcome.message);
    call.set_begin_ns(static_cast<uint64_t>(begin_ns));
    call.set_attempt(attempt);
    return Report(report);
  }

  // Until a call ends, a command comes, or something is due.
  Status Wait() {
    std::optional<int64_t> due = plan_ ? plan_->NextDue() : std::nullopt;
    if (active_) due = std::min(due.value_or(active_->limit_ms), active_->limit_ms);
    const int timeout =
        due ? static_cast<int>(std::clamp<int64_t>(*due - NowMs(), 0, 1 << 30)) : -1;
    pollfd fds[] = {{commands_, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(fds, 2, timeout) < 0 && errno != EINTR) {
      return EnvironmentError("poll failed: " + os::ErrnoText(errno));
    }
    return fds[0].revents != 0 ? ReadCommands() : OkStatus();
  }

  Status ReadCommands() {
    uint8_t buffer[4096];
    const ssize_t count = ::read(commands_, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) return OkStatus();
    if (count < 0) return EnvironmentError("cannot read commands: " + os::ErrnoText(errno));
    if (count == 0) ended_ = true;
    frames_.Append(std::span<const uint8_t>(buffer, static_cast<size_t>(count)));
    for (;;) {
      PP_ASSIGN_OR_RETURN(const auto command, frames_.Next<KubeletCommand>());
      if (!command) return OkStatus();
      PP_RETURN_IF_ERROR(Take(*command));
    }
  }

  Status Take(const KubeletCommand& command) {
    if (command.has_agent()) {
      if (client_) return UserError("there is an agent already");
      agent_ = command.agent();
      if (command.volume_size() != agent_.volume_size()) return UserError("volumes are missing");
      client_ = std::make_shared<NodeClient>(agent_);
    }
    if (!client_) return UserError("the first command names no agent");
    if (command.volume_size() == agent_.volume_size()) {
      volumes_.assign(command.volume().begin(), command.volume().end());
    }
    if (!plan_) PP_RETURN_IF_ERROR(Register());
    return command.has_step() ? BeginStep(command) : OkStatus();
  }

  // As when a plugin shows its registration socket: it is asked who it is and what it can do.
  Status Register() {
    const int64_t limit_ms = NowMs() + agent_.csi().call_timeout_ms();
    while (!client_->IsListening() && NowMs() < limit_ms) std::this_thread::sleep_for(kListenPause);
    int64_t begin_ns = NowNs();
    PP_RETURN_IF_ERROR(
        ReportCall("GetPluginInfo", "", client_->GetPluginInfo().outcome, begin_ns, 1));
    begin_ns = NowNs();
    const PluginInfo info = client_->GetCapabilities();
    PP_RETURN_IF_ERROR(ReportCall("NodeGetCapabilities", "", info.outcome, begin_ns, 1));
    plan_.emplace(volumes_.size(), Millis(agent_.csi().backoff_first_ms()),
                  Millis(agent_.csi().backoff_max_ms()), info.stages);
    last_.resize(volumes_.size());
    threads_.resize(volumes_.size());
    for (size_t i = 0; i < volumes_.size() && !agent_.csi().wait_for_step(); ++i) {
      plan_->Begin(i, Action::kPublish, 0, NowMs());
    }
    return OkStatus();
  }

  Status BeginStep(const KubeletCommand& command) {
    const CsiStep& step = command.step();
    active_ = Active{command.id(), {}, NowMs() + command.limit_ms()};
    for (size_t i = 0; i < volumes_.size(); ++i) {
      if (step.has_disk() && volumes_[i].disk() != step.disk()) continue;
      active_->volumes.push_back(i);
      last_[i] = {};
      plan_->Begin(i, ActionOf(step), step.calls_max(), NowMs());
    }
    return OkStatus();
  }

  void Launch() {
    for (const PlannedCall& call : plan_->TakeDue(NowMs())) {
      std::thread& thread = threads_[call.volume];
      if (thread.joinable()) thread.join();
      thread = std::thread([this, call, client = client_, volume = volumes_[call.volume]] {
        Ended ended{call, {}, NowNs()};
        ended.outcome = client->Call(call.method, volume, call.volume);
        const std::lock_guard lock(mutex_);
        ended_calls_.push_back(std::move(ended));
        const uint64_t one = 1;
        (void)!::write(wake_.get(), &one, sizeof one);
      });
    }
  }

  Status TakeEnded() {
    uint64_t count = 0;
    (void)!::read(wake_.get(), &count, sizeof count);
    std::vector<Ended> ended;
    {
      const std::lock_guard lock(mutex_);
      ended.swap(ended_calls_);
    }
    for (const Ended& one : ended) {
      plan_->Done(one.call.volume, static_cast<RpcCode>(one.outcome.code), NowMs());
      last_[one.call.volume] = one.outcome;
      PP_RETURN_IF_ERROR(ReportCall(MethodName(one.call.method), volumes_[one.call.volume].disk(),
                                    one.outcome, one.begin_ns, one.call.attempt));
    }
    return OkStatus();
  }

  Status TellOutcome() {
    if (!active_) return OkStatus();
    const bool settled = std::ranges::all_of(
        active_->volumes, [this](size_t volume) { return plan_->IsSettled(volume); });
    if (!settled && NowMs() < active_->limit_ms) return OkStatus();
    KubeletReport report;
    CsiOutcome& outcome = *report.mutable_outcome();
    outcome.set_id(active_->id);
    outcome.set_done(settled);
    for (const size_t volume : active_->volumes) {
      outcome.set_done(outcome.done() && plan_->Succeeded(volume));
      outcome.set_calls(outcome.calls() + plan_->Calls(volume));
      const bool silent = !plan_->IsSettled(volume) && !last_[volume];
      const CallOutcome last = silent ? CallOutcome{static_cast<int>(RpcCode::kDeadlineExceeded),
                                                    "no call has come to its end", false}
                                      : last_[volume].value_or(CallOutcome());
      if (last.abnormal) outcome.set_abnormal(true);
      if (outcome.code() != 0 || (last.code == 0 && !outcome.message().empty())) continue;
      outcome.set_code(last.code);
      outcome.set_message(last.message);
    }
    active_.reset();
    return Report(report);
  }

  int commands_;
  int reports_;
  os::Fd wake_;
  vm::FrameReader frames_;
  bool ended_ = false;
  AgentStep agent_;
  std::shared_ptr<const NodeClient> client_;
  std::vector<KubeletVolume> volumes_;
  std::optional<CallPlan> plan_;
  std::vector<std::optional<CallOutcome>> last_;  // of each volume, in the present step
  std::optional<Active> active_;
  std::vector<std::thread> threads_;  // by volume
  std::mutex mutex_;
  std::vector<Ended> ended_calls_;  // guarded by mutex_
};

}  // namespace

Status RunKubelet(int commands, int reports) { return Kubelet(commands, reports).Run(); }

}  // namespace plugpull::csi
