// SPDX-License-Identifier: Apache-2.0
// A machine without a guest, for tests of all that drives one: it answers from a script, and can
// hang, panic and end early at any request.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "vm/machine.h"

namespace plugpull::vm {

// What a request leads to.
struct FakeReply {
  enum class Fate {
    kAnswer,
    kHang,   // nothing more is said; waits end at their deadlines
    kPanic,  // the guest's kernel panics
    kEnd,    // the guest switches itself off
  };
  std::vector<Progress> progress;  // sent first, whatever the fate
  Fate fate = Fate::kAnswer;
  Answer answer;  // gets the request's id
};

struct FakeScript {
  // Called once for each request, in order. Empty: everything is answered with success.
  std::function<FakeReply(const GuestRequest&)> on_request;
  FakeReply::Fate at_boot = FakeReply::Fate::kAnswer;
  std::string kernel_release = "6.1.0-fake";
};

// After a PowerOff that is answered the machine has ended, as a real one does.
class FakeMachine : public Machine {
 public:
  explicit FakeMachine(FakeScript script);

  Result<Hello> WaitForHello(const os::Deadline& deadline) override;
  Status Send(const GuestRequest& request) override;
  Result<GuestMessage> Receive(const os::Deadline& deadline) override;
  Status WaitForEnd(const os::Deadline& deadline) override;
  std::optional<std::string> Panic() override;

  // All requests so far.
  const std::vector<GuestRequest>& requests() const { return requests_; }

 private:
  enum class State { kRunning, kHanging, kPanicked, kEnded };
  void Meet(FakeReply::Fate fate);

  FakeScript script_;
  State state_ = State::kRunning;
  bool asked_to_end_ = false;
  std::deque<GuestMessage> outgoing_;
  std::vector<GuestRequest> requests_;
};

// Makes machines that follow the script, whatever the options.
MachineFactory FakeMachineFactory(FakeScript script);

}  // namespace plugpull::vm
