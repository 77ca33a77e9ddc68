// SPDX-License-Identifier: Apache-2.0
// Which modules to load, and in what order. Pure but for ReadModule.
// Formats: modules.dep(5), modules.builtin.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::vm {

// "dm-log-writes", from "kernel/drivers/md/dm-log-writes.ko.xz", with '_' for '-': the kernel does
// not tell them apart.
std::string ModuleName(std::string_view path);

struct ModuleIndex {
  std::map<std::string, std::string> path;                  // by name; relative to the folder
  std::map<std::string, std::vector<std::string>> depends;  // by path, as the file has them
  std::set<std::string> builtin;                            // names
};

// `modules_dep` and `modules_builtin` are the contents of the files. An environment error when a
// line of modules.dep has no colon.
Result<ModuleIndex> ParseModuleIndex(std::string_view modules_dep,
                                     std::string_view modules_builtin);

// Paths, each behind all that it depends on. Wanted modules that are built in or that the kernel
// does not have are left out. An environment error when modules.dep names a file that it does not
// list, or goes in circles.
Result<std::vector<std::string>> ResolveModules(const ModuleIndex& index,
                                                const std::vector<std::string>& wanted);

// The module file as the kernel takes it: .xz, .zst and .gz are unpacked here.
Result<std::string> ReadModule(const std::string& path);

}  // namespace plugpull::vm
