// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/disk_stack.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <thread>

#include "framework/blocklog/format.h"
#include "framework/layers/layer_table.h"

namespace plugpull::guest {
namespace {

constexpr Millis kSettleMax{30'000};
constexpr Millis kSettlePollInterval{1};
constexpr size_t kReadBackBytes = 1 << 20;
constexpr size_t kDirectReadBytes = 4096;  // a multiple of any block size, and its alignment

using DirectBlock = std::array<uint8_t, kDirectReadBytes>;

// A block of a log disk, past the page cache, which does not see what the target writes.
Status ReadDirect(const std::string& path, Bytes offset, DirectBlock& block) {
  const os::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!fd.valid()) {
    return EnvironmentError(fmt::format("cannot open {}: {}", path, os::ErrnoText(errno)));
  }
  return os::PreadAll(fd.get(), block, offset);
}

uint64_t ReadU64(const DirectBlock& block, size_t at) {
  uint64_t value;  // both ends are little-endian
  std::memcpy(&value, block.data() + at, sizeof value);
  return value;
}

// Whether the log on the disk counts `entries` and the last of them is the kernel's mark `text`.
// `highest_sector`: the last one that the target has given to the log.
Result<bool> EndsInMark(const std::string& path, uint64_t entries, Sectors highest_sector,
                        const std::string& text) {
  alignas(kDirectReadBytes) DirectBlock block{};
  PP_RETURN_IF_ERROR(ReadDirect(path, Bytes(0), block));
  if (ReadU64(block, 0) != blocklog::kLogMagic || ReadU64(block, 16) != entries) return false;
  uint32_t log_sector_bytes;
  std::memcpy(&log_sector_bytes, block.data() + 24, sizeof log_sector_bytes);
  const uint64_t log_end = ToBytes(highest_sector + Sectors(1)).value;
  if (log_sector_bytes == 0 || log_sector_bytes > kDirectReadBytes || log_end < log_sector_bytes) {
    return false;
  }
  const uint64_t entry_at = log_end - log_sector_bytes;
  const uint64_t block_at = entry_at / kDirectReadBytes * kDirectReadBytes;
  PP_RETURN_IF_ERROR(ReadDirect(path, Bytes(block_at), block));
  const size_t at = entry_at - block_at;
  return ReadU64(block, at + 16) == blocklog::kFlagMark && ReadU64(block, at + 24) == text.size() &&
         std::memcmp(block.data() + at + blocklog::kEntryHeaderBytes, text.data(), text.size()) ==
             0;
}

}  // namespace

Result<std::unique_ptr<DiskStack>> DiskStack::SetUp(const SetUpDisk& request,
                                                    const os::Deadline& deadline) {
  std::unique_ptr<DiskStack> stack(new DiskStack());
  const Status built = stack->Build(request, deadline);
  if (!built.ok()) {
    return WithContext(built.error(), fmt::format("setting up disk {}", request.disk()));
  }
  return stack;
}

Status DiskStack::Build(const SetUpDisk& request, const os::Deadline& deadline) {
  disk_ = request.disk();
  PP_ASSIGN_OR_RETURN(plan_, PlanStack(request));
  PP_ASSIGN_OR_RETURN(data_, FindDiskBySerial(request.data_serial(), deadline));
  PP_RETURN_IF_ERROR(CheckSize(data_));
  if (plan_.log) {
    PP_ASSIGN_OR_RETURN(log_disk_, FindDiskBySerial(request.log_serial(), deadline));
  }
  size_ = Sectors(request.size_sectors());
  for (const auto& planned : plan_.devices) PP_RETURN_IF_ERROR(AddDevice(planned, deadline));
  if (plan_.log) PP_RETURN_IF_ERROR(StartLog());
  top_path_ = plan_.top ? devices_[*plan_.top].path() : data_.path();
  top_kernel_name_ = plan_.top ? devices_[*plan_.top].kernel_name() : data_.name;
  if (plan_.mark) {
    mark_path_ = devices_[*plan_.mark].path();
    PP_ASSIGN_OR_RETURN(marks_, MarkWriter::Open(mark_path_));
  }
  return CheckBarriers();
}

Status DiskStack::CheckSize(const BlockDevice& disk) const {
  if (disk.size != plan_.disk_size) {
    return EnvironmentError(
        fmt::format("{} has {} sectors, {} were asked for (the file system's part and the strip)",
                    disk.path(), disk.size.value, plan_.disk_size.value));
  }
  return OkStatus();
}

Status DiskStack::StartLog() {
  const dm::Device& log = devices_[*plan_.log];
  // Drain relies on a flush of this device going through to the target.
  PP_ASSIGN_OR_RETURN(const std::string mode, WriteCacheMode(log.kernel_name()));
  if (mode != "write back") {
    return EnvironmentError(
        fmt::format("{} is \"{}\", so the kernel drops flushes to it and a drain could not work; "
                    "\"write back\" "
                    "is needed (the virtio disk must have its write cache on)",
                    log.name(), mode));
  }
  // The target writes its super block only with forced writes and with marks of its own. In a
  // stack that drops barriers there may be none until it is removed, and what a killed machine
  // leaves would be no log at all.
  return SettleLog("plugpull-begin");
}

dm::DeviceNumber DiskStack::Below(const PlannedDevice& planned) const {
  return planned.on ? devices_[*planned.on].number() : data_.number;
}

Status DiskStack::AddDevice(const PlannedDevice& planned, const os::Deadline& deadline) {
  std::vector<dm::DeviceNumber> others;
  for (const std::string& serial : planned.serials) {
    PP_ASSIGN_OR_RETURN(const BlockDevice other, FindDiskBySerial(serial, deadline));
    others.push_back(other.number);
  }
  const dm::Table asked = planned.TableOn(Below(planned), log_disk_.number, others);
  PP_ASSIGN_OR_RETURN(dm::Device device, dm::Device::Create(planned.name, asked));
  devices_.push_back(std::move(device));
  const dm::Device& made = devices_.back();
  PP_ASSIGN_OR_RETURN(const dm::Table reported, made.ReadTable());
  if (!dm::SameMeaning(asked, reported)) {
    return EnvironmentError(
        fmt::format("the kernel reports the table \"{}\" for {}, asked for was \"{}\"",
                    dm::ToString(reported), planned.name, dm::ToString(asked)));
  }
  for (const auto& target : reported) {
    tables_.push_back(fmt::format("{}: {}", planned.name, dm::LineOf(target)));
  }
  return SetQueue(planned, made);
}

Status DiskStack::SetQueue(const PlannedDevice& planned, const dm::Device& device) const {
  if (planned.write_through) PP_RETURN_IF_ERROR(SetWriteThrough(device.kernel_name()));
  // dm-log-writes copies a page when its write begins, the disk reads it later: a page that changes
  // in between would be one thing in the log and another on the disk.
  if (plan_.log) PP_RETURN_IF_ERROR(SetStableWrites(device.kernel_name()));
  return OkStatus();
}

Result<std::vector<std::string>> DiskStack::SwapLayer(size_t layer, const Layer& to, bool read_only,
                                                      bool only_try) {
  size_t at = 0;
  while (at < plan_.devices.size() && plan_.devices[at].request_layer != layer) ++at;
  if (at == plan_.devices.size() || !plan_.devices[at].Swappable()) {
    return UserError(fmt::format(
        "layer {} of disk {} cannot be given another table; linear, drop_barriers, flakey, error, "
        "delay and zero can",
        layer, disk_));
  }
  const PlannedDevice& planned = plan_.devices[at];
  dm::Device& device = devices_[at];
  PP_ASSIGN_OR_RETURN(const dm::Table table,
                      layers::MappedTable(to, planned.length, Below(planned), planned.offset));
  std::vector<std::string> lines;
  if (only_try) {
    PP_RETURN_IF_ERROR(dm::TryTable(planned.name + "-try", table));
    return lines;
  }
  PP_RETURN_IF_ERROR(device.Swap(table, read_only));
  PP_RETURN_IF_ERROR(SetQueue(planned, device));
  PP_ASSIGN_OR_RETURN(const dm::Table reported, device.ReadTable());
  for (const auto& target : reported) {
    lines.push_back(fmt::format("{}: {}", planned.name, dm::LineOf(target)));
  }
  return lines;
}

Result<image::Fingerprint> DiskStack::ReadBack() {
  const auto read = [&]() -> Result<image::Fingerprint> {
    const std::string path = plan_.log && plan_.devices[*plan_.log].on
                                 ? devices_[*plan_.devices[*plan_.log].on].path()
                             : plan_.log ? data_.path()
                                         : top_path_;
    const os::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    if (!fd.valid()) {
      return EnvironmentError(fmt::format("cannot open {}: {}", path, os::ErrnoText(errno)));
    }
    struct Free {
      void operator()(uint8_t* bytes) const { std::free(bytes); }
    };
    const std::unique_ptr<uint8_t, Free> chunk(
        static_cast<uint8_t*>(std::aligned_alloc(kDirectReadBytes, kReadBackBytes)));
    if (!chunk) return EnvironmentError("out of memory for reading a disk");
    image::FingerprintStream stream;
    const uint64_t end = ToBytes(size_).value;
    for (uint64_t at = 0; at < end; at += kReadBackBytes) {
      const std::span<uint8_t> part(chunk.get(), std::min<uint64_t>(kReadBackBytes, end - at));
      PP_RETURN_IF_ERROR(os::PreadAll(fd.get(), part, Bytes(at)));
      stream.Add(part);
    }
    return stream.Finish();
  };
  if (!plan_.fs) return read();
  dm::Device& fs = devices_[*plan_.fs];
  PP_RETURN_IF_ERROR(fs.Suspend());
  auto content = read();
  PP_RETURN_IF_ERROR(fs.Resume());
  return content;
}

Status DiskStack::CheckBarriers() const {
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (plan_.devices[i].write_through) {
      PP_RETURN_IF_ERROR(CheckWriteThrough(devices_[i].kernel_name()));
    }
  }
  return OkStatus();
}

DiskStack::~DiskStack() {
  const Status removed = TearDown();
  if (!removed.ok()) {
    std::fprintf(stderr, "plugpull-guest: %s\n", removed.error().ToString().c_str());
  }
  // What is left is removed from the top down too; a vector would begin at the bottom.
  while (!devices_.empty()) devices_.pop_back();
}

Status DiskStack::WriteMark(const blocklog::Mark& mark) {
  if (!marks_) {
    return EnvironmentError(fmt::format(
        "disk {} has no mark strip; only disks with a log_writes layer have one", disk_));
  }
  return marks_->Write(mark);
}

Status DiskStack::Drain() {
  if (!plan_.log || !plan_.fs) {
    return EnvironmentError(fmt::format("disk {} has no log_writes layer to drain", disk_));
  }
  dm::Device& fs = devices_[*plan_.fs];
  Status drained = fs.Suspend();
  if (drained.ok()) {
    drained = DrainSuspended();
    const Status resumed = fs.Resume();
    if (drained.ok()) drained = resumed;
  }
  if (!drained.ok()) return WithContext(drained.error(), fmt::format("draining disk {}", disk_));
  return CheckBarriers();
}

Status DiskStack::Quiesce() {
  PP_CHECK(has_log());
  const Status suspended = devices_[*plan_.fs].Suspend();
  return suspended.ok() ? suspended
                        : WithContext(suspended.error(), fmt::format("quiescing disk {}", disk_));
}

Status DiskStack::CloseLog() {
  PP_CHECK(has_log());
  Status closed = WriteMark({"end", disk_});
  if (closed.ok()) closed = DrainSuspended();
  if (!closed.ok()) return WithContext(closed.error(), fmt::format("draining disk {}", disk_));
  return CheckBarriers();
}

Status DiskStack::DrainSuspended() {
  const std::string path = devices_[*plan_.log].path();
  const os::Fd log(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!log.valid()) {
    return EnvironmentError(fmt::format("cannot open {}: {}", path, os::ErrnoText(errno)));
  }
  PP_RETURN_IF_ERROR(WriteMark({"drain", ""}));
  if (::fsync(log.get()) != 0) {
    return EnvironmentError(fmt::format("cannot flush {}: {}", path, os::ErrnoText(errno)));
  }
  return SettleLog("plugpull-drained");
}

Status DiskStack::SettleLog(const std::string& what) {
  // The target logs from a thread of its own, in the order of its list, and counts an entry when it
  // gets there: only a mark that is found at the end shows that nothing is left in the list.
  const std::string text = fmt::format("{}-{}", what, ++settled_);
  PP_RETURN_IF_ERROR(devices_[*plan_.log].SendMessage("mark " + text));
  const auto deadline = os::Deadline::After(kSettleMax);
  for (;;) {
    PP_ASSIGN_OR_RETURN(const dm::LogWritesStatus status, ReadLogStatus());
    if (status.logging_disabled) {
      return EnvironmentError(fmt::format(
          "the log of disk {} stopped after {} entries (it is full, or the guest ran out "
          "of memory); give the disk a larger log_size_mib or the guest more memory_mib",
          disk_, status.logged_entries));
    }
    PP_ASSIGN_OR_RETURN(const bool ends_in_mark, EndsInMark(log_disk_.path(), status.logged_entries,
                                                            status.highest_sector, text));
    // The target writes the super block last and waits for it alone, so the writes before it may
    // still be under way.
    PP_ASSIGN_OR_RETURN(const uint64_t in_flight, WritesInFlight(log_disk_.name));
    if (ends_in_mark && in_flight == 0) return OkStatus();
    if (deadline.Passed()) {
      return EnvironmentError(
          fmt::format("after {} ms the mark {} is not at the end of the log of disk {} ({} entries "
                      "are logged, {} "
                      "writes in flight)",
                      kSettleMax.count(), text, disk_, status.logged_entries, in_flight));
    }
    std::this_thread::sleep_for(kSettlePollInterval);
  }
}

Result<dm::LogWritesStatus> DiskStack::ReadLogStatus() const {
  const dm::Device& log = devices_[*plan_.log];
  PP_ASSIGN_OR_RETURN(const auto lines, log.ReadStatus());
  if (lines.size() != 1) {
    return EnvironmentError(
        fmt::format("{} has {} targets, one was expected", log.name(), lines.size()));
  }
  return dm::LogWritesStatus::Parse(lines[0]);
}

Result<Sectors> DiskStack::WrittenByTop() const { return WrittenSectors(top_kernel_name_); }

Result<DiskStatus> DiskStack::Query() const {
  DiskStatus status;
  PP_ASSIGN_OR_RETURN(const Sectors written, WrittenByTop());
  status.set_written_sectors(written.value);
  if (!plan_.log) return status;
  PP_ASSIGN_OR_RETURN(const dm::LogWritesStatus parsed, ReadLogStatus());
  status.set_has_log(true);
  status.set_logged_entries(parsed.logged_entries);
  status.set_highest_sector(parsed.highest_sector.value);
  status.set_logging_disabled(parsed.logging_disabled);
  return status;
}

Status DiskStack::TearDown() {
  while (!devices_.empty()) {
    if (plan_.mark == devices_.size() - 1) marks_.reset();
    const Status removed = devices_.back().Remove();
    if (!removed.ok()) {
      return WithContext(removed.error(),
                         fmt::format("taking down disk {} (is it still mounted?)", disk_));
    }
    devices_.pop_back();
  }
  return OkStatus();
}

}  // namespace plugpull::guest
