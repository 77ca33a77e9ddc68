// SPDX-License-Identifier: Apache-2.0
// What recovery takes for granted of a file system. e2fsck, asked to replay a journal, first looks
// at the superblock, the group descriptors and the journal's inode, and repairs what it finds
// wrong there. Recovery in this process repairs nothing: an image that would make e2fsck do more
// than to recover is not plain, and is left to e2fsck.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "framework/ext4/journal.h"
#include "framework/image/cow_image.h"

namespace plugpull::ext4 {

// Looks at all once, and then only at what has changed since. What it says is a function of the
// image alone. One thread.
class RecoveryShape {
 public:
  // `layout` outlives the object.
  explicit RecoveryShape(const JournalLayout& layout);
  ~RecoveryShape();

  // Why an image is not plain, before or after its journal is replayed; empty when it is. All
  // images that are asked for have one store, whose block size is that of the layout.
  std::string Problem(const image::CowImage& image, bool replayed);

 private:
  struct Reference;
  // Addresses of what was found plain at the last look.
  struct Seen {
    const uint8_t* super = nullptr;
    std::vector<const uint8_t*> descriptors;
    std::vector<const uint8_t*> anchors;
    std::vector<const uint8_t*> sound_descriptors;
  };

  // Looks at everything, with libext2fs; a plain image becomes the reference.
  std::string Learn(const image::CowImage& image);
  // Whether the image is as the reference in all that Learn looks at.
  bool AsReference(const image::CowImage& image, Seen& seen) const;
  // Checksums and counts of the descriptors, which only matter once the journal is replayed.
  std::string DescriptorProblem(const image::CowImage& image, Seen& seen) const;

  const JournalLayout& layout_;
  std::unique_ptr<Reference> reference_;
  Seen seen_[2];
};

}  // namespace plugpull::ext4
