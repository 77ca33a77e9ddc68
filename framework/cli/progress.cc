// SPDX-License-Identifier: Apache-2.0
#include "framework/cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "framework/os/file.h"

namespace plugpull::cli {
namespace {

constexpr std::chrono::milliseconds kRedraw{200};   // on a terminal
constexpr std::chrono::milliseconds kRepeat{5000};  // elsewhere

// A line that wraps cannot be redrawn.
int Columns() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20;
  return known ? size.ws_col : 80;
}

}  // namespace

Progress::Progress()
    : terminal_(::isatty(STDERR_FILENO) != 0 && os::GetEnv("TERM", "dumb") != "dumb") {}

Progress::~Progress() {
  if (line_open_) std::fputs("\r\x1b[K", stderr);
}

void Progress::Show(const std::string& run, const std::string& what, uint64_t done,
                    uint64_t total) {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  const auto [it, added] = lines_.try_emplace(run);
  Line& line = it->second;
  const bool changed = added || line.what != what;
  if (changed) line = {what, now, now};
  const bool last = total != 0 && done == total;
  if (!changed && !last && now - line.shown < (terminal_ ? kRedraw : kRepeat)) return;
  line.shown = now;
  std::string text = run + ": " + what;
  if (total != 0) {
    text += fmt::format(" {}/{}", done, total);
    const double passed = std::chrono::duration<double>(now - line.start).count();
    if (done > 0 && done < total && passed > 1) {
      text += fmt::format(", {:.0f} s left",
                          passed / static_cast<double>(done) * static_cast<double>(total - done));
    }
  }
  if (terminal_) {
    std::fprintf(stderr, "\r\x1b[K%.*s", Columns() - 1, text.c_str());
    line_open_ = true;
  } else {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  std::fflush(stderr);
}

}  // namespace plugpull::cli
