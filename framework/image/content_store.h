// SPDX-License-Identifier: Apache-2.0
// Contents of blocks, each kept once: two blocks hold the same bytes exactly when they hold the
// same Content, so images are compared, fingerprinted and moved by pointers, and nothing is copied.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "framework/image/fingerprint.h"

namespace plugpull::image {

struct Content {
  const uint8_t* bytes;  // as many as a block of the store has
  Fingerprint fingerprint;
};

// Const methods are thread-safe; one thread adds. A store may stand on another that no longer
// changes: what is there is not kept again, and equal bytes give one Content in both.
class ContentStore {
 public:
  // `block_bytes`: a power of two. `below`, of the same block size, outlives this store.
  explicit ContentStore(uint32_t block_bytes, const ContentStore* below = nullptr);
  ContentStore(const ContentStore&) = delete;
  ContentStore& operator=(const ContentStore&) = delete;

  uint32_t block_bytes() const { return block_bytes_; }

  // The one content with these bytes; they are block_bytes() long. Intern: they outlive the store.
  // InternCopy: they are copied when they are new.
  const Content* Intern(std::span<const uint8_t> bytes);
  const Content* InternCopy(std::span<const uint8_t> bytes);

  std::span<const uint8_t> BytesOf(const Content* content) const {
    return {content->bytes, block_bytes_};
  }
  const Content* zeroes() const { return zeroes_; }
  uint64_t size() const { return contents_.size(); }  // without those of the store below

 private:
  const Content* Find(const Fingerprint& fingerprint) const;
  const Content* Add(const uint8_t* bytes, const Fingerprint& fingerprint);

  uint32_t block_bytes_;
  const ContentStore* below_;
  std::deque<Content> contents_;  // addresses stay
  std::unordered_map<Fingerprint, const Content*, FingerprintHash> by_fingerprint_;
  std::vector<std::unique_ptr<uint8_t[]>> slabs_;
  size_t slab_used_ = 0;
  const Content* zeroes_ = nullptr;
};

}  // namespace plugpull::image
