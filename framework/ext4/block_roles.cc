// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/block_roles.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <unordered_set>

#include "framework/ext4/memory_io.h"

namespace plugpull::ext4 {

using Kind = BlockUse::Kind;

namespace {

// Bounds that a hostile image cannot push us over.
constexpr size_t kNamesMax = 4'000'000;
constexpr size_t kDepthMax = 256;
constexpr uint64_t kSpareVisits = 100'000;  // beside two for each block of the image

struct FreeFileSystem {
  void operator()(ext2_filsys fs) const { ext2fs_free(fs); }
};
using OpenFileSystem = std::unique_ptr<struct_ext2_filsys, FreeFileSystem>;

bool CountsUp(Kind kind) {
  return kind == Kind::kFile || kind == Kind::kFolder || kind == Kind::kJournal;
}

}  // namespace

// Fills a BlockRoles.
class RoleReader {
 public:
  RoleReader(std::span<const uint8_t> image, ext2_filsys fs, BlockRoles& roles)
      : image_(image), fs_(fs), roles_(roles) {
    roles_.block_bytes_ = fs->blocksize;
    roles_.inode_bytes_ = EXT2_INODE_SIZE(fs->super);
    roles_.inodes_per_group_ = fs->super->s_inodes_per_group;
    roles_.blocks_ = ext2fs_blocks_count(fs->super);
    roles_.first_data_block_ = fs->super->s_first_data_block;
    roles_.blocks_per_group_ = fs->super->s_blocks_per_group;
    visits_left_ = 2 * (image.size() / fs->blocksize) + kSpareVisits;
  }

  void Read() {
    ReadGroups();
    ReadInodes();
    ReadNames();
    const auto by_first = [](const auto& a, const auto& b) { return a.first < b.first; };
    std::stable_sort(roles_.fixed_.begin(), roles_.fixed_.end(), by_first);
    std::stable_sort(roles_.owned_.begin(), roles_.owned_.end(), by_first);
  }

 private:
  void AddFixed(uint64_t first, uint64_t count, Kind kind, uint32_t group) {
    if (first == 0 && kind != Kind::kSuperblock) return;  // there is none
    roles_.fixed_.push_back({first, first + count, {kind, group, 0, 0}});
  }

  void ReadGroups() {
    for (dgrp_t group = 0; group < fs_->group_desc_count; ++group) {
      blk64_t super = 0;
      blk64_t old_descriptors = 0;
      blk64_t new_descriptors = 0;
      ext2fs_super_and_bgd_loc2(fs_, group, &super, &old_descriptors, &new_descriptors, nullptr);
      if (super != 0 || group == 0) AddFixed(super, 1, Kind::kSuperblock, group);
      AddFixed(old_descriptors, old_descriptors == 0 ? 0 : fs_->desc_blocks,
               Kind::kGroupDescriptors, group);
      AddFixed(new_descriptors, 1, Kind::kGroupDescriptors, group);
      const uint64_t bitmap = ext2fs_block_bitmap_loc(fs_, group);
      AddFixed(bitmap, 1, Kind::kBlockBitmap, group);
      AddFixed(ext2fs_inode_bitmap_loc(fs_, group), 1, Kind::kInodeBitmap, group);
      AddFixed(ext2fs_inode_table_loc(fs_, group), fs_->inode_blocks_per_group, Kind::kInodeTable,
               group);
      const bool empty = ext2fs_has_group_desc_csum(fs_) != 0 &&
                         ext2fs_bg_flags_test(fs_, group, EXT2_BG_BLOCK_UNINIT) != 0;
      auto& bits = roles_.bitmaps_.emplace_back();
      if (!empty && bitmap < image_.size() / fs_->blocksize) {
        const auto bytes = image_.subspan(bitmap * fs_->blocksize, fs_->blocksize);
        bits.assign(bytes.begin(), bytes.end());
      }
    }
  }

  // The blocks of one inode, as libext2fs comes upon them.
  struct Walk {
    RoleReader* reader;
    uint32_t inode;
    Kind kind;
  };

  static int Visit(ext2_filsys, blk64_t* block, e2_blkcnt_t place, blk64_t, int, void* data) {
    const Walk& walk = *static_cast<Walk*>(data);
    if (walk.reader->visits_left_ == 0) return BLOCK_ABORT;
    --walk.reader->visits_left_;
    const bool tree = place < 0 && walk.kind != Kind::kReservedInode;
    walk.reader->AddOwned(*block, {tree ? Kind::kTree : walk.kind, 0, walk.inode,
                                   place < 0 ? 0 : static_cast<uint64_t>(place)});
    return 0;
  }

  void AddOwned(uint64_t block, const BlockUse& use) {
    if (!roles_.owned_.empty()) {
      BlockRoles::Run& last = roles_.owned_.back();
      const bool next = last.end == block && last.use.kind == use.kind &&
                        last.use.inode == use.inode &&
                        (!CountsUp(use.kind) || last.use.place + (block - last.first) == use.place);
      if (next) {
        ++last.end;
        return;
      }
    }
    roles_.owned_.push_back({block, block + 1, use});
  }

  Kind KindOf(uint32_t number, const ext2_inode& inode) const {
    if (number == fs_->super->s_journal_inum) return Kind::kJournal;
    if (LINUX_S_ISDIR(inode.i_mode)) return Kind::kFolder;
    const bool reserved =
        number < EXT2_FIRST_INODE(fs_->super) || number == fs_->super->s_orphan_file_inum;
    return reserved ? Kind::kReservedInode : Kind::kFile;
  }

  void ReadInodes() {
    // No more inodes than the image has room for, whatever the superblock says.
    const uint64_t count =
        std::min<uint64_t>(fs_->super->s_inodes_count, image_.size() / EXT2_INODE_SIZE(fs_->super));
    std::vector<char> scratch(3UL * fs_->blocksize);
    for (uint64_t i = 1; i <= count && visits_left_ > 0; ++i) {
      const auto number = static_cast<ext2_ino_t>(i);
      ext2_inode inode{};
      if (ext2fs_read_inode(fs_, number, &inode) != 0 || inode.i_links_count == 0) {
        // The resize inode and the orphan file have no links in some versions; the rest is unused.
        if (number >= EXT2_FIRST_INODE(fs_->super) || inode.i_blocks == 0) continue;
      }
      const Kind kind = KindOf(number, inode);
      if (kind == Kind::kFolder) folders_.insert(number);
      if (const blk64_t block = ext2fs_file_acl_block(fs_, &inode); block != 0) {
        AddOwned(block, {Kind::kAttributes, 0, number, 0});
      }
      if (ext2fs_inode_has_valid_blocks2(fs_, &inode) == 0) continue;
      Walk walk{this, number, kind};
      // What cannot be read of it stays unknown.
      ext2fs_block_iterate3(fs_, number, BLOCK_FLAG_READ_ONLY, scratch.data(), Visit, &walk);
    }
  }

  struct Listing {
    RoleReader* reader;
    uint32_t folder;
    std::deque<uint32_t>* next;
  };

  static int AddName(ext2_dir_entry* entry, int, int, char*, void* data) {
    const Listing& listing = *static_cast<Listing*>(data);
    const std::string name(entry->name, static_cast<size_t>(ext2fs_dirent_name_len(entry)));
    if (entry->inode == 0 || name == "." || name == "..") return 0;
    auto& names = listing.reader->roles_.names_;
    if (++listing.reader->names_seen_ > kNamesMax) return DIRENT_ABORT;
    const bool added =
        names.try_emplace(entry->inode, BlockRoles::Name{listing.folder, name}).second;
    if (added && listing.reader->folders_.contains(entry->inode)) {
      listing.next->push_back(entry->inode);
    }
    return 0;
  }

  void ReadNames() {
    std::deque<uint32_t> next = {EXT2_ROOT_INO};
    while (!next.empty() && names_seen_ <= kNamesMax) {
      Listing listing{this, next.front(), &next};
      next.pop_front();
      ext2fs_dir_iterate(fs_, listing.folder, 0, nullptr, AddName, &listing);
    }
  }

  std::span<const uint8_t> image_;
  ext2_filsys fs_;
  BlockRoles& roles_;
  uint64_t visits_left_ = 0;
  size_t names_seen_ = 0;
  std::unordered_set<uint32_t> folders_;
};

Result<BlockRoles> BlockRoles::Make(std::span<const uint8_t> image) {
  SpanImage memory(image);
  PP_ASSIGN_OR_RETURN(ext2_filsys opened, OpenToRead(memory, image.size()));
  const OpenFileSystem fs(opened);
  BlockRoles roles;
  RoleReader(image, fs.get(), roles).Read();
  return roles;
}

const BlockRoles::Run* BlockRoles::Find(const std::vector<Run>& runs, uint64_t block) {
  auto it = std::upper_bound(runs.begin(), runs.end(), block,
                             [](uint64_t value, const Run& run) { return value < run.first; });
  if (it == runs.begin()) return nullptr;
  --it;
  return block < it->end ? &*it : nullptr;
}

BlockUse BlockRoles::UseOf(uint64_t block) const {
  if (block >= blocks_) return {Kind::kOutside, 0, 0, 0};
  if (const Run* run = Find(fixed_, block)) return run->use;
  if (const Run* run = Find(owned_, block)) {
    BlockUse use = run->use;
    if (CountsUp(use.kind)) use.place += block - run->first;
    return use;
  }
  if (block < first_data_block_) return {Kind::kUnknown, 0, 0, 0};
  const uint64_t bit = (block - first_data_block_) % blocks_per_group_;
  const uint64_t group = (block - first_data_block_) / blocks_per_group_;
  const bool used = group < bitmaps_.size() && bit / 8 < bitmaps_[group].size() &&
                    (bitmaps_[group][bit / 8] >> (bit % 8) & 1) != 0;
  return {used ? Kind::kUnknown : Kind::kFree, static_cast<uint32_t>(group), 0, 0};
}

uint32_t BlockRoles::FirstInodeOf(uint64_t block) const {
  const Run* run = Find(fixed_, block);
  PP_CHECK(run != nullptr && run->use.kind == Kind::kInodeTable);
  return static_cast<uint32_t>(run->use.group * static_cast<uint64_t>(inodes_per_group_) +
                               (block - run->first) * (block_bytes_ / inode_bytes_) + 1);
}

std::string BlockRoles::PathOf(uint32_t inode) const {
  if (inode == EXT2_ROOT_INO) return "/";
  std::string path;
  for (size_t depth = 0; inode != EXT2_ROOT_INO; ++depth) {
    const auto it = names_.find(inode);
    if (it == names_.end() || depth == kDepthMax) return "";
    path = "/" + it->second.name + path;
    inode = it->second.folder;
  }
  return path;
}

std::string BlockRoles::InodeInWords(uint32_t inode) const {
  if (inode == EXT2_ROOT_INO) return "the root folder";
  if (inode == EXT2_RESIZE_INO) return "the resize inode";
  if (inode == EXT2_JOURNAL_INO) return "the journal inode";
  const std::string path = PathOf(inode);
  return path.empty() ? fmt::format("inode {} (no name)", inode)
                      : fmt::format("{} (inode {})", path, inode);
}

std::string BlockRoles::InWords(uint64_t block) const {
  const BlockUse use = UseOf(block);
  switch (use.kind) {
    case Kind::kFree:
      return "a free block";
    case Kind::kUnknown:
      return "a block in use, for what is not known";
    case Kind::kOutside:
      return "behind the end of the file system";
    case Kind::kSuperblock:
      return use.group == 0 ? "superblock"
                            : fmt::format("backup of the superblock in group {}", use.group);
    case Kind::kGroupDescriptors:
      return use.group == 0 ? "group descriptors"
                            : fmt::format("backup of group descriptors in group {}", use.group);
    case Kind::kBlockBitmap:
      return fmt::format("block bitmap of group {}", use.group);
    case Kind::kInodeBitmap:
      return fmt::format("inode bitmap of group {}", use.group);
    case Kind::kInodeTable: {
      const uint32_t first = FirstInodeOf(block);
      return fmt::format("inode table of group {}, inodes {}-{}", use.group, first,
                         first + block_bytes_ / inode_bytes_ - 1);
    }
    case Kind::kJournal:
      return fmt::format("journal block {}", use.place);
    case Kind::kFolder:
      return fmt::format("folder block {} of {}", use.place, InodeInWords(use.inode));
    case Kind::kFile:
      return fmt::format("data of {}, byte {}", InodeInWords(use.inode), use.place * block_bytes_);
    case Kind::kTree:
      return fmt::format("extent or indirect block of {}", InodeInWords(use.inode));
    case Kind::kAttributes:
      return fmt::format("extended attributes of {}", InodeInWords(use.inode));
    case Kind::kReservedInode:
      return fmt::format("block of {}", use.inode == EXT2_RESIZE_INO
                                            ? "the resize inode"
                                            : fmt::format("reserved inode {}", use.inode));
  }
  return "not known";
}

}  // namespace plugpull::ext4
