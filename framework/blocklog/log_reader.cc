// SPDX-License-Identifier: Apache-2.0
#include "framework/blocklog/log_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "framework/blocklog/format.h"

namespace plugpull::blocklog {

static_assert(std::endian::native == std::endian::little, "fields are read in place");

bool Entry::flush() const { return (flags & kFlagFlush) != 0; }
bool Entry::fua() const { return (flags & kFlagFua) != 0; }
bool Entry::discard() const { return (flags & kFlagDiscard) != 0; }
bool Entry::is_mark() const { return (flags & kFlagMark) != 0; }

namespace {

uint64_t ReadU64(std::span<const uint8_t> bytes, uint64_t at) {
  uint64_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

Result<BlockLog> ReadSuper(std::span<const uint8_t> bytes) {
  if (bytes.size() < kSuperBytes) {
    return UserError(fmt::format(
        "no dm-log-writes log: {} bytes, a log has at least {}; was the recording cut short?",
        bytes.size(), kSuperBytes));
  }
  if (const uint64_t magic = ReadU64(bytes, 0); magic != kLogMagic) {
    return UserError(fmt::format("no dm-log-writes log: it begins with {:#x}, a log with {:#x}",
                                 magic, kLogMagic));
  }
  if (const uint64_t version = ReadU64(bytes, 8); version != kLogVersion) {
    return UserError(fmt::format("dm-log-writes log of version {}; this plugpull reads version {}",
                                 version, kLogVersion));
  }
  BlockLog log;
  log.counted_entries = ReadU64(bytes, 16);
  std::memcpy(&log.sector_bytes, bytes.data() + 24, sizeof log.sector_bytes);
  if (!std::has_single_bit(log.sector_bytes) || log.sector_bytes < kSectorBytesMin ||
      log.sector_bytes > kSectorBytesMax) {
    return UserError(
        fmt::format("damaged dm-log-writes log: a sector size of {} bytes; possible are powers of "
                    "two from {} to {}",
                    log.sector_bytes, kSectorBytesMin, kSectorBytesMax));
  }
  log.end = Bytes(log.sector_bytes);
  return log;
}

class Scanner {
 public:
  Scanner(std::span<const uint8_t> bytes, const ReadOptions& options, BlockLog& log)
      : bytes_(bytes), options_(options), log_(log), sector_(log.sector_bytes) {}

  void Run() {
    while (log_.entries.size() < log_.counted_entries || options_.scan_past_end) {
      const bool counted = log_.entries.size() < log_.counted_entries;
      const std::string problem = ReadOne();
      if (problem.empty()) continue;
      // Behind the counted entries the first thing that is no entry is where the log ends.
      if (counted || problem_is_cut_) Drop(problem, counted);
      break;
    }
    if (!log_.dropped && !options_.scan_past_end && SomethingFollows()) {
      Drop(fmt::format("the header counts {} entries, and more seems to follow, as it does when "
                       "the writer was killed; --scan-past-end reads it, if the log's device was "
                       "zeroed before",
                       log_.counted_entries),
           false);
    }
  }

 private:
  void Drop(std::string reason, bool counted) {
    const uint64_t at = log_.end.value;
    log_.dropped = Dropped{log_.end, Bytes(bytes_.size() > at ? bytes_.size() - at : 0),
                           std::move(reason), counted};
  }

  // Whether the place of the next header holds anything but zeroes.
  bool SomethingFollows() const {
    const uint64_t at = log_.end.value;
    if (at > bytes_.size() || bytes_.size() - at < sector_) return false;
    const auto header = bytes_.subspan(at, kEntryHeaderBytes);
    return std::any_of(header.begin(), header.end(), [](uint8_t byte) { return byte != 0; });
  }

  // Empty when an entry was read, else what is wrong at log_.end.
  std::string ReadOne() {
    const uint64_t at = log_.end.value;
    const uint64_t number = log_.entries.size();
    problem_is_cut_ = false;
    if (number >= kEntriesMax) return fmt::format("more than {} entries", kEntriesMax);
    if (at > bytes_.size() || bytes_.size() - at < sector_) {
      return fmt::format("the log ends at byte {}, before entry {} of {} counted", bytes_.size(),
                         number, log_.counted_entries);
    }
    Entry entry;
    entry.index = number;
    entry.header_at = Bytes(at);
    const uint64_t sector = ReadU64(bytes_, at);
    const uint64_t sectors = ReadU64(bytes_, at + 8);
    entry.flags = ReadU64(bytes_, at + 16);
    const uint64_t data_bytes = ReadU64(bytes_, at + 24);
    if (sector == 0 && sectors == 0 && entry.flags == 0 && data_bytes == 0) {
      return fmt::format("entry {} is empty, {} are counted", number, log_.counted_entries);
    }
    if ((entry.flags & ~kFlagsKnown) != 0) {
      return fmt::format("entry {} has unknown flags {:#x}", number, entry.flags);
    }
    if (entry.is_mark()) return ReadMark(entry, sectors, data_bytes);
    const uint64_t limit = kDeviceBytesMax / sector_;
    if (sector > limit || sectors > limit) {
      return fmt::format("entry {} is at sector {} with {} sectors, the limit is {}", number,
                         sector, sectors, limit);
    }
    entry.offset = Bytes(sector * sector_);
    entry.length = Bytes(sectors * sector_);
    if (options_.device_size && entry.offset + entry.length > *options_.device_size) {
      return fmt::format("entry {} ends at byte {} of a device of {}", number,
                         (entry.offset + entry.length).value, options_.device_size->value);
    }
    if (entry.discard()) return Accept(std::move(entry), 0);
    if (data_bytes != 0 && data_bytes != entry.length.value) {
      return fmt::format("entry {} has {} bytes of data for {} sectors of {} bytes", number,
                         data_bytes, sectors, sector_);
    }
    return Accept(std::move(entry), sectors * sector_);
  }

  std::string ReadMark(Entry& entry, uint64_t sectors, uint64_t text_bytes) {
    if (sectors != 0 || text_bytes > sector_ - kEntryHeaderBytes) {
      return fmt::format("entry {} is a mark of {} bytes and {} sectors; at most {} and 0 fit",
                         entry.index, text_bytes, sectors, sector_ - kEntryHeaderBytes);
    }
    const auto* text =
        reinterpret_cast<const char*>(bytes_.data()) + entry.header_at.value + kEntryHeaderBytes;
    entry.mark.assign(text, text_bytes);
    entry.mark.erase(std::find(entry.mark.begin(), entry.mark.end(), '\0'), entry.mark.end());
    log_.torn_down |= entry.mark == kTeardownMark;
    return Accept(std::move(entry), 0);
  }

  std::string Accept(Entry entry, uint64_t data_bytes) {
    const uint64_t data_at = entry.header_at.value + sector_;
    if (data_bytes > kEntryDataBytesMax) {
      return fmt::format("entry {} has {} bytes of data, the limit is {}", entry.index, data_bytes,
                         kEntryDataBytesMax);
    }
    if (bytes_.size() - data_at < data_bytes) {
      problem_is_cut_ = true;
      return fmt::format("the log ends at byte {}, inside entry {}, {} bytes short", bytes_.size(),
                         entry.index, data_bytes - (bytes_.size() - data_at));
    }
    entry.data = bytes_.subspan(data_at, data_bytes);
    log_.end = Bytes(data_at + data_bytes);
    log_.entries.push_back(std::move(entry));
    return {};
  }

  std::span<const uint8_t> bytes_;
  const ReadOptions& options_;
  BlockLog& log_;
  uint64_t sector_;
  bool problem_is_cut_ = false;
};

}  // namespace

Result<BlockLog> ReadLog(std::span<const uint8_t> bytes, const ReadOptions& options) {
  PP_ASSIGN_OR_RETURN(BlockLog log, ReadSuper(bytes));
  Scanner(bytes, options, log).Run();
  return log;
}

}  // namespace plugpull::blocklog
