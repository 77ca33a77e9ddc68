// SPDX-License-Identifier: Apache-2.0
// The recording folder; its format is in framework/proto/recording.proto. A recording is whole or
// it is none: it is written beside its place and moved there when the manifest is in.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/agent.pb.h"
#include "framework/proto/recording.pb.h"
#include "framework/proto/workload.pb.h"

namespace plugpull::recording {

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr char kManifestName[] = "recording.textproto";
inline constexpr char kConsoleName[] = "console.log";
inline constexpr char kTimelineName[] = "timeline.pb.zst";
// A longer one (before compression) is not read.
inline constexpr uint64_t kTimelineBytesMax = 64 << 20;
// A longer log (before compression) is not read.
inline constexpr uint64_t kLogBytesMax = 16ULL << 30;

// Writes one recording. Without Finish nothing is left.
class Writer {
 public:
  // `folder` is where the recording will be; what is there is replaced by Finish.
  static Result<Writer> Start(const std::string& folder);
  Writer(Writer&& other) noexcept;
  Writer& operator=(Writer&&) = delete;
  ~Writer();

  // Where files can be written before Finish, for those that grow during the run.
  std::string PathOf(std::string_view name) const;
  Status AddCompressed(const std::string& name, std::span<const uint8_t> bytes);
  Status AddTrace(const WorkloadTrace& trace);
  // Of an earlier boot, as the file "promise-NUMBER.pb.zst"; returns its name.
  Result<std::string> AddPromise(const WorkloadTrace& trace, int number);
  // Adds a file that PathOf was used for.
  Status AddWritten(const std::string& name);
  // Writes the manifest and moves the folder to its place.
  Status Finish(Recording manifest);

 private:
  explicit Writer(std::string folder);
  std::string folder_;
  std::string partial_;
  std::vector<RecordedFile> files_;
};

// A recording that was opened and whose files are whole.
class Reader {
 public:
  // A user error when it is none, damaged, cut short, or of a newer format; it names the file.
  static Result<Reader> Open(const std::string& folder);

  const Recording& manifest() const { return manifest_; }
  const std::string& folder() const { return folder_; }
  const RecordedDisk* FindDisk(const std::string& name) const;
  Result<std::vector<uint8_t>> ReadLog(const RecordedDisk& disk) const;
  // The log that QEMU recorded. A user error that says why when there is none.
  Result<std::vector<uint8_t>> ReadHostLog(const RecordedDisk& disk) const;
  Result<std::vector<WorkloadTrace>> ReadTraces(const std::string& disk) const;
  // The trace in a file that the manifest lists.
  Result<WorkloadTrace> ReadTrace(const std::string& name) const;
  // Nothing: the scenario started no agent.
  Result<std::optional<Timeline>> ReadTimeline() const;

 private:
  Result<std::vector<uint8_t>> ReadCompressed(const std::string& name, uint64_t size) const;
  std::string folder_;
  Recording manifest_;
};

// Gives a finished recording another manifest; the list of its files stays as `manifest` has it.
Status ReplaceManifest(const std::string& folder, const Recording& manifest);

}  // namespace plugpull::recording
