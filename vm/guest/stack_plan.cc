// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/stack_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/layers/layer_table.h"

namespace plugpull::guest {
namespace {

constexpr uint64_t kSizeSectorsMax = uint64_t{1} << 50;

bool IsDiskName(const std::string& name) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto allowed = [&](char c) { return lower(c) || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= kDiskNameBytesMax && lower(name.front()) &&
         std::all_of(name.begin(), name.end(), allowed);
}

Status ValidateRequest(const SetUpDisk& request) {
  if (!IsDiskName(request.disk())) {
    return UserError(
        fmt::format("the disk name \"{}\" must be 1 to {} lower-case letters, digits "
                    "and -, first a letter",
                    request.disk(), kDiskNameBytesMax));
  }
  if (request.data_serial().empty()) {
    return UserError(fmt::format("disk {} has no serial to be found by", request.disk()));
  }
  if (static_cast<size_t>(request.layer_size()) > kLayersMax) {
    return UserError(fmt::format("disk {} has {} layers, the limit is {}", request.disk(),
                                 request.layer_size(), kLayersMax));
  }
  if (request.size_sectors() == 0 || request.size_sectors() > kSizeSectorsMax ||
      request.strip_sectors() > kSizeSectorsMax) {
    return UserError(fmt::format("disk {}: {} sectors and a strip of {}; 1 to {} are possible",
                                 request.disk(), request.size_sectors(), request.strip_sectors(),
                                 kSizeSectorsMax));
  }
  const auto logs =
      std::count_if(request.layer().begin(), request.layer().end(),
                    [](const GuestLayer& layer) { return layer.kind() == GuestLayer::LOG_WRITES; });
  if (logs > 1)
    return UserError(fmt::format("disk {} has {} log_writes layers, at most one is possible",
                                 request.disk(), logs));
  if ((logs == 1) == request.log_serial().empty()) {
    return UserError(fmt::format("disk {} has {} log_writes layer, and its log_serial is \"{}\"",
                                 request.disk(), logs == 1 ? "a" : "no", request.log_serial()));
  }
  const bool strip_fits = request.strip_sectors() >= kStripSectorsMin.value;
  if (!strip_fits && (logs == 1 || request.strip_sectors() != 0)) {
    return UserError(fmt::format("disk {} has a mark strip of {} sectors, {} are needed",
                                 request.disk(), request.strip_sectors(), kStripSectorsMin.value));
  }
  return OkStatus();
}

// Builds the plan from the bottom up.
class Planner {
 public:
  explicit Planner(const SetUpDisk& request)
      : prefix_(fmt::format("{}{}-", dm::kNamePrefix, request.disk())),
        size_(request.size_sectors()),
        strip_(request.strip_sectors()),
        length_(size_ + strip_) {
    plan_.disk_size = length_;
  }

  void AddLinear(int layer, bool write_through) {
    auto& device = AddLayer(layer, PlannedDevice::Kind::kLinear);
    device.write_through = write_through;
  }

  void AddLogWrites(int layer) {
    auto& device = Add("log", PlannedDevice::Kind::kLogWrites, Sectors(0), length_);
    device.request_layer = static_cast<size_t>(layer);
    plan_.top = plan_.log = plan_.devices.size() - 1;
  }

  // A layer that the scenario describes; its table is tried with a device that stands for those
  // below.
  Status AddDescribed(int number, const GuestLayer& layer, PlannedDevice::Kind kind) {
    if (!plan_.log) plan_.disk_is_image = false;
    auto& device = AddLayer(number, kind);
    device.layer = layer.layer();
    device.serials.assign(layer.serial().begin(), layer.serial().end());
    const auto named = static_cast<size_t>(kind == PlannedDevice::Kind::kStriped
                                               ? device.layer.striped().disk_size()
                                               : kind == PlannedDevice::Kind::kSnapshot);
    if (device.serials.size() != named) {
      return UserError(fmt::format("layer {} names {} disks and has {} serials", number, named,
                                   device.serials.size()));
    }
    if (kind == PlannedDevice::Kind::kMapped) {
      const auto table = layers::MappedTable(device.layer, device.length, {}, Sectors(0));
      return table.ok() ? OkStatus() : Status(table.error());
    }
    return dm::Validate(device.TableOn({}, {}, std::vector<dm::DeviceNumber>(named)));
  }

  // The strip and the file system's part, both on what is the top now. In this order, so that
  // taking down a disk that is still mounted stops at the file system's part and leaves the strip
  // usable.
  void Split() {
    Add("mark", PlannedDevice::Kind::kLinear, size_, strip_);
    plan_.mark = plan_.devices.size() - 1;
    Add("fs", PlannedDevice::Kind::kLinear, Sectors(0), size_);
    plan_.top = plan_.fs = plan_.devices.size() - 1;
    length_ = size_;
  }

  StackPlan Take() { return std::move(plan_); }

 private:
  PlannedDevice& AddLayer(int layer, PlannedDevice::Kind kind) {
    auto& device = Add(fmt::format("layer{}", layer), kind, Sectors(0), length_);
    device.request_layer = static_cast<size_t>(layer);
    plan_.top = plan_.devices.size() - 1;
    return device;
  }

  PlannedDevice& Add(const std::string& suffix, PlannedDevice::Kind kind, Sectors offset,
                     Sectors length) {
    PlannedDevice device;
    device.name = prefix_ + suffix;
    device.kind = kind;
    device.on = plan_.top;
    device.offset = offset;
    device.length = length;
    plan_.devices.push_back(std::move(device));
    return plan_.devices.back();
  }

  StackPlan plan_;
  std::string prefix_;
  Sectors size_;
  Sectors strip_;
  Sectors length_;  // of the next layer
};

}  // namespace

dm::Table PlannedDevice::TableOn(dm::DeviceNumber below, dm::DeviceNumber log,
                                 const std::vector<dm::DeviceNumber>& others) const {
  switch (kind) {
    case Kind::kLogWrites:
      return {dm::LogWrites{Sectors(0), length, below, log}};
    case Kind::kMapped: {
      const auto table = layers::MappedTable(layer, length, below, offset);
      PP_CHECK(table.ok());  // tried when it was planned
      return *table;
    }
    case Kind::kStriped: {
      dm::Striped striped{
          Sectors(0), length, ToSectors(Bytes(uint64_t{layer.striped().chunk_kib()} << 10)), {}};
      striped.stripes.push_back({below, Sectors(0)});
      for (const auto& other : others) striped.stripes.push_back({other, Sectors(0)});
      return {striped};
    }
    case Kind::kSnapshot:
      PP_CHECK(others.size() == 1);
      return {dm::Snapshot{Sectors(0), length, below, others[0],
                           ToSectors(Bytes(uint64_t{layer.snapshot().chunk_kib()} << 10))}};
    case Kind::kLinear:
      break;
  }
  return {dm::Linear{Sectors(0), length, below, offset}};
}

bool PlannedDevice::Swappable() const {
  return request_layer && (kind == Kind::kLinear || kind == Kind::kMapped);
}

Result<StackPlan> PlanStack(const SetUpDisk& request) {
  PP_RETURN_IF_ERROR(ValidateRequest(request));
  Planner planner(request);
  if (request.log_serial().empty() && request.strip_sectors() > 0) planner.Split();
  for (int i = 0; i < request.layer_size(); ++i) {
    switch (request.layer(i).kind()) {
      case GuestLayer::LINEAR:
        planner.AddLinear(i, false);
        break;
      case GuestLayer::DROP_BARRIERS:
        planner.AddLinear(i, true);
        break;
      case GuestLayer::LOG_WRITES:
        planner.AddLogWrites(i);
        planner.Split();
        break;
      case GuestLayer::MAPPED:
        PP_RETURN_IF_ERROR(planner.AddDescribed(i, request.layer(i), PlannedDevice::Kind::kMapped));
        break;
      case GuestLayer::STRIPED:
        if (i != 0) {
          return UserError(
              fmt::format("disk {}: layer {} is striped; only the first layer stands "
                          "on disks",
                          request.disk(), i));
        }
        PP_RETURN_IF_ERROR(
            planner.AddDescribed(i, request.layer(i), PlannedDevice::Kind::kStriped));
        break;
      case GuestLayer::SNAPSHOT:
        PP_RETURN_IF_ERROR(
            planner.AddDescribed(i, request.layer(i), PlannedDevice::Kind::kSnapshot));
        break;
      default:
        return UserError(fmt::format("disk {}: layer {} has the unknown kind {}", request.disk(), i,
                                     static_cast<int>(request.layer(i).kind())));
    }
  }
  return planner.Take();
}

}  // namespace plugpull::guest
