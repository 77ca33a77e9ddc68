// SPDX-License-Identifier: Apache-2.0
// libext2fs over images in memory.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <span>
#include <string>

#include "framework/image/cow_image.h"

namespace plugpull::ext4 {

// What libext2fs reads and writes, in bytes from the start of the disk. False: outside of it, or
// not to be written.
class MemoryImage {
 public:
  virtual ~MemoryImage() = default;
  virtual bool Read(uint64_t offset, std::span<uint8_t> out) const = 0;
  virtual bool Write(uint64_t offset, std::span<const uint8_t> bytes);  // false here
};

// Bytes in one piece; read-only.
class SpanImage : public MemoryImage {
 public:
  explicit SpanImage(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool Read(uint64_t offset, std::span<uint8_t> out) const override;

 private:
  std::span<const uint8_t> bytes_;
};

// A copy-on-write image; read-only.
class CowReader : public MemoryImage {
 public:
  explicit CowReader(const image::CowImage& image) : image_(image) {}
  bool Read(uint64_t offset, std::span<uint8_t> out) const override;

 private:
  const image::CowImage& image_;
};

// A copy-on-write image. Written blocks are added to `written`, some more than once.
class CowWriter : public CowReader {
 public:
  CowWriter(image::CowImage& image, std::vector<uint64_t>& written)
      : CowReader(image), image_(image), written_(written) {}
  bool Write(uint64_t offset, std::span<const uint8_t> bytes) override;

 private:
  image::CowImage& image_;
  std::vector<uint64_t>& written_;
};

// Opens the file system of an image, which outlives the result; flags as of ext2fs_open2.
errcode_t OpenMemory(MemoryImage& image, int flags, ext2_filsys* fs);

// What an error of libext2fs says.
std::string LibraryMessage(errcode_t error);

}  // namespace plugpull::ext4
