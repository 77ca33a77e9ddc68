// SPDX-License-Identifier: Apache-2.0
// dm-snapshot: a view of a device whose changes lie on another one.
// Sources: Documentation/admin-guide/device-mapper/snapshot.rst, and drivers/md/dm-snap.c,
// dm-snap-persistent.c and dm-snap-transient.c of the kernel.
// Pure, thread-safe. Parse gives user errors.
#pragma once

#include <string>
#include <string_view>

#include "dm-targets/table/device_number.h"
#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::dm {

// Shows `origin`, which is never written to through it; what is written goes to `scratch`.
struct Snapshot {
  static constexpr std::string_view kType = "snapshot";
  enum class Kind {
    kTransient,           // N: forgotten with the device
    kPersistent,          // P: kept on `scratch`, which must begin with zeroes when it is new
    kPersistentOverflow,  // PO: kept, and a full `scratch` is told apart from a broken one
  };

  Sectors start = {};  // in the mapped device
  Sectors length = {};
  DeviceNumber origin = {};
  DeviceNumber scratch = {};
  Sectors chunk = {};  // copied at a time, a power of two
  Kind kind = Kind::kTransient;
  bool discard_zeroes_cow = false;
  bool discard_passdown_origin = false;  // only with discard_zeroes_cow

  bool operator==(const Snapshot&) const = default;
  std::string Parameters() const;  // "254:1 254:16 N 16"
  std::string Line() const;        // "0 8192 snapshot 254:1 254:16 N 16"
  static Result<Snapshot> Parse(std::string_view line);
};

// The origin of snapshots, written through so that they keep what was there.
struct SnapshotOrigin {
  static constexpr std::string_view kType = "snapshot-origin";

  Sectors start;
  Sectors length;
  DeviceNumber device;

  bool operator==(const SnapshotOrigin&) const = default;
  std::string Parameters() const;  // "254:1"
  std::string Line() const;
  static Result<SnapshotOrigin> Parse(std::string_view line);
};

// The status line of a snapshot: "ALLOCATED/TOTAL METADATA" in sectors, or a word (source:
// snapshot_status in drivers/md/dm-snap.c).
struct SnapshotStatus {
  enum class State { kUsed, kInvalid, kOverflow, kMergeFailed, kUnknown };

  State state = State::kUsed;
  // Of kUsed only.
  Sectors allocated;
  Sectors total;
  Sectors metadata;

  bool operator==(const SnapshotStatus&) const = default;
  std::string Line() const;
  static Result<SnapshotStatus> Parse(std::string_view line);
};

}  // namespace plugpull::dm
