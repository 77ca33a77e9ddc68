// SPDX-License-Identifier: Apache-2.0
// The ext4 superblock, read from the bytes of an image. Layout: fs/ext4/ext4.h, struct
// ext4_super_block; Documentation/filesystems/ext4/super.rst.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::ext4 {

inline constexpr uint64_t kSuperblockAt = 1024;  // bytes from the start of the device
inline constexpr uint64_t kSuperblockBytes = 1024;

inline constexpr uint16_t kStateValid = 1;   // s_state: cleanly unmounted
inline constexpr uint16_t kStateErrors = 2;  // errors were detected
inline constexpr uint32_t kIncompatNeedsRecovery = 0x4;
inline constexpr uint32_t kCompatHasJournal = 0x4;
inline constexpr uint32_t kCompatFastCommit = 0x400;
inline constexpr uint32_t kRoCompatMetadataCsum = 0x400;
inline constexpr uint32_t kRoCompatOrphanPresent = 0x10000;  // the orphan file may hold orphans

// data= of a mount; which options there are: Documentation/admin-guide/ext4.rst.
enum class DataMode : uint8_t { kOrdered, kWriteback, kJournal };

struct Superblock {
  uint32_t block_bytes = 0;
  uint64_t blocks_count = 0;
  uint16_t state = 0;
  uint32_t feature_compat = 0;
  uint32_t feature_incompat = 0;
  uint32_t feature_ro_compat = 0;
  uint32_t last_orphan = 0;  // head of the orphan list; 0: empty
  uint32_t journal_inode = 0;
  uint32_t error_count = 0;
  // What a mount begins with before its own options are read (ext4_set_def_opts and
  // parse_apply_sb_mount_options in fs/ext4/super.c).
  std::optional<DataMode> default_data_mode;  // of s_default_mount_opts; nothing: the kernel's
  bool default_nobarrier = false;             // of the same
  std::string mount_options;                  // s_mount_opts: "a,b"
  bool checksum_valid = true;                 // always true without metadata_csum

  bool needs_recovery() const { return (feature_incompat & kIncompatNeedsRecovery) != 0; }
  bool has_orphans() const {
    return last_orphan != 0 || (feature_ro_compat & kRoCompatOrphanPresent) != 0;
  }
  bool has_journal() const { return (feature_compat & kCompatHasJournal) != 0; }
};

// Why an image has no superblock that can be read is an Error of code kUser.
Result<Superblock> ParseSuperblock(std::span<const uint8_t> image);
// The same of the superblock's own bytes, kSuperblockBytes of them.
Result<Superblock> ParseSuperblockBytes(std::span<const uint8_t> bytes);

struct ByteRange {
  uint64_t start;
  uint64_t end;  // one past the last
};

// Bytes of the device that say when and how often it was mounted, written and checked, and
// nothing else: s_mtime, s_wtime, s_lastcheck, s_mnt_count, s_kbytes_written and, where it is
// valid, the checksum that follows from them. s_state, s_error_* and orphans are never among them.
std::vector<ByteRange> CounterRanges(const Superblock& superblock);

// crc32c (Castagnoli), reflected, as the kernel uses it: no final inversion.
uint32_t Crc32c(uint32_t seed, std::span<const uint8_t> bytes);

}  // namespace plugpull::ext4
