// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/kernel_mount.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>

#include "framework/oracle/fsck.h"
#include "framework/tree/tree.h"

namespace plugpull::oracle {
namespace {

constexpr size_t kLinesShown = 8;

bool HasAny(const std::string& text, std::initializer_list<const char*> phrases) {
  for (const char* phrase : phrases) {
    if (text.find(phrase) != std::string::npos) return true;
  }
  return false;
}

// lib/bug.c, arch/x86/kernel/dumpstack.c and traps.c of the kernel.
bool SaysFault(const std::string& text) {
  return HasAny(text, {"kernel BUG at", "BUG: ", "Oops: ", "general protection fault"});
}

// fs/ext4/super.c (__ext4_error, __ext4_warning), fs/jbd2. An error that was recorded before the
// cut is carried over (ext4_clear_journal_err); a journal of a file system that does not ask for
// recovery is emptied unread (jbd2_journal_wipe).
bool SaysCorrupt(const std::string& text) {
  if (HasAny(text, {"ext4_clear_journal_err", "recovery information on journal"})) return false;
  return HasAny(text, {"EXT4-fs error", "EXT4-fs warning (device", "JBD2: ", "WARNING: CPU"});
}

// ext4_load_journal in fs/ext4/super.c, do_one_pass in fs/jbd2/recovery.c.
bool SaysJournalRefused(const std::string& text) {
  return HasAny(text, {"JBD2: recovery failed", "JBD2: Invalid checksum",
                       "JBD2: journal transaction", "journal checksum error"});
}

template <typename Test>
const KernelLine* FindLine(const StateReport& report, Test test) {
  for (const KernelLine& line : report.kernel_line()) {
    if (test(line.text())) return &line;
  }
  return nullptr;
}

// What the kernel said, behind a sentence.
std::string WithLines(const std::string& sentence, const StateReport& report) {
  const std::string lines = KernelLines(report, kLinesShown);
  return lines.empty() ? sentence : sentence + "; it logged:\n" + lines;
}

struct Look {
  const char* how;
  const MountSeen* seen;
};

KernelVerdict Disagrees(std::string evidence) { return {Outcome::kViolated, std::move(evidence)}; }
KernelVerdict Unknown(std::string evidence) { return {Outcome::kUnknown, std::move(evidence)}; }

// Of a state that the host recovered and found clean. Nothing: no disagreement.
std::optional<KernelVerdict> CompareClean(const HostView& host, const Look& look) {
  const StateReport& report = look.seen->report;
  if (report.mount_error() != 0) {
    return Disagrees(WithLines(fmt::format("e2fsck finds the recovered state clean, the kernel "
                                           "refuses to mount it {}: {}",
                                           look.how, ErrnoName(report.mount_error())),
                               report));
  }
  if (FindLine(report, SaysCorrupt) != nullptr) {
    return Disagrees(WithLines(fmt::format("e2fsck finds the recovered state clean, the kernel, "
                                           "which mounts it {}, does not",
                                           look.how),
                               report));
  }
  if (report.unmount_error() != 0) {
    return Unknown(fmt::format("what was mounted {} could not be unmounted: {}", look.how,
                               ErrnoName(report.unmount_error())));
  }
  if (!report.has_tree() || !host.tree) return std::nullopt;
  const auto difference =
      tree::FirstDifference(report.tree(), "the kernel", *host.tree, "the host's recovery");
  if (!difference) return std::nullopt;
  if (host.fast_commits) {
    return Unknown(fmt::format("{}what the kernel recovered, mounted {}, is not the same: {}",
                               kFastCommitDoubt, look.how, *difference));
  }
  return Disagrees(WithLines(fmt::format("what the kernel recovered, mounted {}, is not what the "
                                         "host recovered: {}",
                                         look.how, *difference),
                             report));
}

// Whatever the host says of the state. Nothing: it was mounted or refused.
std::optional<KernelVerdict> Failed(const Look& look) {
  switch (look.seen->end) {
    case MountSeen::End::kPanicked:
      return Disagrees(fmt::format("the kernel panics when the state is mounted {}: {}", look.how,
                                   look.seen->words));
    case MountSeen::End::kLost:
      return Unknown(fmt::format("mounted {}: {}", look.how, look.seen->words));
    case MountSeen::End::kReported:
      break;
  }
  const StateReport& report = look.seen->report;
  if (FindLine(report, SaysFault) != nullptr) {
    return Disagrees(
        WithLines(fmt::format("the kernel faults when the state is mounted {}", look.how), report));
  }
  if (const auto trouble = GuestTrouble(report)) {
    return Unknown(fmt::format("mounted {}: {}", look.how, *trouble));
  }
  return std::nullopt;
}

}  // namespace

std::string ErrnoName(int error_number) {
  const char* name = ::strerrorname_np(error_number);
  return name == nullptr ? fmt::format("errno {}", error_number) : std::string(name);
}

std::string KernelLines(const StateReport& report, size_t lines_max) {
  std::string text;
  const int count = report.kernel_line_size();
  const int first = std::max(0, count - static_cast<int>(lines_max));
  for (int i = first; i < count; ++i) {
    if (!text.empty()) text += '\n';
    text += "  " + report.kernel_line(i).text();
  }
  return text;
}

std::optional<std::string> GuestTrouble(const StateReport& report) {
  if (report.mount_error() == ENOMEM) return "the guest has too little memory to mount it";
  // block/blk-core.c. An image that points behind its own end has the kernel read there.
  const KernelLine* beyond = FindLine(report, [](const std::string& text) {
    return text.find("access beyond end of device") != std::string::npos;
  });
  if (beyond != nullptr) return std::nullopt;
  // block/blk-mq.c, fs/buffer.c, drivers/md/dm-snap.c, mm/oom_kill.c, mm/page_alloc.c.
  const KernelLine* line = FindLine(report, [](const std::string& text) {
    return HasAny(text, {"I/O error, dev", "Buffer I/O error",
                         "device-mapper: snapshots: ", "Out of memory", "page allocation failure"});
  });
  if (line == nullptr) return std::nullopt;
  return "the guest itself is in trouble: " + line->text();
}

KernelVerdict CompareRecovered(const HostView& host, const MountSeen& read_only,
                               const MountSeen& read_write) {
  const Look looks[] = {{"as the host recovered it, read-only", &read_only},
                        {"as the host recovered it, read-write", &read_write}};
  if (host.recovery != Outcome::kHolds || host.structure != Outcome::kHolds) {
    return Unknown("there is no recovered state to mount: " + host.evidence);
  }
  for (const Look& look : looks) {
    if (auto failed = Failed(look)) return *std::move(failed);
    if (auto verdict = CompareClean(host, look)) return *std::move(verdict);
  }
  return {Outcome::kHolds, {}};
}

KernelVerdict CompareKernel(const HostView& host, const MountSeen& read_only,
                            const MountSeen& read_write) {
  const Look looks[] = {{"read-only", &read_only}, {"read-write", &read_write}};
  for (const Look& look : looks) {
    if (auto failed = Failed(look)) return *std::move(failed);
  }
  if (host.recovery == Outcome::kUnknown ||
      (host.recovery == Outcome::kHolds && host.structure == Outcome::kUnknown)) {
    return Unknown("there is nothing to hold the kernel against: " + host.evidence);
  }
  if (host.recovery == Outcome::kViolated) {
    for (const Look& look : looks) {
      if (look.seen->report.mount_error() != 0) continue;
      return Disagrees(WithLines(fmt::format("the host calls the journal refused ({}), the kernel "
                                             "mounts the state {}",
                                             host.evidence, look.how),
                                 look.seen->report));
    }
    return {Outcome::kHolds, {}};
  }
  if (host.structure == Outcome::kViolated) {
    bool silent = true;
    for (const Look& look : looks) {
      const StateReport& report = look.seen->report;
      if (host.replays && FindLine(report, SaysJournalRefused) != nullptr) {
        return Disagrees(
            WithLines("the host replays the journal to its end, the kernel refuses it", report));
      }
      silent &= report.mount_error() == 0 && FindLine(report, SaysCorrupt) == nullptr;
    }
    return {Outcome::kHolds, {}, silent};
  }
  for (const Look& look : looks) {
    if (auto verdict = CompareClean(host, look)) return *std::move(verdict);
  }
  return {Outcome::kHolds, {}};
}

}  // namespace plugpull::oracle
