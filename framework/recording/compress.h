// SPDX-License-Identifier: Apache-2.0
// zstd (RFC 8878) of whole files, bounded.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::recording {

Result<std::vector<uint8_t>> Compress(std::span<const uint8_t> bytes);

// A user error when the input is damaged, or gives other than exactly `size` bytes.
Result<std::vector<uint8_t>> Decompress(std::span<const uint8_t> compressed, Bytes size);

}  // namespace plugpull::recording
