// SPDX-License-Identifier: Apache-2.0
// Times of an inode as they lie on the disk: Documentation/filesystems/ext4/inodes.rst of the Linux
// kernel ("Inode Timestamps").
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "framework/base/inode_times.h"

namespace plugpull::ext4 {

// `inode` is an entry of the inode table, little-endian, of at least 128 bytes. What i_extra_isize
// claims beyond its end is not believed.
inline InodeTimes TimesOf(std::span<const uint8_t> inode) {
  constexpr size_t kExtraSizeAt = 0x80;
  const auto word = [&](size_t at) {
    uint32_t value = 0;
    std::memcpy(&value, inode.data() + at, sizeof value);
    return value;
  };
  size_t end = kExtraSizeAt;
  if (inode.size() >= kExtraSizeAt + sizeof(uint32_t)) end += word(kExtraSizeAt) & 0xffff;
  const auto time = [&](size_t seconds_at, size_t extra_at) {
    int64_t seconds = static_cast<int32_t>(word(seconds_at));
    if (extra_at + sizeof(uint32_t) > end || extra_at + sizeof(uint32_t) > inode.size()) {
      return seconds * 1'000'000'000;
    }
    const uint32_t extra = word(extra_at);
    seconds += int64_t{extra & 3} << 32;
    // 2^34 seconds do not fit into 63 bits of nanoseconds with room to spare; a hostile image may
    // hold such a time, and then any number that is none of the guest's will do.
    constexpr int64_t kSecondsMax = INT64_MAX / 1'000'000'000 - 2;
    return (seconds > kSecondsMax ? kSecondsMax : seconds) * 1'000'000'000 + (extra >> 2);
  };
  return {.atime_ns = time(0x8, 0x8c), .mtime_ns = time(0x10, 0x88), .ctime_ns = time(0xc, 0x84)};
}

}  // namespace plugpull::ext4
