// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/classic.h"

#include <algorithm>

#include "framework/base/check.h"
#include "framework/os/file.h"
#include "framework/os/subprocess.h"

namespace plugpull::bench {
namespace {

constexpr Millis kTimeout(600'000);
constexpr int kUncorrected = 4;
constexpr int kOperational = 8;

// A file that holds the disk at a cut.
class Replay {
 public:
  static Result<Replay> Make(const run::DiskSource& source) {
    Replay replay(source.history());
    const Bytes size(source.base().size());
    PP_ASSIGN_OR_RETURN(replay.fd_, os::MakeMemFile("plugpull-replay", size));
    PP_ASSIGN_OR_RETURN(replay.mapping_, os::Mapping::Map(replay.fd_.get(), size,
                                                          os::Mapping::Mode::kReadWriteShared));
    for (const os::Extent& extent : source.base_extents()) {
      const uint64_t end = std::min(extent.end.value, size.value);
      if (extent.start.value >= end) continue;
      const auto part = source.base().subspan(extent.start.value, end - extent.start.value);
      std::copy(part.begin(), part.end(), replay.At(extent.start.value));
    }
    return replay;
  }

  void MoveTo(size_t cut) {
    PP_CHECK(cut >= next_ && cut <= history_->events.size());
    for (; next_ < cut; ++next_) {
      const blocklog::Event& event = history_->events[next_];
      if (event.kind == blocklog::Event::Kind::kWrite) {
        std::copy(event.data.begin(), event.data.end(), At(event.offset.value));
      } else if (event.kind == blocklog::Event::Kind::kDiscard) {
        std::fill_n(At(event.offset.value), event.length.value, 0);
      }
    }
  }

  Result<os::Fd> Copy() const {
    const Bytes size(mapping_.bytes().size());
    PP_ASSIGN_OR_RETURN(os::Fd copy, os::MakeMemFile("plugpull-copy", size));
    PP_ASSIGN_OR_RETURN(const auto extents, os::DataExtents(fd_.get(), size));
    for (const os::Extent& extent : extents) {
      const auto part =
          mapping_.bytes().subspan(extent.start.value, extent.end.value - extent.start.value);
      PP_RETURN_IF_ERROR(os::PwriteAll(copy.get(), part, extent.start));
    }
    return copy;
  }

 private:
  explicit Replay(const blocklog::History& history) : history_(&history), next_(history.base) {}
  uint8_t* At(uint64_t offset) { return mapping_.mutable_bytes().data() + offset; }

  const blocklog::History* history_;
  size_t next_;
  os::Fd fd_;
  os::Mapping mapping_;
};

Result<os::RunOutput> E2fsck(const std::string& path, int fd, std::vector<std::string> arguments) {
  os::SubprocessOptions options;
  options.argv = {path};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.argv.push_back("/proc/self/fd/3");
  options.environment = {"LC_ALL=C", "E2FSCK_CONFIG=/dev/null", "E2FSCK_TIME=4000000000"};
  options.pass_fds = {{fd, 3}};
  return os::RunProgram(std::move(options), kTimeout, Bytes(64 << 10));
}

// Recovery that would not replay what it met exits with 0; its words tell (e2fsck/recovery.c).
bool SaysRefused(const std::string& text) {
  for (const char* phrase :
       {"Journal checksum error", "journal transaction", "was corrupt, replay was aborted",
        "ournal superblock is corrupt", "unsupported journal"}) {
    if (text.find(phrase) != std::string::npos) return true;
  }
  return false;
}

Result<Verdict> Judge(const std::string& e2fsck, int fd) {
  PP_ASSIGN_OR_RETURN(const auto recovery, E2fsck(e2fsck, fd, {"-y", "-E", "journal_only"}));
  if (SaysRefused(recovery.out)) return Verdict::kRefused;
  PP_ASSIGN_OR_RETURN(const auto check, E2fsck(e2fsck, fd, {"-fn"}));
  if (check.exit.signaled) return Verdict::kUnknown;
  if (check.exit.code == 0) return Verdict::kHolds;
  return (check.exit.code & (kUncorrected | kOperational)) != 0 ? Verdict::kInconsistent
                                                                : Verdict::kUnknown;
}

}  // namespace

Result<Measured> RunClassic(const run::DiskSource& source, const std::vector<size_t>& cuts) {
  PP_ASSIGN_OR_RETURN(const std::string e2fsck, os::FindProgram("e2fsck", "e2fsprogs"));
  PP_ASSIGN_OR_RETURN(Replay replay, Replay::Make(source));
  Measured measured;
  for (const size_t cut : cuts) {
    replay.MoveTo(cut);
    Stopwatch stopwatch;
    PP_ASSIGN_OR_RETURN(const os::Fd copy, replay.Copy());
    PP_ASSIGN_OR_RETURN(const Verdict verdict, Judge(e2fsck, copy.get()));
    stopwatch.AddTo(measured);
    measured.verdicts += static_cast<char>(verdict);
    measured.processes += verdict == Verdict::kRefused ? 1 : 2;
  }
  return measured;
}

}  // namespace plugpull::bench
