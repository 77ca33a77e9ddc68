// SPDX-License-Identifier: Apache-2.0
// Copy-on-write images over one base, made for many small steps between states. A run writes a
// bounded set of blocks; a state is one number for each of them: which content it holds. Equal
// contents have equal numbers, so two states are equal images when their numbers are equal, and
// moving from one to the other costs what differs. Nothing is ever copied but these numbers.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "framework/base/units.h"
#include "framework/image/fingerprint.h"

namespace plugpull::image {

using ContentId = uint32_t;

// One content for each touched block, in the order of BlockTable::blocks().
using ImageState = std::vector<ContentId>;

class BlockTable {
 public:
  // `base` outlives the table. `block_bytes`: a power of two that divides every write's offset and
  // length. `blocks`: numbers of the blocks that may change, ascending, each inside the base.
  BlockTable(std::span<const uint8_t> base, uint32_t block_bytes, std::vector<uint64_t> blocks);

  uint32_t block_bytes() const { return block_bytes_; }
  std::span<const uint8_t> base() const { return base_; }
  const std::vector<uint64_t>& blocks() const { return blocks_; }
  const ImageState& base_state() const { return base_state_; }

  // Position of a block in blocks(); blocks().size() when it is not there.
  size_t RankOf(uint64_t block) const;
  // Position of the first touched block at or after `block`.
  size_t RankAtOrAfter(uint64_t block) const;

  // The number of a content; `bytes` (block_bytes long) outlives the table.
  ContentId Intern(std::span<const uint8_t> bytes);
  ContentId zero_content() const { return zero_content_; }
  std::span<const uint8_t> Content(ContentId id) const { return {contents_[id], block_bytes_}; }

  // Of the crash image itself, before recovery.
  static Fingerprint FingerprintOfState(const ImageState& state);

 private:
  std::span<const uint8_t> base_;
  uint32_t block_bytes_;
  std::vector<uint64_t> blocks_;
  std::vector<uint8_t> zeroes_;
  std::vector<const uint8_t*> contents_;
  std::unordered_map<Fingerprint, ContentId, FingerprintHash> ids_;
  ImageState base_state_;
  ContentId zero_content_ = 0;
};

}  // namespace plugpull::image
