// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/damage.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <optional>

#include "framework/base/prng.h"
#include "framework/ext4/damage_layout.h"
#include "framework/ext4/damage_signatures.h"
#include "framework/ext4/superblock.h"
#include "framework/ext4/superblock_fields.h"

namespace plugpull::ext4 {
namespace {

constexpr uint32_t kUnknownIncompat = 0x80000;
constexpr uint32_t kHugeBlocksCount = 0x40000000;
constexpr uint32_t kRootInode = 2;
constexpr uint32_t kJournalInode = 8;
constexpr size_t kJournalSuperblockBytes = 1024;
constexpr size_t kRoCompatAt = 0x64;
constexpr size_t kChecksumAt = 0x3fc;

// What is to be written, worked out before any of it is.
class Edits {
 public:
  explicit Edits(DamageTarget& target) : target_(target) {}

  // Bytes that are there already are not written, unless `always`.
  Status Put(uint64_t offset, std::vector<uint8_t> after, bool always = false) {
    PP_RETURN_IF_ERROR(Count(offset, after.size()));
    DamagePiece piece;
    piece.offset = offset;
    piece.before.resize(after.size());
    PP_RETURN_IF_ERROR(target_.Read(offset, piece.before));
    if (piece.before == after && !always) return OkStatus();
    piece.after = std::move(after);
    pieces_.push_back(std::move(piece));
    return OkStatus();
  }
  Status Zero(const ByteRun& run) {
    // Before there is memory for it.
    if (run.length > kDamageBytesMax) return TooLarge();
    return Put(run.offset, std::vector<uint8_t>(run.length));
  }

  Result<std::vector<DamagePiece>> Write() && {
    if (pieces_.empty()) {
      return UserError("the damage changes nothing: the disk holds these bytes already");
    }
    for (const DamagePiece& piece : pieces_) {
      PP_RETURN_IF_ERROR(target_.Write(piece.offset, piece.after));
    }
    return std::move(pieces_);
  }

 private:
  static Error TooLarge() {
    return UserError(
        fmt::format("a damage of more than {} bytes is asked for; split it", kDamageBytesMax));
  }
  Status Count(uint64_t offset, uint64_t length) {
    const uint64_t size = target_.size_bytes();
    if (offset > size || length > size - offset) {
      return UserError(
          fmt::format("{} bytes from byte {} on are past the end of the disk, which has {} bytes",
                      length, offset, size));
    }
    bytes_ += length;
    return bytes_ > kDamageBytesMax ? Status(TooLarge()) : OkStatus();
  }

  DamageTarget& target_;
  std::vector<DamagePiece> pieces_;
  uint64_t bytes_ = 0;
};

void PutNumber(std::span<uint8_t> bytes, size_t at, uint64_t value, size_t width) {
  for (size_t i = 0; i < width; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

uint32_t GetNumber32(std::span<const uint8_t> bytes, size_t at) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// Sets a field, and makes the checksum right where the file system has one.
Status SetField(std::string_view name, std::span<const uint8_t> content, bool fix_checksum,
                DamageTarget& target, Edits& edits) {
  const SuperblockField* field = FindSuperblockField(name);
  if (field == nullptr) {
    return UserError(
        fmt::format("the ext4 superblock has no field {}; its names are those of "
                    "struct ext4_super_block",
                    name));
  }
  if (content.size() > field->bytes) {
    return UserError(
        fmt::format("{} has {} bytes; {} are given", name, field->bytes, content.size()));
  }
  PP_ASSIGN_OR_RETURN(SuperblockBytes super, ReadSuperblockBytes(target));
  PP_RETURN_IF_ERROR(ParseSuperblockBytes(super));
  const bool checksummed = (GetNumber32(super, kRoCompatAt) & kRoCompatMetadataCsum) != 0;
  const auto at = super.begin() + field->offset;
  std::fill(at, at + field->bytes, uint8_t{0});
  std::ranges::copy(content, at);
  PP_RETURN_IF_ERROR(edits.Put(kSuperblockAt + field->offset, {at, at + field->bytes}));
  if (!fix_checksum || !checksummed) return OkStatus();
  const uint32_t crc = Crc32c(~0U, std::span<const uint8_t>(super).first(kChecksumAt));
  std::vector<uint8_t> bytes(4);
  PutNumber(bytes, 0, crc, 4);
  return edits.Put(kSuperblockAt + kChecksumAt, std::move(bytes));
}

Status SetNumber(std::string_view name, uint64_t value, bool fix_checksum, DamageTarget& target,
                 Edits& edits) {
  const SuperblockField* field = FindSuperblockField(name);
  std::vector<uint8_t> content(field == nullptr ? 0 : field->bytes);
  if (field != nullptr) {
    const size_t width = field->bytes;
    if (!field->number() || (width < 8 && value >> (8 * width) != 0)) {
      return UserError(
          fmt::format("{} has {} bytes and cannot hold the number {}", name, width, value));
    }
    PutNumber(content, 0, value, width);
  }
  return SetField(name, content, fix_checksum, target, edits);
}

Result<uint32_t> OldNumber(size_t at, DamageTarget& target) {
  PP_ASSIGN_OR_RETURN(const SuperblockBytes super, ReadSuperblockBytes(target));
  PP_RETURN_IF_ERROR(ParseSuperblockBytes(super));
  return GetNumber32(super, at);
}

Status PutSignature(Result<std::vector<SignaturePart>> parts, Edits& edits) {
  if (!parts.ok()) return parts.error();
  for (SignaturePart& part : *parts) {
    PP_RETURN_IF_ERROR(edits.Put(part.offset, std::move(part.bytes)));
  }
  return OkStatus();
}

// Zeroes from the disk's first byte on, which makes sense only where there is an ext4. A fresh boot
// block holds zeroes already, and is no mistake to zero.
Status ZeroStart(uint64_t length, DamageTarget& target, Edits& edits) {
  PP_RETURN_IF_ERROR(DamageLayout::Read(target));
  return edits.Put(0, std::vector<uint8_t>(length), true);
}

Status ZeroJournalSuperblock(DamageLayout& layout, Edits& edits) {
  PP_ASSIGN_OR_RETURN(const auto runs, layout.InodeBlocks(kJournalInode));
  if (runs.empty()) return UserError("the file system has no journal in inode 8");
  return edits.Zero({runs.front().offset, kJournalSuperblockBytes});
}

// As debugfs's clri: the checksum is right, so that the missing inode is what is found.
Status ClearInode(uint32_t inode, DamageLayout& layout, Edits& edits) {
  PP_ASSIGN_OR_RETURN(const ByteRun at, layout.Inode(inode));
  return edits.Put(at.offset, layout.ClearedInode(inode));
}

Status NameStructure(Damage damage, DamageTarget& target, Edits& edits) {
  PP_ASSIGN_OR_RETURN(DamageLayout layout, DamageLayout::Read(target));
  Result<ByteRun> run = ByteRun{};
  switch (damage) {
    case GROUP_DESCRIPTORS_ZEROED:
      run = layout.GroupDescriptors();
      break;
    case ROOT_INODE_CLEARED:
      return ClearInode(kRootInode, layout, edits);
    case JOURNAL_INODE_CLEARED:
      return ClearInode(kJournalInode, layout, edits);
    case JOURNAL_SUPERBLOCK_ZEROED:
      return ZeroJournalSuperblock(layout, edits);
    case BLOCK_BITMAP_ZEROED:
      run = layout.BlockBitmap(0);
      break;
    case INODE_BITMAP_ZEROED:
      run = layout.InodeBitmap(0);
      break;
    default:
      return UserError(
          fmt::format("there is no damage {}; plugpull and its guest program differ, "
                      "build both from the same tree",
                      static_cast<int>(damage)));
  }
  if (!run.ok()) return run.error();
  return edits.Zero(*run);
}

Status NamedDamage(Damage damage, DamageTarget& target, Edits& edits) {
  switch (damage) {
    case MAGIC_ZEROED:
      // Whoever looks for the checksum has found the magic first.
      return SetNumber("s_magic", 0, false, target, edits);
    case FIRST_1K_ZEROED:
      return ZeroStart(1 << 10, target, edits);
    case FIRST_2K_ZEROED:
      return ZeroStart(2 << 10, target, edits);
    case FIRST_4K_ZEROED:
      return ZeroStart(4 << 10, target, edits);
    case FIRST_1M_ZEROED:
      return ZeroStart(1 << 20, target, edits);
    case SUPERBLOCK_CHECKSUM: {
      PP_ASSIGN_OR_RETURN(const uint32_t old, OldNumber(kChecksumAt, target));
      return SetNumber("s_checksum", old ^ 1U, false, target, edits);
    }
    case UNKNOWN_INCOMPAT: {
      PP_ASSIGN_OR_RETURN(const uint32_t old, OldNumber(0x60, target));
      return SetNumber("s_feature_incompat", old | kUnknownIncompat, true, target, edits);
    }
    case LOG_BLOCK_SIZE:
      return SetNumber("s_log_block_size", 20, true, target, edits);
    case INODES_PER_GROUP_ZERO:
      return SetNumber("s_inodes_per_group", 0, true, target, edits);
    case BLOCKS_COUNT_HUGE:
      return SetNumber("s_blocks_count_lo", kHugeBlocksCount, true, target, edits);
    case REV_LEVEL:
      return SetNumber("s_rev_level", 9, true, target, edits);
    case SIGNATURE_MBR:
      return PutSignature(MbrSignature(target.size_bytes()), edits);
    case SIGNATURE_GPT:
      return PutSignature(GptSignature(target.size_bytes()), edits);
    case SIGNATURE_LUKS:
      return PutSignature(LuksSignature(target.size_bytes()), edits);
    case SIGNATURE_XFS:
      return PutSignature(XfsSignature(target.size_bytes()), edits);
    default:
      return NameStructure(damage, target, edits);
  }
}

Status ZeroBackups(const BackupSuperblocksDamage& step, DamageTarget& target, Edits& edits) {
  PP_ASSIGN_OR_RETURN(const DamageLayout layout, DamageLayout::Read(target));
  const auto groups = layout.BackupGroups();
  if (step.has_group() && std::ranges::count(groups, step.group()) == 0) {
    std::string known;
    for (size_t i = 0; i < groups.size() && i < 16; ++i) {
      known += fmt::format("{}{}", i == 0 ? "" : ", ", groups[i]);
    }
    return UserError(
        fmt::format("block group {} has no copy of the superblock; those that have: {}",
                    step.group(), known.empty() ? "none" : known));
  }
  if (groups.empty()) {
    return UserError("the file system has no copy of its superblock: it has one block group only");
  }
  for (const uint64_t group : groups) {
    if (step.has_group() && group != step.group()) continue;
    PP_RETURN_IF_ERROR(edits.Zero(layout.BackupSuperblock(group)));
  }
  return OkStatus();
}

Status FlipBit(const FlipBitDamage& step, DamageTarget& target, Edits& edits) {
  const uint64_t size = target.size_bytes();
  if (size == 0) return UserError("the disk has no bytes");
  Prng prng(step.seed());
  const uint64_t drawn_offset = prng.Below(size);
  const auto drawn_bit = static_cast<uint32_t>(prng.Below(8));
  const uint64_t offset = step.has_offset() ? step.offset() : drawn_offset;
  const uint32_t bit = step.has_bit() ? step.bit() : drawn_bit;
  if (offset >= size || bit > 7) {
    return UserError(
        fmt::format("bit {} of byte {} is asked for; the disk has {} bytes", bit, offset, size));
  }
  std::vector<uint8_t> byte(1);
  PP_RETURN_IF_ERROR(target.Read(offset, byte));
  byte[0] ^= static_cast<uint8_t>(1U << bit);
  return edits.Put(offset, std::move(byte));
}

Status ZapInode(const ZapInodeBlocksDamage& step, DamageTarget& target, Edits& edits) {
  PP_ASSIGN_OR_RETURN(DamageLayout layout, DamageLayout::Read(target));
  uint32_t inode = step.inode();
  if (step.has_path()) {
    PP_ASSIGN_OR_RETURN(inode, layout.FindPath(step.path()));
  }
  PP_ASSIGN_OR_RETURN(const auto runs, layout.InodeBlocks(inode));
  if (runs.empty()) {
    return UserError(fmt::format("inode {} has no blocks that could be zeroed", inode));
  }
  for (const ByteRun& run : runs) PP_RETURN_IF_ERROR(edits.Zero(run));
  return OkStatus();
}

Status WriteRaw(const RawDamage& step, Edits& edits) {
  const std::string& unit = step.bytes();
  const uint64_t length = unit.size() * uint64_t{step.repeat()};
  if (length == 0 || length > kDamageBytesMax) {
    return UserError(
        fmt::format("raw asks for {} bytes; allowed are 1 to {}", length, kDamageBytesMax));
  }
  std::vector<uint8_t> bytes;
  bytes.reserve(length);
  for (uint32_t i = 0; i < step.repeat(); ++i) bytes.insert(bytes.end(), unit.begin(), unit.end());
  return edits.Put(step.offset(), std::move(bytes));
}

Status Plan(const CorruptStep& step, DamageTarget& target, Edits& edits) {
  switch (step.kind_case()) {
    case CorruptStep::kDamage:
      return NamedDamage(step.damage(), target, edits);
    case CorruptStep::kBackupSuperblocks:
      return ZeroBackups(step.backup_superblocks(), target, edits);
    case CorruptStep::kSuperblockField: {
      const SuperblockFieldDamage& field = step.superblock_field();
      if (field.has_value()) {
        return SetNumber(field.field(), field.value(), field.fix_checksum(), target, edits);
      }
      const std::string& text = field.bytes();
      return SetField(field.field(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()},
                      field.fix_checksum(), target, edits);
    }
    case CorruptStep::kFlipBit:
      return FlipBit(step.flip_bit(), target, edits);
    case CorruptStep::kZapInodeBlocks:
      return ZapInode(step.zap_inode_blocks(), target, edits);
    case CorruptStep::kRaw:
      return WriteRaw(step.raw(), edits);
    case CorruptStep::KIND_NOT_SET:
      break;
  }
  return UserError("a corrupt step says nothing to damage");
}

}  // namespace

Status MemoryTarget::Read(uint64_t offset, std::span<uint8_t> out) {
  PP_CHECK(offset <= bytes_.size() && out.size() <= bytes_.size() - offset);
  std::ranges::copy(bytes_.subspan(offset, out.size()), out.begin());
  return OkStatus();
}

Status MemoryTarget::Write(uint64_t offset, std::span<const uint8_t> bytes) {
  PP_CHECK(offset <= bytes_.size() && bytes.size() <= bytes_.size() - offset);
  std::ranges::copy(bytes, bytes_.begin() + static_cast<ptrdiff_t>(offset));
  return OkStatus();
}

Result<std::vector<DamagePiece>> ApplyDamage(const CorruptStep& step, DamageTarget& target) {
  Edits edits(target);
  PP_RETURN_IF_ERROR(Plan(step, target, edits));
  return std::move(edits).Write();
}

std::string DamageInWords(const CorruptStep& step) {
  switch (step.kind_case()) {
    case CorruptStep::kDamage: {
      std::string name = Damage_Name(step.damage());
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      return name;
    }
    case CorruptStep::kBackupSuperblocks:
      return step.backup_superblocks().has_group()
                 ? fmt::format("backup_superblocks of group {}", step.backup_superblocks().group())
                 : "backup_superblocks";
    case CorruptStep::kSuperblockField: {
      const SuperblockFieldDamage& field = step.superblock_field();
      const std::string value =
          field.has_value() ? fmt::format(" = {}", field.value()) : std::string();
      return fmt::format("superblock_field {}{}{}", field.field(), value,
                         field.fix_checksum() ? "" : ", checksum left wrong");
    }
    case CorruptStep::kFlipBit:
      return step.flip_bit().has_offset()
                 ? fmt::format("flip_bit in byte {}", step.flip_bit().offset())
                 : fmt::format("flip_bit, seed {}", step.flip_bit().seed());
    case CorruptStep::kZapInodeBlocks:
      return step.zap_inode_blocks().has_path()
                 ? fmt::format("zap_inode_blocks of {}", step.zap_inode_blocks().path())
                 : fmt::format("zap_inode_blocks of inode {}", step.zap_inode_blocks().inode());
    case CorruptStep::kRaw:
      return fmt::format("raw at byte {} ({} bytes)", step.raw().offset(),
                         step.raw().bytes().size() * uint64_t{step.raw().repeat()});
    case CorruptStep::KIND_NOT_SET:
      break;
  }
  return "nothing";
}

bool NeedsFileSystem(const CorruptStep& step) {
  switch (step.kind_case()) {
    case CorruptStep::kDamage:
      return step.damage() < SIGNATURE_MBR;
    case CorruptStep::kFlipBit:
    case CorruptStep::kRaw:
    case CorruptStep::KIND_NOT_SET:
      return false;
    default:
      return true;
  }
}

DamageEvidence EvidenceOf(const CorruptStep& step, const std::vector<DamagePiece>& pieces) {
  DamageEvidence evidence;
  evidence.set_damage(DamageInWords(step));
  evidence.set_pieces_total(pieces.size());
  uint64_t bytes = 0;
  for (const DamagePiece& piece : pieces) {
    bytes += piece.after.size();
    if (evidence.piece_size() == static_cast<int>(kEvidencePiecesMax)) continue;
    DamagedBytes& one = *evidence.add_piece();
    const size_t shown = std::min(piece.after.size(), kEvidenceBytesMax);
    one.set_offset(piece.offset);
    one.set_length(piece.after.size());
    one.set_before(piece.before.data(), shown);
    one.set_after(piece.after.data(), shown);
    one.set_before_crc32c(Crc32c(~0U, piece.before));
    one.set_after_crc32c(Crc32c(~0U, piece.after));
  }
  evidence.set_bytes_total(bytes);
  return evidence;
}

}  // namespace plugpull::ext4
