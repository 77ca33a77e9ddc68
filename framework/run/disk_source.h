// SPDX-License-Identifier: Apache-2.0
// One disk's log and base, from a recording or from anybody's log file, ready to be cut.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/blocklog/history.h"
#include "framework/crashstate/crash_space.h"
#include "framework/crashstate/journal_timeline.h"
#include "framework/diagnose/write_names.h"
#include "framework/ext4/block_roles.h"
#include "framework/ext4/journal.h"
#include "framework/os/file.h"
#include "framework/recording/recording.h"

namespace plugpull::run {

struct LogFileOptions {
  std::string log;   // path
  std::string base;  // path of the disk when the log began; empty: all zeroes
  bool scan_past_end = false;
  crashstate::DeviceModel model;
};

// Which of a recording's two logs of a disk: dm-log-writes', or QEMU's.
enum class LogOf { kGuest, kHost };

class DiskSource {
 public:
  // A user error when the recording has no such log. With `written_as`, the requests of the host's
  // log are cut as the writes of the guest's (crashstate::SplitAsWritten); it is used in the call.
  static Result<std::unique_ptr<DiskSource>> FromRecording(
      const recording::Reader& reader, const std::string& disk,
      const crashstate::DeviceModel& model, LogOf log = LogOf::kGuest,
      const blocklog::History* written_as = nullptr);
  static Result<std::unique_ptr<DiskSource>> FromLogFile(const LogFileOptions& options);

  const std::string& name() const { return name_; }
  const crashstate::CrashSpace& space() const { return *space_; }
  const blocklog::History& history() const { return history_; }
  std::span<const uint8_t> base() const { return base_.bytes(); }
  const std::vector<os::Extent>& base_extents() const { return base_extents_; }
  const ext4::JournalLayout& journal() const { return journal_; }
  // What each write was for. Decoded when it is first asked for; any thread may ask.
  const crashstate::JournalTimeline& timeline() const;
  // The writes in words, as far as the log and the layout of the base tell. As timeline().
  const diagnose::WriteNames& names() const;
  // Whether the disk was filled with poison before anything was made on it.
  bool poisoned() const { return poisoned_; }
  // False: the disk hid its cache while it was recorded (a drop_barriers layer).
  bool sends_flushes() const { return sends_flushes_; }

  // Writes the image of a state to a file, sparse. What is there is replaced.
  Status Materialize(const crashstate::CrashStateId& id, const std::string& path) const;

 private:
  DiskSource() = default;
  // What the disk held before the log began: a file's bytes, poison, or zeroes.
  struct Before {
    std::string path;  // may be empty
    std::optional<uint64_t> poison_seed;
  };
  // Reads log_, folds what came before the base into an image in memory, and indexes the states.
  // `written_as` may be null.
  Status Prepare(const blocklog::HistoryOptions& options, const blocklog::ReadOptions& read,
                 const Before& before, const crashstate::DeviceModel& model,
                 const blocklog::History* written_as);

  std::string name_;
  bool poisoned_ = false;
  bool sends_flushes_ = true;
  std::vector<uint8_t> log_bytes_;  // of a recording
  os::MappedFile log_file_;         // of a log file
  std::span<const uint8_t> log_;
  blocklog::BlockLog block_log_;
  blocklog::History history_;
  os::Fd base_fd_;
  os::Mapping base_;
  std::vector<os::Extent> base_extents_;
  ext4::JournalLayout journal_;
  std::unique_ptr<crashstate::CrashSpace> space_;

  mutable std::once_flag timeline_made_;
  mutable crashstate::JournalTimeline timeline_;
  mutable std::once_flag names_made_;
  mutable std::optional<ext4::BlockRoles> base_roles_;  // none without a file system on the base
  mutable std::optional<diagnose::WriteNames> names_;
};

// The model that a scenario's check asks for.
crashstate::DeviceModel ModelOf(const Model& model);

}  // namespace plugpull::run
