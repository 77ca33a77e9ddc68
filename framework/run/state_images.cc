// SPDX-License-Identifier: Apache-2.0
#include "framework/run/state_images.h"

#include <algorithm>

namespace plugpull::run {
namespace {

constexpr uint64_t kPageBytes = 4096;

bool IsZero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// What of the base is other than zero, in whole pages.
std::vector<os::Extent> DataOfBase(const DiskSource& source) {
  std::vector<os::Extent> data;
  const auto base = source.base();
  for (const os::Extent& extent : source.base_extents()) {
    for (uint64_t at = extent.start.value; at < extent.end.value; at += kPageBytes) {
      const uint64_t end = std::min(at + kPageBytes, extent.end.value);
      if (IsZero(base.subspan(at, end - at))) continue;
      if (!data.empty() && data.back().end.value == at) {
        data.back().end = Bytes(end);
      } else {
        data.push_back({Bytes(at), Bytes(end)});
      }
    }
  }
  return data;
}

}  // namespace

StateImages::StateImages(const DiskSource& source)
    : source_(source), base_data_(DataOfBase(source)), cursor_(source.space()) {}

void StateImages::MoveTo(const crashstate::StateSpec& spec) {
  cursor_.MoveToSelection(spec.cut, spec.selection, spec.overlapping_older);
  cursor_.image().ClearChanges();
}

Status StateImages::ForEachPiece(
    const std::function<Status(Bytes offset, std::span<const uint8_t> bytes)>& each) const {
  for (const os::Extent& extent : base_data_) {
    PP_RETURN_IF_ERROR(
        each(extent.start,
             source_.base().subspan(extent.start.value, extent.end.value - extent.start.value)));
  }
  Status status = OkStatus();
  const image::CowImage& image = cursor_.image();
  image.ForEachDifference([&](uint64_t block, const image::Content& content) {
    const uint64_t at = block * image.block_bytes();
    const uint64_t size = std::min<uint64_t>(image.block_bytes(), image.size_bytes() - at);
    if (status.ok()) status = each(Bytes(at), {content.bytes, size});
  });
  return status;
}

Bytes StateImages::DataBytes() const {
  uint64_t bytes = 0;
  for (const os::Extent& extent : base_data_) bytes += extent.end.value - extent.start.value;
  cursor_.image().ForEachDifference(
      [&](uint64_t, const image::Content&) { bytes += cursor_.image().block_bytes(); });
  return Bytes(bytes);
}

Status StateImages::WriteTo(int fd, Bytes origin) const {
  return ForEachPiece([&](Bytes offset, std::span<const uint8_t> bytes) {
    return os::PwriteAll(fd, bytes, origin + offset);
  });
}

}  // namespace plugpull::run
