// SPDX-License-Identifier: Apache-2.0
// The dm-log-writes format, all little-endian (source: drivers/md/dm-log-writes.c and
// Documentation/admin-guide/device-mapper/log-writes.rst of the Linux kernel; QEMU's
// block/blklogwrites.c writes the same).
//
//   byte 0           super block: u64 magic, u64 version, u64 nr_entries, u32 sectorsize
//   byte sectorsize  entry, data, entry, data, ...
//   entry            one log sector: u64 sector, u64 nr_sectors, u64 flags, u64 data_len; a mark
//                    has its text right behind these 32 bytes and no data of its own
//   data             nr_sectors * sectorsize bytes; none behind a discard or a mark
//
// Sectors are log sectors (sectorsize bytes), which are not always 512. Entries carry no sequence
// number and no checksum.
#pragma once

#include <cstdint>

namespace plugpull::blocklog {

inline constexpr uint64_t kLogMagic = 0x6a736677736872ULL;
inline constexpr uint64_t kLogVersion = 1;
inline constexpr uint64_t kSuperBytes = 28;
inline constexpr uint64_t kEntryHeaderBytes = 32;

inline constexpr uint64_t kFlagFlush = 1;
inline constexpr uint64_t kFlagFua = 2;
inline constexpr uint64_t kFlagDiscard = 4;
inline constexpr uint64_t kFlagMark = 8;
inline constexpr uint64_t kFlagMetadata = 16;
inline constexpr uint64_t kFlagsKnown = 31;

inline constexpr uint32_t kSectorBytesMin = 512;
inline constexpr uint32_t kSectorBytesMax = 65536;
// A longer data part is taken for damage: the block layer splits far below it.
inline constexpr uint64_t kEntryDataBytesMax = 1ULL << 30;
// A discard may span a disk, but no disk is longer than this.
inline constexpr uint64_t kDeviceBytesMax = 1ULL << 60;
inline constexpr uint64_t kEntriesMax = 100'000'000;
// The text of the mark that the kernel appends when the target is removed.
inline constexpr char kTeardownMark[] = "dm-log-writes-end";

}  // namespace plugpull::blocklog
