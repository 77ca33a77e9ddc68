// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/hostile_image.h"

#include <zstd.h>

#include <algorithm>
#include <set>

#include "framework/base/check.h"
#include "framework/ext4/superblock.h"
#include "framework/os/file.h"

namespace plugpull::fuzz {
namespace {

constexpr size_t kImageBytesMax = 64 << 20;
constexpr char kFolder[] = PLUGPULL_SOURCE_DIR "/tests/fuzz/images";

std::vector<uint8_t> ReadImage(const std::string& path) {
  const auto packed = os::ReadFile(path, Bytes(1 << 20));
  PP_CHECK(packed.ok());
  const auto size = ZSTD_getFrameContentSize(packed->data(), packed->size());
  PP_CHECK(size > 0 && size <= kImageBytesMax);
  std::vector<uint8_t> bytes(size);
  PP_CHECK(ZSTD_decompress(bytes.data(), size, packed->data(), packed->size()) == size);
  return bytes;
}

BaseImage MakeBase(const std::string& name) {
  BaseImage base;
  base.name = name;
  base.bytes = ReadImage(std::string(kFolder) + "/" + name);
  const auto journal = ext4::FindJournal(base.bytes);
  PP_CHECK(journal.ok() && journal->block_bytes > 0);
  base.journal = *journal;
  const auto holds_something = [&](uint64_t block) {
    const auto bytes =
        std::span(base.bytes).subspan(block * journal->block_bytes, journal->block_bytes);
    return std::any_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte != 0; });
  };
  for (const uint64_t block : journal->blocks) {
    if (holds_something(block)) base.blocks.push_back(block);
  }
  base.journal_blocks = base.blocks.size();
  const std::set<uint64_t> of_journal(journal->blocks.begin(), journal->blocks.end());
  for (uint64_t block = 0; block < base.bytes.size() / journal->block_bytes; ++block) {
    if (!of_journal.contains(block) && holds_something(block)) base.blocks.push_back(block);
  }
  PP_CHECK(base.blocks.size() > base.journal_blocks);
  return base;
}

std::vector<std::vector<uint8_t>> CopyBytes() {
  std::vector<std::vector<uint8_t>> copies;
  for (const BaseImage& base : BaseImages()) copies.push_back(base.bytes);
  return copies;
}

std::vector<uint8_t>& WorkBytes(const BaseImage& base) {
  static std::vector<std::vector<uint8_t>> work = CopyBytes();
  return work[static_cast<size_t>(&base - BaseImages().data())];
}

const BaseImage& Chosen(std::span<const uint8_t> input) {
  return BaseImages()[input.empty() ? 0 : input[0] % BaseImages().size()];
}

uint32_t Be32(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint32_t>(bytes[at]) << 24 | static_cast<uint32_t>(bytes[at + 1]) << 16 |
         static_cast<uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}

void Put(std::span<uint8_t> bytes, size_t at, uint32_t value, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    bytes[at + i] = static_cast<uint8_t>(value >> (8 * (size - 1 - i)));
  }
}

}  // namespace

const std::vector<BaseImage>& BaseImages() {
  static const std::vector<BaseImage> images = [] {
    std::vector<BaseImage> made;
    const auto names = os::ListFolder(kFolder);
    PP_CHECK(names.ok() && !names->empty());
    for (const std::string& name : *names) made.push_back(MakeBase(name));
    return made;
  }();
  return images;
}

HostileImage::HostileImage(std::span<const uint8_t> input, Target target)
    : base_(Chosen(input)), bytes_(WorkBytes(base_)) {
  if (input.size() < 2) return;
  std::span<const uint64_t> blocks = base_.blocks;
  if (target == Target::kOutsideJournal) blocks = blocks.subspan(base_.journal_blocks);
  Patch(input.subspan(2), blocks);
  if ((input[1] & kSealJournal) != 0) SealJournal();
  if ((input[1] & kSealSuper) != 0) SealSuper();
}

HostileImage::~HostileImage() {
  for (const uint64_t block : touched_) {
    const auto at = static_cast<ptrdiff_t>(block * base_.journal.block_bytes);
    std::copy_n(base_.bytes.begin() + at, base_.journal.block_bytes, bytes_.begin() + at);
  }
}

std::span<uint8_t> HostileImage::Touch(uint64_t block) {
  touched_.push_back(block);
  return std::span(bytes_).subspan(block * base_.journal.block_bytes, base_.journal.block_bytes);
}

void HostileImage::Patch(std::span<const uint8_t> patches, std::span<const uint64_t> blocks) {
  constexpr size_t kBytesOfKind[] = {4, 3, 2, 5};
  for (size_t i = 0; i < kPatchesMax && !patches.empty(); ++i) {
    const uint8_t kind = patches[0] % 4;
    const size_t put = kind == 0 ? patches[0] / 4 + 1U : 0;
    const size_t bytes_wanted = kBytesOfKind[kind] + put;
    if (patches.size() < bytes_wanted) return;
    const auto block = Touch(blocks[patches[1] % blocks.size()]);
    const auto offset = [&](size_t room) {
      return (patches[2] | static_cast<size_t>(patches[3]) << 8) % (block.size() - room + 1);
    };
    if (kind == 0) {
      std::copy_n(patches.begin() + 4, put, block.begin() + static_cast<ptrdiff_t>(offset(put)));
    } else if (kind == 1) {
      const auto from = Touch(blocks[patches[2] % blocks.size()]);
      std::copy(from.begin(), from.end(), block.begin());
    } else if (kind == 2) {
      std::fill(block.begin(), block.end(), 0);
    } else {
      const size_t at = offset(4);
      const auto delta = static_cast<uint32_t>(static_cast<int8_t>(patches[4]));
      Put(block, at, Be32(block, at) + delta, 4);
    }
    patches = patches.subspan(bytes_wanted);
  }
}

// Walks the log from where its superblock says that it begins, as a reader would, and makes every
// checksum on the way right (fs/jbd2/commit.c of the Linux kernel says what they cover). The place
// of the journal is the base image's.
void HostileImage::SealJournal() {
  const auto& places = base_.journal.blocks;
  const auto super = Touch(places[0]).first(1024);
  const uint32_t incompat = Be32(super, 0x28);
  const bool v3 = (incompat & 0x10) != 0;
  if (!v3 && (incompat & 8) == 0) return;
  Put(super, 0xfc, 0, 4);
  Put(super, 0xfc, ext4::Crc32c(~0U, super), 4);
  const uint32_t seed = ext4::Crc32c(~0U, super.subspan(0x30, 16));
  const uint32_t first = Be32(super, 0x14);
  const size_t tag_bytes = v3 ? 16 : (incompat & 2) != 0 ? 14 : 10;
  uint32_t place = Be32(super, 0x1c);
  const auto next = [&] { place = place + 1 < places.size() ? place + 1 : first; };
  for (size_t steps = 0; steps < places.size() && place < places.size(); ++steps) {
    const auto block = Touch(places[place]);
    const uint32_t type = Be32(block, 4);
    if (Be32(block, 0) != 0xc03b3998 || (type != 1 && type != 2 && type != 5)) return;
    next();
    if (type == 2) {
      Put(block, 16, 0, 4);
      Put(block, 16, ext4::Crc32c(seed, block), 4);
      continue;
    }
    for (size_t at = 12; type == 1 && at + tag_bytes <= block.size() - 4;) {
      if (place >= places.size()) return;
      const auto data = Touch(places[place]);
      next();
      const uint32_t crc = ext4::Crc32c(ext4::Crc32c(seed, block.subspan(8, 4)), data);
      Put(block, at + (v3 ? 12 : 4), v3 ? crc : crc & 0xffff, v3 ? 4 : 2);
      const uint8_t flags = block[at + 7];  // the low byte in both formats
      if ((flags & 8) != 0) break;
      at += tag_bytes + ((flags & 2) != 0 ? 0 : 16);
    }
    const size_t tail = block.size() - 4;
    Put(block, tail, 0, 4);
    Put(block, tail, ext4::Crc32c(seed, block), 4);
  }
}

void HostileImage::SealSuper() {
  const auto block = Touch(ext4::kSuperblockAt / base_.journal.block_bytes);
  const auto super =
      block.subspan(ext4::kSuperblockAt % base_.journal.block_bytes, ext4::kSuperblockBytes);
  const uint32_t crc = ext4::Crc32c(~0U, super.first(0x3fc));
  for (size_t i = 0; i < 4; ++i) super[0x3fc + i] = static_cast<uint8_t>(crc >> (8 * i));
}

}  // namespace plugpull::fuzz
