// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/memory_io.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {
namespace {

// ext2fs_open2 knows an image by its name alone.
thread_local MemoryImage* opened_image = nullptr;

struct Channel {
  struct_io_channel io{};
  MemoryImage* image = nullptr;
  char name[8] = "memory";
};

Channel* Of(io_channel io) { return static_cast<Channel*>(io->private_data); }

io_manager Manager();

errcode_t Open(const char*, int, io_channel* out) {
  auto channel = std::make_unique<Channel>();
  channel->image = opened_image;
  channel->io.magic = EXT2_ET_MAGIC_IO_CHANNEL;
  channel->io.manager = Manager();
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

// A negative count is one of bytes. False: more than 64 bits can say.
bool RangeOf(io_channel io, unsigned long long block, int count, uint64_t& offset,
             uint64_t& bytes) {
  const auto block_size = static_cast<uint64_t>(io->block_size);
  bytes = count < 0 ? static_cast<uint64_t>(-static_cast<int64_t>(count))
                    : static_cast<uint64_t>(count) * block_size;
  return !__builtin_mul_overflow(static_cast<uint64_t>(block), block_size, &offset);
}

errcode_t Read64(io_channel io, unsigned long long block, int count, void* data) {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  if (!RangeOf(io, block, count, offset, bytes)) return EXT2_ET_SHORT_READ;
  return Of(io)->image->Read(offset, {static_cast<uint8_t*>(data), bytes}) ? 0 : EXT2_ET_SHORT_READ;
}

errcode_t Read(io_channel io, unsigned long block, int count, void* data) {
  return Read64(io, block, count, data);
}

errcode_t Write64(io_channel io, unsigned long long block, int count, const void* data) {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  if (!RangeOf(io, block, count, offset, bytes)) return EXT2_ET_SHORT_WRITE;
  return Of(io)->image->Write(offset, {static_cast<const uint8_t*>(data), bytes})
             ? 0
             : EXT2_ET_RO_FILSYS;
}

errcode_t Write(io_channel io, unsigned long block, int count, const void* data) {
  return Write64(io, block, count, data);
}

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

io_manager Manager() {
  static struct_io_manager manager = MakeManager();
  return &manager;
}

bool Inside(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

}  // namespace

bool MemoryImage::Write(uint64_t, std::span<const uint8_t>) { return false; }

bool SpanImage::Read(uint64_t offset, std::span<uint8_t> out) const {
  if (!Inside(offset, out.size(), bytes_.size())) return false;
  std::ranges::copy(bytes_.subspan(offset, out.size()), out.begin());
  return true;
}

bool CowReader::Read(uint64_t offset, std::span<uint8_t> out) const {
  if (!Inside(offset, out.size(), image_.size_bytes())) return false;
  image_.Read(offset, out);
  return true;
}

bool CowWriter::Write(uint64_t offset, std::span<const uint8_t> bytes) {
  if (!Inside(offset, bytes.size(), image_.size_bytes())) return false;
  const uint64_t size = image_.block_bytes();
  std::vector<uint8_t> block;
  while (!bytes.empty()) {
    const uint64_t number = offset / size;
    const uint64_t within = offset % size;
    const size_t length = std::min<uint64_t>(bytes.size(), size - within);
    const auto now = image_.Block(number);
    block.assign(now.begin(), now.end());
    std::memcpy(block.data() + within, bytes.data(), length);
    image_.SetCopy(number, block);
    written_.push_back(number);
    offset += length;
    bytes = bytes.subspan(length);
  }
  return true;
}

errcode_t OpenMemory(MemoryImage& image, int flags, ext2_filsys* fs) {
  opened_image = &image;
  const errcode_t error = ext2fs_open2("memory", nullptr, flags, 0, 0, Manager(), fs);
  opened_image = nullptr;
  return error;
}

Result<ext2_filsys> OpenToRead(MemoryImage& image, uint64_t size_bytes) {
  std::array<uint8_t, kSuperblockAt + kSuperblockBytes> head{};
  const auto start = std::span(head).first(std::min<uint64_t>(head.size(), size_bytes));
  (void)image.Read(0, start);  // what is not there is found missing by the parser
  PP_ASSIGN_OR_RETURN(const Superblock super, ParseSuperblock(start));
  if (super.blocks_count > size_bytes / super.block_bytes) {
    return UserError(fmt::format("the file system has {} blocks of {} bytes, the image {} bytes",
                                 super.blocks_count, super.block_bytes, size_bytes));
  }
  const int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES | EXT2_FLAG_IGNORE_CSUM_ERRORS;
  ext2_filsys fs = nullptr;
  if (const errcode_t error = OpenMemory(image, flags, &fs); error != 0) {
    return UserError("the file system cannot be opened: " + LibraryMessage(error));
  }
  return fs;
}

std::string LibraryMessage(errcode_t error) {
  static std::once_flag once;
  std::call_once(once, [] { initialize_ext2_error_table(); });
  return error_message(error);
}

}  // namespace plugpull::ext4
