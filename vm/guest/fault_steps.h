// SPDX-License-Identifier: Apache-2.0
// Faults in the guest: layers that get another table, now or at a moment that comes while steps
// run, and what the host wants to know of devices. Guest only; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/blocklog/mark.h"
#include "framework/proto/guest.pb.h"
#include "vm/guest/disk_stack.h"
#include "vm/guest/kernel_log.h"

namespace plugpull::guest {

inline constexpr size_t kArmedFaultsMax = 256;

// A POSIX extended regular expression.
class LinePattern {
 public:
  // A user error names what is wrong with it.
  static Result<LinePattern> Compile(const std::string& pattern);
  bool Matches(const std::string& line) const;

 private:
  struct Compiled;
  explicit LinePattern(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
  std::shared_ptr<const Compiled> compiled_;
};

// The moments that faults wait for. Every fault comes due once, at the first call after which its
// moment has come; several at one call in the order in which they were armed.
class FaultMoments {
 public:
  struct Clock {
    std::function<uint64_t()> now_ms;  // since the guest's boot
    // Lines that the kernel has logged since the last call; `cut` is set when some are lost.
    std::function<std::vector<KernelLine>(bool& cut)> kernel_lines;
  };
  explicit FaultMoments(Clock clock) : clock_(std::move(clock)) {}

  // Positions count from 0 in the order of the calls. A user error when `when` asks for nothing.
  Result<size_t> Arm(const When& when);
  // Each: positions of the faults that are due now.
  std::vector<size_t> AfterMark(const blocklog::Mark& mark);
  std::vector<size_t> AfterOperation();
  std::vector<size_t> Look();  // at the clock and the kernel's log
  uint64_t operations() const { return operations_; }
  // Whether a clock or a log must be looked at.
  bool NeedsLook() const;
  // Whether a fault waits for a line of the kernel's log, and may have missed it: lines were lost.
  bool LinesLost() const;
  void Forget() { waiting_.clear(); }

 private:
  struct Waiting {
    When when;
    uint64_t armed_ms = 0;
    uint64_t armed_operations = 0;
    std::optional<LinePattern> pattern;
    bool due = false;
    bool lines_lost = false;
  };
  template <typename Condition>
  std::vector<size_t> Due(Condition condition);

  Clock clock_;
  uint64_t operations_ = 0;
  std::vector<Waiting> waiting_;
};

// One moment that somebody waits for, on the guest's own clock and log.
class Moment {
 public:
  // From now on. A user error when `when` asks for nothing.
  static Result<Moment> Arm(const When& when);
  void AfterMark(const blocklog::Mark& mark);
  void AfterOperation();
  bool HasCome() const { return has_come_; }
  // It may have come unseen: lines of the kernel's log were lost.
  bool LinesLost() const { return !has_come_ && moments_->LinesLost(); }

 private:
  Moment() = default;
  std::shared_ptr<KernelLog> log_;  // where a line of it is waited for
  std::optional<FaultMoments> moments_;
  bool has_come_ = false;
};

class Faults {
 public:
  using FindDisk = std::function<Result<DiskStack*>(const std::string& disk)>;
  explicit Faults(FindDisk find);

  // Carries the swap out and reports it; nothing when it was armed, or only tried.
  Result<std::optional<FaultReport>> Take(const SwapLayer& request);
  void AfterMark(const blocklog::Mark& mark);
  void AfterOperation();
  void Look();
  // Whether one that waits for a line of the kernel's log may have missed it.
  bool LinesLost() const { return moments_.LinesLost(); }
  // What became of those that were armed, in that order; they are forgotten.
  std::vector<FaultReport> Disarm();

 private:
  FaultReport CarryOut(const SwapLayer& request);
  void CarryOut(const std::vector<size_t>& due);

  FindDisk find_;
  std::optional<KernelLog> log_;
  FaultMoments moments_;
  std::vector<SwapLayer> armed_;
  std::vector<FaultReport> reports_;
};

// "flakey 1.5.0".
Result<std::vector<std::string>> TargetVersions();

// The kernel's name of the disk, once it is as asked for; empty for one that is gone. An
// environment error when it is not in time.
Result<std::string> AwaitDisk(const WaitForDisk& request);

}  // namespace plugpull::guest
