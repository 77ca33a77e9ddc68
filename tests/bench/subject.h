// SPDX-License-Identifier: Apache-2.0
// The logs that are measured on: made for the purpose, or recorded.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/run/disk_source.h"
#include "tests/bench/journal_workload.h"

namespace plugpull::bench {

// A user error when the text is no WRITES:MIB:BLOCK within the bounds that it names.
Result<WorkloadShape> ParseShape(const std::string& text, uint64_t seed);

// A log and its base, until it goes out of scope.
class Subject {
 public:
  // Makes a log in a new folder in `scratch`, in a process of its own.
  static Result<Subject> Make(const WorkloadShape& shape, const std::string& scratch);
  static Subject Recorded(const std::string& folder, const std::string& disk);
  Subject(Subject&& other) noexcept;
  Subject& operator=(Subject&&) = delete;
  ~Subject();

  const std::string& name() const { return name_; }  // as ParseShape takes it
  const WorkloadShape& shape() const { return shape_; }
  // What the log holds (JournalActivity); null for a recording.
  const nlohmann::json& activity() const { return activity_; }
  Result<std::unique_ptr<run::DiskSource>> Open() const;
  uint64_t log_bytes() const;  // 0 for a recording

 private:
  Subject() = default;
  std::string name_;
  WorkloadShape shape_;
  nlohmann::json activity_;
  std::string folder_;     // of a log that was made; it is removed
  std::string recording_;  // else
  std::string disk_;
};

// Every cut right behind a write.
std::vector<size_t> WritePrefixes(const run::DiskSource& source);

// One of every stretch of a list of `count`, drawn: at most `wanted` places in it, ascending.
std::vector<size_t> SampleOf(size_t count, uint64_t wanted, uint64_t seed);

std::vector<size_t> At(const std::vector<size_t>& cuts, const std::vector<size_t>& places);

}  // namespace plugpull::bench
