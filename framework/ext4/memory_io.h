// SPDX-License-Identifier: Apache-2.0
// libext2fs over bytes in memory, read-only.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <span>

namespace plugpull::ext4 {

// The io_manager to hand to ext2fs_open2. It reads the bytes that were set last, by
// SetMemoryImage, on the calling thread; they must outlive the ext2_filsys.
io_manager MemoryIoManager();
void SetMemoryImage(std::span<const uint8_t> image);

}  // namespace plugpull::ext4
