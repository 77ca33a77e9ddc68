// SPDX-License-Identifier: Apache-2.0
// A crash state as a file that other programs can open: a memory file that is moved from state to
// state. Moving costs what differs; looking at what a program changed costs what the file holds
// (not the size of the disk: holes are skipped).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/ext4/journal.h"
#include "framework/image/block_table.h"
#include "framework/image/fingerprint.h"
#include "framework/os/fd.h"
#include "framework/os/file.h"

namespace plugpull::oracle {

// One for each thread.
class WorkImage {
 public:
  // `base_extents`: where the table's base may be other than zero. `table` outlives the result.
  static Result<WorkImage> Make(const image::BlockTable& table,
                                const std::vector<os::Extent>& base_extents);

  // Makes the file the image of `state`, whatever was done to it before.
  Status Load(const image::ImageState& state);

  // The bytes, and the descriptor for other programs. Writes through either are undone by Load
  // when Scan has been called after them.
  std::span<uint8_t> bytes() { return mapping_.mutable_bytes(); }
  int fd() const { return fd_.get(); }

  // Looks at the whole file: remembers what others have changed since Load, and gives the
  // fingerprint of what differs from the base. Masked are the counters of an ext4 superblock and,
  // when the journal is empty, its log blocks (all but the journal superblock).
  Result<image::Fingerprint> Scan(const ext4::JournalLayout& journal);

 private:
  WorkImage() = default;
  void WriteRank(size_t rank, image::ContentId content);
  // Writes the page as the loaded state has it.
  void RestorePage(uint64_t page);
  bool PageChanged(uint64_t page, size_t first_rank, size_t end_rank) const;

  const image::BlockTable* table_ = nullptr;
  os::Fd fd_;
  os::Mapping mapping_;
  image::ImageState loaded_;
  std::vector<os::Extent> own_extents_;  // where base or state may be other than zero; whole pages
  std::vector<uint64_t> changed_pages_;  // by others, since Load
};

}  // namespace plugpull::oracle
