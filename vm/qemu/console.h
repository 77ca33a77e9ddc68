// SPDX-License-Identifier: Apache-2.0
// What a console log says about a guest's end. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace plugpull::vm {

// The kernel's line about its panic, from "Kernel panic" on; nothing when there is none.
std::optional<std::string> FindPanic(std::string_view console);

// The last `count` lines that are not empty, each indented by two spaces and ended by a newline.
// Bytes that do not print are shown as '.'.
std::string LastLines(std::string_view console, size_t count);

}  // namespace plugpull::vm
