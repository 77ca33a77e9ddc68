// SPDX-License-Identifier: Apache-2.0
// Inodes that a crash left unlinked but open, or half truncated. Source: release_orphan_inodes,
// process_orphan_block of e2fsprogs 1.47 (e2fsck/super.c); ext4_orphan_cleanup of the Linux kernel
// (fs/ext4/orphan.c).
#pragma once

#include <cstdint>
#include <vector>

#include "framework/base/result.h"
#include "framework/image/cow_image.h"

namespace plugpull::ext4 {

// Releases and truncates the orphans of a replayed file system without errors in its state, which
// has some. Gives their number and adds the blocks that it wrote to `written`; so it does, too,
// before it gives up with an error over anything that is not as it should be.
Result<uint32_t> ProcessOrphans(image::CowImage& image, std::vector<uint64_t>& written);

}  // namespace plugpull::ext4
