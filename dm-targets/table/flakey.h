// SPDX-License-Identifier: Apache-2.0
// dm-flakey: linear while it is up, and unreliable while it is down.
// Sources: Documentation/admin-guide/device-mapper/dm-flakey.rst and drivers/md/dm-flakey.c of the
// kernel. Pure, thread-safe. Parse gives user errors.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dm-targets/table/device_number.h"
#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::dm {

struct Flakey {
  static constexpr std::string_view kType = "flakey";
  static constexpr uint32_t kChanceMax = 1'000'000'000;  // of random_*: certain

  enum class Direction { kRead, kWrite };
  // Replaces one byte of every request of that direction whose flags include all of `flags`.
  struct CorruptByte {
    uint32_t nth = 1;  // from 1, in the data of the request
    Direction direction = Direction::kRead;
    uint8_t value = 0;
    uint32_t flags = 0;  // of bio->bi_opf; these numbers differ between kernels
    bool operator==(const CorruptByte&) const = default;
  };

  Sectors start = {};
  Sectors length = {};
  DeviceNumber device = {};
  Sectors offset = {};
  // Seconds, counted from the moment the table is loaded, up first. 0 and 1: always down.
  uint32_t up_s = 0;
  uint32_t down_s = 1;
  // Without any of these every request fails while it is down.
  bool error_reads = false;
  bool drop_writes = false;   // are reported as done; so are flushes
  bool error_writes = false;  // flushes fail too
  std::optional<CorruptByte> corrupt_byte = {};
  // Chances in 1e9 that a random byte is replaced; 0: never. The kernel throws the dice: no seed
  // of ours is in them.
  uint32_t random_read_corrupt = 0;
  uint32_t random_write_corrupt = 0;

  bool operator==(const Flakey&) const = default;
  bool HasFeatures() const;
  std::string Parameters() const;  // "254:0 0 0 1 1 drop_writes"
  std::string Line() const;
  static Result<Flakey> Parse(std::string_view line);

  // Features that the kernel refuses together, and intervals that it refuses. A user error.
  Status Check() const;

  // The one form of what means the same: newer kernels report a target without features as one
  // with error_reads and error_writes.
  Flakey Canonical() const;
};

}  // namespace plugpull::dm
