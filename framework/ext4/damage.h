// SPDX-License-Identifier: Apache-2.0
// On-purpose damage: the `corrupt` step (framework/proto/damage.proto) applied to the bytes of a
// disk, a file or an image in memory. What is to be written is worked out first and written then,
// so a damage that cannot be done leaves the disk as it was. Without libext2fs: the guest's PID 1
// links it. What the tools and the kernel make of each damage is in framework/ext4/DAMAGE.md.
// One thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/damage.pb.h"

namespace plugpull::ext4 {

// One damage writes at most so many bytes.
inline constexpr uint64_t kDamageBytesMax = 64ULL << 20;
inline constexpr size_t kEvidencePiecesMax = 256;
inline constexpr size_t kEvidenceBytesMax = 64;  // of each piece, before and after

// What is damaged. Errors are those of the medium.
class DamageTarget {
 public:
  virtual ~DamageTarget() = default;
  virtual uint64_t size_bytes() const = 0;
  // All of `out`, which lies inside.
  virtual Status Read(uint64_t offset, std::span<uint8_t> out) = 0;
  // All of `bytes`, which lie inside.
  virtual Status Write(uint64_t offset, std::span<const uint8_t> bytes) = 0;
};

class MemoryTarget : public DamageTarget {
 public:
  // `bytes` must outlive the target.
  explicit MemoryTarget(std::span<uint8_t> bytes) : bytes_(bytes) {}
  uint64_t size_bytes() const override { return bytes_.size(); }
  Status Read(uint64_t offset, std::span<uint8_t> out) override;
  Status Write(uint64_t offset, std::span<const uint8_t> bytes) override;

 private:
  std::span<uint8_t> bytes_;
};

// Bytes in a row that were written.
struct DamagePiece {
  uint64_t offset = 0;
  std::vector<uint8_t> before;
  std::vector<uint8_t> after;  // as many
};

// Damages the target and returns what was written, in order. A user error when the step asks for
// what is not there (no ext4, a path, a group, a byte past the end), cannot be understood, or would
// change nothing; then nothing was written. The step's disk is not looked at, and its seed is taken
// as it is. Symbolic links are not followed, and of metadata other than the superblock and
// cleared inodes the checksum is wrong afterwards.
Result<std::vector<DamagePiece>> ApplyDamage(const CorruptStep& step, DamageTarget& target);

// "magic_zeroed", "superblock_field s_rev_level = 9", "raw at byte 4096 (512 bytes)".
std::string DamageInWords(const CorruptStep& step);

// Whether there must be an ext4 on the disk.
bool NeedsFileSystem(const CorruptStep& step);

// For the recording: of the pieces the first kEvidencePiecesMax, of each the first
// kEvidenceBytesMax bytes, and checksums of all. Step and disk are not set.
DamageEvidence EvidenceOf(const CorruptStep& step, const std::vector<DamagePiece>& pieces);

}  // namespace plugpull::ext4
