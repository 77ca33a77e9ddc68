// SPDX-License-Identifier: Apache-2.0
// A disk in memory that libext2fs writes to, and that remembers which blocks were written.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>

#include "framework/base/result.h"
#include "framework/ext4/memory_io.h"

namespace plugpull::bench {

class MemoryDisk : public ext4::MemoryImage {
 public:
  // The bytes of a file, which itself never changes.
  static Result<MemoryDisk> Open(const std::string& path, uint32_t block_bytes);
  MemoryDisk(MemoryDisk&& other) noexcept;
  MemoryDisk& operator=(MemoryDisk&&) = delete;
  ~MemoryDisk() override;

  uint32_t block_bytes() const { return block_bytes_; }
  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  std::span<const uint8_t> Block(uint64_t block) const {
    return bytes().subspan(block * block_bytes_, block_bytes_);
  }
  // Written blocks count whether their bytes change or not: a folder may get the block of one that
  // is gone, with the very bytes that were revoked.
  bool Write(uint64_t offset, std::span<const uint8_t> data) override;
  bool Read(uint64_t offset, std::span<uint8_t> out) const override;
  // Blocks that were written since the last call.
  std::set<uint64_t> TakeWritten();

 private:
  MemoryDisk(uint8_t* data, size_t size, uint32_t block_bytes)
      : data_(data), size_(size), block_bytes_(block_bytes) {}
  uint8_t* data_;
  size_t size_;
  uint32_t block_bytes_;
  std::set<uint64_t> written_;
};

}  // namespace plugpull::bench
