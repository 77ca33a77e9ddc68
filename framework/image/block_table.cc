// SPDX-License-Identifier: Apache-2.0
#include "framework/image/block_table.h"

#include <algorithm>
#include <bit>
#include <cstdio>

#include "framework/base/check.h"

namespace plugpull::image {

std::string Fingerprint::ToHex() const {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text;
}

Fingerprint FingerprintOf(std::span<const uint8_t> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

FingerprintStream::FingerprintStream() : state_(XXH3_createState()) {
  PP_CHECK(state_ != nullptr);
  XXH3_128bits_reset(state_.get());
}

void FingerprintStream::Add(std::span<const uint8_t> bytes) {
  XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
}

void FingerprintStream::AddNumber(uint64_t number) {
  XXH3_128bits_update(state_.get(), &number, sizeof number);
}

Fingerprint FingerprintStream::Finish() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  return {hash.high64, hash.low64};
}

BlockTable::BlockTable(std::span<const uint8_t> base, uint32_t block_bytes,
                       std::vector<uint64_t> blocks)
    : base_(base), block_bytes_(block_bytes), blocks_(std::move(blocks)), zeroes_(block_bytes) {
  PP_CHECK(std::has_single_bit(block_bytes));
  PP_CHECK(std::is_sorted(blocks_.begin(), blocks_.end()));
  PP_CHECK(blocks_.empty() || (blocks_.back() + 1) * block_bytes <= base.size());
  zero_content_ = Intern(zeroes_);
  base_state_.reserve(blocks_.size());
  for (const uint64_t block : blocks_) {
    base_state_.push_back(Intern(base_.subspan(block * block_bytes, block_bytes)));
  }
}

size_t BlockTable::RankAtOrAfter(uint64_t block) const {
  return static_cast<size_t>(std::lower_bound(blocks_.begin(), blocks_.end(), block) -
                             blocks_.begin());
}

size_t BlockTable::RankOf(uint64_t block) const {
  const size_t rank = RankAtOrAfter(block);
  return rank < blocks_.size() && blocks_[rank] == block ? rank : blocks_.size();
}

ContentId BlockTable::Intern(std::span<const uint8_t> bytes) {
  PP_CHECK(bytes.size() == block_bytes_);
  const auto [it, added] =
      ids_.try_emplace(FingerprintOf(bytes), static_cast<ContentId>(contents_.size()));
  if (added) contents_.push_back(bytes.data());
  return it->second;
}

Fingerprint BlockTable::FingerprintOfState(const ImageState& state) {
  return FingerprintOf(
      {reinterpret_cast<const uint8_t*>(state.data()), state.size() * sizeof(ContentId)});
}

}  // namespace plugpull::image
