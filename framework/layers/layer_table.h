// SPDX-License-Identifier: Apache-2.0
// What the layers of a scenario are in terms of device-mapper. Used by the validator on the host
// and by the guest alike, so that what is refused is what could not be built. Pure, thread-safe.
#pragma once

#include <optional>
#include <string>

#include "dm-targets/table/support.h"
#include "dm-targets/table/table.h"
#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/proto/scenario.pb.h"

namespace plugpull::layers {

// A layer that a fault can turn into another one: linear, drop_barriers, flakey, error, delay,
// zero.
bool IsMapped(const Layer& layer);

// The layer that a fault turns one into.
Layer LayerOf(const FaultStep& fault);

// Of flakey, error, delay and zero: which sectors of the layer are other than linear.
struct SectorRange {
  Sectors first;
  Sectors length;  // 0: to the end
};
SectorRange RangeOf(const Layer& layer);

// The table of a mapped layer of this length on `below`, from `offset` on. A user error when its
// range does not lie within the layer, or when no kernel would take it.
Result<dm::Table> MappedTable(const Layer& layer, Sectors length, dm::DeviceNumber below,
                              Sectors offset);

// What a kernel lacks for a mapped layer, as dm::Unsupported says it; empty: nothing.
std::string UnsupportedLayer(const Layer& layer, const dm::KernelRelease& kernel);

// "flakey", "drop_barriers"; "empty" for a layer without a kind.
std::string LayerWord(const Layer& layer);

}  // namespace plugpull::layers
