// SPDX-License-Identifier: Apache-2.0
#include "framework/recording/compress.h"

#include <fmt/format.h>
#include <zstd.h>

namespace plugpull::recording {
namespace {

constexpr int kLevel = 3;

}  // namespace

Result<std::vector<uint8_t>> Compress(std::span<const uint8_t> bytes) {
  std::vector<uint8_t> compressed(ZSTD_compressBound(bytes.size()));
  const size_t size =
      ZSTD_compress(compressed.data(), compressed.size(), bytes.data(), bytes.size(), kLevel);
  if (ZSTD_isError(size) != 0) {
    return InternalError(
        fmt::format("zstd cannot compress {} bytes: {}", bytes.size(), ZSTD_getErrorName(size)));
  }
  compressed.resize(size);
  return compressed;
}

Result<std::vector<uint8_t>> Decompress(std::span<const uint8_t> compressed, Bytes size) {
  const unsigned long long claimed = ZSTD_getFrameContentSize(compressed.data(), compressed.size());
  if (claimed != size.value) {  // before so much memory is asked for
    return UserError(
        claimed >= ZSTD_CONTENTSIZE_ERROR
            ? std::string("damaged zstd data: its header is not whole")
            : fmt::format("zstd data of {} bytes where {} were recorded", claimed, size.value));
  }
  std::vector<uint8_t> bytes(size.value);
  const size_t got =
      ZSTD_decompress(bytes.data(), bytes.size(), compressed.data(), compressed.size());
  if (ZSTD_isError(got) != 0) {
    return UserError(fmt::format("damaged zstd data: {}", ZSTD_getErrorName(got)));
  }
  if (got != size.value) {
    return UserError(fmt::format("zstd data of {} bytes where {} were recorded", got, size.value));
  }
  return bytes;
}

}  // namespace plugpull::recording
