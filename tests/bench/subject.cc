// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/subject.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "framework/base/prng.h"
#include "framework/os/file.h"
#include "framework/recording/recording.h"
#include "tests/bench/child.h"

namespace plugpull::bench {

using nlohmann::json;

Result<WorkloadShape> ParseShape(const std::string& text, uint64_t seed) {
  WorkloadShape shape;
  shape.seed = seed;
  unsigned long writes = 0;
  unsigned long mib = 0;
  unsigned block = 0;
  int end = 0;
  if (std::sscanf(text.c_str(), "%lu:%lu:%u%n", &writes, &mib, &block, &end) != 3 ||
      static_cast<size_t>(end) != text.size() || writes < 1 || writes > 10'000'000 || mib < 16 ||
      mib > (1 << 20) || (block != 1024 && block != 2048 && block != 4096)) {
    return UserError(fmt::format(
        "workload '{}' is no WRITES:MIB:BLOCK (at most 10000000 writes, 16 to 1048576 MiB, blocks "
        "of 1024, 2048 or 4096 bytes), such as 1000:128:4096",
        text));
  }
  shape.writes = writes;
  shape.disk_mib = mib;
  shape.block_bytes = block;
  return shape;
}

Result<Subject> Subject::Make(const WorkloadShape& shape, const std::string& scratch) {
  static int made = 0;
  Subject subject;
  subject.shape_ = shape;
  subject.name_ = fmt::format("{}:{}:{}", shape.writes, shape.disk_mib, shape.block_bytes);
  subject.folder_ = fmt::format("{}/plugpull-bench-{}-{}", scratch, ::getpid(), ++made);
  PP_RETURN_IF_ERROR(os::MakeFolders(subject.folder_));
  std::fprintf(stderr, "plugpull-bench: %s: making the log\n", subject.name_.c_str());
  PP_ASSIGN_OR_RETURN(subject.activity_, InChild([&]() -> Result<json> {
                        PP_ASSIGN_OR_RETURN(const JournalActivity activity,
                                            MakeJournalWorkload(shape, subject.folder_ + "/base",
                                                                subject.folder_ + "/log"));
                        return json{{"writes", activity.writes},
                                    {"transactions", activity.transactions},
                                    {"checkpoints", activity.checkpoints},
                                    {"home_writes", activity.home_writes},
                                    {"wraps", activity.wraps},
                                    {"revokes", activity.revokes},
                                    {"escapes", activity.escapes}};
                      }));
  return subject;
}

Subject Subject::Recorded(const std::string& folder, const std::string& disk) {
  Subject subject;
  subject.name_ = "recording " + disk;
  subject.recording_ = folder;
  subject.disk_ = disk;
  return subject;
}

Subject::Subject(Subject&& other) noexcept
    : name_(std::move(other.name_)),
      shape_(other.shape_),
      activity_(std::move(other.activity_)),
      folder_(std::exchange(other.folder_, {})),
      recording_(std::move(other.recording_)),
      disk_(std::move(other.disk_)) {}

Subject::~Subject() {
  if (!folder_.empty()) (void)os::RemoveAll(folder_);
}

Result<std::unique_ptr<run::DiskSource>> Subject::Open() const {
  if (!recording_.empty()) {
    PP_ASSIGN_OR_RETURN(const auto reader, recording::Reader::Open(recording_));
    return run::DiskSource::FromRecording(reader, disk_, {});
  }
  return run::DiskSource::FromLogFile({folder_ + "/log", folder_ + "/base", false, {}});
}

uint64_t Subject::log_bytes() const {
  if (folder_.empty()) return 0;
  const auto fd = os::OpenForReading(folder_ + "/log");
  if (!fd.ok()) return 0;
  const auto size = os::FileSize(fd->get());
  return size.ok() ? size->value : 0;
}

std::vector<size_t> WritePrefixes(const run::DiskSource& source) {
  std::vector<size_t> cuts;
  const auto& history = source.history();
  for (size_t i = history.base; i < history.events.size(); ++i) {
    if (history.events[i].ChangesBlocks()) cuts.push_back(i + 1);
  }
  return cuts;
}

std::vector<size_t> SampleOf(size_t count, uint64_t wanted, uint64_t seed) {
  std::vector<size_t> sample;
  Prng prng(DeriveSeed(seed, "sample"));
  const size_t parts = std::min<size_t>(wanted, count);
  for (size_t i = 0; i < parts; ++i) {
    const size_t first = count * i / parts;
    sample.push_back(first + prng.Below(count * (i + 1) / parts - first));
  }
  return sample;
}

std::vector<size_t> At(const std::vector<size_t>& cuts, const std::vector<size_t>& places) {
  std::vector<size_t> chosen;
  for (const size_t place : places) chosen.push_back(cuts[place]);
  return chosen;
}

}  // namespace plugpull::bench
