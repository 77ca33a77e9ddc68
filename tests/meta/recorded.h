// SPDX-License-Identifier: Apache-2.0
// The recordings in tests/golden/recordings, opened for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "framework/crashstate/enumerate.h"
#include "framework/os/file.h"
#include "framework/recording/recording.h"
#include "framework/run/disk_source.h"

namespace plugpull::run {

inline std::string GoldenRecording(const std::string& name) {
  return std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/recordings/" + name;
}

// The golden ones, and the folders that PLUGPULL_TEST_RECORDINGS names (with ':' between them).
inline std::vector<std::string> RecordingsToTest() {
  std::vector<std::string> folders = {GoldenRecording("ordered"),
                                      GoldenRecording("writeback_nobarrier")};
  std::string more = os::GetEnv("PLUGPULL_TEST_RECORDINGS", "");
  while (!more.empty()) {
    const size_t stop = std::min(more.find(':'), more.size());
    folders.push_back(more.substr(0, stop));
    more.erase(0, stop + 1);
  }
  return folders;
}

// One disk of a recording and the states that its own check looks at.
struct Recorded {
  explicit Recorded(const std::string& folder) {
    auto opened = recording::Reader::Open(folder);
    if (!opened.ok()) {
      ADD_FAILURE() << opened.error().ToString();
      return;
    }
    reader = std::make_unique<recording::Reader>(*std::move(opened));
    check = reader->manifest().scenario().check(0);
    auto made = DiskSource::FromRecording(*reader, check.disk(), ModelOf(check.model()));
    if (!made.ok()) {
      ADD_FAILURE() << made.error().ToString();
      return;
    }
    source = *std::move(made);
    const auto& timeline = source->timeline();
    states =
        crashstate::EnumerateStates(source->space(), check, reader->manifest().seed(), &timeline)
            .states;
  }

  const crashstate::CrashSpace& space() const { return source->space(); }
  std::string IdOf(const crashstate::StateSpec& spec) const {
    return crashstate::IdOf(space(), spec).ToString();
  }
  std::vector<size_t> LostOf(const crashstate::StateSpec& spec) const {
    std::vector<size_t> scratch;
    std::vector<size_t> lost;
    space().LostEventsInto(spec.cut, spec.selection, scratch, lost);
    return lost;
  }
  bool ok() const { return source != nullptr; }

  std::unique_ptr<recording::Reader> reader;
  Check check;
  std::unique_ptr<DiskSource> source;
  std::vector<crashstate::StateSpec> states;
};

}  // namespace plugpull::run
