// SPDX-License-Identifier: Apache-2.0
// Files that the user names to be written.
#pragma once

#include <string>

#include "framework/base/result.h"

namespace plugpull::cli {

// A file that is written in one step replaces what has its name: a user error when that is
// anything but a regular file (a device, a folder, a pipe, /dev/null), and when its folder is none.
Status CheckOutputFile(const std::string& path);

}  // namespace plugpull::cli
