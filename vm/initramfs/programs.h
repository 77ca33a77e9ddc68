// SPDX-License-Identifier: Apache-2.0
// Programs of the host for the guest: where they are, and what they need to start.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::vm {

// What the first bytes of a file ask for: the loader of a dynamic ELF program, the interpreter of
// a script ("#!"); empty for a static program and for anything else. Source: elf(5), execve(2).
// An environment error for an ELF file that is not for x86-64, or is cut short.
Result<std::string> InterpreterOf(std::string_view content);

// Paths of shared objects in what `ld.so --list` printed. An environment error names those that
// were not found.
Result<std::vector<std::string>> ParseLoaderList(std::string_view output);

// The absolute path of a program: an absolute path is taken as it is, a name is looked up in the
// system's own folders and then on PATH. A user error when there is none.
Result<std::string> LocateProgram(const std::string& name_or_path);

// All files that the program at `path` needs beside itself, as absolute paths: its interpreter, its
// shared objects, and theirs. Sorted.
Result<std::vector<std::string>> RequiredFiles(const std::string& path);

}  // namespace plugpull::vm
