// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/stack_plan.h"

#include <fmt/format.h>

#include <algorithm>

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
    auto& device =
        Add(fmt::format("layer{}", layer), PlannedDevice::Kind::kLinear, Sectors(0), length_);
    device.write_through = write_through;
    plan_.top = plan_.devices.size() - 1;
  }

  void AddLogWrites() {
    Add("log", PlannedDevice::Kind::kLogWrites, Sectors(0), length_);
    plan_.top = plan_.log = plan_.devices.size() - 1;
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

dm::Table PlannedDevice::TableOn(dm::DeviceNumber below, dm::DeviceNumber log) const {
  if (kind == Kind::kLogWrites) return {dm::LogWrites{Sectors(0), length, below, log}};
  return {dm::Linear{Sectors(0), length, below, offset}};
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
        planner.AddLogWrites();
        planner.Split();
        break;
      default:
        return UserError(fmt::format("disk {}: layer {} has the unknown kind {}", request.disk(), i,
                                     static_cast<int>(request.layer(i).kind())));
    }
  }
  return planner.Take();
}

}  // namespace plugpull::guest
