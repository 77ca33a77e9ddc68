// SPDX-License-Identifier: Apache-2.0
// The steps that a session carries out itself: file systems, mounts, workloads, programs, damage,
// the kernel's log.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <re2/re2.h>

#include <cstring>

#include "framework/run/guest_session.h"
#include "framework/workload/generator.h"
#include "framework/workload/guarantee_generator.h"
#include "framework/workload/times_generator.h"

namespace plugpull::run {
namespace {

// Pinned, so that two recordings of one scenario have the same file system.
constexpr char kUuid[] = "7b1f3c52-0d4e-4a68-9c71-5e2a90b6d813";
constexpr char kHashSeed[] = "2c9e51d4-88f7-4b0a-a6c3-1f7d42e09b65";
constexpr char kMkfsTime[] = "E2FSPROGS_FAKE_TIME=1700000000";

constexpr size_t kOutputShown = 2000;  // bytes of a failed program's output in a message

// Thirty days, as long as the guest lets a program run at all.
constexpr uint32_t kWarpedProgramMs = 2'592'000'000;

std::string Tail(const std::string& text) {
  return text.size() <= kOutputShown ? text : "..." + text.substr(text.size() - kOutputShown);
}

}  // namespace

Status GuestSession::Mkfs(const MkfsStep& step, Millis timeout) {
  GuestRequest request;
  RunGuestProgram& run = *request.mutable_run_program();
  std::string extended =
      fmt::format("nodiscard,lazy_itable_init=0,lazy_journal_init=0,hash_seed={}", kHashSeed);
  run.add_argv("mkfs.ext4");
  for (const char* word : {"-F", "-q", "-U", kUuid}) run.add_argv(word);
  for (int i = 0; i < step.option_size(); ++i) {
    if (step.option(i) == "-E" && i + 1 < step.option_size()) {
      extended += "," + step.option(++i);  // mke2fs would take only the last -E
    } else {
      run.add_argv(step.option(i));
    }
  }
  run.add_argv("-E");
  run.add_argv(extended);
  run.add_argv(devices_.at(step.disk()));
  run.add_environment(kMkfsTime);
  run.set_timeout_ms(static_cast<uint32_t>(timeout.count()));
  PP_ASSIGN_OR_RETURN(const Answer answer, RunToEnd(std::move(request), timeout));
  if (answer.exit_status() == 0) return OkStatus();
  return GuestError(fmt::format("mkfs.ext4 ended with status {}; it said:\n{}",
                                answer.exit_status(), Tail(answer.output())));
}

Result<Answer> GuestSession::RunToEnd(GuestRequest request, Millis timeout) {
  const std::string program = request.run_program().argv(0);
  if (scenario_.guest().clock() == Guest::WARPED) {
    // timeout_ms is of the user's time, which the guest does not see.
    request.mutable_run_program()->set_timeout_ms(kWarpedProgramMs);
    const auto deadline = os::Deadline::After(timeout);
    auto answer = Ask(std::move(request), timeout);
    if (answer.ok() || !deadline.Passed()) return answer;
    return GuestError(
        fmt::format("{} did not end within {} ms (timeout_ms of the step, which is "
                    "not of the guest's warped clock): {}",
                    program, timeout.count(), answer.error().message));
  }
  // The guest ends the program at the timeout; it gets a little longer to say so.
  PP_ASSIGN_OR_RETURN(Answer answer, Ask(std::move(request), timeout + kControlTimeout));
  if (answer.timed_out()) {
    return GuestError(
        fmt::format("{} did not end within {} ms (timeout_ms of the step); it said:\n{}", program,
                    timeout.count(), Tail(answer.output())));
  }
  return answer;
}

Status GuestSession::MountDisk(const MountStep& step, Millis timeout) {
  const Disk& disk = FindDisk(step.disk());
  if (HasLog(disk) && has_base_.insert(disk.name()).second) {
    // In this order: the mark waits for a flush like any plain write, and the first forced write of
    // the mount would overtake it.
    PP_RETURN_IF_ERROR(Mark(disk.name(), "base", disk.name()));
    PP_RETURN_IF_ERROR(Drain(disk.name()));
  }
  GuestRequest request;
  MountRequest& mount = *request.mutable_mount();
  mount.set_disk(step.disk());
  mount.set_at(step.at());
  mount.set_type(step.type());
  *mount.mutable_option() = step.option();
  PP_ASSIGN_OR_RETURN(const Answer answer, AskRaw(std::move(request), timeout));
  const int error_number = answer.has_error() ? answer.error().error_number() : 0;
  const std::string got = error_number == 0 ? "" : ::strerrorname_np(error_number);
  if (answer.has_error() && (answer.error().infrastructure() || got.empty())) {
    return GuestError(answer.error().message());
  }
  if (got != step.expect_errno()) {
    Unmet(step.expect_errno().empty() ? "a mount that succeeds" : step.expect_errno(),
          got.empty() ? "it was mounted"
                      : fmt::format("the mount said {}: {}", got, answer.error().message()));
  }
  if (got.empty()) {
    mounts_[step.at()] = step.disk();
    // A mount that replays a journal ends with a forced write of the journal's superblock, and the
    // first commit writes that again, plainly: without a drain between, nobody could tell from the
    // log which of the two came first (jbd2_journal_commit_transaction in fs/jbd2/commit.c).
    if (later_boot_ && HasLog(disk)) PP_RETURN_IF_ERROR(Drain(disk.name()));
    for (const std::string& option : step.option()) {
      if (option.find("data=writeback") != std::string::npos) writeback_.insert(step.disk());
    }
  }
  return OkStatus();
}

Status GuestSession::Unmount(const UnmountStep& step, Millis timeout) {
  GuestRequest request;
  request.mutable_unmount()->set_at(step.at());
  const auto answer = Ask(std::move(request), timeout);
  if (!answer.ok()) return answer.error();
  mounts_.erase(step.at());
  return OkStatus();
}

Status GuestSession::RunFiles(const WorkloadStep& step, Millis timeout) {
  WorkloadTrace trace;
  const Disk& disk = FindDisk(mounts_.at(step.at()));
  trace.set_at(step.at());
  trace.set_disk(disk.name());
  trace.set_seed(step.seed());
  trace.set_workload(first_workload_ + static_cast<uint32_t>(traces_.size()));
  trace.set_reuses_freed_blocks_early(writeback_.contains(disk.name()));
  PP_ASSIGN_OR_RETURN(const auto operations,
                      step.has_guarantees() ? workload::GenerateGuarantees(
                                                  step.guarantees(), step.seed(), trace.workload())
                      : step.has_timestamps()
                          ? workload::GenerateTimestamps(step.timestamps(), trace.workload())
                          : workload::GenerateFiles(step.files(), step.seed(), trace.workload()));
  trace.mutable_operation()->Assign(operations.begin(), operations.end());
  GuestRequest request;
  RunWorkload& run = *request.mutable_run_workload();
  run.set_at(step.at());
  *run.mutable_operation() = trace.operation();
  run.set_workload(trace.workload());
  if (HasLog(disk)) {
    run.set_mark_disk(disk.name());
    if (!SendsFlushes(disk)) run.set_drain_every_bytes(kDrainEvery.value);
  }
  const bool may_stop = power_cut_ != nullptr;
  if (may_stop) *run.mutable_stop_when() = power_cut_->when();
  const auto keep = [&](const Progress& progress) {
    trace.mutable_result()->MergeFrom(progress.result());
  };
  const auto answer = Ask(std::move(request), timeout, keep);
  if (!answer.ok()) return answer.error();
  if (may_stop && trace.result_size() <= trace.operation_size()) {
    // The guest stopped between two operations, so no other had begun.
    trace.mutable_operation()->DeleteSubrange(trace.result_size(),
                                              trace.operation_size() - trace.result_size());
  }
  if (trace.result_size() != trace.operation_size()) {
    return InternalError(fmt::format("the guest reported {} of {} operations", trace.result_size(),
                                     trace.operation_size()));
  }
  traces_.push_back(std::move(trace));
  if (may_stop && !answer->stopped()) {
    if (answer->kernel_log_cut()) return MomentMayHaveCome(*power_cut_, step_number_ - 1);
    UnmetBy(step_number_ - 1, MomentInWords(power_cut_->when()),
            "that never came before the workload ended");
  }
  return OkStatus();
}

Status GuestSession::RunCommand(const CommandStep& step, Millis timeout) {
  GuestRequest request;
  RunGuestProgram& run = *request.mutable_run_program();
  *run.mutable_argv() = step.argv();
  run.set_timeout_ms(static_cast<uint32_t>(timeout.count()));
  run.set_mark_disk(step.mark_disk());
  PP_ASSIGN_OR_RETURN(const Answer answer, RunToEnd(std::move(request), timeout));
  const std::string said = "; it said:\n" + Tail(answer.output());
  if (answer.exit_status() != static_cast<int>(step.expect_exit())) {
    Unmet(fmt::format("exit status {}", step.expect_exit()),
          fmt::format("{} ended with status {}{}", step.argv(0), answer.exit_status(), said));
  } else if (!RE2::PartialMatch(answer.output(), "(?m)" + step.expect_output())) {
    Unmet(fmt::format("output that matches \"{}\"", step.expect_output()),
          fmt::format("{} printed nothing that matches{}", step.argv(0), said));
  }
  return OkStatus();
}

Status GuestSession::Corrupt(const CorruptStep& step, int number, Millis timeout) {
  GuestRequest request;
  *request.mutable_corrupt() = step;
  PP_ASSIGN_OR_RETURN(Answer answer, AskRaw(std::move(request), timeout));
  if (answer.has_error()) {
    return answer.error().infrastructure() ? GuestError(answer.error().message())
                                           : UserError(answer.error().message());
  }
  DamageEvidence& evidence = damage_.emplace_back(std::move(*answer.mutable_damage_evidence()));
  evidence.set_step(static_cast<uint32_t>(number));
  evidence.set_disk(step.disk());
  return OkStatus();
}

Status GuestSession::CheckKernelLog(const KernelLogStep& step, Millis timeout) {
  GuestRequest request;
  request.mutable_take_kernel_log();
  PP_ASSIGN_OR_RETURN(const Answer answer, Ask(std::move(request), timeout));
  const auto find = [&answer](const std::string& pattern) -> const KernelLine* {
    const RE2 compiled(pattern, RE2::Quiet);
    for (const KernelLine& line : answer.kernel_line()) {
      if (RE2::PartialMatch(line.text(), compiled)) return &line;
    }
    return nullptr;
  };
  std::vector<std::string> asked;
  std::vector<std::string> came;
  for (const std::string& pattern : step.lacks()) {
    if (const KernelLine* line = find(pattern)) {
      asked.push_back(fmt::format("no line of the kernel's log that matches \"{}\"", pattern));
      came.push_back("it logged: " + line->text());
    }
  }
  bool absent = false;  // something was looked for and is not there
  for (const std::string& pattern : step.has()) {
    if (find(pattern) != nullptr) continue;
    asked.push_back(fmt::format("a line of the kernel's log that matches \"{}\"", pattern));
    absent = true;
  }
  // A line that is there is there, but what is not found may be among those that are lost.
  if (answer.kernel_log_cut() && (absent || (step.lacks_size() > 0 && came.empty()))) {
    return GuestError(
        "the kernel has logged more than its buffer holds, so nothing can be said of "
        "what it did not log; ask more often, or enlarge it with kernel_argument: "
        "\"log_buf_len=16M\"");
  }
  if (asked.empty()) return OkStatus();
  if (absent) {
    std::string shown;
    for (const KernelLine& line : answer.kernel_line()) shown += "\n" + line.text();
    came.push_back(shown.empty() ? "it logged nothing" : "it logged:" + Tail(shown));
  }
  Unmet(fmt::format("{}", fmt::join(asked, ", and ")), fmt::format("{}", fmt::join(came, "\n")));
  return OkStatus();
}

Status GuestSession::Mark(const std::string& disk, const std::string& kind,
                          const std::string& text) {
  GuestRequest request;
  WriteMark& mark = *request.mutable_write_mark();
  mark.set_disk(disk);
  mark.set_kind(kind);
  mark.set_text(text);
  const auto answer = Ask(std::move(request), kControlTimeout);
  return answer.ok() ? OkStatus() : Status(answer.error());
}

}  // namespace plugpull::run
