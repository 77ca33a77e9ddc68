// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/orphan_processing.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "framework/ext4/memory_io.h"

namespace plugpull::ext4 {
namespace {

constexpr uint32_t kCopyBlockBytes = 1024;

struct FreeFileSystem {
  void operator()(ext2_filsys fs) const { ext2fs_free(fs); }
};

Status Failed(const std::string& what, errcode_t error) {
  return UserError(what + ": " + LibraryMessage(error));
}

// One file system with orphans.
class Orphans {
 public:
  // `released`: somebody has released the inodes of the orphan file, and left their entries.
  explicit Orphans(ext2_filsys fs, bool released = false)
      : fs_(fs), file_is_released_(released), block_(fs->blocksize), buffer_(4 * fs->blocksize) {}

  Status ReleaseList();
  Status ReleaseFile();
  uint32_t released() const { return released_; }

 private:
  // What the walk over the blocks of one orphan knows.
  struct BlockWalk {
    Orphans& orphans;
    bool truncate;         // else: release all
    e2_blkcnt_t keep;      // of a truncated inode, so many blocks
    uint32_t tail_offset;  // bytes of the last one that are kept; 0: all
    blk64_t last_cluster = 0;
    uint64_t visits = 0;
    uint32_t truncated = 0;
    Status status = {};
  };

  bool IsInode(uint32_t number) const {
    return number >= EXT2_FIRST_INODE(fs_->super) && number <= fs_->super->s_inodes_count;
  }
  Status Release(uint32_t number, uint32_t& next);
  Status ReleaseBlocks(uint32_t number, ext2_inode_large& inode);
  Status ReleaseAttributes(uint32_t number, ext2_inode_large& inode);
  int ReleaseBlock(BlockWalk& walk, blk64_t& block, e2_blkcnt_t count);
  Status ReleaseFileBlock(blk64_t block);

  ext2_filsys fs_;
  bool file_is_released_;
  std::vector<uint8_t> block_;
  std::vector<char> buffer_;
  uint32_t released_ = 0;
};

// The list goes through i_dtime. It ends: a released inode has no inode's number there.
Status Orphans::ReleaseList() {
  uint32_t number = fs_->super->s_last_orphan;
  fs_->super->s_last_orphan = 0;
  while (number != 0) {
    if (!IsInode(number)) return UserError(fmt::format("orphan list: no inode {}", number));
    uint32_t next = 0;
    PP_RETURN_IF_ERROR(Release(number, next));
    number = next;
  }
  return OkStatus();
}

Status Orphans::Release(uint32_t number, uint32_t& next) {
  ext2_inode_large inode{};
  errcode_t error =
      ext2fs_read_inode_full(fs_, number, reinterpret_cast<ext2_inode*>(&inode), sizeof inode);
  if (error != 0) return Failed(fmt::format("orphan inode {}", number), error);
  next = inode.i_dtime;
  if (next != 0 && !IsInode(next)) {
    return UserError(fmt::format("orphan inode {}: the next is {}", number, next));
  }
  PP_RETURN_IF_ERROR(ReleaseBlocks(number, inode));
  if (inode.i_links_count == 0) {
    ext2fs_inode_alloc_stats2(fs_, number, -1, LINUX_S_ISDIR(inode.i_mode));
    inode.i_dtime = kRecoveryTime;
  } else {
    inode.i_dtime = 0;
  }
  error = ext2fs_write_inode_full(fs_, number, reinterpret_cast<ext2_inode*>(&inode), sizeof inode);
  if (error != 0) return Failed(fmt::format("orphan inode {}", number), error);
  ++released_;
  return OkStatus();
}

Status Orphans::ReleaseBlocks(uint32_t number, ext2_inode_large& inode) {
  auto* small = reinterpret_cast<ext2_inode*>(&inode);
  if (ext2fs_inode_has_valid_blocks2(fs_, small) == 0) return OkStatus();
  const uint64_t size = EXT2_I_SIZE(&inode);
  BlockWalk walk{.orphans = *this,
                 .truncate = inode.i_links_count != 0,
                 .keep = static_cast<e2_blkcnt_t>((size + fs_->blocksize - 1) / fs_->blocksize),
                 .tail_offset = static_cast<uint32_t>(size % fs_->blocksize)};
  const auto each = [](ext2_filsys, blk64_t* block, e2_blkcnt_t count, blk64_t, int, void* data) {
    auto& now = *static_cast<BlockWalk*>(data);
    return now.orphans.ReleaseBlock(now, *block, count);
  };
  errcode_t error =
      ext2fs_block_iterate3(fs_, number, BLOCK_FLAG_DEPTH_TRAVERSE, buffer_.data(), each, &walk);
  if (error != 0) return Failed(fmt::format("blocks of orphan inode {}", number), error);
  PP_RETURN_IF_ERROR(std::move(walk.status));
  // The walk may have changed the inode.
  error = ext2fs_read_inode_full(fs_, number, small, sizeof inode);
  if (error != 0) return Failed(fmt::format("orphan inode {}", number), error);
  if (walk.truncated != 0) ext2fs_iblk_sub_blocks(fs_, small, walk.truncated);
  return ReleaseAttributes(number, inode);
}

Status Orphans::ReleaseAttributes(uint32_t number, ext2_inode_large& inode) {
  auto* small = reinterpret_cast<ext2_inode*>(&inode);
  const blk64_t block = ext2fs_file_acl_block(fs_, small);
  if (block == 0) return OkStatus();
  uint32_t users = 0;
  const errcode_t error =
      ext2fs_adjust_ea_refcount3(fs_, block, buffer_.data(), -1, &users, number);
  if (error != 0) return Failed(fmt::format("attributes of orphan inode {}", number), error);
  if (users == 0) ext2fs_block_alloc_stats2(fs_, block, -1);
  ext2fs_file_acl_block_set(fs_, small, 0);
  return OkStatus();
}

int Orphans::ReleaseBlock(BlockWalk& walk, blk64_t& block, e2_blkcnt_t count) {
  const blk64_t cluster = EXT2FS_B2C(fs_, block);
  // No inode has more blocks than the disk, and as many to map them; a damaged map may say so.
  if (++walk.visits > 2 * ext2fs_blocks_count(fs_->super)) {
    walk.status = UserError("an orphan has more blocks than the disk");
    return BLOCK_ABORT;
  }
  if (block == 0 || cluster == walk.last_cluster) return 0;
  walk.last_cluster = cluster;
  if (block < fs_->super->s_first_data_block || block >= ext2fs_blocks_count(fs_->super) ||
      ext2fs_test_block_bitmap2(fs_->block_map, block) == 0) {
    walk.status = UserError(fmt::format("block {} of an orphan is outside or free", block));
    return BLOCK_ABORT;
  }
  int result = 0;
  if (walk.truncate) {
    if (count >= 0 && count < walk.keep) return 0;
    const bool shortened = count == walk.keep && walk.tail_offset != 0;
    if (count < 0 || shortened) {
      if (const errcode_t error = io_channel_read_blk64(fs_->io, block, 1, block_.data())) {
        walk.status = Failed(fmt::format("block {} of an orphan", block), error);
        return BLOCK_ABORT;
      }
    }
    // A map block goes when nothing is left in it.
    if (count < 0 && std::any_of(block_.begin(), block_.end(), [](uint8_t b) { return b != 0; })) {
      return 0;
    }
    // e2fsck zeroes the tail of the first block that it frees, not of the last that it keeps.
    if (shortened) {
      std::fill(block_.begin() + walk.tail_offset, block_.end(), 0);
      if (const errcode_t error = io_channel_write_blk64(fs_->io, block, 1, block_.data())) {
        walk.status = Failed(fmt::format("block {} of an orphan", block), error);
        return BLOCK_ABORT;
      }
    }
  }
  const blk64_t freed = block;
  if (walk.truncate) {
    ++walk.truncated;
    block = 0;
    result = BLOCK_CHANGED;
  }
  ext2fs_block_alloc_stats2(fs_, freed, -1);
  return result;
}

Status Orphans::ReleaseFile() {
  if (ext2fs_has_feature_orphan_file(fs_->super) == 0) {
    if (ext2fs_has_feature_orphan_present(fs_->super) == 0) return OkStatus();
    return UserError("orphans in a file that the file system does not have");
  }
  const uint32_t number = fs_->super->s_orphan_file_inum;
  ext2_inode inode{};
  if (const errcode_t error = ext2fs_read_inode(fs_, number, &inode)) {
    return Failed("orphan file", error);
  }
  const uint64_t blocks = EXT2_I_SIZE(&inode) / fs_->blocksize;
  if (EXT2_I_SIZE(&inode) % fs_->blocksize != 0 || blocks > ext2fs_blocks_count(fs_->super)) {
    return UserError(fmt::format("orphan file: {} bytes", EXT2_I_SIZE(&inode)));
  }
  for (uint64_t i = 0; i < blocks; ++i) {
    blk64_t block = 0;
    const errcode_t error = ext2fs_bmap2(fs_, number, &inode, nullptr, 0, i, nullptr, &block);
    if (error != 0) return Failed("orphan file", error);
    if (block == 0) return UserError("orphan file: a hole");
    PP_RETURN_IF_ERROR(ReleaseFileBlock(block));
  }
  ext2fs_clear_feature_orphan_present(fs_->super);
  return OkStatus();
}

Status Orphans::ReleaseFileBlock(blk64_t block) {
  std::vector<uint32_t> entries(fs_->blocksize / sizeof(uint32_t));
  auto* bytes = reinterpret_cast<char*>(entries.data());
  errcode_t error = io_channel_read_blk64(fs_->io, block, 1, bytes);
  if (error != 0) return Failed("orphan file", error);
  const uint32_t file = fs_->super->s_orphan_file_inum;
  if (ext2fs_orphan_block_tail(fs_, bytes)->ob_magic != EXT4_ORPHAN_BLOCK_MAGIC ||
      ext2fs_orphan_file_block_csum_verify(fs_, file, block, bytes) == 0) {
    return UserError(fmt::format("orphan file: block {} is damaged", block));
  }
  bool changed = false;
  for (int i = 0; i < ext2fs_inodes_per_orphan_block(fs_); ++i) {
    if (entries[static_cast<size_t>(i)] == 0) continue;
    const uint32_t number = entries[static_cast<size_t>(i)];
    if (!IsInode(number)) return UserError(fmt::format("orphan file: no inode {}", number));
    uint32_t next = 0;
    if (!file_is_released_) PP_RETURN_IF_ERROR(Release(number, next));
    entries[static_cast<size_t>(i)] = 0;
    changed = true;
  }
  if (!changed) return OkStatus();
  error = ext2fs_orphan_file_block_csum_set(fs_, file, block, bytes);
  if (error == 0) error = io_channel_write_blk64(fs_->io, block, 1, bytes);
  return error == 0 ? OkStatus() : Failed("orphan file", error);
}

using FileSystemOwner = std::unique_ptr<struct_ext2_filsys, FreeFileSystem>;

// Opens a file system whose primary superblock is written when it is closed.
Result<FileSystemOwner> OpenToWrite(CowWriter& writer) {
  ext2_filsys fs = nullptr;
  if (const errcode_t error = OpenMemory(writer, EXT2_FLAG_RW | EXT2_FLAG_64BITS, &fs)) {
    return Failed("the file system cannot be opened", error).error();
  }
  FileSystemOwner owner(fs);
  fs->flags |= EXT2_FLAG_MASTER_SB_ONLY;
  fs->now = kRecoveryTime;
  ext2fs_mark_super_dirty(fs);
  return owner;
}

Status Close(FileSystemOwner owner) {
  if (const errcode_t error = ext2fs_close(owner.get())) {
    return Failed("the file system cannot be written", error);
  }
  (void)owner.release();
  return OkStatus();
}

}  // namespace

Result<uint32_t> ProcessOrphans(image::CowImage& image, std::vector<uint64_t>& written) {
  CowWriter writer(image, written);
  PP_ASSIGN_OR_RETURN(FileSystemOwner fs, OpenToWrite(writer));
  // The bitmaps of an interrupted file system need not match their checksums.
  fs->flags |= EXT2_FLAG_IGNORE_CSUM_ERRORS;
  const errcode_t error = ext2fs_read_bitmaps(fs.get());
  fs->flags &= ~EXT2_FLAG_IGNORE_CSUM_ERRORS;
  if (error != 0) return Failed("the bitmaps cannot be read", error).error();
  Orphans orphans(fs.get());
  PP_RETURN_IF_ERROR(orphans.ReleaseList());
  PP_RETURN_IF_ERROR(orphans.ReleaseFile());
  PP_RETURN_IF_ERROR(Close(std::move(fs)));
  return orphans.released();
}

Status ForgetOrphanFile(std::span<uint8_t> image) {
  // In a copy of what is written, so that all of it is, or nothing.
  image::ContentStore store(kCopyBlockBytes);
  image::CowImage copy(image, store);
  std::vector<uint64_t> written;
  CowWriter writer(copy, written);
  PP_ASSIGN_OR_RETURN(FileSystemOwner fs, OpenToWrite(writer));
  PP_RETURN_IF_ERROR(Orphans(fs.get(), true).ReleaseFile());
  PP_RETURN_IF_ERROR(Close(std::move(fs)));
  copy.ForEachDifference([&](uint64_t block, const image::Content& content) {
    const uint64_t at = block * copy.block_bytes();
    const uint64_t size = std::min<uint64_t>(copy.block_bytes(), image.size() - at);
    std::copy_n(content.bytes, size, image.begin() + static_cast<ptrdiff_t>(at));
  });
  return OkStatus();
}

}  // namespace plugpull::ext4
