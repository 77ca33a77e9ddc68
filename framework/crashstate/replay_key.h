// SPDX-License-Identifier: Apache-2.0
// States that recovery cannot tell apart. Recovery reads the journal up to the end of its last
// complete transaction; what lies behind it (most of what a cut changes, on a healthy disk) shapes
// nothing. Two states with the same key recover to the same image.
#pragma once

#include <utility>
#include <vector>

#include "framework/crashstate/crash_space.h"
#include "framework/ext4/journal.h"
#include "framework/image/fingerprint.h"

namespace plugpull::crashstate {

// One for each thread.
class ReplayKeyer {
 public:
  // Both outlive the keyer.
  ReplayKeyer(const CrashSpace& space, const ext4::JournalLayout& journal);

  image::Fingerprint KeyOf(const image::ImageState& state);

 private:
  std::span<const uint8_t> ReadBlock(uint64_t block, const image::ImageState& state);

  const image::BlockTable& table_;
  const ext4::JournalLayout& journal_;
  std::vector<std::pair<size_t, uint32_t>> journal_ranks_;  // rank, place in the journal
  std::vector<bool> used_;                                  // by place
  std::vector<uint8_t> block_;
  image::ImageState masked_;
};

}  // namespace plugpull::crashstate
