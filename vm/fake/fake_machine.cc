// SPDX-License-Identifier: Apache-2.0
#include "vm/fake/fake_machine.h"

#include <fmt/format.h>

#include <thread>

namespace plugpull::vm {

FakeMachine::FakeMachine(FakeScript script) : script_(std::move(script)) {
  Meet(script_.at_boot);
  if (state_ != State::kRunning) return;
  GuestMessage message;
  message.mutable_hello()->set_protocol_version(1);
  message.mutable_hello()->set_kernel_release(script_.kernel_release);
  message.mutable_hello()->set_kernel_version("#1 fake");
  outgoing_.push_back(std::move(message));
}

void FakeMachine::Meet(FakeReply::Fate fate) {
  switch (fate) {
    case FakeReply::Fate::kAnswer:
      break;
    case FakeReply::Fate::kHang:
      state_ = State::kHanging;
      break;
    case FakeReply::Fate::kPanic:
      state_ = State::kPanicked;
      break;
    case FakeReply::Fate::kEnd:
      state_ = State::kEnded;
      break;
  }
}

Result<Hello> FakeMachine::WaitForHello(const os::Deadline& deadline) {
  PP_ASSIGN_OR_RETURN(GuestMessage message, Receive(deadline));
  if (!message.has_hello()) return GuestError("the guest's first message is no hello");
  return std::move(*message.mutable_hello());
}

Status FakeMachine::Send(const GuestRequest& request) {
  if (state_ == State::kEnded) return GuestError("the guest switched itself off too early");
  if (state_ == State::kPanicked) return GuestError("the guest's kernel panicked: fake panic");
  requests_.push_back(request);
  if (state_ == State::kHanging) return OkStatus();
  FakeReply reply = script_.on_request ? script_.on_request(request) : FakeReply();
  for (auto& progress : reply.progress) {
    *outgoing_.emplace_back().mutable_progress() = std::move(progress);
  }
  if (reply.fate == FakeReply::Fate::kAnswer) {
    reply.answer.set_id(request.id());
    *outgoing_.emplace_back().mutable_answer() = std::move(reply.answer);
    if (request.has_power_off()) {
      state_ = State::kEnded;
      asked_to_end_ = true;
    }
  }
  Meet(reply.fate);
  return OkStatus();
}

Result<GuestMessage> FakeMachine::Receive(const os::Deadline& deadline) {
  if (!outgoing_.empty()) {
    GuestMessage message = std::move(outgoing_.front());
    outgoing_.pop_front();
    return message;
  }
  if (state_ == State::kEnded) return GuestError("the guest switched itself off too early");
  if (state_ == State::kPanicked) return GuestError("the guest's kernel panicked: fake panic");
  const Millis patience = deadline.Left();
  std::this_thread::sleep_for(patience);
  return GuestError(fmt::format("the guest said nothing for {} ms", patience.count()));
}

Status FakeMachine::WaitForEnd(const os::Deadline& deadline) {
  if (state_ == State::kEnded && asked_to_end_) return OkStatus();
  if (state_ == State::kPanicked) return GuestError("the guest's kernel panicked: fake panic");
  const Millis patience = deadline.Left();
  std::this_thread::sleep_for(patience);
  return GuestError(fmt::format("the guest did not switch itself off in {} ms", patience.count()));
}

std::optional<std::string> FakeMachine::Panic() {
  if (state_ != State::kPanicked) return std::nullopt;
  return "Kernel panic - not syncing: fake panic";
}

MachineFactory FakeMachineFactory(FakeScript script) {
  return [script](const MachineOptions&) -> Result<std::unique_ptr<Machine>> {
    return std::unique_ptr<Machine>(std::make_unique<FakeMachine>(script));
  };
}

}  // namespace plugpull::vm
