// SPDX-License-Identifier: Apache-2.0
#include "framework/base/check.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/history.h"
#include "framework/blocklog/log_reader.h"
#include "tests/fuzz/targets.h"

namespace plugpull::fuzz {
namespace {

// Bits of the first byte.
constexpr uint8_t kScanPastEnd = 1;
constexpr uint8_t kDeviceSizeKnown = 2;
constexpr uint8_t kStrip = 4;
constexpr Bytes kDeviceSize(1 << 20);
constexpr Bytes kStripBytes(4096);

bool Inside(std::span<const uint8_t> part, Input whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void CheckLog(const blocklog::BlockLog& log, Input bytes) {
  Bytes end(log.sector_bytes);
  for (size_t i = 0; i < log.entries.size(); ++i) {
    const blocklog::Entry& entry = log.entries[i];
    PP_CHECK(entry.index == i && entry.header_at == end);
    PP_CHECK(Inside(entry.data, bytes));
    PP_CHECK(entry.data.size() == (entry.discard() || entry.is_mark() ? 0 : entry.length.value));
    PP_CHECK(entry.mark.size() < log.sector_bytes);
    end += Bytes(log.sector_bytes + entry.data.size());
  }
  PP_CHECK(log.end == end && end.value <= std::max<uint64_t>(bytes.size(), log.sector_bytes));
  PP_CHECK(!log.dropped || !log.dropped->reason.empty());
  PP_CHECK(!log.dropped || log.dropped->at == end);
}

void CheckHistory(const blocklog::History& history, const blocklog::BlockLog& log) {
  PP_CHECK(history.base <= history.events.size());
  PP_CHECK(history.events.size() <= log.entries.size());
  for (const blocklog::Event& event : history.events) {
    PP_CHECK(event.entry < log.entries.size());
    if (!event.ChangesBlocks()) continue;
    PP_CHECK(event.offset + event.length <= history.device_size);
    PP_CHECK(event.kind == blocklog::Event::Kind::kDiscard ||
             event.data.size() == event.length.value);
  }
}

}  // namespace

void FuzzLogReader(Input input) {
  if (input.empty()) return;
  const uint8_t flags = input[0];
  const Input bytes = input.subspan(1);
  blocklog::ReadOptions read;
  blocklog::HistoryOptions history_options;
  read.scan_past_end = (flags & kScanPastEnd) != 0;
  if ((flags & kStrip) != 0) history_options.strip_bytes = kStripBytes;
  if ((flags & kDeviceSizeKnown) != 0) {
    history_options.device_size = kDeviceSize;
    read.device_size = kDeviceSize + history_options.strip_bytes;
  }
  const auto log = blocklog::ReadLog(bytes, read);
  if (!log.ok()) {
    PP_CHECK(!log.error().message.empty());
    return;
  }
  CheckLog(*log, bytes);
  const auto history = blocklog::MakeHistory(*log, history_options);
  if (history.ok()) CheckHistory(*history, *log);
}

}  // namespace plugpull::fuzz
