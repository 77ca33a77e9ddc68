// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/fsck.h"

#include <fmt/format.h>

#include "framework/ext4/orphan_processing.h"
#include "framework/ext4/superblock.h"

namespace plugpull::oracle {
namespace {

// Exit status bits, e2fsck(8).
constexpr int kCorrected = 1;
constexpr int kReboot = 2;
constexpr int kUncorrected = 4;
constexpr int kOperational = 8;
// The bits of a run that came to its end; others say that it was called wrongly or broke off.
constexpr int kKnown = kCorrected | kReboot | kUncorrected | kOperational;

constexpr size_t kEvidenceBytesMax = 1200;

// The first lines that say something.
std::string Evidence(const os::RunOutput& output) {
  std::string evidence;
  size_t start = 0;
  while (start < output.out.size() && evidence.size() < kEvidenceBytesMax) {
    size_t stop = output.out.find('\n', start);
    if (stop == std::string::npos) stop = output.out.size();
    const std::string line = output.out.substr(start, stop - start);
    start = stop + 1;
    if (line.empty() || line.starts_with("e2fsck 1.") || line.starts_with("Pass ")) continue;
    if (!evidence.empty()) evidence += '\n';
    evidence += line.substr(0, 200);
  }
  return evidence;
}

// What recovery prints when it met something in the journal that it would not replay
// (e2fsck/problem.c and e2fsck/recovery.c).
bool SaysRefused(const std::string& text) {
  for (const char* phrase :
       {"Journal checksum error", "journal transaction", "was corrupt, replay was aborted",
        "Journal superblock is corrupt", "journal superblock is corrupt", "unsupported journal",
        "Superblock has an invalid journal"}) {
    if (text.find(phrase) != std::string::npos) return true;
  }
  return false;
}

// e2fsck could not open the file system, and the image is to blame rather than the machine.
bool BlamesImage(const std::string& text) {
  for (const char* phrase : {"uperblock", "Bad magic", "unsupported feature"}) {
    if (text.find(phrase) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

Result<Fsck> Fsck::Find(Millis timeout) {
  Fsck fsck;
  fsck.timeout_ = timeout;
  PP_ASSIGN_OR_RETURN(fsck.path_, os::FindProgram("e2fsck", "e2fsprogs"));
  PP_ASSIGN_OR_RETURN(
      const auto output,
      os::RunProgram(
          {.argv = {fsck.path_, "-V"}, .environment = {"LC_ALL=C"}, .pass_fds = {}, .folder = {}},
          Millis(10000)));
  fsck.version_ = output.out.substr(0, output.out.find('\n'));
  return fsck;
}

Result<os::RunOutput> Fsck::Run(int fd, std::vector<std::string> arguments,
                                const FsckWatcher* watcher) const {
  os::SubprocessOptions options;
  options.argv = {path_};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.argv.push_back("/proc/self/fd/3");
  // The configuration of the machine must not shape a verdict, nor the time of day an image. The
  // time is far ahead, since e2fsck complains of mounts in its future.
  options.environment = {"LC_ALL=C", "E2FSCK_CONFIG=/dev/null", "E2FSCK_TIME=4000000000"};
  options.pass_fds = {{fd, 3}};
  if (watcher != nullptr) {
    options.environment.insert(options.environment.end(), watcher->environment.begin(),
                               watcher->environment.end());
    options.pass_fds.insert(options.pass_fds.end(), watcher->pass_fds.begin(),
                            watcher->pass_fds.end());
  }
  options.own_process_group = true;  // what it started ends with it
  return os::RunProgram(std::move(options), timeout_, Bytes(64 << 10));
}

RecoveryResult Fsck::Recover(WorkImage& image, const ext4::JournalLayout& journal,
                             const FsckWatcher* watcher) {
  const auto before = ext4::ParseSuperblock(image.bytes());
  const bool fast = before.ok() && before->needs_recovery() &&
                    (before->feature_compat & ext4::kCompatFastCommit) != 0;
  RecoveryResult result = RecoverAsWritten(image, journal, watcher);
  if (!fast) return result;
  result.fast_commits = true;
  if (result.outcome != Outcome::kViolated) return result;
  return {Outcome::kUnknown, kFastCommitDoubt + result.evidence, true};
}

RecoveryResult Fsck::RecoverAsWritten(WorkImage& image, const ext4::JournalLayout& journal,
                                      const FsckWatcher* watcher) {
  const auto before = ext4::ParseSuperblock(image.bytes());
  if (!before.ok()) return {Outcome::kHolds, "nothing to recover: " + before.error().message};
  const ext4::JournalInspection inspection = ext4::InspectJournal(image.bytes(), journal);
  const auto log = ext4::ReadJournalSuper(image.bytes(), journal);
  const bool has_log = !journal.blocks.empty() && (!log.ok() || log->start != 0);
  if (before->has_journal() && inspection.outcome == ext4::JournalInspection::Outcome::kRefused &&
      (before->needs_recovery() || inspection.refused_by_scan)) {
    return {inspection.disputed ? Outcome::kUnknown : Outcome::kViolated, inspection.reason};
  }
  if (!before->needs_recovery() && before->has_journal() && has_log) {
    if (const Status status = ext4::DiscardJournal(image.bytes(), journal); !status.ok()) {
      return {Outcome::kViolated, "the journal cannot be emptied: " + status.error().message};
    }
    if (!before->has_orphans()) return {Outcome::kHolds, "the kernel empties this journal unread"};
  } else if (!before->needs_recovery() && !before->has_orphans()) {
    return {Outcome::kHolds, "nothing to recover"};
  }
  ++recoveries_;
  const auto output = Run(image.fd(), {"-y", "-E", "journal_only"}, watcher);
  if (!output.ok()) return {Outcome::kUnknown, output.error().ToString()};
  const std::string evidence =
      fmt::format("e2fsck -y -E journal_only: {}\n{}", output->exit.ToString(), Evidence(*output));
  if (output->exit.signaled || (output->exit.code & ~kKnown) != 0) {
    return {Outcome::kUnknown, evidence};
  }
  const auto after = ext4::ParseSuperblock(image.bytes());
  const auto journal_after = ext4::ReadJournalSuper(image.bytes(), journal);
  // An error that the guest's kernel left in the journal is carried over to the superblock, by
  // e2fsck as by a mount, and keeps neither from replaying.
  const bool old_error = (before->state & ext4::kStateErrors) != 0 || (log.ok() && log->error != 0);
  const bool new_error = !old_error && after.ok() && (after->state & ext4::kStateErrors) != 0;
  const bool journal_error = !old_error && journal_after.ok() && journal_after->error != 0;
  if (SaysRefused(output->out) || new_error || journal_error) return {Outcome::kViolated, evidence};
  // An image that is too damaged to be recovered is left to Check. One that e2fsck has nothing to
  // say against and yet has not recovered is no fault of the image.
  const bool recovered =
      after.ok() && !after->needs_recovery() && (!journal_after.ok() || journal_after->start == 0);
  const bool condemned = (output->exit.code & kUncorrected) != 0 || BlamesImage(output->out);
  if (!recovered && !condemned) {
    return {Outcome::kUnknown, "the journal was not replayed; " + evidence};
  }
  // As a mount would. Somebody who watches e2fsck wants what e2fsck left; and what cannot be
  // forgotten is for Check to complain of.
  if (after.ok() && watcher == nullptr &&
      (after->feature_ro_compat & ext4::kRoCompatOrphanPresent) != 0) {
    (void)ext4::ForgetOrphanFile(image.bytes()).ok();
  }
  return {Outcome::kHolds, evidence};
}

StructureResult Fsck::Check(const WorkImage& image) {
  ++checks_;
  const auto output = Run(image.fd(), {"-fn"});
  if (!output.ok()) return {Outcome::kUnknown, output.error().ToString()};
  const std::string evidence =
      fmt::format("e2fsck -fn: {}\n{}", output->exit.ToString(), Evidence(*output));
  if (output->exit.signaled || (output->exit.code & ~kKnown) != 0) {
    return {Outcome::kUnknown, evidence};
  }
  if (output->exit.code == 0) return {Outcome::kHolds, {}};
  if ((output->exit.code & kUncorrected) != 0) return {Outcome::kViolated, evidence};
  // Status 8 alone: it could not open the file system. That is the image's fault when the
  // superblock is, and ours or the machine's otherwise.
  if (output->exit.code == kOperational && BlamesImage(output->out)) {
    return {Outcome::kViolated, evidence};
  }
  return {Outcome::kUnknown, evidence};
}

}  // namespace plugpull::oracle
