// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/recovered_fingerprint.h"

#include <algorithm>
#include <set>
#include <vector>

#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {
namespace {

// Whether every block of the layout is a whole block of the image, and none comes twice.
bool Fits(const JournalLayout& layout, const image::CowImage& image) {
  const uint64_t whole = image.size_bytes() / image.block_bytes();
  if (image.size_bytes() < kSuperblockAt + kSuperblockBytes) return false;
  if (image.block_bytes() < kSuperblockBytes) return false;
  if (layout.blocks.empty()) return true;
  const std::set<uint64_t> blocks(layout.blocks.begin(), layout.blocks.end());
  return layout.block_bytes == image.block_bytes() && blocks.size() == layout.blocks.size() &&
         *blocks.rbegin() < whole;
}

}  // namespace

RecoveredFingerprint::RecoveredFingerprint(const JournalLayout& layout,
                                           const image::CowImage& image)
    : layout_(layout),
      usable_(Fits(layout, image)),
      super_block_(kSuperblockAt / image.block_bytes()) {}

void RecoveredFingerprint::Prepare(image::CowImage& image) const {
  if (!usable_) return;
  for (size_t place = 1; place < layout_.blocks.size(); ++place) {
    image.KeepApart(layout_.blocks[place]);
  }
}

image::Fingerprint RecoveredFingerprint::MaskedSuper(std::span<const uint8_t> block) const {
  const auto [it, added] = masked_supers_.try_emplace(block.data());
  if (!added) return it->second;
  std::vector<uint8_t> bytes(block.begin(), block.end());
  const auto super = std::span(bytes).subspan(kSuperblockAt % block.size(), kSuperblockBytes);
  image::FingerprintStream stream;
  if (const auto parsed = ParseSuperblockBytes(super); parsed.ok()) {
    const auto ranges = CounterRanges(*parsed);
    stream.AddNumber(ranges.size());  // what is masked in one must not equal zeroes in another
    for (const ByteRange& range : ranges) {
      const auto masked = super.subspan(range.start - kSuperblockAt, range.end - range.start);
      std::fill(masked.begin(), masked.end(), 0);
    }
  }
  stream.Add(bytes);
  return it->second = stream.Finish();
}

image::Fingerprint RecoveredFingerprint::Of(const image::CowImage& image) const {
  image::DifferenceSum sum = image.sum();
  bool empty = false;
  if (usable_) {
    if (const image::Content* super = image.Difference(super_block_)) {
      sum.Subtract(image::TermOf(super_block_, super->fingerprint));
      const image::Fingerprint now = MaskedSuper(image.Block(super_block_));
      if (now != MaskedSuper(image.BaseBlock(super_block_))) {
        sum.Add(image::TermOf(super_block_, now));
      }
    }
    if (!layout_.blocks.empty()) {
      const auto journal = ParseJournalSuper(image.Block(layout_.blocks[0]));
      empty = journal.ok() && journal->start == 0;
    }
  }
  const image::DifferenceSum log = empty ? image::DifferenceSum() : image.apart_sum();
  const uint64_t words[5] = {empty, sum.high, sum.low, log.high, log.low};
  return image::FingerprintOf({reinterpret_cast<const uint8_t*>(words), sizeof words});
}

}  // namespace plugpull::ext4
