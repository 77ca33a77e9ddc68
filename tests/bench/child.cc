// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/child.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "framework/os/file.h"

namespace plugpull::bench {

using nlohmann::json;

Result<json> InChild(const std::function<Result<json>()>& work) {
  int ends[2];
  if (::pipe(ends) != 0) return EnvironmentError("pipe: " + os::ErrnoText(errno));
  const os::Fd from(ends[0]);
  os::Fd to(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return EnvironmentError("fork: " + os::ErrnoText(errno));
  if (child == 0) {
    const Result<json> result = work();
    const std::string text =
        result.ok() ? result->dump() : json{{"error", result.error().ToString()}}.dump();
    const bool sent =
        os::WriteAll(to.get(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()}).ok();
    ::_exit(sent ? 0 : 1);
  }
  to.Reset();
  std::string text;
  char buffer[65536];
  for (ssize_t got; (got = ::read(from.get(), buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  json result = json::parse(text, nullptr, false);
  if (status != 0 || result.is_discarded()) {
    return InternalError(
        fmt::format("a part of the measurement ended with wait status {}", status));
  }
  if (result.contains("error")) return EnvironmentError(result["error"].get<std::string>());
  return result;
}

}  // namespace plugpull::bench
