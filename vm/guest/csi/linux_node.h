// SPDX-License-Identifier: Apache-2.0
// The machine as it is: bind mounts, statvfs(3), ext4's ioctl and its files in /sys.
#pragma once

#include <string>

#include "vm/guest/csi/node_plugin.h"

namespace plugpull::csi {

class LinuxNode : public NodeSystem {
 public:
  explicit LinuxNode(agents::System& system) : system_(system) {}

  int Bind(const std::string& source, const std::string& target, bool is_file,
           bool read_only) override;
  int RemoveTarget(const std::string& target) override;
  int MeasureUsage(const std::string& path, Usage& usage) override;
  int Grow(const std::string& path, uint64_t size_bytes) override;
  uint64_t ErrorsOf(agents::DeviceNumber device) override;

 private:
  agents::System& system_;
};

}  // namespace plugpull::csi
