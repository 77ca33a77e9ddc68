// SPDX-License-Identifier: Apache-2.0
#include "vm/kernels/kernel_image.h"

#include <cstring>

namespace plugpull::vm {
namespace {

constexpr size_t kMagicOffset = 0x202;
constexpr char kMagic[] = "HdrS";
constexpr size_t kVersionPointerOffset = 0x20e;  // u16, relative to kVersionBase
constexpr size_t kVersionBase = 0x200;
constexpr size_t kVersionBytesMax = 512;

}  // namespace

Result<std::string> BzImageRelease(std::span<const uint8_t> image) {
  if (image.size() < kVersionPointerOffset + 2 ||
      std::memcmp(image.data() + kMagicOffset, kMagic, 4) != 0) {
    return UserError("no x86 kernel image (bzImage): the setup header's magic is missing");
  }
  const size_t pointer = image[kVersionPointerOffset] | image[kVersionPointerOffset + 1] << 8;
  const size_t start = kVersionBase + pointer;
  std::string release;
  for (size_t at = start; pointer != 0 && at < image.size() && at < start + kVersionBytesMax;
       ++at) {
    const char c = static_cast<char>(image[at]);
    if (c == ' ' || c == '\0') return release;
    if (c < '!' || c > '~' || c == '/') break;
    release.push_back(c);
  }
  return UserError("the kernel image does not say its release");
}

}  // namespace plugpull::vm
