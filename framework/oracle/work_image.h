// SPDX-License-Identifier: Apache-2.0
// A crash state as a file that other programs can open: a memory file that is moved from image to
// image. Moving costs what differs from the base; looking at what a program changed costs what the
// file holds (not the size of the disk: holes are skipped).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/ext4/journal.h"
#include "framework/ext4/recovered_fingerprint.h"
#include "framework/image/cow_image.h"
#include "framework/image/fingerprint.h"
#include "framework/os/fd.h"
#include "framework/os/file.h"

namespace plugpull::oracle {

// One for each thread.
class WorkImage {
 public:
  // `base` outlives the result; `base_extents`: where it may be other than zero.
  static Result<WorkImage> Make(std::span<const uint8_t> base,
                                const std::vector<os::Extent>& base_extents);

  // Makes the file what `image`, over the same base, is now, whatever was done to the file before.
  // The image's store outlives this.
  void Load(const image::CowImage& image);

  // The bytes, and the descriptor for other programs. Writes through either are undone by Load
  // when Scan has been called after them.
  std::span<uint8_t> bytes() { return mapping_.mutable_bytes(); }
  std::span<const uint8_t> bytes() const { return mapping_.bytes(); }
  int fd() const { return fd_.get(); }

  // Looks at the whole file: remembers what others have changed since Load, which comes before it,
  // and gives the fingerprint of the recovered image that it is. One layout for all scans, which
  // outlives this.
  Result<image::Fingerprint> Scan(const ext4::JournalLayout& journal);

 private:
  using Blocks = std::map<uint64_t, const uint8_t*>;  // what differs from the base, by block

  WorkImage() = default;
  void WriteBlock(uint64_t block, const uint8_t* bytes);
  // Writes the page as it was loaded.
  void RestorePage(uint64_t page);
  bool PageChanged(uint64_t page) const;
  // Where the file may be other than zero.
  Result<std::vector<os::Extent>> Held() const;
  // Makes copy_ what the file is now; changed_pages_ are known.
  void Copy(const ext4::JournalLayout& journal);

  std::span<const uint8_t> base_;
  os::Fd fd_;
  os::Mapping mapping_;
  uint64_t block_bytes_ = 0;  // of what is loaded
  Blocks loaded_;
  std::vector<os::Extent> base_extents_;  // whole pages
  std::vector<uint64_t> changed_pages_;   // by others, since Load
  // The file as an image, for its fingerprint; made at the first scan.
  std::unique_ptr<image::ContentStore> store_;
  std::unique_ptr<image::CowImage> copy_;
  std::unique_ptr<ext4::RecoveredFingerprint> fingerprint_;
};

}  // namespace plugpull::oracle
