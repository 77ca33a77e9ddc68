// SPDX-License-Identifier: Apache-2.0
#include "vm/qmp/qmp.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "framework/os/stream.h"

namespace plugpull::vm {
namespace {

using nlohmann::json;

constexpr Millis kSendStallMax{10'000};

std::string TextAt(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// The line as it may be shown in a message.
std::string Shortened(std::string_view line) {
  constexpr size_t kShownMax = 200;
  return line.size() <= kShownMax ? std::string(line)
                                  : std::string(line.substr(0, kShownMax)) + "...";
}

}  // namespace

Result<QmpClient> QmpClient::Connect(os::Fd socket, const os::Deadline& deadline) {
  QmpClient client(std::move(socket));
  PP_ASSIGN_OR_RETURN(const auto greeting, client.NextReply(deadline));
  if (!greeting) return client.Unanswered("its greeting");
  if (!greeting->contains("QMP")) {
    return EnvironmentError("no QMP greeting, but: " + Shortened(greeting->dump()));
  }
  PP_ASSIGN_OR_RETURN(const json ignored, client.Execute("qmp_capabilities", {}, deadline));
  return client;
}

Result<json> QmpClient::Execute(const std::string& command, const json& arguments,
                                const os::Deadline& deadline) {
  const uint64_t id = ++last_id_;
  json request = {{"execute", command}, {"id", id}};
  if (!arguments.is_null()) request["arguments"] = arguments;
  const std::string line = request.dump() + "\n";
  PP_ASSIGN_OR_RETURN(
      const auto sent,
      os::SendAll(socket_.get(), {reinterpret_cast<const uint8_t*>(line.data()), line.size()},
                  kSendStallMax));
  if (sent != os::SendEnd::kSent) {
    closed_ |= sent == os::SendEnd::kPeerGone;
    return Unanswered("the command " + command);
  }
  for (;;) {
    PP_ASSIGN_OR_RETURN(const auto reply, NextReply(deadline));
    if (!reply) return Unanswered("the answer to " + command);
    const auto reply_id = reply->find("id");
    if (reply_id != reply->end() && *reply_id != id) continue;  // of a call that was given up
    if (const auto error = reply->find("error"); error != reply->end() && error->is_object()) {
      return EnvironmentError(fmt::format("QEMU refuses {}: {}", command, TextAt(*error, "desc")));
    }
    const auto value = reply->find("return");
    if (value == reply->end()) {
      return EnvironmentError(
          fmt::format("QEMU's answer to {} is neither a return nor an error: {}", command,
                      Shortened(reply->dump())));
    }
    return *value;
  }
}

Result<std::optional<QmpEvent>> QmpClient::WaitEvent(const std::string& name,
                                                     const os::Deadline& deadline) {
  for (;;) {
    const auto it = std::find_if(events_.begin(), events_.end(),
                                 [&](const QmpEvent& event) { return event.name == name; });
    if (it != events_.end()) {
      QmpEvent found = std::move(*it);
      events_.erase(it);
      return std::optional<QmpEvent>(std::move(found));
    }
    PP_ASSIGN_OR_RETURN(const auto object, NextObject(deadline));
    if (!object) return std::optional<QmpEvent>();
    if (object->contains("event")) Keep(*object);
  }
}

std::vector<QmpEvent> QmpClient::TakeEvents() { return std::exchange(events_, {}); }

Result<std::optional<json>> QmpClient::NextReply(const os::Deadline& deadline) {
  for (;;) {
    PP_ASSIGN_OR_RETURN(auto object, NextObject(deadline));
    if (!object || !object->contains("event")) return object;
    Keep(*object);
  }
}

Result<std::optional<json>> QmpClient::NextObject(const os::Deadline& deadline) {
  std::array<uint8_t, 16384> chunk;
  for (;;) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      const std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      if (line.find_first_not_of(" \r\t") == std::string::npos) continue;
      json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (!object.is_object()) {
        return EnvironmentError("a line from QEMU's QMP socket is no JSON object: " +
                                Shortened(line));
      }
      return std::optional<json>(std::move(object));
    }
    // Also while the other end never stops sending.
    if (closed_ || deadline.Passed()) return std::optional<json>();
    if (buffer_.size() > kQmpLineBytesMax) {
      return EnvironmentError(
          fmt::format("a line from QEMU's QMP socket is longer than {} bytes", kQmpLineBytesMax));
    }
    PP_ASSIGN_OR_RETURN(const auto n, os::ReadSome(socket_.get(), chunk, deadline));
    if (!n) return std::optional<json>();
    closed_ = *n == 0;
    buffer_.append(reinterpret_cast<const char*>(chunk.data()), *n);
  }
}

void QmpClient::Keep(const json& event) {
  if (events_.size() == kQmpEventsMax) events_.erase(events_.begin());
  const auto data = event.find("data");
  events_.push_back({TextAt(event, "event"), data == event.end() ? json() : *data});
}

Error QmpClient::Unanswered(const std::string& what) const {
  return EnvironmentError(closed_ ? fmt::format("QEMU closed its QMP socket before {}", what)
                                  : fmt::format("QEMU did not give {} in time", what));
}

}  // namespace plugpull::vm
