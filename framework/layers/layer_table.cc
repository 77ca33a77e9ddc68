// SPDX-License-Identifier: Apache-2.0
#include "framework/layers/layer_table.h"

#include <fmt/format.h>

namespace plugpull::layers {
namespace {

template <typename T>
SectorRange Range(const T& layer) {
  return {Sectors(layer.first_sector()), Sectors(layer.sectors())};
}

dm::Flakey FlakeyTarget(const FlakeyLayer& layer) {
  dm::Flakey target;
  target.up_s = layer.up_s();
  target.down_s = layer.down_s();
  target.error_reads = layer.error_reads();
  target.drop_writes = layer.drop_writes();
  target.error_writes = layer.error_writes();
  if (layer.has_corrupt_byte()) {
    const CorruptByte& corrupt = layer.corrupt_byte();
    target.corrupt_byte = {corrupt.nth(),
                           corrupt.direction() == CorruptByte::READ ? dm::Flakey::Direction::kRead
                                                                    : dm::Flakey::Direction::kWrite,
                           static_cast<uint8_t>(corrupt.value()), corrupt.flags()};
  }
  target.random_read_corrupt = layer.random_read_corrupt();
  target.random_write_corrupt = layer.random_write_corrupt();
  // In the words that every kernel knows.
  dm::Flakey plain = target;
  plain.error_reads = plain.error_writes = false;
  return plain.Canonical() == target ? plain : target;
}

// The target of the range.
dm::Target TargetOf(const Layer& layer, Sectors start, Sectors length, dm::DeviceNumber below,
                    Sectors offset) {
  switch (layer.kind_case()) {
    case Layer::kFlakey: {
      dm::Flakey target = FlakeyTarget(layer.flakey());
      target.start = start;
      target.length = length;
      target.device = below;
      target.offset = offset;
      return target;
    }
    case Layer::kError:
      return dm::ErrorTarget{start, length};
    case Layer::kZero:
      return dm::Zero{start, length};
    case Layer::kDelay: {
      const DelayLayer& delay = layer.delay();
      const auto leg = [&](uint32_t ms) { return dm::Delay::Leg{below, offset, ms}; };
      return dm::Delay{start, length, leg(delay.read_ms()), leg(delay.write_ms()),
                       leg(delay.flush_ms())};
    }
    default:
      return dm::Linear{start, length, below, offset};
  }
}

}  // namespace

bool IsMapped(const Layer& layer) {
  switch (layer.kind_case()) {
    case Layer::kLinear:
    case Layer::kDropBarriers:
    case Layer::kFlakey:
    case Layer::kError:
    case Layer::kDelay:
    case Layer::kZero:
      return true;
    default:
      return false;
  }
}

Layer LayerOf(const FaultStep& fault) {
  Layer layer;
  switch (fault.to_case()) {
    case FaultStep::kFlakey:
      *layer.mutable_flakey() = fault.flakey();
      break;
    case FaultStep::kError:
      *layer.mutable_error() = fault.error();
      break;
    case FaultStep::kDelay:
      *layer.mutable_delay() = fault.delay();
      break;
    case FaultStep::kZero:
      *layer.mutable_zero() = fault.zero();
      break;
    case FaultStep::kLinear:
    case FaultStep::TO_NOT_SET:
      layer.mutable_linear();
      break;
  }
  return layer;
}

SectorRange RangeOf(const Layer& layer) {
  switch (layer.kind_case()) {
    case Layer::kFlakey:
      return Range(layer.flakey());
    case Layer::kError:
      return Range(layer.error());
    case Layer::kDelay:
      return Range(layer.delay());
    case Layer::kZero:
      return Range(layer.zero());
    default:
      return {};
  }
}

Result<dm::Table> MappedTable(const Layer& layer, Sectors length, dm::DeviceNumber below,
                              Sectors offset) {
  if (!IsMapped(layer)) {
    return UserError(fmt::format("a layer {} has no table of this kind", LayerWord(layer)));
  }
  SectorRange range = RangeOf(layer);
  if (range.first >= length || range.length > length - range.first) {
    return UserError(fmt::format(
        "layer {}: sectors {} to {} are asked for, and the layer has {} (its last one is {})",
        LayerWord(layer), range.first.value,
        range.length.value == 0 ? "the end"
                                : std::to_string(range.first.value + range.length.value - 1),
        length.value, length.value - 1));
  }
  if (range.length.value == 0) range.length = length - range.first;
  const Sectors end = range.first + range.length;
  dm::Table table;
  if (range.first.value > 0) {
    table.emplace_back(dm::Linear{Sectors(0), range.first, below, offset});
  }
  table.push_back(TargetOf(layer, range.first, range.length, below, offset + range.first));
  if (end < length) table.emplace_back(dm::Linear{end, length - end, below, offset + end});
  PP_RETURN_IF_ERROR(dm::Validate(table));
  return table;
}

std::string UnsupportedLayer(const Layer& layer, const dm::KernelRelease& kernel) {
  return dm::Unsupported(TargetOf(layer, Sectors(0), Sectors(1), {}, Sectors(0)), kernel);
}

std::string LayerWord(const Layer& layer) {
  const auto* field = Layer::GetReflection()->GetOneofFieldDescriptor(
      layer, Layer::descriptor()->FindOneofByName("kind"));
  return field == nullptr ? "empty" : field->name();
}

}  // namespace plugpull::layers
