// SPDX-License-Identifier: Apache-2.0
// e2fsck as the authority on structure: it recovers crash states and judges what it recovered.
//
// Recovery is `e2fsck -y -E journal_only`, never with -f, which would repair everything. Where
// the kernel would not replay (the file system does not ask for recovery, yet the journal is not
// empty) e2fsck is not let near the journal: it is emptied as the kernel does.
#pragma once

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/result.h"
#include "framework/ext4/journal.h"
#include "framework/oracle/outcome.h"
#include "framework/oracle/work_image.h"
#include "framework/os/subprocess.h"

namespace plugpull::oracle {

struct RecoveryResult {
  // kHolds: recovered, or nothing to do. kViolated: the journal was refused. kUnknown: it could
  // not be tried, or ended in a way that says nothing.
  Outcome outcome = Outcome::kUnknown;
  std::string evidence;
  // Fast commits were to be replayed, of which e2fsck makes damage of its own: what looks violated
  // behind this is unknown.
  bool fast_commits = false;
};

// Goes before the evidence of what is not believed. e2fsck 1.47.0 leaves a wrong superblock
// checksum behind its replay of fast commits (a second run finds nothing), gives up folders that
// are full, and does not end on some images, where the kernel mounts.
inline constexpr char kFastCommitDoubt[] =
    "e2fsck's replay of fast commits is not to be relied on (KERNEL_MOUNT asks the kernel); it "
    "says: ";

struct StructureResult {
  Outcome outcome = Outcome::kUnknown;
  std::string evidence;  // what e2fsck found, the first lines
};

// What e2fsck gets beside the image when somebody watches it recover.
struct FsckWatcher {
  std::vector<std::string> environment;       // NAME=value
  std::vector<std::pair<int, int>> pass_fds;  // {ours, number there}; 3 is the image
};

// Thread-safe; one e2fsck process for each call.
class Fsck {
 public:
  // An environment error when e2fsck is not installed. One that runs longer than `timeout` is
  // ended, and says nothing.
  static Result<Fsck> Find(Millis timeout = Millis(120000));
  Fsck(Fsck&& other) noexcept
      : path_(std::move(other.path_)),
        version_(std::move(other.version_)),
        timeout_(other.timeout_) {}

  // Replays the journal and processes orphans, in the image. `watcher` may be null.
  RecoveryResult Recover(WorkImage& image, const ext4::JournalLayout& journal,
                         const FsckWatcher* watcher = nullptr);
  // Judges without changing anything.
  StructureResult Check(const WorkImage& image);

  const std::string& version() const { return version_; }
  uint64_t recoveries() const { return recoveries_; }
  uint64_t checks() const { return checks_; }

 private:
  Fsck() = default;
  RecoveryResult RecoverAsWritten(WorkImage& image, const ext4::JournalLayout& journal,
                                  const FsckWatcher* watcher);
  Result<os::RunOutput> Run(int fd, std::vector<std::string> arguments,
                            const FsckWatcher* watcher = nullptr) const;

  std::string path_;
  std::string version_;
  Millis timeout_{0};
  std::atomic<uint64_t> recoveries_ = 0;
  std::atomic<uint64_t> checks_ = 0;
};

}  // namespace plugpull::oracle
