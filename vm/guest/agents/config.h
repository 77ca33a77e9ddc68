// SPDX-License-Identifier: Apache-2.0
// What the agent is told to keep mounted, and how patient it is. A plain text file, one "KEY VALUE"
// a line, # begins a comment:
//
//   state_folder /var/lib/agent     where it remembers what it has given up; required
//   attempts_max 5                  limits before the first volume hold for all of them,
//   volume pvc-0001                 behind a volume for that one
//   target /data
//   option noatime
//
// README.md lists all keys.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::agents {

inline constexpr size_t kConfigBytesMax = 64u << 10;
inline constexpr size_t kVolumesMax = 64;
inline constexpr size_t kOptionsMax = 32;

// How long the agent tries.
struct Limits {
  uint32_t attempts_max = 5;       // failures until it gives up
  Millis delay_first{2'000};       // wait after the first failure; doubled after each one behind it
  Millis delay_max{60'000};        // no wait is longer
  uint32_t jitter_permille = 200;  // so much of a wait, at most, is left out by chance; up to 400
  // A mount that holds for so long wipes out the failures before it. One that does not is one.
  Millis stable{60'000};
  uint32_t unmount_tries = 6;       // of a busy mount
  Millis unmount_delay_first{250};  // between two of them; doubled each time
  Millis unmount_delay_max{2'000};
};

struct Volume {
  // Of the disk: what it is known by. Of a device-mapper device "dm:" and its name.
  std::string serial;
  std::string target;                // mount point, absolute and without links
  std::string type = "ext4";         // ext2, ext3 or ext4
  std::vector<std::string> options;  // mount options that must be in force
  // A folder that `unmount` removes with all that is in it, the target too; never what is on
  // another file system. Empty: none.
  std::string workspace;
  bool may_format = false;         // a blank disk may be given a file system
  uint64_t scan_mib_max = 16'384;  // a larger disk is never said to be blank
  Limits limits;
};

struct Config {
  std::string state_folder;
  std::string alert_file;  // gets every alert too; empty: only stderr does
  Millis poll{1'000};      // how often it looks
  // How long a disk is let alone before it is touched.
  Millis settle{0};
  uint64_t seed = 0;  // of the jitter; 0: another one in every run
  std::vector<Volume> volumes;
};

// User errors name the line, the value and the bound.
Result<Config> ParseConfig(std::string_view text);

}  // namespace plugpull::agents
