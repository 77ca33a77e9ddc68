// SPDX-License-Identifier: Apache-2.0
// The fingerprint of a recovered image: one for all ways to recover, so that what one program
// recovered can be told to be what another did.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>

#include "framework/ext4/journal.h"
#include "framework/image/cow_image.h"
#include "framework/image/fingerprint.h"

namespace plugpull::ext4 {

// Equal for images over one base that differ in nothing but the superblock's counters
// (CounterRanges) and, when the journal is empty, what its log still holds. Of images of one store;
// one thread.
class RecoveredFingerprint {
 public:
  // `layout` and the store of `image` outlive the object.
  RecoveredFingerprint(const JournalLayout& layout, const image::CowImage& image);

  // Whether the layout is one of the image's whole blocks, each once. Else nothing is masked.
  bool usable() const { return usable_; }
  // To be called once for every image that is asked about, before it differs from its base.
  void Prepare(image::CowImage& image) const;
  image::Fingerprint Of(const image::CowImage& image) const;

 private:
  // Of the superblock's block without the counters.
  image::Fingerprint MaskedSuper(std::span<const uint8_t> block) const;

  const JournalLayout& layout_;
  const bool usable_;
  const uint64_t super_block_;
  mutable std::unordered_map<const uint8_t*, image::Fingerprint> masked_supers_;  // by address
};

}  // namespace plugpull::ext4
