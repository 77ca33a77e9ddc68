// SPDX-License-Identifier: Apache-2.0
// The guest's end of the virtio-serial port that the host talks to PID 1 through.
#pragma once

#include <optional>
#include <string>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/os/fd.h"
#include "framework/proto/guest.pb.h"
#include "vm/framing.h"

namespace plugpull::guest {

inline constexpr char kPortName[] = "plugpull.0";
inline constexpr Millis kPortWaitMax{30'000};

// The device node (such as /dev/vport1p1) of the port with this name, looked up under
// `class_folder`. Waits for it until the deadline; the driver may still be probing.
Result<std::string> FindPort(const std::string& name, const os::Deadline& deadline,
                             const std::string& class_folder = "/sys/class/virtio-ports");

// One connection, one thread.
class Port {
 public:
  static Result<Port> Open(const std::string& path);
  // Over an open descriptor, such as one end of a socket pair.
  explicit Port(os::Fd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  // Blocks until the host has taken the message.
  Status Send(const GuestMessage& message);
  // The next request, or nothing when none has come by the deadline. A guest error when the host
  // sends something that is no request or has been away for long.
  Result<std::optional<GuestRequest>> Receive(const os::Deadline& deadline);

 private:
  os::Fd fd_;
  vm::FrameReader frames_;
  std::optional<os::Deadline> host_must_be_back_;  // not set while the host is there
};

}  // namespace plugpull::guest
