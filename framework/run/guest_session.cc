// SPDX-License-Identifier: Apache-2.0
#include "framework/run/guest_session.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <re2/re2.h>

#include <algorithm>
#include <cstring>

#include "framework/base/prng.h"
#include "framework/ext4/damage.h"
#include "framework/image/poison.h"
#include "framework/scenario/validate.h"
#include "framework/workload/generator.h"
#include "framework/workload/guarantee_generator.h"
#include "framework/workload/times_generator.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull::run {
namespace {

// Pinned, so that two recordings of one scenario have the same file system.
constexpr char kUuid[] = "7b1f3c52-0d4e-4a68-9c71-5e2a90b6d813";
constexpr char kHashSeed[] = "2c9e51d4-88f7-4b0a-a6c3-1f7d42e09b65";
constexpr char kMkfsTime[] = "E2FSPROGS_FAKE_TIME=1700000000";

constexpr Millis kControlTimeout{60000};    // for what is no step: disks, marks, drains, power off
constexpr Millis kReadBackTimeout{600000};  // the guest reads a whole disk
constexpr size_t kOutputShown = 2000;       // bytes of a failed program's output in a message

std::string StepWord(const Step& step) {
  switch (step.kind_case()) {
    case Step::kMkfs:
      return fmt::format("mkfs of {}", step.mkfs().disk());
    case Step::kMount:
      return fmt::format("mount of {} at {}", step.mount().disk(), step.mount().at());
    case Step::kUnmount:
      return fmt::format("unmount of {}", step.unmount().at());
    case Step::kWorkload:
      return fmt::format("workload at {}", step.workload().at());
    case Step::kCommand:
      return fmt::format("command {}",
                         step.command().argv_size() > 0 ? step.command().argv(0) : "");
    case Step::kMark:
      return fmt::format("mark on {}", step.mark().disk());
    case Step::kSync:
      return "sync";
    case Step::kCorrupt:
      return fmt::format("corrupt {}: {}", step.corrupt().disk(),
                         ext4::DamageInWords(step.corrupt()));
    case Step::kKernelLog:
      return "kernel_log";
    case Step::kFault:
    case Step::kDeviceFault:
    case Step::kDetach:
    case Step::kAttach:
      return FaultStepInWords(step);
    case Step::kAgent:
    case Step::kAgentWait:
    case Step::kAgentStop:
    case Step::kCsi:
      return AgentStepInWords(step);
    case Step::kPowerCut:
      return "power_cut";
    case Step::KIND_NOT_SET:
      break;
  }
  return "empty step";
}

std::string Tail(const std::string& text) {
  return text.size() <= kOutputShown ? text : "..." + text.substr(text.size() - kOutputShown);
}

// Fills the part of a disk that its file system sees.
Status Poison(int fd, Bytes size, uint64_t seed) {
  std::vector<uint8_t> chunk(std::min<uint64_t>(size.value, 1 << 20));
  for (uint64_t at = 0; at < size.value; at += chunk.size()) {
    const auto part = std::span(chunk).first(std::min(chunk.size(), size.value - at));
    image::FillPoison(seed, at, part);
    PP_RETURN_IF_ERROR(os::PwriteAll(fd, part, Bytes(at)));
  }
  return OkStatus();
}

}  // namespace

std::optional<uint64_t> PoisonSeed(const Scenario& scenario, const Disk& disk) {
  if (disk.fill() != Disk::POISON) return std::nullopt;
  return DeriveSeed(scenario.seed(), "poison " + disk.name());
}

bool HasLog(const Disk& disk) {
  return std::any_of(disk.layer().begin(), disk.layer().end(),
                     [](const Layer& layer) { return layer.has_log_writes(); });
}

bool SendsFlushes(const Disk& disk) {
  return std::none_of(disk.layer().begin(), disk.layer().end(),
                      [](const Layer& layer) { return layer.has_drop_barriers(); });
}

Result<std::unique_ptr<GuestSession>> GuestSession::Start(
    const Scenario& scenario, BootStart start, const GuestImage& image,
    const std::string& scratch_folder, const std::string& console_log, bool interactive,
    const vm::MachineFactory& start_machine,
    const std::function<void(const std::string&)>& progress) {
  auto session = std::unique_ptr<GuestSession>(new GuestSession(scenario, progress));
  session->first_workload_ = start.first_workload;
  session->later_boot_ = start.later;
  vm::MachineOptions options;
  options.kernel_image = image.kernel_image;
  options.initramfs = image.initramfs;
  options.accelerator = image.accelerator;
  const Guest& guest = scenario.guest();
  options.memory_mib = guest.memory_mib();
  options.cpus = guest.cpus();
  options.warped_clock = guest.clock() == Guest::WARPED;
  options.kernel_arguments.assign(guest.kernel_argument().begin(), guest.kernel_argument().end());
  options.console_log = console_log;
  options.interactive = interactive;
  for (const Disk& disk : scenario.disk()) {
    DiskFiles files;
    const Bytes size = Mebibytes(disk.size_mib()) + (HasLog(disk) ? kStripBytes : Bytes(0));
    if (const auto there = start.files.find(disk.name()); there != start.files.end()) {
      files.data = std::move(there->second.data);
    } else {
      PP_ASSIGN_OR_RETURN(files.data, os::MakeScratchFile(scratch_folder, size));
      if (const auto seed = PoisonSeed(scenario, disk)) {
        PP_RETURN_IF_ERROR(Poison(files.data.get(), Mebibytes(disk.size_mib()), *seed));
      }
    }
    if (disk.host_log()) {
      PP_ASSIGN_OR_RETURN(files.host_log, os::MakeScratchFile(scratch_folder, Bytes(0)));
    }
    options.disks.push_back({disk.serial(), files.data.get(), files.host_log.get()});
    if (HasLog(disk)) {
      PP_ASSIGN_OR_RETURN(files.log,
                          os::MakeScratchFile(scratch_folder, Mebibytes(disk.log_size_mib())));
      options.disks.push_back({scenario::kLogSerialPrefix + disk.name(), files.log.get(), -1});
    }
    session->files_[disk.name()] = std::move(files);
  }
  progress(fmt::format("booting {} under {}", guest.kernel(), image.accelerator));
  const vm::MachineFactory& start_it =
      start_machine ? start_machine : vm::MachineFactory(vm::StartQemu);
  PP_ASSIGN_OR_RETURN(session->machine_, start_it(options));
  PP_ASSIGN_OR_RETURN(const Hello hello, session->machine_->WaitForHello(
                                             os::Deadline::After(Millis(guest.boot_timeout_ms()))));
  session->kernel_release_ = hello.kernel_release();
  PP_RETURN_IF_ERROR(session->SetUpDisks());
  session->faults_.emplace(scenario, *session->machine_,
                           [raw = session.get()](GuestRequest request, Millis timeout) {
                             return raw->Ask(std::move(request), timeout);
                           });
  session->agents_.emplace(
      session->scenario_,
      [raw = session.get()](GuestRequest request, Millis timeout) {
        return raw->Ask(std::move(request), timeout);
      },
      [raw = session.get()](const std::string& asked, const std::string& came) {
        raw->Unmet(asked, came);
      });
  PP_RETURN_IF_ERROR(session->faults_->TryAll(session->kernel_release_));
  for (const std::string& disk : start.base_is_now) {
    session->has_base_.insert(disk);
    PP_RETURN_IF_ERROR(session->Mark(disk, "base", disk));
    PP_RETURN_IF_ERROR(session->Drain(disk));
  }
  return session;
}

Result<Answer> GuestSession::AskRaw(GuestRequest request, Millis timeout,
                                    const std::function<void(const Progress&)>& on_progress) {
  auto answer = vm::Call(*machine_, std::move(request), timeout, on_progress);
  if (answer.ok() && answer->guest_ms() != 0) guest_clock_ms_ = answer->guest_ms();
  return answer;
}

Result<Answer> GuestSession::Ask(GuestRequest request, Millis timeout,
                                 const std::function<void(const Progress&)>& on_progress) {
  PP_ASSIGN_OR_RETURN(Answer answer, AskRaw(std::move(request), timeout, on_progress));
  if (answer.has_error()) return GuestError(answer.error().message());
  return answer;
}

const Disk& GuestSession::FindDisk(const std::string& name) const {
  for (const Disk& disk : scenario_.disk()) {
    if (disk.name() == name) return disk;
  }
  PP_CHECK(false);  // plans are validated
}

Status GuestSession::SetUpDisks() {
  for (const Disk& disk : scenario_.disk()) {
    GuestRequest request;
    SetUpDisk& set_up = *request.mutable_set_up_disk();
    set_up.set_disk(disk.name());
    set_up.set_data_serial(disk.serial());
    set_up.set_size_sectors(ToSectors(Mebibytes(disk.size_mib())).value);
    if (HasLog(disk)) {
      set_up.set_log_serial(scenario::kLogSerialPrefix + disk.name());
      set_up.set_strip_sectors(ToSectors(kStripBytes).value);
    }
    for (const Layer& layer : disk.layer()) {
      *set_up.add_layer() = GuestLayerOf(scenario_, layer);
    }
    auto answer = Ask(std::move(request), kControlTimeout);
    if (!answer.ok()) return WithContext(std::move(answer).error(), "disk " + disk.name());
    devices_[disk.name()] = answer->device();
    tables_[disk.name()].assign(answer->table().begin(), answer->table().end());
  }
  return OkStatus();
}

Status GuestSession::RunSteps() {
  step_number_ = 0;
  for (const Step& step : scenario_.step()) {
    ++step_number_;
    if (step.has_power_cut()) {
      power_cut_ = &step;  // now, or while the next step runs; that is the last one either way
      continue;
    }
    const std::string word = StepWord(step);
    progress_(word);
    Status status = RunAndNote(step, step_number_, Millis(step.timeout_ms()));
    if (!status.ok())
      return WithContext(std::move(status).error(), fmt::format("step {}, {}", step_number_, word));
    if (!unmet_.empty()) break;
  }
  progress_("draining the log");
  if (power_cut_ != nullptr && unmet_.empty()) {
    const Status cut = LosePower();
    return cut.ok() ? cut : WithContext(cut.error(), "power_cut");
  }
  Status finished = Finish();
  if (finished.ok() || unmet_.empty()) return finished;
  // Without a recording there is no report of the demand: it is said here.
  const UnmetDemand& unmet = unmet_.front();
  return WithContext(std::move(finished).error(),
                     fmt::format("after step {}, {}, which asked for {}, and {}", unmet.step(),
                                 unmet.what(), unmet.asked(), unmet.came()));
}

void GuestSession::Unmet(const std::string& asked, const std::string& came) {
  UnmetBy(step_number_, asked, came);
}

void GuestSession::UnmetBy(int number, const std::string& asked, const std::string& came) {
  const Step& step = scenario_.step(number - 1);
  UnmetDemand& unmet = unmet_.emplace_back();
  unmet.set_step(static_cast<uint32_t>(number));
  if (step.line() > 0) unmet.set_line(step.line());
  unmet.set_what(StepWord(step));
  unmet.set_asked(asked);
  unmet.set_came(came);
  unmet.set_steps_left(static_cast<uint32_t>(scenario_.step_size() - step_number_));
}

Status GuestSession::RunAndNote(const Step& step, int number, Millis timeout) {
  PP_RETURN_IF_ERROR(RunStep(step, number, timeout));
  return agents_->Note(step);
}

Status GuestSession::RunStep(const Step& step, int number, Millis timeout) {
  switch (step.kind_case()) {
    case Step::kMkfs:
      return Mkfs(step.mkfs(), timeout);
    case Step::kMount:
      return MountDisk(step.mount(), timeout);
    case Step::kUnmount:
      return Unmount(step.unmount(), timeout);
    case Step::kWorkload:
      return RunFiles(step.workload(), timeout);
    case Step::kCommand:
      return RunCommand(step.command(), timeout);
    case Step::kMark:
      return Mark(step.mark().disk(), "note", step.mark().text());
    case Step::kSync: {
      GuestRequest request;
      request.mutable_sync_all();
      const auto answer = Ask(std::move(request), timeout);
      return answer.ok() ? OkStatus() : Status(answer.error());
    }
    case Step::kCorrupt:
      return Corrupt(step.corrupt(), number, timeout);
    case Step::kKernelLog:
      return CheckKernelLog(step.kernel_log(), timeout);
    case Step::kFault:
    case Step::kDeviceFault:
    case Step::kDetach:
    case Step::kAttach:
      PP_RETURN_IF_ERROR(faults_->Run(step, number, timeout));
      for (const auto& [disk, device] : faults_->devices()) devices_[disk] = device;
      return OkStatus();
    case Step::kAgent:
    case Step::kAgentWait:
    case Step::kAgentStop:
    case Step::kCsi:
      return agents_->Run(step, timeout);
    case Step::kPowerCut:
    case Step::KIND_NOT_SET:
      break;
  }
  return InternalError("a step without a kind passed the validator");
}

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

Status GuestSession::Drain(const std::string& disk) {
  GuestRequest request;
  request.mutable_drain()->set_disk(disk);
  const auto answer = Ask(std::move(request), kControlTimeout);
  return answer.ok() ? OkStatus() : Status(answer.error());
}

std::optional<image::Fingerprint> GuestSession::ContentOf(const std::string& disk) const {
  const auto found = contents_.find(disk);
  if (found == contents_.end()) return std::nullopt;
  return found->second;
}

Status GuestSession::FinishFaults() {
  PP_ASSIGN_OR_RETURN(const std::vector<int> never, faults_->Finish());
  if (!unmet_.empty()) return OkStatus();  // the steps ended early; it may have been still to come
  for (const int number : never) {
    const Step& step = scenario_.step(number - 1);
    if (step.when().has_kernel_log() && faults_->lines_lost()) {
      return MomentMayHaveCome(step, number);
    }
    UnmetBy(number, MomentInWords(scenario_.step(number - 1).when()),
            "that never came before the last step ended");
  }
  return OkStatus();
}

Status GuestSession::Finish() {
  PP_RETURN_IF_ERROR(agents_->Finish());
  PP_RETURN_IF_ERROR(FinishFaults());
  for (const Disk& disk : scenario_.disk()) {
    if (!HasLog(disk)) continue;
    PP_RETURN_IF_ERROR(Mark(disk.name(), "end", disk.name()));
    PP_RETURN_IF_ERROR(Drain(disk.name()));
    PP_RETURN_IF_ERROR(CheckLogging(disk));
    if (FileIsImage(disk)) continue;
    GuestRequest read_back;
    read_back.mutable_read_back_disk()->set_disk(disk.name());
    PP_ASSIGN_OR_RETURN(const Answer content, Ask(std::move(read_back), kReadBackTimeout));
    contents_[disk.name()] = {content.content_high(), content.content_low()};
  }
  GuestRequest request;
  request.mutable_power_off();
  request.set_id(~0ULL);
  PP_RETURN_IF_ERROR(machine_->Send(request));
  return machine_->WaitForEnd(os::Deadline::After(kControlTimeout));
}

Status GuestSession::CheckLogging(const Disk& disk) {
  GuestRequest query;
  query.mutable_query_disk()->set_disk(disk.name());
  PP_ASSIGN_OR_RETURN(const Answer answer, Ask(std::move(query), kControlTimeout));
  if (answer.disk_status().logging_disabled()) {
    incomplete_reason_ = fmt::format(
        "logging of disk {} stopped after {} entries: the log device ({} MiB) is full or the guest "
        "ran out of memory; raise log_size_mib or guest.memory_mib",
        disk.name(), answer.disk_status().logged_entries(), disk.log_size_mib());
  }
  return OkStatus();
}

Status GuestSession::LosePower() {
  PP_RETURN_IF_ERROR(FinishFaults());
  GuestRequest request;
  request.mutable_prepare_power_cut();
  const auto answer = Ask(std::move(request), kControlTimeout);
  if (!answer.ok()) return answer.error();
  for (const Disk& disk : scenario_.disk()) {
    if (HasLog(disk)) PP_RETURN_IF_ERROR(CheckLogging(disk));
  }
  machine_.reset();
  return OkStatus();
}

std::map<std::string, DiskFiles> GuestSession::TakeUnloggedFiles() {
  std::map<std::string, DiskFiles> unlogged;
  for (const Disk& disk : scenario_.disk()) {
    if (!HasLog(disk)) unlogged[disk.name()] = std::move(files_.at(disk.name()));
  }
  return unlogged;
}

Status GuestSession::RunShell() {
  GuestRequest request;
  request.mutable_open_shell();
  constexpr Millis kDay{24LL * 3600 * 1000};
  const auto answer = Ask(std::move(request), kDay);
  if (!answer.ok()) return answer.error();
  GuestRequest off;
  off.mutable_power_off();
  PP_RETURN_IF_ERROR(machine_->Send(off));
  return machine_->WaitForEnd(os::Deadline::After(kControlTimeout));
}

}  // namespace plugpull::run
