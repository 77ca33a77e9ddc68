// SPDX-License-Identifier: Apache-2.0
// When a kubelet calls what of a node plugin. Pure: time is what the caller says it is.
//
// What is done to a volume is one action: a series of calls, each repeated until it succeeds,
// with one call under way at a time. After a failure the volume is let alone for a pause that
// doubles up to a limit, and begins anew once an action was carried out. Volumes do not wait for
// each other. Source: pkg/util/goroutinemap/exponentialbackoff (500 ms, 2 min 2 s),
// pkg/volume/util/operationexecutor and pkg/volume/csi of Kubernetes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/rpc_code.h"
#include "framework/base/units.h"

namespace plugpull::csi {

// The pause after each failure in a row.
class Backoff {
 public:
  Backoff(Millis first, Millis longest) : first_(first), longest_(longest) {}
  Millis Next();
  void Reset() { last_ = Millis(0); }

 private:
  Millis first_;
  Millis longest_;
  Millis last_{0};
};

enum class Method { kStage, kPublish, kUnpublish, kUnstage, kExpand, kStats };
// "NodeStageVolume".
const char* MethodName(Method method);

enum class Action { kNone, kPublish, kUnpublish, kRepeat, kExpand, kStats, kRestart, kForceDetach };

struct PlannedCall {
  size_t volume = 0;
  Method method = Method::kStage;
  uint32_t attempt = 0;  // of this call, from 1
  bool operator==(const PlannedCall&) const = default;
};

// One thread. Volumes are numbers from 0; times are milliseconds of any clock that does not jump.
class CallPlan {
 public:
  // `stages`: the plugin has the capability STAGE_UNSTAGE_VOLUME.
  CallPlan(size_t volumes, Millis pause_first, Millis pause_max, bool stages);

  // Takes the place of what was to be done; a call that is under way comes to its end. It begins
  // now, whatever pause there was. `calls_max`: it is given up after so many; 0: never.
  void Begin(size_t volume, Action action, uint32_t calls_max, int64_t now_ms);
  // Calls to be made now. Each must be followed by a Done.
  std::vector<PlannedCall> TakeDue(int64_t now_ms);
  // When TakeDue has something; nothing: not before a Begin or a Done.
  std::optional<int64_t> NextDue() const;
  void Done(size_t volume, RpcCode code, int64_t now_ms);

  // Nothing is under way, and nothing more is to be done.
  bool IsSettled(size_t volume) const;
  // The last action was carried out, or there was none.
  bool Succeeded(size_t volume) const { return volumes_[volume].succeeded; }
  uint32_t Calls(size_t volume) const { return volumes_[volume].calls; }  // for the last action

 private:
  struct Volume {
    explicit Volume(const Backoff& pauses) : backoff(pauses) {}
    Action action = Action::kNone;
    Backoff backoff;
    int64_t due_ms = 0;
    std::optional<Method> under_way;
    bool superseded = false;  // what is under way belongs to an action before this one
    uint32_t attempt = 0;
    uint32_t calls = 0;
    uint32_t calls_max = 0;
    bool succeeded = true;
    // What the kubelet knows. It may be staged from a call that stages it to an error that is
    // final.
    bool wanted = false;
    bool staged = false;
    bool published = false;
    bool may_be_staged = false;
    bool may_be_published = false;
    bool single_done = false;     // of an action that is one call
    std::vector<Method> series;   // calls of this action that succeeded
    std::vector<Method> repeats;  // those of the last action, for kRepeat
    size_t repeated = 0;
  };

  std::optional<Method> NextMethod(const Volume& volume) const;
  void Learn(Volume& volume, Method method, RpcCode code);
  void FinishIfDone(Volume& volume);

  std::vector<Volume> volumes_;
  bool stages_;
};

}  // namespace plugpull::csi
