// SPDX-License-Identifier: Apache-2.0
#include "framework/run/disk_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "framework/crashstate/log_agreement.h"
#include "framework/crashstate/state_cursor.h"
#include "framework/ext4/superblock.h"
#include "framework/image/poison.h"
#include "framework/scenario/validate.h"

namespace plugpull::run {
namespace {

// A larger disk is refused: its sparse image would not fit the address space of small machines.
constexpr uint64_t kDiskBytesMax = 16ULL << 40;
constexpr Bytes kPoisonedBytesMax = Mebibytes(scenario::kPoisonedMibMax);

// Copies what is not zero of the file `path` to the start of `image`.
Status CopyBase(const std::string& path, std::span<uint8_t> image) {
  PP_ASSIGN_OR_RETURN(const os::Fd fd, os::OpenForReading(path));
  PP_ASSIGN_OR_RETURN(const Bytes size, os::FileSize(fd.get()));
  PP_ASSIGN_OR_RETURN(const auto extents, os::DataExtents(fd.get(), size));
  for (const os::Extent& extent : extents) {
    const uint64_t end = std::min<uint64_t>(extent.end.value, image.size());
    if (extent.start.value >= end) break;
    const auto part = image.subspan(extent.start.value, end - extent.start.value);
    PP_RETURN_IF_ERROR(os::PreadAll(fd.get(), part, extent.start));
  }
  return OkStatus();
}

// The journal of the file system on the base or, where it is made later (cuts from mkfs on), of the
// one at the log's end: a journal does not move. Empty when neither has one.
Result<ext4::JournalLayout> FindJournalOf(const blocklog::History& history,
                                          std::span<const uint8_t> base,
                                          const std::vector<os::Extent>& base_extents) {
  if (auto journal = ext4::FindJournal(base); journal.ok()) return journal;
  const Bytes size(base.size());
  PP_ASSIGN_OR_RETURN(const os::Fd fd, os::MakeMemFile("plugpull-end", size));
  PP_ASSIGN_OR_RETURN(os::Mapping end,
                      os::Mapping::Map(fd.get(), size, os::Mapping::Mode::kReadWriteShared));
  for (const os::Extent& extent : base_extents) {
    const auto part = base.subspan(extent.start.value, extent.end.value - extent.start.value);
    std::copy(part.begin(), part.end(),
              end.mutable_bytes().begin() + static_cast<ptrdiff_t>(extent.start.value));
  }
  blocklog::History whole = history;
  whole.base = whole.events.size();
  crashstate::FoldBase(whole, end.mutable_bytes(), false);
  auto journal = ext4::FindJournal(end.bytes());
  return journal.ok() ? *std::move(journal) : ext4::JournalLayout();
}

// A log without its base does not say how large the disk is: at least what the last write reaches,
// and what any ext4 superblock in the log says.
void GrowToFileSystem(blocklog::History& history) {
  std::array<uint8_t, ext4::kSuperblockAt + ext4::kSuperblockBytes> head{};
  for (const blocklog::Event& event : history.events) {
    const bool near = event.offset.value < head.size();
    if (event.kind != blocklog::Event::Kind::kWrite || !near) continue;
    const size_t n = std::min<uint64_t>(event.data.size(), head.size() - event.offset.value);
    std::ranges::copy(event.data.first(n),
                      head.begin() + static_cast<ptrdiff_t>(event.offset.value));
    const auto super = ext4::ParseSuperblock(head);
    if (!super.ok() || !super->checksum_valid) continue;
    if (super->blocks_count > kDiskBytesMax / super->block_bytes) continue;
    history.device_size =
        std::max(history.device_size, Bytes(super->blocks_count * super->block_bytes));
  }
}

}  // namespace

crashstate::DeviceModel ModelOf(const Model& model) {
  crashstate::DeviceModel device;
  device.lying = model.kind() == Model::LYING;
  device.window = model.window();
  device.atomic_unit = model.atomic_unit();
  device.discard_keeps = model.discard() == Model::DISCARD_KEEPS;
  device.from_mkfs = model.from() == Model::MKFS;
  return device;
}

Status DiskSource::Prepare(const blocklog::HistoryOptions& options,
                           const blocklog::ReadOptions& read, const Before& before,
                           const crashstate::DeviceModel& model,
                           const blocklog::History* written_as) {
  PP_ASSIGN_OR_RETURN(block_log_, blocklog::ReadLog(log_, read));
  PP_ASSIGN_OR_RETURN(history_, blocklog::MakeHistory(block_log_, options));
  if (written_as != nullptr) history_ = crashstate::SplitAsWritten(*written_as, history_);
  if (options.device_size.value == 0) GrowToFileSystem(history_);
  if (history_.device_size.value == 0) {
    return UserError("the log has no writes" +
                     (history_.dropped ? ": " + history_.dropped->reason : std::string()));
  }
  if (history_.device_size.value % kSectorBytes != 0) {
    return UserError(
        fmt::format("the log is of a disk of {} bytes, which are no whole sectors of {}",
                    history_.device_size.value, kSectorBytes));
  }
  if (history_.device_size.value > kDiskBytesMax) {
    return UserError(fmt::format("the log is of a disk of {} bytes; at most {} are handled",
                                 history_.device_size.value, kDiskBytesMax));
  }
  PP_ASSIGN_OR_RETURN(base_fd_, os::MakeMemFile("plugpull-base", history_.device_size));
  PP_ASSIGN_OR_RETURN(base_, os::Mapping::Map(base_fd_.get(), history_.device_size,
                                              os::Mapping::Mode::kReadWriteShared));
  if (!before.path.empty()) PP_RETURN_IF_ERROR(CopyBase(before.path, base_.mutable_bytes()));
  if (before.poison_seed) {
    if (history_.device_size > kPoisonedBytesMax) {
      return UserError(fmt::format(
          "a disk of {} bytes is said to be poisoned; at most {} are, for none of it is empty",
          history_.device_size.value, kPoisonedBytesMax.value));
    }
    image::FillPoison(*before.poison_seed, 0, base_.mutable_bytes());
    poisoned_ = true;
  }
  const bool base_has_ext4 = ext4::ParseSuperblock(base_.bytes()).ok();
  PP_RETURN_IF_ERROR(crashstate::ChooseBase(history_, model, base_has_ext4));
  crashstate::FoldBase(history_, base_.mutable_bytes(), model.discard_keeps);
  PP_ASSIGN_OR_RETURN(base_extents_, os::DataExtents(base_fd_.get(), history_.device_size));
  PP_ASSIGN_OR_RETURN(journal_, FindJournalOf(history_, base_.bytes(), base_extents_));
  PP_ASSIGN_OR_RETURN(space_, crashstate::CrashSpace::Make(history_, base_.bytes(), model, name_,
                                                           journal_.block_bytes));
  return OkStatus();
}

Result<std::unique_ptr<DiskSource>> DiskSource::FromRecording(const recording::Reader& reader,
                                                              const std::string& disk,
                                                              const crashstate::DeviceModel& model,
                                                              LogOf log,
                                                              const blocklog::History* written_as) {
  const RecordedDisk* recorded = reader.FindDisk(disk);
  if (recorded == nullptr) {
    std::string known;
    for (const auto& other : reader.manifest().disk()) known += " " + other.name();
    return UserError(
        fmt::format("{} has no log of a disk '{}'; it has:{}", reader.folder(), disk, known));
  }
  auto source = std::unique_ptr<DiskSource>(new DiskSource());
  source->name_ = disk;
  source->sends_flushes_ = !recorded->has_sends_flushes() || recorded->sends_flushes();
  const bool host = log == LogOf::kHost;
  PP_ASSIGN_OR_RETURN(source->log_bytes_,
                      host ? reader.ReadHostLog(*recorded) : reader.ReadLog(*recorded));
  source->log_ = source->log_bytes_;
  const Bytes size(recorded->size_bytes());
  const Bytes strip(recorded->strip_bytes());
  // Recorded log devices were zeroed by us, so what follows the counted entries is ours too.
  Before before;
  if (recorded->has_poison_seed()) before.poison_seed = recorded->poison_seed();
  const Status prepared =
      source->Prepare({size, strip, host}, {true, size + strip}, before, model, written_as);
  if (!prepared.ok()) return WithContext(prepared.error(), reader.folder());
  return source;
}

Result<std::unique_ptr<DiskSource>> DiskSource::FromLogFile(const LogFileOptions& options) {
  auto source = std::unique_ptr<DiskSource>(new DiskSource());
  source->name_ = "log";
  PP_ASSIGN_OR_RETURN(source->log_file_, os::MappedFile::Open(options.log));
  source->log_ = source->log_file_.bytes();
  Bytes size;
  if (!options.base.empty()) {
    PP_ASSIGN_OR_RETURN(const os::Fd fd, os::OpenForReading(options.base));
    PP_ASSIGN_OR_RETURN(size, os::FileSize(fd.get()));
  }
  const Status prepared = source->Prepare({size, Bytes(0), false}, {options.scan_past_end, {}},
                                          {options.base, std::nullopt}, options.model, nullptr);
  if (!prepared.ok()) return WithContext(prepared.error(), options.log);
  return source;
}

const crashstate::JournalTimeline& DiskSource::timeline() const {
  std::call_once(timeline_made_,
                 [&] { timeline_ = crashstate::DecodeJournal(history_, base(), journal_); });
  return timeline_;
}

const diagnose::WriteNames& DiskSource::names() const {
  std::call_once(names_made_, [&] {
    auto roles = ext4::BlockRoles::Make(base());
    if (roles.ok()) base_roles_ = *std::move(roles);
    names_.emplace(history_, timeline(), base(), base_roles_ ? &*base_roles_ : nullptr,
                   diagnose::WriteNames::RolesOf::kBase);
  });
  return *names_;
}

Status DiskSource::Materialize(const crashstate::CrashStateId& id, const std::string& path) const {
  PP_ASSIGN_OR_RETURN(const size_t cut, space_->CutOfEntry(id.cut));
  PP_ASSIGN_OR_RETURN(const auto lost, space_->LostEvents(cut, id.selection));
  PP_RETURN_IF_ERROR(space_->TornWrites(cut, id.selection));
  crashstate::StateCursor cursor(*space_);
  cursor.MoveToSelection(cut, id.selection, id.overlapping_older);
  const std::string partial = path + ".partial";
  const os::Fd fd(::open(partial.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) {
    return EnvironmentError(fmt::format("cannot write {}: {}", partial, os::ErrnoText(errno)));
  }
  const auto write = [&]() -> Status {
    if (::ftruncate(fd.get(), static_cast<off_t>(history_.device_size.value)) != 0) {
      return EnvironmentError(os::ErrnoText(errno));
    }
    for (const os::Extent& extent : base_extents_) {
      PP_RETURN_IF_ERROR(os::PwriteAll(
          fd.get(), base().subspan(extent.start.value, extent.end.value - extent.start.value),
          extent.start));
    }
    Status status = OkStatus();
    const auto& image = cursor.image();
    image.ForEachDifference([&](uint64_t block, const image::Content& content) {
      const uint64_t at = block * image.block_bytes();
      const uint64_t size = std::min<uint64_t>(image.block_bytes(), image.size_bytes() - at);
      if (status.ok()) status = os::PwriteAll(fd.get(), {content.bytes, size}, Bytes(at));
    });
    PP_RETURN_IF_ERROR(status);
    return os::Rename(partial, path);
  };
  const Status written = write();
  if (!written.ok()) {
    ::unlink(partial.c_str());
    return WithContext(written.error(), "cannot write " + path);
  }
  return OkStatus();
}

}  // namespace plugpull::run
