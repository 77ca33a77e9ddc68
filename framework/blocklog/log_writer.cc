// SPDX-License-Identifier: Apache-2.0
#include "framework/blocklog/log_writer.h"

#include <bit>
#include <cstring>

#include "framework/base/check.h"
#include "framework/blocklog/format.h"

namespace plugpull::blocklog {
namespace {

void PutU64(uint8_t* at, uint64_t value) { std::memcpy(at, &value, sizeof value); }

}  // namespace

LogWriter::LogWriter(uint32_t sector_bytes) : sector_bytes_(sector_bytes), bytes_(sector_bytes) {
  PP_CHECK(std::has_single_bit(sector_bytes) && sector_bytes >= kSectorBytesMin &&
           sector_bytes <= kSectorBytesMax);
  PutU64(bytes_.data(), kLogMagic);
  PutU64(bytes_.data() + 8, kLogVersion);
  std::memcpy(bytes_.data() + 24, &sector_bytes, sizeof sector_bytes);
}

void LogWriter::Append(uint64_t sector, uint64_t sectors, uint64_t flags, uint64_t data_bytes,
                       std::span<const uint8_t> in_header, std::span<const uint8_t> data) {
  const size_t at = bytes_.size();
  PP_CHECK(kEntryHeaderBytes + in_header.size() <= sector_bytes_);
  bytes_.resize(at + sector_bytes_);
  PutU64(&bytes_[at], sector);
  PutU64(&bytes_[at + 8], sectors);
  PutU64(&bytes_[at + 16], flags);
  PutU64(&bytes_[at + 24], data_bytes);
  std::copy(in_header.begin(), in_header.end(),
            bytes_.begin() + static_cast<ptrdiff_t>(at + kEntryHeaderBytes));
  bytes_.insert(bytes_.end(), data.begin(), data.end());
  uint64_t entries;
  std::memcpy(&entries, bytes_.data() + 16, sizeof entries);
  PutU64(bytes_.data() + 16, entries + 1);
}

void LogWriter::Write(Bytes offset, std::span<const uint8_t> data, uint64_t flags) {
  PP_CHECK(offset.value % sector_bytes_ == 0 && data.size() % sector_bytes_ == 0);
  PP_CHECK((flags & (kFlagDiscard | kFlagMark)) == 0);
  Append(offset.value / sector_bytes_, data.size() / sector_bytes_, flags, data.size(), {}, data);
}

void LogWriter::Flush() { Append(0, 0, kFlagFlush, 0, {}, {}); }

void LogWriter::Discard(Bytes offset, Bytes length) {
  PP_CHECK(offset.value % sector_bytes_ == 0 && length.value % sector_bytes_ == 0);
  Append(offset.value / sector_bytes_, length.value / sector_bytes_, kFlagDiscard, 0, {}, {});
}

void LogWriter::Mark(std::string_view text) {
  Append(0, 0, kFlagMark, text.size(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()},
         {});
}

}  // namespace plugpull::blocklog
