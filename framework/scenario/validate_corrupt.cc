// SPDX-License-Identifier: Apache-2.0
// A corrupt step by itself; where it stands among the others is validate_steps.cc's.
#include <fmt/format.h>

#include <optional>

#include "framework/base/units.h"
#include "framework/ext4/damage.h"
#include "framework/ext4/superblock_fields.h"
#include "framework/scenario/validation.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {
namespace {

using ext4::SuperblockField;

std::vector<std::string> FieldNames() {
  std::vector<std::string> names;
  for (const SuperblockField& field : ext4::SuperblockFields()) names.emplace_back(field.name);
  return names;
}

void CheckField(const SuperblockFieldDamage& damage, const SourceNode& node, Reporter& reporter) {
  if (damage.field().empty()) return;
  const SourceLocation& at = node.Locate(SuperblockFieldDamage::kFieldFieldNumber);
  const SuperblockField* field = ext4::FindSuperblockField(damage.field());
  if (field == nullptr) {
    reporter.Add(at, fmt::format("the ext4 superblock has no field {}; its names are those of "
                                 "struct ext4_super_block in the kernel's fs/ext4/ext4.h, such as "
                                 "s_state, s_blocks_count_lo{}",
                                 Quoted(damage.field()), DidYouMean(damage.field(), FieldNames())));
    return;
  }
  if (damage.has_value() && !field->number()) {
    reporter.Add(node.Locate(SuperblockFieldDamage::kValueFieldNumber),
                 fmt::format("{} is no number but {} bytes; write them as bytes: \"...\"",
                             field->name, field->bytes));
  } else if (damage.has_value() && field->bytes < 8 && damage.value() >> (8 * field->bytes) != 0) {
    reporter.Add(node.Locate(SuperblockFieldDamage::kValueFieldNumber),
                 fmt::format("value is {}; {} has {} bytes, so allowed are 0 to {}", damage.value(),
                             field->name, field->bytes, (uint64_t{1} << (8 * field->bytes)) - 1));
  }
  if (damage.bytes().size() > field->bytes) {
    reporter.Add(node.Locate(SuperblockFieldDamage::kBytesFieldNumber),
                 fmt::format("bytes has {} bytes; {} has {}", damage.bytes().size(), field->name,
                             field->bytes));
  }
  if (field->name == "s_checksum" && damage.fix_checksum()) {
    reporter.Add(at, "s_checksum would be made right again; add `fix_checksum: false`");
  }
}

// Diagnoses bytes behind the disk's end; `disk_bytes` is not there when the disk is not known.
void CheckInside(uint64_t offset, uint64_t length, std::optional<uint64_t> disk_bytes,
                 const std::string& disk, const SourceLocation& at, Reporter& reporter) {
  if (!disk_bytes || (offset <= *disk_bytes && length <= *disk_bytes - offset)) return;
  reporter.Add(at,
               fmt::format("byte {} is past the end of disk {}, which has {} bytes; allowed are "
                           "0 to {}",
                           offset <= *disk_bytes ? *disk_bytes : offset, disk, *disk_bytes,
                           *disk_bytes - 1));
}

void CheckRaw(const RawDamage& raw, std::optional<uint64_t> disk_bytes, const std::string& disk,
              const SourceNode& node, Reporter& reporter) {
  const uint64_t length = raw.bytes().size() * uint64_t{raw.repeat()};
  if (length > ext4::kDamageBytesMax) {
    reporter.Add(node.Locate(RawDamage::kRepeatFieldNumber),
                 fmt::format("{} bytes {} times are {} bytes; at most {} are allowed",
                             raw.bytes().size(), raw.repeat(), length, ext4::kDamageBytesMax));
    return;
  }
  CheckInside(raw.offset(), length, disk_bytes, disk, node.Locate(RawDamage::kOffsetFieldNumber),
              reporter);
}

}  // namespace

void CheckCorrupt(const Validation& v, const CorruptStep& step, const SourceNode& node) {
  CheckDiskName(v, step.disk(), node.Locate(CorruptStep::kDiskFieldNumber));
  std::optional<uint64_t> disk_bytes;
  if (v.disks_known) {
    for (const Disk& disk : v.scenario.disk()) {
      if (disk.name() == step.disk()) disk_bytes = Mebibytes(disk.size_mib()).value;
    }
  }
  switch (step.kind_case()) {
    case CorruptStep::kDamage:
      if (step.damage() == DAMAGE_UNSPECIFIED) {
        v.reporter.Add(node.Locate(CorruptStep::kDamageFieldNumber),
                       "damage is DAMAGE_UNSPECIFIED; the names are those of enum Damage in "
                       "framework/proto/damage.proto, such as SUPERBLOCK_CHECKSUM");
      }
      return;
    case CorruptStep::kSuperblockField:
      return CheckField(step.superblock_field(),
                        Sub(node, CorruptStep::kSuperblockFieldFieldNumber), v.reporter);
    case CorruptStep::kFlipBit:
      if (step.flip_bit().has_offset()) {
        CheckInside(
            step.flip_bit().offset(), 1, disk_bytes, step.disk(),
            Sub(node, CorruptStep::kFlipBitFieldNumber).Locate(FlipBitDamage::kOffsetFieldNumber),
            v.reporter);
      }
      return;
    case CorruptStep::kRaw:
      return CheckRaw(step.raw(), disk_bytes, step.disk(), Sub(node, CorruptStep::kRawFieldNumber),
                      v.reporter);
    default:
      return;  // the rest is known in the guest only
  }
}

}  // namespace plugpull::scenario
