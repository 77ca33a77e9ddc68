// SPDX-License-Identifier: Apache-2.0
// Which device-mapper devices a disk of a scenario is made of, decided before any is made. Pure.
//
//   /dev/vdX             size + strip sectors
//   pp-DISK-layerN       layers below log_writes, as long as the disk
//   pp-DISK-log          log_writes, as long as the disk
//   pp-DISK-mark         the mark strip: sectors [size, size + strip)
//   pp-DISK-fs           what the file system gets: sectors [0, size)
//   pp-DISK-layerN       layers above log_writes, on pp-DISK-fs
//
// A striped layer takes the place of the disk; a snapshot is a layer like any other.
// N is the layer's position in the request, from 0. fs and mark stand on log_writes, or directly
// on the disk when there is a strip and no log_writes. Without either, the disk itself and layers
// as long as it are all there is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dm-targets/table/table.h"
#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/proto/guest.pb.h"

namespace plugpull::guest {

inline constexpr size_t kLayersMax = 8;
inline constexpr size_t kDiskNameBytesMax = 16;
// A mark is one block of the device, which may have 4096 bytes.
inline constexpr Sectors kStripSectorsMin{8};

struct PlannedDevice {
  enum class Kind { kLinear, kLogWrites, kMapped, kStriped, kSnapshot };

  std::string name;  // "pp-vol-log"
  Kind kind = Kind::kLinear;
  std::optional<size_t> on;  // position in the plan of the device below; nothing: the disk
  Sectors offset;            // in the device below
  Sectors length;
  bool write_through = false;
  std::optional<size_t> request_layer = {};  // its position in the request; nothing: ours
  Layer layer = {};                          // of kMapped, kStriped, kSnapshot
  std::vector<std::string> serials = {};     // of the disks that `layer` names

  // Its table, once the numbers of the devices below are known. `log` is used by kLogWrites only,
  // `others` are the disks of `serials`.
  dm::Table TableOn(dm::DeviceNumber below, dm::DeviceNumber log,
                    const std::vector<dm::DeviceNumber>& others = {}) const;
  // Whether it can be given another table; see layers::IsMapped.
  bool Swappable() const;
};

struct StackPlan {
  Sectors disk_size;                   // that the disk must have
  std::vector<PlannedDevice> devices;  // each stands on an earlier one, or on the disk
  std::optional<size_t> log;           // positions in `devices`
  std::optional<size_t> fs;
  std::optional<size_t> mark;
  std::optional<size_t> top;  // nothing: the disk itself
  // What stands between log_writes and the disk, or, without log_writes, all of it, may show other
  // bytes than the disk holds.
  bool disk_is_image = true;
};

// A user error names the field that is wrong.
Result<StackPlan> PlanStack(const SetUpDisk& request);

}  // namespace plugpull::guest
