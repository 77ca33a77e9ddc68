// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/recovery_recorder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "framework/os/file.h"
#include "framework/preload/write_record.h"

namespace plugpull::oracle {

using preload::RecordHeader;
using preload::RecordKind;

namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kCallsMax = 10'000'000;
constexpr uint64_t kRecordBytesMax = 4ULL << 30;
// Numbers of descriptors in e2fsck; the first is what Fsck passes the image as.
constexpr int kImageFd = 3;
constexpr int kRecordFd = 4;

Result<std::string> ProgramsFolder() {
  std::string folder = os::GetEnv("PLUGPULL_GUEST_DIR", "");
  if (!folder.empty()) return folder;
  char path[PATH_MAX];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  if (n <= 0) return EnvironmentError("cannot read /proc/self/exe: " + os::ErrnoText(errno));
  folder.assign(path, static_cast<size_t>(n));
  return folder.substr(0, folder.rfind('/'));
}

// Whether two calls change one and the same page, and nothing else.
bool InOnePage(const RecordedCall& a, const RecordedCall& b) {
  const auto last = [](const RecordedCall& call) {
    return (call.offset + call.length - 1) / kPage;
  };
  return a.length > 0 && b.length > 0 && a.offset / kPage == last(a) &&
         b.offset / kPage == last(b) && last(a) == last(b);
}

}  // namespace

Result<std::vector<RecordedCall>> ParseWriteRecord(std::span<const uint8_t> record,
                                                   uint64_t file_bytes) {
  std::vector<RecordedCall> calls;
  for (size_t at = 0; at < record.size();) {
    const auto wrong = [&](const std::string& what) {
      return EnvironmentError(
          fmt::format("the record of writes, at byte {} of {}: {}", at, record.size(), what));
    };
    RecordHeader header;
    if (record.size() - at < sizeof header) return wrong("it is cut short");
    std::memcpy(&header, record.data() + at, sizeof header);
    if (header.magic != preload::kRecordMagic) return wrong("no call begins here");
    if (calls.size() == kCallsMax) return wrong(fmt::format("more than {} calls", kCallsMax));
    if (header.offset > file_bytes || header.length > file_bytes - header.offset) {
      return wrong(
          fmt::format("{} bytes at {} of a file of {}", header.length, header.offset, file_bytes));
    }
    RecordedCall call{.offset = header.offset, .length = header.length, .data = {}};
    uint64_t data_bytes = 0;
    if (header.kind == RecordKind::kWrite) {
      data_bytes = header.length;
    } else if (header.kind == RecordKind::kFlush || header.kind == RecordKind::kZeroes) {
      const bool flush = header.kind == RecordKind::kFlush;
      call.kind = flush ? RecordedCall::Kind::kFlush : RecordedCall::Kind::kZeroes;
    } else {
      return wrong(fmt::format("unknown kind {}", static_cast<uint32_t>(header.kind)));
    }
    if (data_bytes > record.size() - at - sizeof header) return wrong("it is cut short");
    call.data = record.subspan(at + sizeof header, data_bytes);
    calls.push_back(call);
    at += sizeof header + data_bytes;
  }
  return calls;
}

void AddCallsToLog(const std::vector<RecordedCall>& calls, bool flushes, std::span<uint8_t> image,
                   blocklog::LogWriter& log) {
  for (size_t i = 0; i < calls.size(); ++i) {
    const RecordedCall& call = calls[i];
    if (call.kind == RecordedCall::Kind::kFlush) {
      if (flushes) log.Flush();
      continue;
    }
    const auto target = image.subspan(call.offset, call.length);
    if (call.kind == RecordedCall::Kind::kZeroes) {
      std::fill(target.begin(), target.end(), 0);
    } else {
      std::copy(call.data.begin(), call.data.end(), target.begin());
    }
    if (i + 1 < calls.size() && InOnePage(call, calls[i + 1])) continue;
    const uint64_t end = call.offset + call.length;
    for (uint64_t page = call.offset / kPage * kPage; page < end; page += kPage) {
      log.Write(Bytes(page), image.subspan(page, std::min(kPage, image.size() - page)));
    }
  }
}

Result<RecoveryRecorder> RecoveryRecorder::Find() {
  PP_ASSIGN_OR_RETURN(const std::string folder, ProgramsFolder());
  const std::string path = folder + "/" + preload::kRecorderName;
  if (!os::Exists(path)) {
    return EnvironmentError(
        fmt::format("{} is missing, so what e2fsck writes cannot be recorded; it is built with "
                    "plugpull's other "
                    "programs (PLUGPULL_GUEST_DIR names their folder)",
                    path));
  }
  return RecoveryRecorder(path);
}

Status RecoveryRecorder::Record(Fsck& fsck, const ext4::JournalLayout& journal, bool flushes,
                                WorkImage& image, blocklog::LogWriter& log) const {
  const Bytes size(image.bytes().size());
  PP_ASSIGN_OR_RETURN(const os::Fd before_fd, os::MakeMemFile("plugpull-before", size));
  PP_ASSIGN_OR_RETURN(os::Mapping before,
                      os::Mapping::Map(before_fd.get(), size, os::Mapping::Mode::kReadWriteShared));
  PP_ASSIGN_OR_RETURN(const auto extents, os::DataExtents(image.fd(), size));
  for (const os::Extent& extent : extents) {
    std::memcpy(before.mutable_bytes().data() + extent.start.value,
                image.bytes().data() + extent.start.value, extent.end.value - extent.start.value);
  }
  PP_ASSIGN_OR_RETURN(const os::Fd record_fd, os::MakeMemFile("plugpull-record", Bytes(0)));
  if (::fcntl(record_fd.get(), F_SETFL, O_APPEND) != 0) {
    return EnvironmentError("cannot prepare a record of writes: " + os::ErrnoText(errno));
  }
  const FsckWatcher watcher{
      .environment = {"LD_PRELOAD=" + path_, fmt::format("{}={}", preload::kFileVariable, kImageFd),
                      fmt::format("{}={}", preload::kRecordVariable, kRecordFd)},
      .pass_fds = {{record_fd.get(), kRecordFd}}};
  const RecoveryResult recovered = fsck.Recover(image, journal, &watcher);
  if (recovered.outcome != Outcome::kHolds) {
    return EnvironmentError("e2fsck did not recover the state: " + recovered.evidence);
  }
  PP_ASSIGN_OR_RETURN(const Bytes record_bytes, os::FileSize(record_fd.get()));
  if (record_bytes.value > kRecordBytesMax) {
    return EnvironmentError(fmt::format("the record of writes has {} bytes; at most {} are read",
                                        record_bytes.value, kRecordBytesMax));
  }
  std::vector<uint8_t> record(record_bytes.value);
  PP_RETURN_IF_ERROR(os::PreadAll(record_fd.get(), record, Bytes(0)));
  PP_ASSIGN_OR_RETURN(const auto calls, ParseWriteRecord(record, size.value));
  AddCallsToLog(calls, flushes, before.mutable_bytes(), log);
  PP_ASSIGN_OR_RETURN(const auto at, os::FirstDifference(before_fd.get(), image.fd(), size));
  if (at) {
    return EnvironmentError(fmt::format(
        "e2fsck wrote what was not seen: byte {} is not what its {} recorded calls make it; an "
        "e2fsck that is linked statically cannot be recorded",
        at->value, calls.size()));
  }
  return OkStatus();
}

}  // namespace plugpull::oracle
