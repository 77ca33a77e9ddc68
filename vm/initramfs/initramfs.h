// SPDX-License-Identifier: Apache-2.0
// The guest's root file system: plugpull's own programs, tools of the host with what they need, and
// the kernel's modules, in one archive. Everything in it is pinned by the archive's content but
// mke2fs's defaults, which are our own: a host's newer mkfs changes nothing.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "vm/kernels/kernels.h"

namespace plugpull::vm {

struct InitramfsOptions {
  Kernel kernel;
  // Where plugpull-guest and plugpull-mark are; empty: GuestProgramsFolder().
  std::string guest_folder;
  // More programs of the host, by name or absolute path; they get the same path in the guest. A
  // name "plugpull-..." is looked for in guest_folder first, and found at /usr/bin in the guest.
  std::vector<std::string> programs;
  std::map<std::string, std::string> files;  // path in the guest -> path on the host
  std::map<std::string, std::string> texts;  // path in the guest -> content
  // By name, without ".ko"; those that the kernel does not have or has built in are left out.
  std::vector<std::string> modules;
};

// What a guest needs for disks, device-mapper layers and ext4.
const std::vector<std::string>& DefaultModules();

// $PLUGPULL_GUEST_DIR, else the folder of the running program.
Result<std::string> GuestProgramsFolder();

// The path of an archive in the cache. It is made when none with the same content is there, and
// stays there at least until eight others have been used since. Safe in several processes. User
// errors for programs and files that are missing; environment errors otherwise.
Result<std::string> BuildInitramfs(const InitramfsOptions& options);

}  // namespace plugpull::vm
