// SPDX-License-Identifier: Apache-2.0
// Progress on stderr: one line that is redrawn on a terminal, a line now and then elsewhere.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <string>

namespace plugpull::cli {

// Thread-safe.
class Progress {
 public:
  Progress();
  ~Progress();  // leaves the terminal's line empty

  // `run` is doing `what`; `done` of `total` where total is not 0.
  void Show(const std::string& run, const std::string& what, uint64_t done, uint64_t total);

 private:
  using Clock = std::chrono::steady_clock;
  struct Line {
    std::string what;
    Clock::time_point start;  // of `what`
    Clock::time_point shown;
  };
  std::mutex mutex_;
  bool terminal_;
  bool line_open_ = false;
  std::map<std::string, Line> lines_;
};

}  // namespace plugpull::cli
