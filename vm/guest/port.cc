// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/port.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "framework/os/file.h"

namespace plugpull::guest {
namespace {

constexpr size_t kReadBytes = 64u << 10;
constexpr Bytes kNameBytesMax(256);
// A port whose other end is not connected reads as ended; the host may be a moment behind us.
constexpr Millis kHostWaitMax{60'000};
constexpr Millis kPollInterval{20};

}  // namespace

Result<std::string> FindPort(const std::string& name, const os::Deadline& deadline,
                             const std::string& class_folder) {
  for (;;) {
    const auto ports = os::ListFolder(class_folder);
    if (ports.ok()) {
      for (const auto& port : *ports) {
        const auto text =
            os::ReadFile(fmt::format("{}/{}/name", class_folder, port), kNameBytesMax);
        if (text.ok() && *text == name + "\n") return "/dev/" + port;
      }
    }
    if (deadline.Passed()) {
      return EnvironmentError(
          fmt::format("no virtio port is named \"{}\" under {} (is virtio_console loaded, and does "
                      "the machine have the port?)",
                      name, class_folder));
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

Result<Port> Port::Open(const std::string& path) {
  os::Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) {
    return EnvironmentError(fmt::format("cannot open {}: {}", path, os::ErrnoText(errno)));
  }
  return Port(std::move(fd));
}

Status Port::Send(const GuestMessage& message) {
  // One write for length and message, so that the host never sees one without the other.
  PP_ASSIGN_OR_RETURN(const std::string frame, vm::EncodeFrame(message));
  return os::WriteAll(fd_.get(), {reinterpret_cast<const uint8_t*>(frame.data()), frame.size()});
}

Result<std::optional<GuestRequest>> Port::Receive(const os::Deadline& deadline) {
  std::vector<uint8_t> buffer(kReadBytes);
  for (;;) {
    PP_ASSIGN_OR_RETURN(auto request, frames_.Next<GuestRequest>());
    if (request) return request;
    PP_ASSIGN_OR_RETURN(const bool readable, os::WaitReadable(fd_.get(), deadline));
    if (!readable) return request;
    const ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
    if (n > 0) {
      frames_.Append({buffer.data(), static_cast<size_t>(n)});
      host_must_be_back_.reset();
    } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
      return EnvironmentError("reading from the host failed: " + os::ErrnoText(errno));
    } else if (n == 0) {
      if (!host_must_be_back_) host_must_be_back_ = os::Deadline::After(kHostWaitMax);
      if (host_must_be_back_->Passed()) {
        return GuestError(fmt::format("the host has been away for {} ms", kHostWaitMax.count()));
      }
      if (deadline.Passed()) return request;
      std::this_thread::sleep_for(kPollInterval);  // such a port is always readable
    }
  }
}

}  // namespace plugpull::guest
