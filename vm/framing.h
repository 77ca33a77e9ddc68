// SPDX-License-Identifier: Apache-2.0
// Messages between host and guest as bytes: a little-endian 32-bit length, at most kFrameBytesMax,
// then so many bytes of a protobuf message (framework/proto/guest.proto). What arrives is not
// trusted: a guest under test may send anything.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "framework/base/result.h"

namespace plugpull::vm {

inline constexpr size_t kFrameHeadBytes = 4;
inline constexpr uint32_t kFrameBytesMax = 64u << 20;

// Length and message. An internal error when the message is above kFrameBytesMax.
template <typename Message>
Result<std::string> EncodeFrame(const Message& message) {
  const size_t size = message.ByteSizeLong();
  if (size > kFrameBytesMax) {
    return InternalError(
        fmt::format("a message of {} bytes is above the limit of {} bytes between host and guest",
                    size, kFrameBytesMax));
  }
  std::string frame;
  frame.reserve(kFrameHeadBytes + size);
  for (size_t i = 0; i < kFrameHeadBytes; ++i) frame.push_back(static_cast<char>(size >> (8 * i)));
  PP_CHECK(message.AppendToString(&frame));
  return frame;
}

// Takes bytes as they come and gives whole messages back. Holds at most one message of
// kFrameBytesMax and what was appended behind it. Used from one thread.
class FrameReader {
 public:
  void Append(std::span<const uint8_t> bytes) {
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  // The next whole message; nothing when more bytes are needed. A guest error when the length is
  // above the limit or the bytes are no Message: the stream is of no use after that.
  template <typename Message>
  Result<std::optional<Message>> Next() {
    if (buffer_.size() < kFrameHeadBytes) return std::optional<Message>();
    uint32_t size = 0;
    for (size_t i = 0; i < kFrameHeadBytes; ++i) {
      size |= uint32_t{static_cast<uint8_t>(buffer_[i])} << (8 * i);
    }
    if (size > kFrameBytesMax) {
      return GuestError(
          fmt::format("the guest announced a message of {} bytes; the limit is {} bytes", size,
                      kFrameBytesMax));
    }
    if (buffer_.size() - kFrameHeadBytes < size) return std::optional<Message>();
    Message message;
    if (!message.ParseFromArray(buffer_.data() + kFrameHeadBytes, static_cast<int>(size))) {
      return GuestError(
          fmt::format("{} bytes from the guest are no {}", size, message.GetTypeName()));
    }
    buffer_.erase(0, kFrameHeadBytes + size);
    return std::optional<Message>(std::move(message));
  }

  // Bytes of a message that is not whole yet.
  size_t pending_bytes() const { return buffer_.size(); }

 private:
  std::string buffer_;
};

}  // namespace plugpull::vm
