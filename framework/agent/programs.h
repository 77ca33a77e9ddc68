// SPDX-License-Identifier: Apache-2.0
// What the programs that agents start do to a disk, by their names and arguments (their manual
// pages). For this folder only.
#pragma once

#include <string>

#include "framework/proto/agent.pb.h"

namespace plugpull::agent {

// Puts something else in the place of what the disk holds.
bool Overwrites(const ProgramRun& run);
// A check of a file system that may write.
bool Repairs(const ProgramRun& run);
// A check of a file system, whether it may write or not.
bool Checks(const ProgramRun& run);
// What an attempt to make a disk usable is counted as, mounts aside: "fsck" and "mkfs" whatever the
// program is called, else the name of a program that overwrites. Empty: the run is none; one that
// only looks (blkid, lsblk) never is.
std::string AttemptName(const ProgramRun& run);
// "blkid" of "/sbin/blkid".
std::string ProgramName(const ProgramRun& run);

}  // namespace plugpull::agent
