// SPDX-License-Identifier: Apache-2.0
// Inodes that a crash left unlinked but open, or half truncated. Done as by release_orphan_inodes
// of e2fsprogs 1.47 (e2fsck/super.c), with one difference: `e2fsck -E journal_only` leaves the
// entries of the orphan file and the feature ORPHAN_PRESENT behind, and its next run complains of
// them. A mount clears both (ext4_orphan_del in fs/ext4/orphan.c, ext4_mark_recovery_complete in
// fs/ext4/super.c of the Linux kernel), and so does this.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/base/result.h"
#include "framework/image/cow_image.h"

namespace plugpull::ext4 {

// What a released inode gets as its time of deletion, in seconds since 1970: the time that e2fsck
// is told, so that both make the same image.
inline constexpr uint32_t kRecoveryTime = 4'000'000'000;

// Releases and truncates the orphans of a replayed file system that has some, and no errors in its
// state. Gives their number and adds the blocks that it wrote to `written`; so it does, too, before
// it gives up with an error over anything that is not as it should be.
Result<uint32_t> ProcessOrphans(image::CowImage& image, std::vector<uint64_t>& written);

// Of a file system that `e2fsck -E journal_only` has recovered: empties the orphan file, whose
// inodes are released already, and clears ORPHAN_PRESENT, as a mount does. Writes nothing when it
// gives an error: something is not as it should be.
Status ForgetOrphanFile(std::span<uint8_t> image);

}  // namespace plugpull::ext4
