// SPDX-License-Identifier: Apache-2.0
#include "framework/run/recovery_log.h"

#include <fmt/format.h>

#include "framework/blocklog/format.h"
#include "framework/blocklog/history.h"
#include "framework/crashstate/crash_space.h"
#include "framework/os/file.h"
#include "framework/run/guest_session.h"

namespace plugpull::run {

using blocklog::Entry;
using blocklog::LogWriter;

namespace {

// Of one entry: the largest that readers take is far larger.
constexpr size_t kEntryBytesMax = 1 << 20;

}  // namespace

Status AddState(const StateImages& images, LogWriter& log) {
  if (const Bytes bytes = images.DataBytes(); bytes > kRecordedStateMax) {
    return EnvironmentError(
        fmt::format("the state holds {} bytes; recoveries of states of at most {} are recorded",
                    bytes.value, kRecordedStateMax.value));
  }
  return images.ForEachPiece([&](Bytes offset, std::span<const uint8_t> bytes) {
    for (size_t at = 0; at < bytes.size(); at += kEntryBytesMax) {
      log.Write(offset + Bytes(at), bytes.subspan(at, std::min(kEntryBytesMax, bytes.size() - at)));
    }
    return OkStatus();
  });
}

void AddMark(Bytes device_size, const std::string& kind, const std::string& text, LogWriter& log) {
  log.Write(device_size, blocklog::EncodeMark({kind, text}));
}

void AddEntries(const blocklog::BlockLog& entries, LogWriter& log) {
  for (const Entry& entry : entries.entries) {
    const uint64_t flags =
        entry.flags & (blocklog::kFlagFlush | blocklog::kFlagFua | blocklog::kFlagMetadata);
    if (entry.is_mark()) {
      log.Mark(entry.mark);
    } else if (entry.discard()) {
      if (entry.flush()) log.Flush();
      log.Discard(entry.offset, entry.length);
    } else if (entry.length.value == 0) {
      log.Flush();
    } else {
      log.Write(entry.offset, entry.data, flags);
    }
  }
}

Status CheckReplay(const std::vector<uint8_t>& log, Bytes device_size, int result_fd) {
  PP_ASSIGN_OR_RETURN(const auto read, blocklog::ReadLog(log, {false, device_size + kStripBytes}));
  if (read.dropped) return GuestError("its log cannot be read: " + read.dropped->reason);
  PP_ASSIGN_OR_RETURN(auto history, blocklog::MakeHistory(read, {device_size, kStripBytes}));
  if (history.base == 0) return GuestError("its log lacks the mark of its base");
  if (!history.ended) return GuestError("its log lacks the mark of its end");
  PP_ASSIGN_OR_RETURN(const os::Fd fd, os::MakeMemFile("plugpull-replay", device_size));
  PP_ASSIGN_OR_RETURN(os::Mapping replayed,
                      os::Mapping::Map(fd.get(), device_size, os::Mapping::Mode::kReadWriteShared));
  history.base = history.events.size();
  crashstate::FoldBase(history, replayed.mutable_bytes(), false);
  PP_ASSIGN_OR_RETURN(const auto at, os::FirstDifference(fd.get(), result_fd, device_size));
  if (!at) return OkStatus();
  return GuestError(fmt::format(
      "the state and all recorded writes do not give what recovery left: byte {} differs",
      at->value));
}

}  // namespace plugpull::run
