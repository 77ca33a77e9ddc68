// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/memory_disk.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>
#include <utility>

#include "framework/base/check.h"
#include "framework/os/file.h"

namespace plugpull::bench {
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

bool MemoryDisk::Read(uint64_t offset, std::span<uint8_t> out) const {
  return ext4::SpanImage(bytes()).Read(offset, out);
}

bool MemoryDisk::Write(uint64_t offset, std::span<const uint8_t> data) {
  PP_CHECK(offset <= size_ && data.size() <= size_ - offset);
  while (!data.empty()) {
    const size_t room = block_bytes_ - offset % block_bytes_;
    const auto part = data.first(std::min(room, data.size()));
    std::memcpy(data_ + offset, part.data(), part.size());
    written_.insert(offset / block_bytes_);
    offset += part.size();
    data = data.subspan(part.size());
  }
  return true;
}

std::set<uint64_t> MemoryDisk::TakeWritten() { return std::exchange(written_, {}); }

}  // namespace plugpull::bench
