// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/ext4_files.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "framework/base/check.h"

namespace plugpull::bench {
namespace {

constexpr time_t kNow = 1'700'000'000;
constexpr uint32_t kJournaledData = 0x4000;  // EXT4_JOURNAL_DATA_FL

Status Said(errcode_t error, const char* what) {
  if (error == 0) return OkStatus();
  return InternalError(fmt::format("libext2fs: {}: {}", what, error_message(error)));
}

}  // namespace

struct Ext4Files::Impl {
  MemoryDisk& disk;
  Prng prng;
  ext2_filsys fs = nullptr;
  std::set<dgrp_t> block_groups;  // their bitmaps differ from the disk
  std::set<dgrp_t> inode_groups;
  std::set<uint64_t> data_blocks;
  std::set<uint64_t> freed;           // in this transaction, and not taken again
  std::set<uint64_t> freed_metadata;  // those of them that the journal may hold

  Impl(MemoryDisk& its_disk, uint64_t seed) : disk(its_disk), prng(seed) {}
  ~Impl() {
    if (fs != nullptr) ext2fs_free(fs);
  }

  static void OnBlock(ext2_filsys fs, blk64_t block, int in_use) {
    Impl& self = *static_cast<Impl*>(fs->priv_data);
    self.block_groups.insert(ext2fs_group_of_blk2(fs, block));
    if (in_use < 0) {
      self.freed.insert(block);
      return;
    }
    // libext2fs gives a block back when what it was for fails, as ext2fs_mkdir does where the
    // parent is full, and takes it again for the next thing: it is in use and must be journaled.
    self.freed.erase(block);
    self.freed_metadata.erase(block);
  }
  static void OnRange(ext2_filsys fs, blk64_t block, blk_t count, int in_use) {
    for (blk_t i = 0; i < count; ++i) OnBlock(fs, block + i, in_use);
  }

  void CountInode(ext2_ino_t inode, int in_use, bool folder) {
    ext2fs_inode_alloc_stats2(fs, inode, in_use, folder ? 1 : 0);
    inode_groups.insert(ext2fs_group_of_ino(fs, inode));
  }

  Status Link(ext2_ino_t folder, const std::string& name, ext2_ino_t inode, int type) {
    errcode_t error = ext2fs_link(fs, folder, name.c_str(), inode, type);
    if (error == EXT2_ET_DIR_NO_SPACE) {
      PP_RETURN_IF_ERROR(Said(ext2fs_expand_dir(fs, folder), "expand a folder"));
      error = ext2fs_link(fs, folder, name.c_str(), inode, type);
    }
    return Said(error, "link");
  }

  // Blocks of an inode that went through the journal: a folder's, those of a tree of extents, and
  // data where the file says so.
  Status FreedMetadata(ext2_ino_t inode, bool all) {
    struct Walk {
      std::set<uint64_t>* blocks;
      bool all;
    } walk{&freed_metadata, all};
    const auto each = [](ext2_filsys, blk64_t* block, e2_blkcnt_t count, blk64_t, int, void* data) {
      const Walk& to = *static_cast<Walk*>(data);
      if (count < 0 || to.all) to.blocks->insert(*block);
      return 0;
    };
    return Said(ext2fs_block_iterate3(fs, inode, BLOCK_FLAG_READ_ONLY, nullptr, each, &walk),
                "walk the blocks of an inode");
  }

  Status Free(ext2_ino_t number, ext2_inode& inode, bool folder) {
    PP_RETURN_IF_ERROR(FreedMetadata(number, folder || (inode.i_flags & kJournaledData) != 0));
    PP_RETURN_IF_ERROR(
        Said(ext2fs_punch(fs, number, &inode, nullptr, 0, ~0ULL), "free the blocks of an inode"));
    inode.i_links_count = 0;
    inode.i_dtime = kNow;
    PP_RETURN_IF_ERROR(Said(ext2fs_write_inode(fs, number, &inode), "write an inode"));
    CountInode(number, -1, folder);
    return OkStatus();
  }

  void WriteBitmap(dgrp_t group, bool of_blocks) {
    const uint64_t per_group =
        of_blocks ? fs->super->s_clusters_per_group : fs->super->s_inodes_per_group;
    const auto bytes = static_cast<int>(per_group / 8);
    std::vector<char> bitmap(fs->blocksize, static_cast<char>(0xff));
    if (of_blocks) {
      const blk64_t first = fs->super->s_first_data_block + group * per_group;
      const uint64_t count = std::min<uint64_t>(per_group, ext2fs_blocks_count(fs->super) - first);
      ext2fs_get_block_bitmap_range2(fs->block_map, first, per_group, bitmap.data());
      // Bits behind the end of the disk are set (lib/ext2fs/rw_bitmaps.c).
      for (uint64_t bit = count; bit < fs->blocksize * 8ULL; ++bit) {
        ext2fs_set_bit64(bit, bitmap.data());
      }
      ext2fs_block_bitmap_csum_set(fs, group, bitmap.data(), bytes);
    } else {
      ext2fs_get_inode_bitmap_range2(fs->inode_map, 1 + group * per_group, per_group,
                                     bitmap.data());
      ext2fs_inode_bitmap_csum_set(fs, group, bitmap.data(), bytes);
    }
    const blk64_t at =
        of_blocks ? ext2fs_block_bitmap_loc(fs, group) : ext2fs_inode_bitmap_loc(fs, group);
    disk.Write(at * fs->blocksize, {reinterpret_cast<uint8_t*>(bitmap.data()), bitmap.size()});
  }

  // Bitmaps and group descriptors, which libext2fs would write all at once, at the end.
  void WriteGroups() {
    std::set<dgrp_t> groups = block_groups;
    groups.insert(inode_groups.begin(), inode_groups.end());
    for (const dgrp_t group : groups) {
      if (block_groups.contains(group)) WriteBitmap(group, true);
      if (inode_groups.contains(group)) WriteBitmap(group, false);
      ext2fs_group_desc_csum_set(fs, group);
      const uint64_t part = group / EXT2_DESC_PER_BLOCK(fs->super);
      const blk64_t at = ext2fs_descriptor_block_loc2(fs, fs->super->s_first_data_block, part);
      const auto* table = reinterpret_cast<const uint8_t*>(fs->group_desc);
      disk.Write(at * fs->blocksize, {table + part * fs->blocksize, fs->blocksize});
    }
    block_groups.clear();
    inode_groups.clear();
  }
};

Ext4Files::Ext4Files(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ext4Files::Ext4Files(Ext4Files&&) noexcept = default;
Ext4Files::~Ext4Files() = default;

Result<Ext4Files> Ext4Files::Open(MemoryDisk& disk, uint64_t seed) {
  auto impl = std::make_unique<Impl>(disk, seed);
  PP_RETURN_IF_ERROR(
      Said(ext4::OpenMemory(disk, EXT2_FLAG_RW | EXT2_FLAG_64BITS, &impl->fs), "open"));
  PP_RETURN_IF_ERROR(Said(ext2fs_read_bitmaps(impl->fs), "read the bitmaps"));
  impl->fs->priv_data = impl.get();
  impl->fs->now = kNow;
  ext2fs_set_block_alloc_stats_callback(impl->fs, Impl::OnBlock, nullptr);
  ext2fs_set_block_alloc_stats_range_callback(impl->fs, Impl::OnRange, nullptr);
  return Ext4Files(std::move(impl));
}

Result<std::vector<uint64_t>> Ext4Files::JournalBlocks() const {
  const ext2_filsys fs = impl_->fs;
  ext2_inode inode{};
  PP_RETURN_IF_ERROR(
      Said(ext2fs_read_inode(fs, fs->super->s_journal_inum, &inode), "read the journal's inode"));
  std::vector<uint64_t> blocks(EXT2_I_SIZE(&inode) / fs->blocksize);
  for (size_t i = 0; i < blocks.size(); ++i) {
    blk64_t physical = 0;
    PP_RETURN_IF_ERROR(
        Said(ext2fs_bmap2(fs, fs->super->s_journal_inum, &inode, nullptr, 0, i, nullptr, &physical),
             "find a block of the journal"));
    blocks[i] = physical;
  }
  return blocks;
}

void Ext4Files::MarkMounted() {
  ext2_super_block& super = *impl_->fs->super;
  super.s_feature_incompat |= EXT3_FEATURE_INCOMPAT_RECOVER;
  super.s_state &= static_cast<__u16>(~EXT2_VALID_FS);
  super.s_mtime = super.s_wtime = kNow;
  ++super.s_mnt_count;
  ext2fs_superblock_csum_set(impl_->fs, &super);
  impl_->disk.Write(SUPERBLOCK_OFFSET, {reinterpret_cast<const uint8_t*>(&super), SUPERBLOCK_SIZE});
}

uint64_t Ext4Files::superblock_block() const { return SUPERBLOCK_OFFSET / impl_->fs->blocksize; }

uint64_t Ext4Files::free_blocks() const { return ext2fs_free_blocks_count(impl_->fs->super); }

Result<uint32_t> Ext4Files::MakeFolder(uint32_t parent, const std::string& name) {
  ext2_ino_t inode = 0;
  const ext2_filsys fs = impl_->fs;
  PP_RETURN_IF_ERROR(
      Said(ext2fs_new_inode(fs, parent, LINUX_S_IFDIR | 0755, nullptr, &inode), "new inode"));
  errcode_t error = ext2fs_mkdir(fs, parent, inode, name.c_str());
  if (error == EXT2_ET_DIR_NO_SPACE) {
    PP_RETURN_IF_ERROR(Said(ext2fs_expand_dir(fs, parent), "expand a folder"));
    error = ext2fs_mkdir(fs, parent, inode, name.c_str());
  }
  PP_RETURN_IF_ERROR(Said(error, "make a folder"));
  impl_->inode_groups.insert(ext2fs_group_of_ino(fs, inode));
  return inode;
}

Result<Ext4Files::File> Ext4Files::Create(uint32_t folder, const std::string& name,
                                          bool journaled) {
  const ext2_filsys fs = impl_->fs;
  File file{folder, 0, name, 0, journaled};
  PP_RETURN_IF_ERROR(
      Said(ext2fs_new_inode(fs, folder, LINUX_S_IFREG | 0644, nullptr, &file.inode), "new inode"));
  PP_RETURN_IF_ERROR(impl_->Link(folder, name, file.inode, EXT2_FT_REG_FILE));
  impl_->CountInode(file.inode, 1, false);
  ext2_inode inode{};
  inode.i_mode = LINUX_S_IFREG | 0644;
  inode.i_links_count = 1;
  inode.i_atime = inode.i_ctime = inode.i_mtime = kNow;
  inode.i_flags = EXT4_EXTENTS_FL | (journaled ? kJournaledData : 0);
  ext2_extent_handle_t extents = nullptr;
  PP_RETURN_IF_ERROR(
      Said(ext2fs_extent_open2(fs, file.inode, &inode, &extents), "begin a tree of extents"));
  ext2fs_extent_free(extents);
  PP_RETURN_IF_ERROR(
      Said(ext2fs_write_new_inode(fs, file.inode, &inode), "write an inode for the first time"));
  return file;
}

Status Ext4Files::AppendTo(File& file, uint64_t blocks) {
  const ext2_filsys fs = impl_->fs;
  ext2_inode inode{};
  PP_RETURN_IF_ERROR(Said(ext2fs_read_inode(fs, file.inode, &inode), "read an inode"));
  std::vector<uint8_t> bytes(fs->blocksize);
  for (uint64_t i = 0; i < blocks; ++i) {
    blk64_t physical = 0;
    PP_RETURN_IF_ERROR(Said(
        ext2fs_bmap2(fs, file.inode, &inode, nullptr, BMAP_ALLOC, file.blocks, nullptr, &physical),
        "add a block to a file"));
    for (size_t at = 0; at < bytes.size(); at += 8) {
      const uint64_t word = impl_->prng.Next();
      std::memcpy(&bytes[at], &word, sizeof word);
    }
    if (file.journaled && impl_->prng.Chance(500)) {  // must be escaped
      const uint8_t magic[] = {0xc0, 0x3b, 0x39, 0x98};
      std::copy(std::begin(magic), std::end(magic), bytes.begin());
    }
    impl_->disk.Write(physical * fs->blocksize, bytes);
    if (!file.journaled) impl_->data_blocks.insert(physical);
    ++file.blocks;
  }
  PP_RETURN_IF_ERROR(Said(
      ext2fs_inode_size_set(fs, &inode, static_cast<ext2_off64_t>(file.blocks * fs->blocksize)),
      "set a size"));
  return Said(ext2fs_write_inode(fs, file.inode, &inode), "write an inode");
}

Status Ext4Files::Rename(File& file, uint32_t folder, const std::string& name) {
  PP_RETURN_IF_ERROR(impl_->Link(folder, name, file.inode, EXT2_FT_REG_FILE));
  PP_RETURN_IF_ERROR(
      Said(ext2fs_unlink(impl_->fs, file.folder, file.name.c_str(), file.inode, 0), "unlink"));
  file.folder = folder;
  file.name = name;
  return OkStatus();
}

Status Ext4Files::RemoveFolder(uint32_t parent, const std::string& name, uint32_t number) {
  const ext2_filsys fs = impl_->fs;
  PP_RETURN_IF_ERROR(Said(ext2fs_unlink(fs, parent, name.c_str(), number, 0), "unlink"));
  ext2_inode inode{};
  PP_RETURN_IF_ERROR(Said(ext2fs_read_inode(fs, parent, &inode), "read an inode"));
  --inode.i_links_count;
  PP_RETURN_IF_ERROR(Said(ext2fs_write_inode(fs, parent, &inode), "write an inode"));
  PP_RETURN_IF_ERROR(Said(ext2fs_read_inode(fs, number, &inode), "read an inode"));
  return impl_->Free(number, inode, true);
}

Status Ext4Files::Remove(const File& file) {
  const ext2_filsys fs = impl_->fs;
  PP_RETURN_IF_ERROR(
      Said(ext2fs_unlink(fs, file.folder, file.name.c_str(), file.inode, 0), "unlink"));
  ext2_inode inode{};
  PP_RETURN_IF_ERROR(Said(ext2fs_read_inode(fs, file.inode, &inode), "read an inode"));
  return impl_->Free(file.inode, inode, false);
}

Jbd2Writer::Transaction Ext4Files::TakeTransaction() {
  impl_->WriteGroups();
  Jbd2Writer::Transaction transaction;
  transaction.metadata = impl_->disk.TakeWritten();
  for (const uint64_t block : impl_->data_blocks) {
    transaction.metadata.erase(block);
    auto& runs = transaction.data;
    if (!runs.empty() && runs.back().first + runs.back().second == block) {
      ++runs.back().second;
    } else {
      runs.emplace_back(block, 1);
    }
  }
  for (const uint64_t block : impl_->freed) transaction.metadata.erase(block);
  transaction.revokes = std::move(impl_->freed_metadata);
  impl_->freed_metadata.clear();
  impl_->data_blocks.clear();
  impl_->freed.clear();
  return transaction;
}

}  // namespace plugpull::bench
