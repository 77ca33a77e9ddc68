// SPDX-License-Identifier: Apache-2.0
// What recovery takes for granted of a file system. e2fsck, asked to replay a journal, first looks
// at the superblock, the group descriptors and the journal's inode, and repairs what it finds
// wrong there. Recovery in this process repairs nothing: an image that would make e2fsck do more
// than to recover is not plain, and is left to e2fsck.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/ext4/journal.h"
#include "framework/image/cow_image.h"

namespace plugpull::ext4 {

// Looks at all once, and then only at what it is told has changed. What it says is a function of
// the image alone. One thread.
class RecoveryShape {
 public:
  // `layout` outlives the object.
  explicit RecoveryShape(const JournalLayout& layout);
  ~RecoveryShape();

  // A block of the image before (of the one after) its journal is replayed may have changed. Every
  // change must be told, at the latest before the next Problem.
  void Changed(uint64_t block, bool replayed);

  // Why an image is not plain, before or after its journal is replayed; empty when it is. There is
  // one image of either kind, both with one store, whose block size is that of the layout.
  std::string Problem(const image::CowImage& image, bool replayed);

 private:
  struct Reference;
  // Of one of the two images. Addresses are of what was found as the reference is.
  struct Seen {
    const uint8_t* super = nullptr;
    std::vector<const uint8_t*> descriptors;
    std::map<size_t, std::string> unsound;  // descriptor blocks that replaying must not leave
    std::vector<uint64_t> changed;          // watched blocks, not looked at since
    bool all = true;                        // all of them are to be looked at
  };

  // Looks at everything, with libext2fs; a plain image becomes the reference.
  std::string Learn(const image::CowImage& image);
  // Whether the image is as the reference in all that Learn looks at. Of the replayed image's
  // descriptors, checksums and counts are looked at, too: they matter once the journal is replayed.
  bool AsReference(const image::CowImage& image, bool replayed);
  bool BlockAsReference(const image::CowImage& image, uint64_t block, bool replayed);
  bool DescriptorsAsReference(const image::CowImage& image, size_t index, bool replayed);

  const JournalLayout& layout_;
  std::unique_ptr<Reference> reference_;
  Seen seen_[2];
};

}  // namespace plugpull::ext4
