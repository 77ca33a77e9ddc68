// SPDX-License-Identifier: Apache-2.0
// What PID 1 does before it can talk: kernel file systems, modules, console, environment.
// Guest only; one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::guest {

// Modules to load, one absolute path a line in the order of their dependencies; empty lines and
// lines that begin with '#' are skipped. Written by the host when it makes the initramfs.
inline constexpr char kModuleListPath[] = "/etc/plugpull/modules";
inline constexpr size_t kModulesMax = 256;

// The paths in a module list; an environment error for a relative path or more than kModulesMax.
Result<std::vector<std::string>> ParseModuleList(std::string_view text);

// Mounts proc, sysfs, devtmpfs, devpts, and tmpfs on /run and /tmp. What is mounted already (a
// kernel with CONFIG_DEVTMPFS_MOUNT) is left alone.
Status MountKernelFileSystems();

// Makes /dev/console descriptors 0, 1 and 2. Needs /dev.
Status OpenConsole();

// PATH with the sbin folders, HOME and TERM, for all children.
void SetEnvironment();

// Loads all that kModuleListPath lists and returns the first problem. A module that is there
// already is none, nor is one for hardware that is not there, nor a missing list: the kernel may
// have all built in.
Status LoadModules();

// Makes the kernel's housekeeping rarer: each of its timers is a moment at which a warped clock
// stops, and there are four of them a second. What a kernel does not have stays as it is.
void QuietHousekeeping();

// One line on the console, for whoever reads the console log: "plugpull-guest: TEXT".
void ConsoleLine(std::string_view text);

}  // namespace plugpull::guest
