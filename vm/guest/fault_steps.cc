// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/fault_steps.h"

#include <fmt/format.h>
#include <regex.h>
#include <time.h>

#include <algorithm>
#include <thread>

#include "dm-targets/control/control.h"
#include "framework/os/fd.h"
#include "vm/guest/block_device.h"

namespace plugpull::guest {
namespace {

constexpr Millis kPollInterval{5};
constexpr uint32_t kWaitMsMax = 600'000;
constexpr size_t kLinesMax = 10'000;  // of the kernel's log at one look
constexpr int kLooksMax = 16;         // at what was logged before
constexpr char kFaultMark[] = "fault";

uint64_t SinceBootMs() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

}  // namespace

struct LinePattern::Compiled {
  regex_t regex{};
  bool valid = false;
  ~Compiled() {
    if (valid) ::regfree(&regex);
  }
};

Result<LinePattern> LinePattern::Compile(const std::string& pattern) {
  auto compiled = std::make_shared<Compiled>();
  const int error = ::regcomp(&compiled->regex, pattern.c_str(), REG_EXTENDED | REG_NOSUB);
  if (error != 0) {
    char text[256];
    ::regerror(error, &compiled->regex, text, sizeof text);
    return UserError(
        fmt::format("\"{}\" is no POSIX extended regular expression: {}", pattern, text));
  }
  compiled->valid = true;
  return LinePattern(std::move(compiled));
}

bool LinePattern::Matches(const std::string& line) const {
  return ::regexec(&compiled_->regex, line.c_str(), 0, nullptr, 0) == 0;
}

Result<size_t> FaultMoments::Arm(const When& when) {
  if (waiting_.size() >= kArmedFaultsMax) {
    return UserError(fmt::format("{} faults wait already; more are not possible", kArmedFaultsMax));
  }
  Waiting waiting;
  waiting.when = when;
  waiting.armed_ms = clock_.now_ms();
  waiting.armed_operations = operations_;
  if (when.moment_case() == When::MOMENT_NOT_SET) {
    return UserError("a fault is to wait, and no moment is named");
  }
  if (when.has_kernel_log()) {
    PP_ASSIGN_OR_RETURN(waiting.pattern, LinePattern::Compile(when.kernel_log()));
  }
  waiting_.push_back(std::move(waiting));
  return waiting_.size() - 1;
}

template <typename Condition>
std::vector<size_t> FaultMoments::Due(Condition condition) {
  std::vector<size_t> due;
  for (size_t i = 0; i < waiting_.size(); ++i) {
    if (waiting_[i].due || !condition(waiting_[i])) continue;
    waiting_[i].due = true;
    due.push_back(i);
  }
  return due;
}

std::vector<size_t> FaultMoments::AfterMark(const blocklog::Mark& mark) {
  const std::string text = mark.text.empty() ? mark.kind : mark.kind + " " + mark.text;
  return Due([&](const Waiting& waiting) {
    return waiting.when.has_after_mark() && waiting.when.after_mark() == text;
  });
}

std::vector<size_t> FaultMoments::AfterOperation() {
  ++operations_;
  return Due([&](const Waiting& waiting) {
    return waiting.when.has_after_operations() &&
           operations_ - waiting.armed_operations >= waiting.when.after_operations();
  });
}

std::vector<size_t> FaultMoments::Look() {
  const uint64_t now = clock_.now_ms();
  bool cut = false;
  const std::vector<KernelLine> lines = clock_.kernel_lines(cut);
  for (Waiting& waiting : waiting_) waiting.lines_lost |= cut && waiting.pattern;
  return Due([&](const Waiting& waiting) {
    if (waiting.when.has_guest_ms()) return now - waiting.armed_ms >= waiting.when.guest_ms();
    return waiting.pattern && std::any_of(lines.begin(), lines.end(), [&](const KernelLine& line) {
             return waiting.pattern->Matches(line.text());
           });
  });
}

bool FaultMoments::LinesLost() const {
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [](const Waiting& waiting) { return !waiting.due && waiting.lines_lost; });
}

bool FaultMoments::NeedsLook() const {
  return std::any_of(waiting_.begin(), waiting_.end(), [](const Waiting& waiting) {
    return !waiting.due && (waiting.when.has_guest_ms() || waiting.when.has_kernel_log());
  });
}

Result<Moment> Moment::Arm(const When& when) {
  Moment moment;
  if (when.has_kernel_log()) {
    PP_ASSIGN_OR_RETURN(KernelLog log, KernelLog::Open());
    moment.log_ = std::make_shared<KernelLog>(std::move(log));
  }
  moment.moments_.emplace(FaultMoments::Clock{SinceBootMs, [log = moment.log_](bool& cut) {
                                                return log ? log->Take(kLinesMax, cut)
                                                           : std::vector<KernelLine>();
                                              }});
  PP_ASSIGN_OR_RETURN(const size_t position, moment.moments_->Arm(when));
  PP_CHECK(position == 0);
  return moment;
}

void Moment::AfterMark(const blocklog::Mark& mark) {
  has_come_ = has_come_ || !moments_->AfterMark(mark).empty();
}

void Moment::AfterOperation() {
  has_come_ = has_come_ || !moments_->AfterOperation().empty();
  if (moments_->NeedsLook()) has_come_ = has_come_ || !moments_->Look().empty();
}

Faults::Faults(FindDisk find)
    : find_(std::move(find)),
      moments_({SinceBootMs, [this](bool& cut) {
                  return log_ ? log_->Take(kLinesMax, cut) : std::vector<KernelLine>();
                }}) {}

FaultReport Faults::CarryOut(const SwapLayer& request) {
  FaultReport report;
  report.set_step(request.step());
  report.set_operations(moments_.operations());
  const auto swap = [&]() -> Status {
    PP_ASSIGN_OR_RETURN(DiskStack * disk, find_(request.disk()));
    if (!request.mark().empty() && !request.only_try()) {
      PP_RETURN_IF_ERROR(disk->WriteMark({kFaultMark, request.mark()}));
    }
    report.set_guest_ms(SinceBootMs());
    PP_ASSIGN_OR_RETURN(const auto lines, disk->SwapLayer(request.layer(), request.to(),
                                                          request.read_only(), request.only_try()));
    for (const std::string& line : lines) report.add_table(line);
    return OkStatus();
  };
  const Status swapped = swap();
  report.set_done(swapped.ok());
  if (!swapped.ok()) report.set_problem(swapped.error().ToString());
  return report;
}

Result<std::optional<FaultReport>> Faults::Take(const SwapLayer& request) {
  if (request.has_when() && !request.only_try()) {
    if (request.when().has_kernel_log() && !log_) {
      PP_ASSIGN_OR_RETURN(log_, KernelLog::Open());
    }
    if (log_) {
      // What was logged before is none of this fault's business.
      Look();
      bool more = true;
      for (int i = 0; more && i < kLooksMax; ++i) {
        more = false;
        (void)log_->Take(kLinesMax, more);
      }
    }
    PP_ASSIGN_OR_RETURN(const size_t position, moments_.Arm(request.when()));
    PP_CHECK(position == armed_.size());
    armed_.push_back(request);
    reports_.emplace_back().set_step(request.step());
    return std::optional<FaultReport>();
  }
  FaultReport report = CarryOut(request);
  if (!report.done()) return EnvironmentError(report.problem());
  if (request.only_try()) return std::optional<FaultReport>();
  return std::optional<FaultReport>(std::move(report));
}

void Faults::CarryOut(const std::vector<size_t>& due) {
  for (const size_t position : due) reports_[position] = CarryOut(armed_[position]);
}

void Faults::AfterMark(const blocklog::Mark& mark) { CarryOut(moments_.AfterMark(mark)); }

void Faults::AfterOperation() {
  CarryOut(moments_.AfterOperation());
  Look();
}

void Faults::Look() {
  if (moments_.NeedsLook()) CarryOut(moments_.Look());
}

std::vector<FaultReport> Faults::Disarm() {
  armed_.clear();
  moments_.Forget();
  return std::exchange(reports_, {});
}

Result<std::vector<std::string>> TargetVersions() {
  PP_ASSIGN_OR_RETURN(const auto versions, dm::ListTargetVersions());
  std::vector<std::string> words;
  for (const auto& version : versions) words.push_back(version.ToString());
  return words;
}

Result<std::string> AwaitDisk(const WaitForDisk& request) {
  const auto deadline = os::Deadline::After(Millis(std::min(request.timeout_ms(), kWaitMsMax)));
  for (;;) {
    const auto disk = FindDiskBySerial(request.serial(), os::Deadline::After(Millis(0)));
    if (request.gone() && !disk.ok()) return std::string();
    if (!request.gone() && disk.ok() &&
        (request.size_sectors() == 0 || disk->size.value == request.size_sectors())) {
      return disk->name;
    }
    if (deadline.Passed()) {
      const std::string now =
          disk.ok() ? fmt::format("it is {} with {} sectors", disk->path(), disk->size.value)
                    : disk.error().message;
      return EnvironmentError(fmt::format(
          "after {} ms the disk \"{}\" is not {} in the guest: {}", request.timeout_ms(),
          request.serial(),
          request.gone()                ? std::string("gone")
          : request.size_sectors() == 0 ? std::string("there")
                                        : fmt::format("of {} sectors", request.size_sectors()),
          now));
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

}  // namespace plugpull::guest
