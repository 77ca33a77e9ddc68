// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/memory_disk.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <utility>

#include "framework/base/check.h"
#include "framework/os/file.h"

namespace plugpull::bench {
namespace {

thread_local MemoryDisk* opened_next = nullptr;

struct Channel {
  struct_io_channel io{};
  MemoryDisk* disk = nullptr;
  char name[8] = "memory";
};

MemoryDisk& DiskOf(io_channel io) { return *static_cast<Channel*>(io->private_data)->disk; }

errcode_t OpenChannel(const char*, int, io_channel* out) {
  auto channel = std::make_unique<Channel>();
  channel->disk = opened_next;
  channel->io.magic = EXT2_ET_MAGIC_IO_CHANNEL;
  channel->io.manager = opened_next->Manager();
  channel->io.name = channel->name;
  channel->io.block_size = 1024;
  channel->io.refcount = 1;
  channel->io.private_data = channel.get();
  *out = &channel.release()->io;
  return 0;
}

errcode_t CloseChannel(io_channel io) {
  if (--io->refcount == 0) delete static_cast<Channel*>(io->private_data);
  return 0;
}

errcode_t SetBlockSize(io_channel io, int block_size) {
  io->block_size = block_size;
  return 0;
}

// Of `count` blocks, or -count bytes.
uint64_t BytesOf(io_channel io, int count) {
  return count < 0 ? static_cast<uint64_t>(-static_cast<int64_t>(count))
                   : static_cast<uint64_t>(count) * static_cast<uint64_t>(io->block_size);
}

errcode_t Read64(io_channel io, unsigned long long block, int count, void* data) {
  const auto bytes = DiskOf(io).bytes();
  const uint64_t at = block * static_cast<uint64_t>(io->block_size);
  const uint64_t size = BytesOf(io, count);
  if (at > bytes.size() || size > bytes.size() - at) return EXT2_ET_SHORT_READ;
  std::memcpy(data, bytes.data() + at, size);
  return 0;
}

errcode_t Write64(io_channel io, unsigned long long block, int count, const void* data) {
  DiskOf(io).Write(block * static_cast<uint64_t>(io->block_size),
                   {static_cast<const uint8_t*>(data), BytesOf(io, count)});
  return 0;
}

errcode_t Read(io_channel io, unsigned long block, int count, void* data) {
  return Read64(io, block, count, data);
}
errcode_t Write(io_channel io, unsigned long block, int count, const void* data) {
  return Write64(io, block, count, data);
}
errcode_t Flush(io_channel) { return 0; }

struct_io_manager MakeManager() {
  struct_io_manager manager{};
  manager.magic = EXT2_ET_MAGIC_IO_MANAGER;
  manager.name = "disk in memory";
  manager.open = OpenChannel;
  manager.close = CloseChannel;
  manager.set_blksize = SetBlockSize;
  manager.read_blk = Read;
  manager.read_blk64 = Read64;
  manager.write_blk = Write;
  manager.write_blk64 = Write64;
  manager.flush = Flush;
  return manager;
}

}  // namespace

Result<MemoryDisk> MemoryDisk::Open(const std::string& path, uint32_t block_bytes) {
  PP_ASSIGN_OR_RETURN(const os::Fd fd, os::OpenForReading(path));
  PP_ASSIGN_OR_RETURN(const Bytes size, os::FileSize(fd.get()));
  void* data =
      ::mmap(nullptr, size.value, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd.get(), 0);
  if (data == MAP_FAILED) {
    return EnvironmentError(
        fmt::format("cannot map {} ({} bytes): {}", path, size.value, os::ErrnoText(errno)));
  }
  return MemoryDisk(static_cast<uint8_t*>(data), size.value, block_bytes);
}

MemoryDisk::MemoryDisk(MemoryDisk&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(other.size_),
      block_bytes_(other.block_bytes_),
      written_(std::move(other.written_)) {}

MemoryDisk::~MemoryDisk() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void MemoryDisk::Write(uint64_t offset, std::span<const uint8_t> data) {
  PP_CHECK(offset <= size_ && data.size() <= size_ - offset);
  while (!data.empty()) {
    const size_t room = block_bytes_ - offset % block_bytes_;
    const auto part = data.first(std::min(room, data.size()));
    std::memcpy(data_ + offset, part.data(), part.size());
    written_.insert(offset / block_bytes_);
    offset += part.size();
    data = data.subspan(part.size());
  }
}

std::set<uint64_t> MemoryDisk::TakeWritten() { return std::exchange(written_, {}); }

io_manager MemoryDisk::Manager() {
  static struct_io_manager manager = MakeManager();
  opened_next = this;
  return &manager;
}

}  // namespace plugpull::bench
