// SPDX-License-Identifier: Apache-2.0
// How a disk was mounted while it was recorded: by the mount steps of the scenario, on top of what
// the file system itself asks of every mount.
#pragma once

#include <set>
#include <span>
#include <string>

#include "framework/ext4/superblock.h"
#include "framework/proto/scenario.pb.h"

namespace plugpull::run {

struct MountUse {
  // data= of all mounts. Empty: not known, for there is no scenario; or a mount does not say it,
  // and the base has no file system whose defaults could be asked.
  std::set<ext4::DataMode> data_modes;
  bool nobarrier = false;  // a mount had it
};

// `scenario` may be null: for a log that is nobody's. `base`: the disk before the first mount.
// Mounts that had to fail count for nothing. Later options win over earlier ones, and all over the
// superblock's (s_default_mount_opts, s_mount_opts).
MountUse MountUseOf(const Scenario* scenario, const std::string& disk,
                    std::span<const uint8_t> base);

}  // namespace plugpull::run
