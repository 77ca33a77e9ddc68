// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/csi/call_plan.h"

#include <algorithm>

#include "framework/base/check.h"

namespace plugpull::csi {

namespace {

// An error behind which the plugin does nothing more: what was asked for has not happened. The
// others leave it in doubt. As isFinalError of pkg/volume/csi/csi_client.go in Kubernetes.
bool IsFinal(RpcCode code) {
  switch (code) {
    case RpcCode::kCancelled:
    case RpcCode::kDeadlineExceeded:
    case RpcCode::kUnavailable:
    case RpcCode::kResourceExhausted:
    case RpcCode::kAborted:
      return false;
    default:
      return true;
  }
}

}  // namespace

Millis Backoff::Next() {
  last_ = last_ == Millis(0) ? first_ : last_ * 2;
  last_ = std::min(last_, longest_);
  return last_;
}

const char* MethodName(Method method) {
  switch (method) {
    case Method::kStage:
      return "NodeStageVolume";
    case Method::kPublish:
      return "NodePublishVolume";
    case Method::kUnpublish:
      return "NodeUnpublishVolume";
    case Method::kUnstage:
      return "NodeUnstageVolume";
    case Method::kExpand:
      return "NodeExpandVolume";
    case Method::kStats:
      return "NodeGetVolumeStats";
  }
  return "";
}

CallPlan::CallPlan(size_t volumes, Millis pause_first, Millis pause_max, bool stages)
    : volumes_(volumes, Volume(Backoff(pause_first, pause_max))), stages_(stages) {}

void CallPlan::Begin(size_t index, Action action, uint32_t calls_max, int64_t now_ms) {
  Volume& volume = volumes_.at(index);
  if (action == Action::kForceDetach) {
    volume.wanted = volume.staged = volume.published = false;
    volume.may_be_staged = volume.may_be_published = false;
    action = Action::kNone;
  }
  if (action == Action::kRestart) {
    // What a kubelet finds in its folders it takes over, in doubt; what nobody wants of it goes.
    volume.staged = volume.published = false;
    const bool found = volume.may_be_staged || volume.may_be_published;
    action = volume.wanted ? Action::kPublish : found ? Action::kUnpublish : Action::kNone;
  }
  if (action == Action::kPublish) volume.wanted = true;
  if (action == Action::kUnpublish) volume.wanted = false;
  volume.action = action;
  volume.superseded = volume.under_way.has_value();
  volume.backoff.Reset();
  volume.due_ms = now_ms;
  volume.attempt = 0;
  volume.calls = 0;
  volume.calls_max = calls_max;
  volume.succeeded = false;
  volume.single_done = false;
  volume.repeated = 0;
  volume.series.clear();
  FinishIfDone(volume);
}

std::optional<Method> CallPlan::NextMethod(const Volume& volume) const {
  switch (volume.action) {
    case Action::kPublish:
      if (stages_ && !volume.staged) return Method::kStage;
      if (!volume.published) return Method::kPublish;
      return std::nullopt;
    case Action::kUnpublish:
      if (volume.may_be_published) return Method::kUnpublish;
      if (stages_ && volume.may_be_staged) return Method::kUnstage;
      return std::nullopt;
    case Action::kRepeat:
      if (volume.repeated < volume.repeats.size()) return volume.repeats[volume.repeated];
      return std::nullopt;
    case Action::kExpand:
    case Action::kStats:
      if (volume.single_done) return std::nullopt;
      return volume.action == Action::kExpand ? Method::kExpand : Method::kStats;
    default:
      return std::nullopt;
  }
}

std::vector<PlannedCall> CallPlan::TakeDue(int64_t now_ms) {
  std::vector<PlannedCall> calls;
  for (size_t i = 0; i < volumes_.size(); ++i) {
    Volume& volume = volumes_[i];
    const auto method = NextMethod(volume);
    if (volume.under_way || !method || volume.due_ms > now_ms) continue;
    volume.under_way = method;
    if (*method == Method::kStage) volume.may_be_staged = true;
    if (*method == Method::kPublish) volume.may_be_published = true;
    ++volume.calls;
    calls.push_back({i, *method, ++volume.attempt});
  }
  return calls;
}

std::optional<int64_t> CallPlan::NextDue() const {
  std::optional<int64_t> due;
  for (const Volume& volume : volumes_) {
    if (volume.under_way || !NextMethod(volume)) continue;
    due = std::min(due.value_or(volume.due_ms), volume.due_ms);
  }
  return due;
}

void CallPlan::Learn(Volume& volume, Method method, RpcCode code) {
  if (code != RpcCode::kOk) {
    if (!IsFinal(code)) return;
    if (method == Method::kStage) volume.may_be_staged = volume.staged;
    if (method == Method::kPublish) volume.may_be_published = volume.published;
    return;
  }
  switch (method) {
    case Method::kStage:
      volume.staged = true;
      break;
    case Method::kPublish:
      volume.published = true;
      break;
    case Method::kUnpublish:
      volume.published = volume.may_be_published = false;
      break;
    case Method::kUnstage:
      volume.staged = volume.may_be_staged = false;
      break;
    case Method::kExpand:
    case Method::kStats:
      break;
  }
}

void CallPlan::FinishIfDone(Volume& volume) {
  if (NextMethod(volume)) return;
  volume.backoff.Reset();
  volume.succeeded = true;
  if (volume.action != Action::kRepeat && !volume.series.empty()) volume.repeats = volume.series;
  volume.action = Action::kNone;
}

void CallPlan::Done(size_t index, RpcCode code, int64_t now_ms) {
  Volume& volume = volumes_.at(index);
  PP_CHECK(volume.under_way.has_value());
  const Method method = *volume.under_way;
  const bool ok = code == RpcCode::kOk;
  volume.under_way.reset();
  Learn(volume, method, code);
  if (volume.superseded) {
    // It tells what the volume is like, and nothing of what is to be done now.
    volume.superseded = false;
    FinishIfDone(volume);
    return;
  }
  if (ok) {
    volume.attempt = 0;
    volume.series.push_back(method);
    if (volume.action == Action::kRepeat) ++volume.repeated;
    volume.single_done = true;
    FinishIfDone(volume);
  } else {
    volume.due_ms = now_ms + volume.backoff.Next().count();
  }
  if (volume.action != Action::kNone && volume.calls_max != 0 && volume.calls >= volume.calls_max) {
    volume.action = Action::kNone;
  }
}

bool CallPlan::IsSettled(size_t index) const {
  const Volume& volume = volumes_.at(index);
  return !volume.under_way && volume.action == Action::kNone;
}

}  // namespace plugpull::csi
