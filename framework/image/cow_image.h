// SPDX-License-Identifier: Apache-2.0
// A changing image over a base that never changes: what differs is kept by block, as Contents.
// Reading, changing and fingerprinting a block cost the same whatever the size of the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "framework/image/content_store.h"
#include "framework/image/fingerprint.h"

namespace plugpull::image {

// A sum over blocks, modulo 2^128: each block that differs from the base adds a fingerprint of its
// number and its content. Equal images over one base have equal sums; the order of changes is of
// no matter.
struct DifferenceSum {
  uint64_t high = 0;
  uint64_t low = 0;
  auto operator<=>(const DifferenceSum&) const = default;
  void Add(const Fingerprint& term);
  void Subtract(const Fingerprint& term);
};

// What a block with this content adds to a sum.
Fingerprint TermOf(uint64_t block, const Fingerprint& content);

// One thread at a time.
class CowImage {
 public:
  // `base` (any length) and `store` outlive the image. A last block that the base does not fill
  // ends in zeroes.
  CowImage(std::span<const uint8_t> base, ContentStore& store);
  CowImage(CowImage&&) = default;

  uint32_t block_bytes() const { return block_bytes_; }
  uint64_t blocks() const { return blocks_; }
  uint64_t size_bytes() const { return base_.size(); }
  std::span<const uint8_t> base() const { return base_; }
  ContentStore& store() const { return *store_; }

  // The bytes of a block below blocks(). They stay valid and unchanged for the life of the store:
  // a change puts other bytes in their place. Equal addresses mean equal bytes.
  std::span<const uint8_t> Block(uint64_t block) const;
  std::span<const uint8_t> BaseBlock(uint64_t block) const;
  // Copies bytes from anywhere; the range lies within size_bytes().
  void Read(uint64_t offset_bytes, std::span<uint8_t> out) const;

  // What was set and differs from the base; null where the image is the base.
  const Content* Difference(uint64_t block) const;
  // Null: back to the base.
  void Set(uint64_t block, const Content* content);
  void SetCopy(uint64_t block, std::span<const uint8_t> bytes) {
    Set(block, store_->InternCopy(bytes));
  }

  // Blocks whose content is not what it was at the last ClearChanges, and some that are again;
  // each once, in no order.
  const std::vector<uint64_t>& changes() const { return changes_; }
  void ClearChanges();

  // Sum over all blocks but those kept apart, and over those.
  const DifferenceSum& sum() const { return sum_[0]; }
  const DifferenceSum& apart_sum() const { return sum_[1]; }
  // Keeps a block apart; it must not differ from the base yet.
  void KeepApart(uint64_t block);

  // Calls `each` for all that differs, in ascending order.
  void ForEachDifference(
      const std::function<void(uint64_t block, const Content& content)>& each) const;

 private:
  static constexpr uint64_t kLeafBlocks = 512;
  struct Slot {
    const Content* now = nullptr;   // null: as in the base
    const Content* base = nullptr;  // looked up at the first change
    bool listed = false;            // in changes_
    bool apart = false;
  };
  struct Leaf {
    Slot slots[kLeafBlocks];
  };
  Slot& SlotOf(uint64_t block);
  const Slot* FindSlot(uint64_t block) const;

  std::span<const uint8_t> base_;
  ContentStore* store_;
  uint32_t block_bytes_;
  uint64_t blocks_;
  std::vector<uint8_t> tail_;  // the last block, when the base does not fill it
  std::vector<std::unique_ptr<Leaf>> leaves_;
  std::vector<uint64_t> changes_;
  DifferenceSum sum_[2];
};

}  // namespace plugpull::image
