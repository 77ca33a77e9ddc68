// SPDX-License-Identifier: Apache-2.0
// libext2fs over bytes in memory, read-only.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <span>
#include <string>

#include "framework/base/result.h"

namespace plugpull::ext4 {

// The io_manager to hand to ext2fs_open2. It reads the bytes that were set last, by
// SetMemoryImage, on the calling thread; they must outlive the ext2_filsys.
io_manager MemoryIoManager();
void SetMemoryImage(std::span<const uint8_t> image);

// Opens the file system in an image, which must not change and must outlive the result; the caller
// frees it with ext2fs_free. Checksums are not held against it. A user error when there is none, or
// when it is larger than the image.
Result<ext2_filsys> OpenImage(std::span<const uint8_t> image);

// What an error of libext2fs means.
std::string LibraryMessage(errcode_t error);

}  // namespace plugpull::ext4
