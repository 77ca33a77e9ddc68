// SPDX-License-Identifier: Apache-2.0
// Crash states of one disk, one after the other, as images without their holes.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "framework/crashstate/enumerate.h"
#include "framework/crashstate/state_cursor.h"
#include "framework/run/disk_source.h"

namespace plugpull::run {

// One thread.
class StateImages {
 public:
  explicit StateImages(const DiskSource& source);  // outlives this

  void MoveTo(const crashstate::StateSpec& spec);
  // The present state, unrecovered. Its changes are cleared.
  const image::CowImage& image() const { return cursor_.image(); }

  // All of the present state that is not zero, in pieces that make it when they are written in
  // their order to a disk of zeroes. Whole 512-byte sectors.
  Status ForEachPiece(
      const std::function<Status(Bytes offset, std::span<const uint8_t> bytes)>& each) const;
  // The sum of the pieces.
  Bytes DataBytes() const;
  // Writes the present state to a file of zeroes, from an offset on.
  Status WriteTo(int fd, Bytes origin) const;

 private:
  const DiskSource& source_;
  std::vector<os::Extent> base_data_;
  crashstate::StateCursor cursor_;
};

}  // namespace plugpull::run
