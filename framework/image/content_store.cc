// SPDX-License-Identifier: Apache-2.0
#include "framework/image/content_store.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "framework/base/check.h"

namespace plugpull::image {
namespace {

constexpr size_t kSlabBytes = 1 << 20;

}  // namespace

ContentStore::ContentStore(uint32_t block_bytes, const ContentStore* below)
    : block_bytes_(block_bytes), below_(below) {
  PP_CHECK(std::has_single_bit(block_bytes));
  PP_CHECK(below == nullptr || below->block_bytes() == block_bytes);
  zeroes_ = below != nullptr ? below->zeroes() : InternCopy(std::vector<uint8_t>(block_bytes));
}

const Content* ContentStore::Find(const Fingerprint& fingerprint) const {
  if (below_ != nullptr) {
    if (const Content* found = below_->Find(fingerprint)) return found;
  }
  const auto it = by_fingerprint_.find(fingerprint);
  return it == by_fingerprint_.end() ? nullptr : it->second;
}

const Content* ContentStore::Add(const uint8_t* bytes, const Fingerprint& fingerprint) {
  const Content* added = &contents_.emplace_back(Content{bytes, fingerprint});
  by_fingerprint_.emplace(fingerprint, added);
  return added;
}

const Content* ContentStore::Intern(std::span<const uint8_t> bytes) {
  PP_CHECK(bytes.size() == block_bytes_);
  const Fingerprint fingerprint = FingerprintOf(bytes);
  if (const Content* found = Find(fingerprint)) return found;
  return Add(bytes.data(), fingerprint);
}

const Content* ContentStore::InternCopy(std::span<const uint8_t> bytes) {
  PP_CHECK(bytes.size() == block_bytes_);
  const Fingerprint fingerprint = FingerprintOf(bytes);
  if (const Content* found = Find(fingerprint)) return found;
  const size_t slab_bytes = std::max<size_t>(kSlabBytes, block_bytes_);
  if (slabs_.empty() || slab_used_ + block_bytes_ > slab_bytes) {
    slabs_.push_back(std::make_unique_for_overwrite<uint8_t[]>(slab_bytes));
    slab_used_ = 0;
  }
  uint8_t* at = slabs_.back().get() + slab_used_;
  slab_used_ += block_bytes_;
  std::memcpy(at, bytes.data(), block_bytes_);
  return Add(at, fingerprint);
}

}  // namespace plugpull::image
