// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/journal.h"

#include <fmt/format.h>

#include "framework/ext4/file_system.h"
#include "framework/ext4/jbd2_format.h"
#include "framework/ext4/journal_log.h"
#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {
namespace {

using jbd2::Be16;
using jbd2::Be32;
using jbd2::ChecksumWithout;
using jbd2::kHeaderBytes;
using jbd2::kSuperBytes;
using jbd2::kSuperChecksumAt;
using jbd2::PutBe32;

constexpr uint32_t kFlagSameUuid = 2;
constexpr uint32_t kFlagLast = 8;
constexpr size_t kChecksumTypeAt = 0x50;
constexpr uint8_t kChecksumCrc32c = 4;
constexpr uint32_t kIncompatKnown = 0x3f;  // JBD2_KNOWN_INCOMPAT_FEATURES

}  // namespace

JournalHeader ParseJournalHeader(std::span<const uint8_t> block) {
  JournalHeader header;
  if (block.size() < kHeaderBytes || Be32(block, 0) != jbd2::kMagic) return header;
  switch (Be32(block, 4)) {
    case 1:
      header.type = JournalBlockType::kDescriptor;
      break;
    case 2:
      header.type = JournalBlockType::kCommit;
      break;
    case 3:
    case 4:
      header.type = JournalBlockType::kSuper;
      break;
    case 5:
      header.type = JournalBlockType::kRevoke;
      break;
    default:
      return header;
  }
  header.sequence = Be32(block, 8);
  return header;
}

Result<JournalSuper> ParseJournalSuper(std::span<const uint8_t> block) {
  if (block.size() < kSuperBytes || ParseJournalHeader(block).type != JournalBlockType::kSuper) {
    return UserError("no jbd2 journal superblock");
  }
  JournalSuper super;
  super.block_bytes = Be32(block, 0x0c);
  super.blocks = Be32(block, 0x10);
  super.first = Be32(block, 0x14);
  super.sequence = Be32(block, 0x18);
  super.start = Be32(block, 0x1c);
  super.error = static_cast<int32_t>(Be32(block, 0x20));
  if (Be32(block, 4) == 4) {  // version 2 of the superblock has features
    super.feature_compat = Be32(block, 0x24);
    super.feature_incompat = Be32(block, 0x28);
    super.feature_ro_compat = Be32(block, 0x2c);
  }
  if (super.checksum_v2() || super.checksum_v3()) {
    const auto bytes = block.first(kSuperBytes);
    super.checksum_valid =
        block[kChecksumTypeAt] == kChecksumCrc32c &&
        ChecksumWithout(~0U, bytes, kSuperChecksumAt) == Be32(bytes, kSuperChecksumAt);
  }
  super.version = Be32(block, 4) == 4 ? 2 : 1;
  super.users = super.version == 2 ? Be32(block, 0x40) : 0;
  super.uuid.assign(block.begin() + 0x30, block.begin() + 0x40);
  return super;
}

std::vector<JournalTag> ParseTags(const JournalSuper& super, std::span<const uint8_t> descriptor) {
  std::vector<JournalTag> tags;
  const bool v3 = super.checksum_v3();
  size_t tag_bytes = v3 ? 16 : (super.checksum_v2() ? 10 : 8) + (super.has_64bit() ? 4 : 0);
  // Sizes as journal_tag_bytes() of fs/jbd2/journal.c counts them: 16, 10 or 14, 8 or 12.
  const size_t limit = descriptor.size() - (v3 || super.checksum_v2() ? jbd2::kTailBytes : 0);
  size_t at = kHeaderBytes;
  while (at + tag_bytes <= limit) {
    JournalTag tag;
    tag.block = Be32(descriptor, at);
    if (v3) {
      tag.flags = Be32(descriptor, at + 4);
      if (super.has_64bit()) tag.block |= static_cast<uint64_t>(Be32(descriptor, at + 8)) << 32;
      tag.checksum = Be32(descriptor, at + 12);
    } else {
      tag.checksum = Be16(descriptor, at + 4);
      tag.flags = Be16(descriptor, at + 6);
      if (super.has_64bit()) tag.block |= static_cast<uint64_t>(Be32(descriptor, at + 8)) << 32;
    }
    tags.push_back(tag);
    at += tag_bytes + ((tag.flags & kFlagSameUuid) != 0 ? 0 : 16);
    if ((tag.flags & kFlagLast) != 0) break;
  }
  return tags;
}

std::vector<uint64_t> ParseRevokes(const JournalSuper& super, std::span<const uint8_t> block) {
  std::vector<uint64_t> homes;
  const size_t tail = super.checksum_v3() || super.checksum_v2() ? jbd2::kTailBytes : 0;
  if (block.size() < jbd2::kHeaderBytes + 4 + tail) return homes;
  const size_t record = super.has_64bit() ? 8 : 4;
  const uint32_t count = jbd2::Be32(block, jbd2::kHeaderBytes);  // bytes used, header included
  if (count > block.size() - tail) return homes;
  for (size_t at = jbd2::kHeaderBytes + 4; at + record <= count; at += record) {
    const uint64_t high = jbd2::Be32(block, at);
    homes.push_back(record == 8 ? high << 32 | jbd2::Be32(block, at + 4) : high);
  }
  return homes;
}

Result<JournalLayout> FindJournal(std::span<const uint8_t> image) {
  PP_ASSIGN_OR_RETURN(const Superblock super, ParseSuperblock(image));
  PP_ASSIGN_OR_RETURN(FileSystem fs, FileSystem::Open(image));
  JournalLayout layout;
  layout.block_bytes = super.block_bytes;
  PP_ASSIGN_OR_RETURN(layout.blocks, fs.JournalBlocks());
  return layout;
}

namespace {

Result<uint64_t> JournalSuperAt(std::span<const uint8_t> image, const JournalLayout& layout) {
  if (layout.blocks.empty()) return UserError("the file system has no journal of its own");
  const uint64_t at = layout.blocks[0] * layout.block_bytes;
  if (at + kSuperBytes > image.size()) return UserError("the journal lies outside the image");
  return at;
}

}  // namespace

Result<JournalSuper> ReadJournalSuper(std::span<const uint8_t> image, const JournalLayout& layout) {
  PP_ASSIGN_OR_RETURN(const uint64_t at, JournalSuperAt(image, layout));
  return ParseJournalSuper(image.subspan(at, kSuperBytes));
}

std::string JournalSuperProblem(const JournalSuper& super, const JournalLayout& layout) {
  if (super.first == 0 || super.blocks > layout.blocks.size() || super.first >= super.blocks ||
      super.start >= super.blocks || super.block_bytes != layout.block_bytes) {
    return fmt::format(
        "journal superblock: first {}, start {}, {} blocks of {} bytes; the journal has {} of {}",
        super.first, super.start, super.blocks, super.block_bytes, layout.blocks.size(),
        layout.block_bytes);
  }
  if ((super.feature_incompat & ~kIncompatKnown) != 0 || super.feature_ro_compat != 0) {
    return fmt::format("journal superblock: unknown features (incompat {:#x}, ro_compat {:#x})",
                       super.feature_incompat, super.feature_ro_compat);
  }
  if (super.checksum_v2() && super.checksum_v3()) return "journal superblock: checksums v2 and v3";
  if (!super.checksum_valid) return "journal superblock: its checksum is wrong";
  return {};
}

JournalInspection InspectJournal(std::span<const uint8_t> image, const JournalLayout& layout) {
  const BlockReader read = [&](uint64_t block) -> std::span<const uint8_t> {
    if (block >= image.size() / layout.block_bytes) return {};
    return image.subspan(block * layout.block_bytes, layout.block_bytes);
  };
  return InspectJournal(read, layout);
}

JournalInspection InspectJournal(const BlockReader& read, const JournalLayout& layout) {
  JournalInspection inspection;
  if (layout.blocks.empty()) return inspection;
  const auto refuse = [&](std::string reason) {
    inspection.outcome = JournalInspection::Outcome::kRefused;
    inspection.refused_by_scan = true;
    inspection.reason = std::move(reason);
    return inspection;
  };
  const auto super = ParseJournalSuper(read(layout.blocks[0]));
  if (!super.ok()) return refuse(super.error().message);
  if (super->fast_commit()) {
    inspection.outcome = JournalInspection::Outcome::kNotRead;
    return inspection;
  }
  if (const std::string problem = JournalSuperProblem(*super, layout); !problem.empty()) {
    return refuse(problem);
  }
  if (super->start == 0) return inspection;
  JournalLog log(read, layout, JournalLog::Bytes::kPassing);
  log.Start(*super);
  if (!log.refusal().empty()) {
    inspection.disputed = log.disputed();
    return refuse(log.refusal());
  }
  if (log.complete() == 0) return inspection;
  inspection.outcome = JournalInspection::Outcome::kReplays;
  inspection.transactions = static_cast<uint32_t>(log.complete());
  const size_t used = log.transactions()[log.complete() - 1].places_end;
  inspection.used.assign(log.places().begin(),
                         log.places().begin() + static_cast<std::ptrdiff_t>(used));
  JournalReplay replay([](uint64_t) { return true; });
  std::vector<uint64_t> touched;
  replay.Follow(log, 0, touched);
  if (!replay.refusal().empty()) {
    inspection.outcome = JournalInspection::Outcome::kRefused;
    inspection.reason = replay.refusal();
  }
  return inspection;
}

void EditJournalSuper(std::span<uint8_t> block, const JournalSuper& super,
                      const JournalSuperEdit& edit) {
  PP_CHECK(block.size() >= kSuperBytes);
  block = block.first(kSuperBytes);
  if (edit.empty) PutBe32(block, jbd2::kStartAt, 0);
  if (edit.clear_error) PutBe32(block, jbd2::kErrorAt, 0);
  if (edit.sequence) PutBe32(block, jbd2::kSequenceAt, *edit.sequence);
  if (super.checksum_v2() || super.checksum_v3()) {
    PutBe32(block, kSuperChecksumAt, ChecksumWithout(~0U, block, kSuperChecksumAt));
  }
}

Status DiscardJournal(std::span<uint8_t> image, const JournalLayout& layout) {
  PP_ASSIGN_OR_RETURN(const uint64_t at, JournalSuperAt(image, layout));
  const auto block = image.subspan(at, kSuperBytes);
  PP_ASSIGN_OR_RETURN(const JournalSuper super, ParseJournalSuper(block));
  EditJournalSuper(block, super, {.empty = true});
  return OkStatus();
}

}  // namespace plugpull::ext4
