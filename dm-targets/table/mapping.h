// SPDX-License-Identifier: Apache-2.0
// Targets that say where a request goes, and when: linear, striped, delay, error, zero.
// Sources: Documentation/admin-guide/device-mapper/{linear,striped,delay,zero}.rst and the status
// functions in drivers/md/dm-{linear,stripe,delay,target,zero}.c of the kernel.
// Pure, thread-safe. Parse gives user errors.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dm-targets/table/device_number.h"
#include "framework/base/result.h"
#include "framework/base/units.h"

namespace plugpull::dm {

// Hands everything through to `device`, from `offset` on.
struct Linear {
  static constexpr std::string_view kType = "linear";

  Sectors start;  // in the mapped device
  Sectors length;
  DeviceNumber device;
  Sectors offset;  // in `device`

  bool operator==(const Linear&) const = default;
  std::string Parameters() const;  // "254:0 2048"
  std::string Line() const;        // "0 8192 linear 254:0 2048"
  static Result<Linear> Parse(std::string_view line);
};

// Deals chunks to several devices in turn. The length must be a multiple of the chunk times the
// number of stripes; dm::Validate says so before the kernel does.
struct Striped {
  static constexpr std::string_view kType = "striped";
  static constexpr size_t kStripesMax = 64;
  struct Stripe {
    DeviceNumber device;
    Sectors offset;
    bool operator==(const Stripe&) const = default;
  };

  Sectors start;
  Sectors length;
  Sectors chunk;
  std::vector<Stripe> stripes;

  bool operator==(const Striped&) const = default;
  std::string Parameters() const;  // "2 128 254:0 0 254:16 0"
  std::string Line() const;
  static Result<Striped> Parse(std::string_view line);
};

// Linear, and late: each kind of request goes on after its delay. Without `write`, writes and
// flushes are treated as reads are; without `flush`, flushes as writes are.
struct Delay {
  static constexpr std::string_view kType = "delay";
  static constexpr uint32_t kDelayMsMax = 3'600'000;
  struct Leg {
    DeviceNumber device;
    Sectors offset;
    uint32_t delay_ms = 0;
    bool operator==(const Leg&) const = default;
  };

  Sectors start;
  Sectors length;
  Leg read;
  std::optional<Leg> write;
  std::optional<Leg> flush;  // only with `write`

  bool operator==(const Delay&) const = default;
  std::string Parameters() const;  // "254:0 0 5 254:0 0 6 254:0 0 7"
  std::string Line() const;
  static Result<Delay> Parse(std::string_view line);
};

// Fails every request. The kernel takes a device and an offset here, for their limits, and does
// not report them; they are neither built nor parsed.
struct ErrorTarget {
  static constexpr std::string_view kType = "error";

  Sectors start;
  Sectors length;

  bool operator==(const ErrorTarget&) const = default;
  std::string Parameters() const { return {}; }
  std::string Line() const;  // "0 8192 error"
  static Result<ErrorTarget> Parse(std::string_view line);
};

// Reads as zeroes; what is written is forgotten.
struct Zero {
  static constexpr std::string_view kType = "zero";

  Sectors start;
  Sectors length;

  bool operator==(const Zero&) const = default;
  std::string Parameters() const { return {}; }
  std::string Line() const;  // "0 8192 zero"
  static Result<Zero> Parse(std::string_view line);
};

}  // namespace plugpull::dm
