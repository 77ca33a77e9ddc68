// SPDX-License-Identifier: Apache-2.0
// Errors are values. Result<T> holds a T or an Error; Status is Result<void>.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "framework/base/check.h"

namespace plugpull {

// Whose fault it is. Each maps to one exit status of the program.
enum class ErrorCode {
  kUser,         // the scenario, log, recording or command line is wrong: exit 2
  kGuest,        // the guest hung, panicked, or refused a step: exit 3
  kEnvironment,  // this machine lacks something (kernel, QEMU, space, memory): exit 3
  kInternal,     // plugpull itself is wrong: exit 3, and asks for a report
};

// "user", "guest", "environment" or "internal".
const char* ErrorCodeName(ErrorCode code);

// Exit status of the program for an error of this code.
int ExitStatusFor(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;  // names the value, the bound, and what to do next
  std::string context;  // what was being done, outermost first; may be empty

  // "context: message", or the message alone.
  std::string ToString() const;
};

Error UserError(std::string message);
Error GuestError(std::string message);
Error EnvironmentError(std::string message);
Error InternalError(std::string message);

// The same error with `context` put in front of its context.
Error WithContext(Error error, std::string context);

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  const T& value() const& {
    PP_CHECK(ok());
    return std::get<0>(state_);
  }
  T& value() & {
    PP_CHECK(ok());
    return std::get<0>(state_);
  }
  T&& value() && {
    PP_CHECK(ok());
    return std::get<0>(std::move(state_));
  }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  // By value, so that a loop over *F() does not dangle.
  T operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

  const Error& error() const& {
    PP_CHECK(!ok());
    return std::get<1>(state_);
  }
  Error&& error() && {
    PP_CHECK(!ok());
    return std::get<1>(std::move(state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const& {
    PP_CHECK(!ok());
    return *error_;
  }
  Error&& error() && {
    PP_CHECK(!ok());
    return *std::move(error_);
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;
inline Status OkStatus() { return {}; }

}  // namespace plugpull

#define PP_CONCAT_INNER(a, b) a##b
#define PP_CONCAT(a, b) PP_CONCAT_INNER(a, b)

// Returns the error of `expression` from the calling function, if it has one.
#define PP_RETURN_IF_ERROR(expression)                               \
  do {                                                               \
    if (auto pp_status = (expression); !pp_status.ok()) [[unlikely]] \
      return std::move(pp_status).error();                           \
  } while (false)

// PP_ASSIGN_OR_RETURN(auto x, F()): declares x from the value, or returns the error.
#define PP_ASSIGN_OR_RETURN(lhs, expression) \
  PP_ASSIGN_OR_RETURN_INNER(PP_CONCAT(pp_result_, __LINE__), lhs, expression)
#define PP_ASSIGN_OR_RETURN_INNER(result, lhs, expression) \
  auto result = (expression);                              \
  if (!result.ok()) [[unlikely]]                           \
    return std::move(result).error();                      \
  lhs = std::move(result).value()
