// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "framework/blocklog/format.h"
#include "framework/blocklog/history.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/log_writer.h"
#include "framework/cli/commands.h"
#include "framework/cli/output_file.h"
#include "framework/os/file.h"
#include "framework/recording/recording.h"

namespace plugpull::cli {
namespace {

struct OpenLog {
  std::vector<uint8_t> bytes;  // of a recording
  os::MappedFile file;         // of a log file
  blocklog::BlockLog log;
  blocklog::HistoryOptions disk;  // known of a recording only
};

Result<OpenLog> Open(const LogArguments& arguments) {
  OpenLog open;
  std::span<const uint8_t> bytes;
  bool scan = arguments.scan_past_end;
  if (os::IsFolder(arguments.log)) {
    PP_ASSIGN_OR_RETURN(const auto reader, recording::Reader::Open(arguments.log));
    const auto& disks = reader.manifest().disk();
    const RecordedDisk* disk = nullptr;
    if (!arguments.disk.empty()) {
      disk = reader.FindDisk(arguments.disk);
    } else if (disks.size() == 1) {
      disk = &disks[0];
    }
    if (disk == nullptr) {
      std::string names;
      for (const auto& one : disks) names += " " + one.name();
      return UserError(
          fmt::format("say which disk with --disk; {} has logs of:{}", arguments.log, names));
    }
    PP_ASSIGN_OR_RETURN(open.bytes,
                        arguments.host ? reader.ReadHostLog(*disk) : reader.ReadLog(*disk));
    open.disk = {Bytes(disk->size_bytes()), Bytes(disk->strip_bytes())};
    bytes = open.bytes;
    scan = true;
  } else if (arguments.host) {
    return UserError(
        fmt::format("--host-log needs a recording folder; {} is a file, so show it "
                    "without that option",
                    arguments.log));
  } else {
    PP_ASSIGN_OR_RETURN(open.file, os::MappedFile::Open(arguments.log));
    bytes = open.file.bytes();
  }
  auto log = blocklog::ReadLog(bytes, {scan, std::nullopt});
  if (!log.ok()) return WithContext(std::move(log).error(), arguments.log);
  open.log = *std::move(log);
  return open;
}

std::string FlagWords(const blocklog::Entry& entry) {
  std::string words;
  if (entry.flush()) words += " FLUSH";
  if (entry.fua()) words += " FUA";
  if (entry.discard()) words += " DISCARD";
  if (entry.is_mark()) words += " MARK";
  if ((entry.flags & blocklog::kFlagMetadata) != 0) words += " METADATA";
  return words.empty() ? " WRITE" : words;
}

void PrintDropped(const blocklog::BlockLog& log) {
  if (!log.dropped) return;
  fmt::print("not read: {} bytes from byte {} on: {}\n", log.dropped->bytes.value,
             log.dropped->at.value, log.dropped->reason);
}

}  // namespace

int ShowLog(const LogArguments& arguments) {
  const auto open = Open(arguments);
  if (!open.ok()) return Fail(open.error());
  const auto& entries = open->log.entries;
  if (arguments.first >= entries.size() && arguments.first > 0) {
    return Fail(UserError(fmt::format("--first {}: the log has {} entries, counted from 0",
                                      arguments.first, entries.size())));
  }
  const uint64_t end =
      arguments.count == 0
          ? entries.size()
          : arguments.first + std::min<uint64_t>(entries.size() - arguments.first, arguments.count);
  for (uint64_t i = arguments.first; i < end; ++i) {
    const auto& entry = entries[i];
    std::string text = entry.mark;
    const uint64_t size = open->disk.device_size.value;
    if (open->disk.strip_bytes.value != 0 && entry.offset.value >= size) {
      if (const auto mark = blocklog::DecodeMark(entry.data)) text = mark->kind + " " + mark->text;
    }
    fmt::print("{:8} byte {:12} length {:9}{}{}\n", entry.index, entry.offset.value,
               entry.length.value, FlagWords(entry), text.empty() ? "" : "  mark: " + text);
  }
  PrintDropped(open->log);
  return 0;
}

int LogStatistics(const LogArguments& arguments) {
  const auto open = Open(arguments);
  if (!open.ok()) return Fail(open.error());
  uint64_t writes = 0;
  uint64_t flushes = 0;
  uint64_t fua = 0;
  uint64_t discards = 0;
  uint64_t marks = 0;
  uint64_t bytes = 0;
  for (const auto& entry : open->log.entries) {
    writes += entry.data.empty() ? 0 : 1;
    flushes += entry.flush() ? 1 : 0;
    fua += entry.fua() ? 1 : 0;
    discards += entry.discard() ? 1 : 0;
    marks += entry.is_mark() ? 1 : 0;
    bytes += entry.data.size();
  }
  fmt::print(
      "log sectors of {} bytes, {} entries counted, {} read\n"
      "writes {} ({} bytes), flushes {}, FUA {}, discards {}, kernel marks {}, ends at byte {}{}\n",
      open->log.sector_bytes, open->log.counted_entries, open->log.entries.size(), writes, bytes,
      flushes, fua, discards, marks, open->log.end.value,
      open->log.torn_down ? ", closed by the kernel" : "");
  PrintDropped(open->log);
  return 0;
}

int ConvertLog(const LogArguments& arguments) {
  if (const Status free = CheckOutputFile(arguments.output); !free.ok()) return Fail(free.error());
  const auto open = Open(arguments);
  if (!open.ok()) return Fail(open.error());
  blocklog::LogWriter writer(open->log.sector_bytes);
  for (const auto& entry : open->log.entries) {
    if (entry.is_mark()) {
      writer.Mark(entry.mark);
    } else if (entry.discard()) {
      writer.Discard(entry.offset, entry.length);
    } else {
      writer.Write(entry.offset, entry.data, entry.flags);
    }
  }
  const auto& bytes = writer.bytes();
  const Status written = os::WriteFileAtomic(
      arguments.output, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!written.ok()) return Fail(written.error());
  fmt::print("{}: {} entries, {} bytes\n", arguments.output, open->log.entries.size(),
             bytes.size());
  PrintDropped(open->log);
  return 0;
}

}  // namespace plugpull::cli
