// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/memory_io.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <mutex>

#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {
namespace {

thread_local std::span<const uint8_t> memory_image;

struct Channel {
  struct_io_channel io{};
  std::span<const uint8_t> image;
  char name[8] = "memory";
};

Channel* Of(io_channel io) { return static_cast<Channel*>(io->private_data); }

errcode_t Open(const char*, int, io_channel* out) {
  auto channel = std::make_unique<Channel>();
  channel->image = memory_image;
  channel->io.magic = EXT2_ET_MAGIC_IO_CHANNEL;
  channel->io.manager = MemoryIoManager();
  channel->io.name = channel->name;
  channel->io.block_size = 1024;
  channel->io.refcount = 1;
  channel->io.private_data = channel.get();
  *out = &channel.release()->io;
  return 0;
}

errcode_t Close(io_channel io) {
  if (--io->refcount == 0) delete Of(io);
  return 0;
}

errcode_t SetBlockSize(io_channel io, int block_size) {
  io->block_size = block_size;
  return 0;
}

errcode_t Read64(io_channel io, unsigned long long block, int count, void* data) {
  const auto image = Of(io)->image;
  const auto block_size = static_cast<uint64_t>(io->block_size);
  const uint64_t bytes =
      count < 0 ? static_cast<uint64_t>(-static_cast<int64_t>(count)) : count * block_size;
  if (block > image.size() / block_size || bytes > image.size() - block * block_size) {
    return EXT2_ET_SHORT_READ;
  }
  std::memcpy(data, image.data() + block * block_size, bytes);
  return 0;
}

errcode_t Read(io_channel io, unsigned long block, int count, void* data) {
  return Read64(io, block, count, data);
}

errcode_t Write64(io_channel, unsigned long long, int, const void*) { return EXT2_ET_RO_FILSYS; }
errcode_t Write(io_channel, unsigned long, int, const void*) { return EXT2_ET_RO_FILSYS; }
errcode_t Flush(io_channel) { return 0; }

struct_io_manager MakeManager() {
  struct_io_manager manager{};
  manager.magic = EXT2_ET_MAGIC_IO_MANAGER;
  manager.name = "plugpull memory image";
  manager.open = Open;
  manager.close = Close;
  manager.set_blksize = SetBlockSize;
  manager.read_blk = Read;
  manager.read_blk64 = Read64;
  manager.write_blk = Write;
  manager.write_blk64 = Write64;
  manager.flush = Flush;
  return manager;
}

}  // namespace

io_manager MemoryIoManager() {
  static struct_io_manager manager = MakeManager();
  return &manager;
}

void SetMemoryImage(std::span<const uint8_t> image) { memory_image = image; }

std::string LibraryMessage(errcode_t error) {
  static std::once_flag once;
  std::call_once(once, [] { initialize_ext2_error_table(); });
  return error_message(error);
}

Result<ext2_filsys> OpenImage(std::span<const uint8_t> image) {
  PP_ASSIGN_OR_RETURN(const Superblock super, ParseSuperblock(image));
  if (super.blocks_count > image.size() / super.block_bytes) {
    return UserError(fmt::format("the file system has {} blocks of {} bytes, the image {} bytes",
                                 super.blocks_count, super.block_bytes, image.size()));
  }
  SetMemoryImage(image);
  const int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES | EXT2_FLAG_IGNORE_CSUM_ERRORS;
  ext2_filsys fs = nullptr;
  const errcode_t error = ext2fs_open2("memory", nullptr, flags, 0, 0, MemoryIoManager(), &fs);
  if (error != 0) {
    return UserError("the file system cannot be opened: " + LibraryMessage(error));
  }
  return fs;
}

}  // namespace plugpull::ext4
