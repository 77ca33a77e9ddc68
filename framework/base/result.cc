// SPDX-License-Identifier: Apache-2.0
#include "framework/base/result.h"

namespace plugpull {

const char* ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUser:
      return "user";
    case ErrorCode::kGuest:
      return "guest";
    case ErrorCode::kEnvironment:
      return "environment";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "internal";
}

int ExitStatusFor(ErrorCode code) { return code == ErrorCode::kUser ? 2 : 3; }

std::string Error::ToString() const { return context.empty() ? message : context + ": " + message; }

Error UserError(std::string message) { return {ErrorCode::kUser, std::move(message), {}}; }
Error GuestError(std::string message) { return {ErrorCode::kGuest, std::move(message), {}}; }
Error EnvironmentError(std::string message) {
  return {ErrorCode::kEnvironment, std::move(message), {}};
}
Error InternalError(std::string message) { return {ErrorCode::kInternal, std::move(message), {}}; }

Error WithContext(Error error, std::string context) {
  error.context = error.context.empty() ? std::move(context) : context + ": " + error.context;
  return error;
}

}  // namespace plugpull
