// SPDX-License-Identifier: Apache-2.0
// From a kernel log of the field to what happened to each disk, in numbers and in plain words.
// Pure: no system calls, no time, no randomness; one thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/incident/disk_history.h"
#include "framework/incident/klog.h"
#include "framework/incident/retry_loop.h"

namespace plugpull::incident {

struct DeviceReport {
  std::string device;              // its last name
  std::vector<std::string> names;  // all of them, in order
  FileSystem fs = FileSystem::kUnknown;
  std::vector<std::string> options;  // of most of the mounts, as mount -o takes them
  std::optional<uint64_t> size_bytes;
  std::vector<std::string> uuids;
  std::string kernel;  // release of the machine's kernel; empty: the log does not say

  uint64_t attempts = 0;                       // mounts that succeeded or failed
  uint64_t mounts = 0;                         // that succeeded
  std::array<uint64_t, kFailures> failures{};  // by Failure
  uint64_t attachments = 0;
  uint64_t re_attachments = 0;  // those before which the log already knew the disk
  uint64_t detachments = 0;     // that the log shows
  uint64_t unmounts = 0;
  uint64_t file_system_errors = 0;
  uint64_t journal_errors = 0;
  uint64_t io_errors = 0;
  uint64_t recoveries = 0;
  uint64_t orphan_cleanups = 0;
  bool read_only = false;
  bool first_format = false;  // not recognised when it came first, mounted ever since
  uint64_t suppressed = 0;    // messages of this file system, of any disk, that were not printed

  LoopVerdict verdict;
  bool gave_up() const { return verdict.end == AttemptsEnd::kGaveUp; }
  double confidence = 0;             // in what `summary` says, from 0 to 1
  std::vector<std::string> reasons;  // of the confidence, in words
  std::string summary;               // one paragraph
  uint64_t first_line = 0;           // of the log
};

struct Incident {
  KlogSummary log;
  std::vector<DeviceReport> devices;  // the worst first
  uint64_t dropped_events = 0;        // beyond kEventsMax and kVolumesMax
  std::vector<std::string> notes;     // what the log lacks, in words
};

// A user error when the log is empty, compressed, or holds no text.
Result<Incident> ReadIncident(LogInput& input);
Result<Incident> ReadIncident(std::string_view klog);

// The steps of a loop, such as "not recognised", "mounted".
std::vector<std::string> EventWords(const Loop& loop);

}  // namespace plugpull::incident
