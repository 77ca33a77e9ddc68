// SPDX-License-Identifier: Apache-2.0
// The status codes of gRPC, by number and by name, for those who speak of them without speaking
// gRPC. Source: doc/statuscodes.md of gRPC.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace plugpull {

inline constexpr std::array<std::string_view, 17> kRpcCodeNames = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

enum class RpcCode {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
};

// "FAILED_PRECONDITION"; "CODE 99" for a number that gRPC does not have.
inline std::string RpcCodeName(int code) {
  if (code >= 0 && static_cast<size_t>(code) < kRpcCodeNames.size()) {
    return std::string(kRpcCodeNames[static_cast<size_t>(code)]);
  }
  return "CODE " + std::to_string(code);
}

// Nothing: no code has this name.
inline std::optional<int> RpcCodeOf(std::string_view name) {
  for (size_t i = 0; i < kRpcCodeNames.size(); ++i) {
    if (kRpcCodeNames[i] == name) return static_cast<int>(i);
  }
  return std::nullopt;
}

}  // namespace plugpull
