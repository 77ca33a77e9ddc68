// SPDX-License-Identifier: Apache-2.0
// The device model again, written down slowly and from its definition alone: a byte array, a list
// of what the disk was told, and every subset tried. Small disks only.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "framework/base/prng.h"
#include "framework/blocklog/history.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/log_writer.h"
#include "framework/crashstate/state_cursor.h"

namespace plugpull::crashstate {

inline constexpr size_t kTestSectors = 6;
inline constexpr size_t kTestDiskBytes = kTestSectors * 512;

// One thing that the disk was told.
struct Told {
  enum class Kind : uint8_t { kFlush, kWrite, kDiscard, kMark };
  Kind kind = Kind::kMark;
  bool flush_first = false;
  bool fua = false;
  size_t first_sector = 0;
  std::string bytes;  // of a write
  size_t sectors = 0;
};

struct RandomOptions {
  size_t events_min = 3;
  size_t events_max = 9;
  uint32_t flush_permille = 150;
  uint32_t fua_permille = 200;
  bool base_mark = true;  // one at a random place among the first few
};

// A random history, as the tool sees it and as a plain list. Not movable: spans point into it.
struct RandomDisk {
  RandomDisk(uint64_t seed, const RandomOptions& options);
  RandomDisk(const RandomDisk&) = delete;

  std::string first_image;  // before the first event
  std::vector<Told> told;   // one for each event of the history
  size_t base = 0;

  blocklog::LogWriter writer;
  blocklog::BlockLog log;
  blocklog::History history;
};

// A space over a random disk, which keeps its own base image.
struct TestSpace {
  TestSpace(const RandomDisk& disk, const DeviceModel& model, uint32_t block_bytes = 0);

  blocklog::History history;
  std::string base;
  std::unique_ptr<CrashSpace> space;
};

// The whole disk.
std::string BytesOf(const image::CowImage& image);
// In a state, built by a cursor that has not moved before.
std::string BytesOf(const CrashSpace& space, size_t cut, const std::vector<size_t>& lost,
                    bool overlapping_older);
std::string BytesOf(const CrashSpace& space, size_t cut, const Selection& selection,
                    bool overlapping_older);

// What may be on the disk after a cut before event `cut`, from the definition.
class Reference {
 public:
  Reference(const RandomDisk& disk, const DeviceModel& model);

  size_t base() const { return base_; }
  // Numbers of the events that may be lost at a cut.
  std::vector<size_t> Volatile(size_t cut) const;
  // The disk when exactly `lost` never arrived. `forced_last`: between two flushes, forced writes
  // came behind all plain ones.
  std::string Image(size_t cut, const std::set<size_t>& lost, bool forced_last) const;
  // All of them, in both orders. With `lossy`, only those that lost something.
  std::set<std::string> Images(size_t cut, bool lossy = false) const;

 private:
  size_t LastFlush(size_t cut) const;

  const RandomDisk& disk_;
  DeviceModel model_;
  size_t base_;
};

// Every subset of a small set.
std::vector<std::set<size_t>> Subsets(const std::vector<size_t>& all);

// Runs `body(disk, model, space)` for many disks under every model.
template <typename Body>
void ForEachDisk(const std::vector<DeviceModel>& models, const RandomOptions& options,
                 uint64_t histories, const Body& body) {
  for (uint64_t seed = 0; seed < histories; ++seed) {
    const RandomDisk disk(seed, options);
    for (const DeviceModel& model : models) {
      SCOPED_TRACE(testing::Message() << "history " << seed << ", " << model.ToWords());
      const TestSpace test(disk, model);
      body(disk, model, *test.space);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace plugpull::crashstate
