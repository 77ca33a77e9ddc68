// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/journal.h"

#include <fmt/format.h>

#include <cstring>
#include <map>

#include "framework/ext4/file_system.h"
#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {
namespace {

constexpr uint32_t kMagic = 0xc03b3998;
constexpr uint32_t kFlagSameUuid = 2;
constexpr uint32_t kFlagLast = 8;
constexpr size_t kHeaderBytes = 12;
constexpr size_t kSuperBytes = 1024;
constexpr size_t kSuperChecksumAt = 0xfc;
constexpr size_t kChecksumTypeAt = 0x50;
constexpr uint8_t kChecksumCrc32c = 4;
constexpr uint32_t kIncompatKnown = 0x3f;  // JBD2_KNOWN_INCOMPAT_FEATURES
constexpr size_t kTailBytes = 4;           // checksum at the end of descriptor and revoke blocks

uint32_t Be32(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint32_t>(bytes[at]) << 24 | static_cast<uint32_t>(bytes[at + 1]) << 16 |
         static_cast<uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}

uint32_t Be16(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint32_t>(bytes[at]) << 8 | bytes[at + 1];
}

void PutBe32(std::span<uint8_t> bytes, size_t at, uint32_t value) {
  for (int i = 0; i < 4; ++i)
    bytes[at + static_cast<size_t>(i)] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

// crc32c of `bytes` with four zeroes in place of those at `at`.
uint32_t ChecksumWithout(uint32_t seed, std::span<const uint8_t> bytes, size_t at) {
  const uint8_t zeroes[4] = {};
  const uint32_t crc = Crc32c(Crc32c(seed, bytes.first(at)), zeroes);
  return Crc32c(crc, bytes.subspan(at + 4));
}

// Transaction numbers wrap: `a` is at or behind `b`.
bool TidAtOrAfter(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) >= 0; }

class Inspector {
 public:
  Inspector(const BlockReader& read, const JournalLayout& layout, const JournalSuper& super)
      : read_(read),
        layout_(layout),
        super_(super),
        checksums_(super.checksum_v2() || super.checksum_v3()),
        seed_(Crc32c(~0U, super.uuid)) {}

  JournalInspection Run() {
    Scan();
    result_.refused_by_scan = result_.outcome == JournalInspection::Outcome::kRefused;
    if (result_.refused_by_scan) return result_;
    result_.used.resize(complete_);
    if (end_ == super_.sequence) return result_;  // not one complete transaction
    result_.transactions = end_ - super_.sequence;
    result_.outcome = JournalInspection::Outcome::kReplays;
    Walk(true);
    if (result_.outcome != JournalInspection::Outcome::kRefused) Walk(false);
    return result_;
  }

 private:
  std::span<const uint8_t> Block(uint32_t index) const {
    if (index >= layout_.blocks.size()) return {};
    return read_(layout_.blocks[index]);
  }

  void Refuse(std::string reason) {
    result_.outcome = JournalInspection::Outcome::kRefused;
    result_.reason = std::move(reason);
  }

  void Advance(uint32_t& block, uint32_t count) const {
    block += count;
    if (block >= super_.blocks) block -= super_.blocks - super_.first;
  }

  void Use(uint32_t& block) {
    result_.used.push_back(block);
    Advance(block, 1);
  }

  bool TailValid(std::span<const uint8_t> block) const {
    if (!checksums_) return true;
    const size_t at = block.size() - kTailBytes;
    return ChecksumWithout(seed_, block, at) == Be32(block, at);
  }

  bool CommitValid(std::span<const uint8_t> block) const {
    constexpr size_t kCommitChecksumAt = 16;  // h_chksum[0]
    if (!checksums_) return true;
    return ChecksumWithout(seed_, block, kCommitChecksumAt) == Be32(block, kCommitChecksumAt);
  }

  static uint64_t CommitTime(std::span<const uint8_t> block) {
    return static_cast<uint64_t>(Be32(block, 48)) << 32 | Be32(block, 52);
  }

  // PASS_SCAN of do_one_pass: finds the end of the log, sets end_.
  void Scan() {
    uint32_t sequence = super_.sequence;
    uint32_t block = super_.start;
    bool suspicious = false;  // a checksum was wrong; the commit's time says whether it is stale
    uint64_t last_commit_time = 0;
    end_ = sequence;
    for (uint32_t steps = 0; steps < super_.blocks; ++steps) {
      const auto bytes = Block(block);
      if (bytes.empty())
        return Refuse(fmt::format("journal block {} lies outside the disk", block));
      const JournalHeader header = ParseJournalHeader(bytes);
      if (header.type == JournalBlockType::kNone || header.sequence != sequence) break;
      if (result_.used.size() > super_.blocks) return Refuse("the log has no end");
      Use(block);
      if (header.type == JournalBlockType::kDescriptor) {
        suspicious |= !TailValid(bytes);
        const size_t tags = ParseTags(super_, bytes).size();
        for (size_t i = 0; i < tags; ++i) Use(block);
      } else if (header.type == JournalBlockType::kRevoke) {
        suspicious |= !TailValid(bytes);
      } else if (header.type == JournalBlockType::kCommit) {
        const bool stale = CommitTime(bytes) < last_commit_time;
        if (suspicious) {
          if (stale) break;
          return Refuse(fmt::format("transaction {}: a descriptor's checksum is wrong", sequence));
        }
        if (!CommitValid(bytes)) {
          if (stale) break;
          if (!super_.async_commit()) {
            return Refuse(
                fmt::format("transaction {}: the commit block's checksum is wrong", sequence));
          }
          break;
        }
        last_commit_time = CommitTime(bytes);
        ++sequence;
        complete_ = result_.used.size();
      } else {
        break;
      }
    }
    end_ = sequence;
  }

  // PASS_REVOKE (collects) and PASS_REPLAY (checks every block that would be written home).
  void Walk(bool collect_revokes) {
    uint32_t sequence = super_.sequence;
    uint32_t block = super_.start;
    for (uint32_t steps = 0; steps < super_.blocks && sequence != end_; ++steps) {
      const auto bytes = Block(block);
      if (bytes.empty()) return;
      const JournalHeader header = ParseJournalHeader(bytes);
      if (header.type == JournalBlockType::kNone || header.sequence != sequence) return;
      Advance(block, 1);
      if (header.type == JournalBlockType::kDescriptor) {
        if (!TailValid(bytes)) {
          return Refuse(fmt::format("transaction {}: a descriptor's checksum is wrong", sequence));
        }
        for (const JournalTag& tag : ParseTags(super_, bytes)) {
          if (!collect_revokes && !Revoked(tag.block, sequence) &&
              !DataValid(tag, block, sequence)) {
            return Refuse(fmt::format(
                "transaction {}: the checksum of block {} in the journal (home: block {}) is wrong",
                sequence, block, tag.block));
          }
          Advance(block, 1);
        }
      } else if (header.type == JournalBlockType::kRevoke && collect_revokes) {
        CollectRevokes(bytes, sequence);
      } else if (header.type == JournalBlockType::kCommit) {
        ++sequence;
      }
    }
  }

  void CollectRevokes(std::span<const uint8_t> bytes, uint32_t sequence) {
    const size_t limit = bytes.size() - (checksums_ ? kTailBytes : 0);
    const uint32_t count = Be32(bytes, kHeaderBytes);  // bytes used, header included
    if (count > limit)
      return Refuse(fmt::format("a revoke block counts {} bytes of {}", count, limit));
    for (const uint64_t home : ParseRevokes(super_, bytes)) {
      const auto [it, added] = revoked_.try_emplace(home, sequence);
      if (!added && TidAtOrAfter(sequence, it->second)) it->second = sequence;
    }
  }

  bool Revoked(uint64_t home, uint32_t sequence) const {
    const auto it = revoked_.find(home);
    return it != revoked_.end() && TidAtOrAfter(it->second, sequence);
  }

  // The checksum of a tag covers the transaction number and the block as it lies in the journal.
  bool DataValid(const JournalTag& tag, uint32_t block, uint32_t sequence) const {
    if (!checksums_) return true;
    const auto bytes = Block(block);
    if (bytes.empty()) return false;
    uint8_t number[4];
    PutBe32(number, 0, sequence);
    const uint32_t crc = Crc32c(Crc32c(seed_, number), bytes);
    return super_.checksum_v3() ? tag.checksum == crc : (tag.checksum & 0xffff) == (crc & 0xffff);
  }

  const BlockReader& read_;
  const JournalLayout& layout_;
  const JournalSuper& super_;
  bool checksums_;
  uint32_t seed_;
  uint32_t end_ = 0;
  size_t complete_ = 0;  // of result_.used: those of complete transactions
  std::map<uint64_t, uint32_t> revoked_;
  JournalInspection result_;
};

}  // namespace

JournalHeader ParseJournalHeader(std::span<const uint8_t> block) {
  JournalHeader header;
  if (block.size() < kHeaderBytes || Be32(block, 0) != kMagic) return header;
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
  super.uuid.assign(block.begin() + 0x30, block.begin() + 0x40);
  return super;
}

std::vector<JournalTag> ParseTags(const JournalSuper& super, std::span<const uint8_t> descriptor) {
  std::vector<JournalTag> tags;
  const bool v3 = super.checksum_v3();
  size_t tag_bytes = v3 ? 16 : (super.checksum_v2() ? 10 : 8) + (super.has_64bit() ? 4 : 0);
  // Sizes as journal_tag_bytes() of fs/jbd2/journal.c counts them: 16, 10 or 14, 8 or 12.
  const size_t limit = descriptor.size() - (v3 || super.checksum_v2() ? kTailBytes : 0);
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
  const size_t tail = super.checksum_v3() || super.checksum_v2() ? kTailBytes : 0;
  if (block.size() < kHeaderBytes + 4 + tail) return homes;
  const size_t record = super.has_64bit() ? 8 : 4;
  const uint32_t count = Be32(block, kHeaderBytes);  // bytes used, header included
  if (count > block.size() - tail) return homes;
  for (size_t at = kHeaderBytes + 4; at + record <= count; at += record) {
    const uint64_t high = Be32(block, at);
    homes.push_back(record == 8 ? high << 32 | Be32(block, at + 4) : high);
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

namespace {

// What makes the kernel refuse a journal by its superblock alone, whether there is anything to
// replay or not (journal_get_superblock, load_superblock, jbd2_journal_load); empty when nothing.
std::string SuperProblem(const JournalSuper& super, const JournalLayout& layout) {
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

}  // namespace

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
  if (const std::string problem = SuperProblem(*super, layout); !problem.empty()) {
    return refuse(problem);
  }
  if (super->start == 0) return inspection;
  return Inspector(read, layout, *super).Run();
}

Status DiscardJournal(std::span<uint8_t> image, const JournalLayout& layout) {
  PP_ASSIGN_OR_RETURN(const uint64_t at, JournalSuperAt(image, layout));
  const auto block = image.subspan(at, kSuperBytes);
  PP_ASSIGN_OR_RETURN(const JournalSuper super, ParseJournalSuper(block));
  PutBe32(block, 0x1c, 0);
  if (super.checksum_v2() || super.checksum_v3()) {
    PutBe32(block, kSuperChecksumAt, ChecksumWithout(~0U, block, kSuperChecksumAt));
  }
  return OkStatus();
}

}  // namespace plugpull::ext4
