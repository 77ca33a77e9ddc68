// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/file_system.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "framework/ext4/memory_io.h"
#include "framework/ext4/raw_inode_times.h"
#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {
namespace {

// Bounds that a hostile image cannot push us over.
constexpr size_t kNamesPerFolderMax = 1'000'000;
constexpr size_t kDepthMax = 256;
constexpr uint64_t kJournalBlocksMax = 1ULL << 28;
constexpr uint64_t kTargetBytesMax = 4096;

constexpr uint16_t kPermissionBits = 07777;

}  // namespace

struct FileSystem::Impl {
  std::unique_ptr<MemoryImage> image;
  ext2_filsys fs = nullptr;
  std::unordered_map<uint32_t, std::map<std::string, uint32_t>> folders;  // names by inode

  ~Impl() {
    if (fs != nullptr) ext2fs_free(fs);
  }

  // To be called before an inode is read: libext2fs 1.47 writes an inode whose checksum is wrong
  // over one that it keeps, and would go on giving its bytes for the other inode.
  void ForgetInodes() { (void)ext2fs_flush_icache(fs); }

  Result<const std::map<std::string, uint32_t>*> Names(uint32_t folder) {
    if (const auto it = folders.find(folder); it != folders.end()) return &it->second;
    std::map<std::string, uint32_t> names;
    const auto add = [](ext2_dir_entry* entry, int, int, char*, void* data) {
      auto& found = *static_cast<std::map<std::string, uint32_t>*>(data);
      const auto length = static_cast<size_t>(ext2fs_dirent_name_len(entry));
      if (entry->inode != 0) found.emplace(std::string(entry->name, length), entry->inode);
      return found.size() > kNamesPerFolderMax ? DIRENT_ABORT : 0;
    };
    ForgetInodes();
    const errcode_t error = ext2fs_dir_iterate(fs, folder, 0, nullptr, add, &names);
    if (error != 0) {
      return UserError(
          fmt::format("folder inode {} cannot be read: {}", folder, LibraryMessage(error)));
    }
    if (names.size() > kNamesPerFolderMax) {
      return UserError(fmt::format("folder inode {} has more than {} names; so many are not read",
                                   folder, kNamesPerFolderMax));
    }
    return &folders.emplace(folder, std::move(names)).first->second;
  }

  Result<Node> NodeOf(uint32_t number) {
    ext2_inode_large large{};
    auto& inode = reinterpret_cast<ext2_inode&>(large);
    ForgetInodes();
    if (const errcode_t error = ext2fs_read_inode_full(fs, number, &inode, sizeof large);
        error != 0) {
      return UserError(fmt::format("inode {} cannot be read: {}", number, LibraryMessage(error)));
    }
    Node node;
    node.inode = number;
    node.folder = LINUX_S_ISDIR(inode.i_mode);
    node.regular = LINUX_S_ISREG(inode.i_mode);
    node.size_bytes = EXT2_I_SIZE(&inode);
    node.symlink = LINUX_S_ISLNK(inode.i_mode);
    node.mode = inode.i_mode & kPermissionBits;
    node.owner = inode_uid(inode);
    node.group = inode_gid(inode);
    node.links = inode.i_links_count;
    const bool wide = EXT2_INODE_SIZE(fs->super) > EXT2_GOOD_OLD_INODE_SIZE;
    node.times = TimesOf({reinterpret_cast<const uint8_t*>(&large),
                          wide ? sizeof large : size_t{EXT2_GOOD_OLD_INODE_SIZE}});
    return node;
  }
};

FileSystem::FileSystem(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FileSystem::FileSystem(FileSystem&&) noexcept = default;
FileSystem& FileSystem::operator=(FileSystem&&) noexcept = default;
FileSystem::~FileSystem() = default;

Result<FileSystem> FileSystem::Open(std::unique_ptr<MemoryImage> image, uint64_t size_bytes) {
  auto impl = std::make_unique<Impl>();
  impl->image = std::move(image);
  PP_ASSIGN_OR_RETURN(impl->fs, OpenToRead(*impl->image, size_bytes));
  return FileSystem(std::move(impl));
}

Result<FileSystem> FileSystem::Open(std::span<const uint8_t> image) {
  return Open(std::make_unique<SpanImage>(image), image.size());
}

Result<FileSystem> FileSystem::Open(const image::CowImage& image) {
  return Open(std::make_unique<CowReader>(image), image.size_bytes());
}

Result<std::optional<Node>> FileSystem::Lookup(std::string_view path) {
  uint32_t number = EXT2_ROOT_INO;
  size_t start = 0;
  size_t depth = 0;
  while (start < path.size()) {
    size_t stop = path.find('/', start);
    if (stop == std::string_view::npos) stop = path.size();
    PP_ASSIGN_OR_RETURN(const Node parent, impl_->NodeOf(number));
    if (!parent.folder || ++depth > kDepthMax) return std::optional<Node>();
    PP_ASSIGN_OR_RETURN(const auto* names, impl_->Names(number));
    const auto it = names->find(std::string(path.substr(start, stop - start)));
    if (it == names->end()) return std::optional<Node>();
    number = it->second;
    start = stop + 1;
  }
  PP_ASSIGN_OR_RETURN(const Node node, impl_->NodeOf(number));
  return std::optional<Node>(node);
}

Result<std::vector<std::pair<std::string, uint32_t>>> FileSystem::List(uint32_t folder) {
  PP_ASSIGN_OR_RETURN(const auto* names, impl_->Names(folder));
  std::vector<std::pair<std::string, uint32_t>> list;
  for (const auto& [name, inode] : *names) {
    if (name != "." && name != "..") list.emplace_back(name, inode);
  }
  return list;
}

Result<void> FileSystem::Read(uint32_t inode, uint64_t offset, std::span<uint8_t> out) {
  std::memset(out.data(), 0, out.size());
  ext2_file_t file = nullptr;
  impl_->ForgetInodes();
  errcode_t error = ext2fs_file_open(impl_->fs, inode, 0, &file);
  __u64 at = 0;
  if (error == 0) error = ext2fs_file_llseek(file, offset, EXT2_SEEK_SET, &at);
  size_t done = 0;
  while (error == 0 && done < out.size()) {
    unsigned int got = 0;
    const auto wanted = static_cast<unsigned int>(std::min<size_t>(out.size() - done, 1 << 20));
    error = ext2fs_file_read(file, out.data() + done, wanted, &got);
    if (got == 0) break;
    done += got;
  }
  if (file != nullptr) ext2fs_file_close(file);
  if (error != 0) {
    return UserError(fmt::format("inode {} cannot be read at byte {}: {}", inode, offset + done,
                                 LibraryMessage(error)));
  }
  return OkStatus();
}

std::optional<uint64_t> FileSystem::DataBlock(uint32_t inode, uint64_t place) {
  const auto node = impl_->NodeOf(inode);
  const bool within = node.ok() && node->regular && node->links > 0 &&
                      place <= std::numeric_limits<uint64_t>::max() / impl_->fs->blocksize &&
                      place * impl_->fs->blocksize < node->size_bytes;
  if (!within) return std::nullopt;
  int flags = 0;
  blk64_t block = 0;
  const errcode_t error =
      ext2fs_bmap2(impl_->fs, inode, nullptr, nullptr, 0, place, &flags, &block);
  if (error != 0 || block == 0 || (flags & BMAP_RET_UNINIT) != 0) return std::nullopt;
  return block;
}

Result<std::string> FileSystem::Target(uint32_t inode) {
  ext2_inode raw{};
  impl_->ForgetInodes();
  if (const errcode_t error = ext2fs_read_inode(impl_->fs, inode, &raw); error != 0) {
    return UserError(fmt::format("inode {} cannot be read: {}", inode, LibraryMessage(error)));
  }
  const uint64_t size = EXT2_I_SIZE(&raw);
  if (size > kTargetBytesMax) {
    return UserError(fmt::format("the symbolic link of inode {} has {} bytes; at most {} are read",
                                 inode, size, kTargetBytesMax));
  }
  std::string target(size, '\0');
  if (ext2fs_is_fast_symlink(&raw)) {
    std::memcpy(target.data(), raw.i_block, std::min<size_t>(size, sizeof raw.i_block));
    return target;
  }
  PP_RETURN_IF_ERROR(Read(inode, 0, {reinterpret_cast<uint8_t*>(target.data()), target.size()}));
  return target;
}

Result<std::vector<uint64_t>> FileSystem::JournalBlocks() {
  const auto* super = impl_->fs->super;
  std::vector<uint64_t> blocks;
  if ((super->s_feature_compat & kCompatHasJournal) == 0 || super->s_journal_inum == 0)
    return blocks;
  PP_ASSIGN_OR_RETURN(const Node node, impl_->NodeOf(super->s_journal_inum));
  const uint64_t count = node.size_bytes / impl_->fs->blocksize;
  const uint64_t device_blocks = ext2fs_blocks_count(impl_->fs->super);
  if (const uint64_t limit = std::min(kJournalBlocksMax, device_blocks); count > limit) {
    return UserError(
        fmt::format("the journal has {} blocks; at most {} are believed", count, limit));
  }
  for (uint64_t i = 0; i < count; ++i) {
    blk64_t physical = 0;
    const errcode_t error =
        ext2fs_bmap2(impl_->fs, super->s_journal_inum, nullptr, nullptr, 0, i, nullptr, &physical);
    if (error != 0) {
      return UserError(
          fmt::format("block {} of the journal cannot be found: {}", i, LibraryMessage(error)));
    }
    if (physical == 0 || physical >= device_blocks) {
      return UserError(fmt::format("block {} of the journal is block {} of a disk of {}", i,
                                   physical, device_blocks));
    }
    blocks.push_back(physical);
  }
  return blocks;
}

}  // namespace plugpull::ext4
