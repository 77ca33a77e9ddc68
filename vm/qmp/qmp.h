// SPDX-License-Identifier: Apache-2.0
// A client of QEMU's machine protocol over a connected socket: one JSON object a line, commands
// answered in order, events in between (QEMU's docs/interop/qmp-spec).
// Every read is bounded in time and size. One client, one thread.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/os/fd.h"

namespace plugpull::vm {

inline constexpr size_t kQmpLineBytesMax = 4u << 20;
inline constexpr size_t kQmpEventsMax = 4096;  // kept; later ones push out the oldest

struct QmpEvent {
  std::string name;  // "SHUTDOWN"
  nlohmann::json data;
};

class QmpClient {
 public:
  // Waits for the greeting and leaves negotiation mode. An environment error when the other end
  // closes, is no QMP server, or is not ready by the deadline.
  static Result<QmpClient> Connect(os::Fd socket, const os::Deadline& deadline);

  // What the command returns. An environment error when QEMU refuses it (with QEMU's words), goes
  // away, or has not answered by the deadline.
  Result<nlohmann::json> Execute(const std::string& command, const nlohmann::json& arguments,
                                 const os::Deadline& deadline);

  // The first kept event of this name, waited for until the deadline; nothing when the deadline
  // passes or QEMU ends first. It is no longer kept then.
  Result<std::optional<QmpEvent>> WaitEvent(const std::string& name, const os::Deadline& deadline);

  // All kept events, oldest first; they are no longer kept.
  std::vector<QmpEvent> TakeEvents();

  // True once the other end was seen to be closed.
  bool closed() const { return closed_; }

 private:
  explicit QmpClient(os::Fd socket) : socket_(std::move(socket)) {}

  // The next object that is no event; nothing when the deadline passes or the other end closes.
  Result<std::optional<nlohmann::json>> NextReply(const os::Deadline& deadline);
  // The next object; nothing as above.
  Result<std::optional<nlohmann::json>> NextObject(const os::Deadline& deadline);
  void Keep(const nlohmann::json& event);
  Error Unanswered(const std::string& what) const;

  os::Fd socket_;
  std::string buffer_;
  std::vector<QmpEvent> events_;
  uint64_t last_id_ = 0;
  bool closed_ = false;
};

}  // namespace plugpull::vm
