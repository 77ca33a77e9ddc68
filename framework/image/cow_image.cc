// SPDX-License-Identifier: Apache-2.0
#include "framework/image/cow_image.h"

#include <algorithm>
#include <cstring>

#include "framework/base/check.h"

namespace plugpull::image {

void DifferenceSum::Add(const Fingerprint& term) {
  low += term.low;
  high += term.high + (low < term.low ? 1 : 0);
}

void DifferenceSum::Subtract(const Fingerprint& term) {
  high -= term.high + (low < term.low ? 1 : 0);
  low -= term.low;
}

Fingerprint TermOf(uint64_t block, const Fingerprint& content) {
  const uint64_t words[3] = {block, content.high, content.low};
  return FingerprintOf({reinterpret_cast<const uint8_t*>(words), sizeof words});
}

CowImage::CowImage(std::span<const uint8_t> base, ContentStore& store)
    : base_(base),
      store_(&store),
      block_bytes_(store.block_bytes()),
      blocks_((base.size() + block_bytes_ - 1) / block_bytes_),
      leaves_((blocks_ + kLeafBlocks - 1) / kLeafBlocks) {
  if (const size_t rest = base.size() % block_bytes_; rest != 0) {
    tail_.resize(block_bytes_);
    std::memcpy(tail_.data(), base.data() + base.size() - rest, rest);
  }
}

std::span<const uint8_t> CowImage::BaseBlock(uint64_t block) const {
  PP_CHECK(block < blocks_);
  if (block + 1 == blocks_ && !tail_.empty()) return tail_;
  return base_.subspan(block * block_bytes_, block_bytes_);
}

const CowImage::Slot* CowImage::FindSlot(uint64_t block) const {
  const auto& leaf = leaves_[block / kLeafBlocks];
  return leaf ? &leaf->slots[block % kLeafBlocks] : nullptr;
}

CowImage::Slot& CowImage::SlotOf(uint64_t block) {
  auto& leaf = leaves_[block / kLeafBlocks];
  if (!leaf) leaf = std::make_unique<Leaf>();
  return leaf->slots[block % kLeafBlocks];
}

std::span<const uint8_t> CowImage::Block(uint64_t block) const {
  PP_CHECK(block < blocks_);
  const Slot* slot = FindSlot(block);
  return slot != nullptr && slot->now != nullptr ? store_->BytesOf(slot->now) : BaseBlock(block);
}

void CowImage::Read(uint64_t offset_bytes, std::span<uint8_t> out) const {
  PP_CHECK(offset_bytes <= size_bytes() && out.size() <= size_bytes() - offset_bytes);
  for (size_t done = 0; done < out.size();) {
    const uint64_t at = offset_bytes + done;
    const size_t within = at % block_bytes_;
    const size_t n = std::min<size_t>(out.size() - done, block_bytes_ - within);
    std::memcpy(out.data() + done, Block(at / block_bytes_).data() + within, n);
    done += n;
  }
}

const Content* CowImage::Difference(uint64_t block) const {
  PP_CHECK(block < blocks_);
  const Slot* slot = FindSlot(block);
  return slot == nullptr ? nullptr : slot->now;
}

void CowImage::Set(uint64_t block, const Content* content) {
  PP_CHECK(block < blocks_);
  if (content == nullptr && !leaves_[block / kLeafBlocks]) return;
  Slot& slot = SlotOf(block);
  if (slot.now == content) return;
  if (content != nullptr) {
    if (slot.base == nullptr) {
      const auto base = BaseBlock(block);
      // tail_ does not outlive the store.
      slot.base = base.data() == tail_.data() ? store_->InternCopy(base) : store_->Intern(base);
    }
    if (content == slot.base) content = nullptr;
    if (slot.now == content) return;
  }
  DifferenceSum& sum = sum_[slot.apart ? 1 : 0];
  if (slot.now != nullptr) sum.Subtract(TermOf(block, slot.now->fingerprint));
  if (content != nullptr) sum.Add(TermOf(block, content->fingerprint));
  slot.now = content;
  if (slot.listed) return;
  slot.listed = true;
  changes_.push_back(block);
}

void CowImage::ClearChanges() {
  for (const uint64_t block : changes_) SlotOf(block).listed = false;
  changes_.clear();
}

void CowImage::KeepApart(uint64_t block) {
  PP_CHECK(Difference(block) == nullptr);
  SlotOf(block).apart = true;
}

void CowImage::ForEachDifference(
    const std::function<void(uint64_t block, const Content& content)>& each) const {
  for (size_t leaf = 0; leaf < leaves_.size(); ++leaf) {
    if (!leaves_[leaf]) continue;
    for (uint64_t i = 0; i < kLeafBlocks; ++i) {
      if (const Content* now = leaves_[leaf]->slots[i].now) each(leaf * kLeafBlocks + i, *now);
    }
  }
}

}  // namespace plugpull::image
