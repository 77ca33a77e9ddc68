// SPDX-License-Identifier: Apache-2.0
// What a bzImage says about itself. Source: Documentation/arch/x86/boot.rst of the kernel.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "framework/base/result.h"

namespace plugpull::vm {

// The release ("6.1.0-50-cloud-amd64", as uname -r). A user error when the bytes are no bzImage.
Result<std::string> BzImageRelease(std::span<const uint8_t> image);

}  // namespace plugpull::vm
