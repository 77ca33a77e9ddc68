// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/replay_key.h"

#include <cstring>
#include <limits>

namespace plugpull::crashstate {
namespace {

constexpr image::ContentId kUnread = std::numeric_limits<image::ContentId>::max();

}  // namespace

ReplayKeyer::ReplayKeyer(const CrashSpace& space, const ext4::JournalLayout& journal)
    : table_(space.table()),
      journal_(journal),
      used_(journal.blocks.size()),
      block_(journal.block_bytes) {
  const uint64_t size = table_.block_bytes();
  // A block of the table that is larger than one of the file system may hold more than journal.
  if (size > journal.block_bytes) return;
  for (uint32_t place = 0; place < journal.blocks.size(); ++place) {
    const uint64_t end = (journal.blocks[place] + 1) * journal.block_bytes;
    for (size_t rank = table_.RankAtOrAfter(journal.blocks[place] * journal.block_bytes / size);
         rank < table_.blocks().size() && table_.blocks()[rank] * size < end; ++rank) {
      journal_ranks_.emplace_back(rank, place);
    }
  }
}

std::span<const uint8_t> ReplayKeyer::ReadBlock(uint64_t block, const image::ImageState& state) {
  const uint64_t size = table_.block_bytes();
  const uint64_t at = block * journal_.block_bytes;
  if (at + journal_.block_bytes > table_.base().size()) return {};
  if (size == journal_.block_bytes) {
    const size_t rank = table_.RankOf(block);
    return rank == state.size() ? table_.base().subspan(at, size) : table_.Content(state[rank]);
  }
  std::memcpy(block_.data(), table_.base().data() + at, block_.size());
  for (size_t rank = table_.RankAtOrAfter(at / size);
       rank < state.size() && table_.blocks()[rank] * size < at + block_.size(); ++rank) {
    std::memcpy(block_.data() + (table_.blocks()[rank] * size - at),
                table_.Content(state[rank]).data(), size);
  }
  return block_;
}

image::Fingerprint ReplayKeyer::KeyOf(const image::ImageState& state) {
  if (journal_ranks_.empty()) return image::BlockTable::FingerprintOfState(state);
  const ext4::JournalInspection inspection =
      ext4::InspectJournal([&](uint64_t block) { return ReadBlock(block, state); }, journal_);
  using Outcome = ext4::JournalInspection::Outcome;
  if (inspection.outcome != Outcome::kReplays && inspection.outcome != Outcome::kEmpty) {
    return image::BlockTable::FingerprintOfState(state);
  }
  for (const uint32_t place : inspection.used) used_[place] = true;
  masked_ = state;
  for (const auto& [rank, place] : journal_ranks_) {
    if (place != 0 && !used_[place]) masked_[rank] = kUnread;
  }
  for (const uint32_t place : inspection.used) used_[place] = false;
  return image::BlockTable::FingerprintOfState(masked_);
}

}  // namespace plugpull::crashstate
