// SPDX-License-Identifier: Apache-2.0
// Writes a dm-log-writes log into memory: for tests, slices and conversions.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "framework/base/units.h"

namespace plugpull::blocklog {

class LogWriter {
 public:
  // `sector_bytes`: a power of two from 512 to 65536.
  explicit LogWriter(uint32_t sector_bytes = 512);

  // Offset and length in whole log sectors. `flags`: of format.h, without discard and mark.
  void Write(Bytes offset, std::span<const uint8_t> data, uint64_t flags = 0);
  void Flush();
  void Discard(Bytes offset, Bytes length);
  void Mark(std::string_view text);

  // The whole log so far, nr_entries included.
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  void Append(uint64_t sector, uint64_t sectors, uint64_t flags, uint64_t data_bytes,
              std::span<const uint8_t> in_header, std::span<const uint8_t> data);
  uint32_t sector_bytes_;
  std::vector<uint8_t> bytes_;
};

}  // namespace plugpull::blocklog
