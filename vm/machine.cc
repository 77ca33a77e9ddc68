// SPDX-License-Identifier: Apache-2.0
#include "vm/machine.h"

#include <fmt/format.h>

#include <atomic>

namespace plugpull::vm {

std::string RequestName(const GuestRequest& request) {
  const auto* oneof = GuestRequest::descriptor()->FindOneofByName("kind");
  const auto* field = GuestRequest::GetReflection()->GetOneofFieldDescriptor(request, oneof);
  return field == nullptr ? "an empty request" : field->name();
}

Result<Answer> Call(Machine& machine, GuestRequest request, Millis timeout,
                    const std::function<void(const Progress&)>& on_progress) {
  static std::atomic<uint64_t> last_id{0};
  const uint64_t id = ++last_id;
  request.set_id(id);
  const auto deadline = os::Deadline::After(timeout);
  PP_RETURN_IF_ERROR(machine.Send(request));
  for (;;) {
    PP_ASSIGN_OR_RETURN(GuestMessage message, machine.Receive(deadline));
    if (message.has_progress()) {
      if (on_progress) on_progress(message.progress());
      if (!deadline.Passed()) continue;
      return GuestError(fmt::format(
          "the guest was not done with {} after {} ms; give the step a longer timeout_ms",
          RequestName(request), timeout.count()));
    }
    if (message.has_answer()) {
      if (message.answer().id() == id) return std::move(*message.mutable_answer());
      // The answer to a call that was given up at its deadline.
      if (message.answer().id() < id) continue;
    }
    return GuestError(fmt::format(
        "the guest sent {} where the answer to request {} ({}) was due",
        message.has_answer()  ? fmt::format("the answer to request {}", message.answer().id())
        : message.has_hello() ? std::string("a second hello")
                              : std::string("an empty message"),
        id, RequestName(request)));
  }
}

}  // namespace plugpull::vm
