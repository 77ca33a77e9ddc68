// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/kernel_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

namespace plugpull::guest {
namespace {

constexpr char kPath[] = "/dev/kmsg";
constexpr size_t kRecordBytesMax = 8192;
constexpr size_t kRecordsMax = 100'000;  // read at one go
constexpr uint32_t kLevelBits = 3;       // of a priority; the facility is above them, 0: the kernel

}  // namespace

std::optional<KernelLine> ParseKernelRecord(std::string_view record) {
  const size_t semicolon = record.find(';');
  uint32_t priority = 0;
  const auto parsed = std::from_chars(record.data(), record.data() + record.size(), priority);
  if (semicolon == std::string_view::npos || parsed.ec != std::errc() ||
      parsed.ptr == record.data() + record.size() || *parsed.ptr != ',' ||
      (priority >> kLevelBits) != 0) {
    return std::nullopt;
  }
  std::string_view text = record.substr(semicolon + 1);
  text = text.substr(0, text.find('\n'));
  KernelLine line;
  line.set_level(priority);
  // Proto texts are UTF-8; the kernel may have printed bytes of a damaged image.
  for (const char c : text) line.mutable_text()->push_back(c >= 0x20 && c < 0x7f ? c : '?');
  return line;
}

Result<KernelLog> KernelLog::Open(From from) {
  os::Fd fd(::open(kPath, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid() || ::lseek(fd.get(), 0, from == From::kStart ? SEEK_SET : SEEK_END) < 0) {
    return EnvironmentError(fmt::format("cannot open {}: {}", kPath, os::ErrnoText(errno)));
  }
  return KernelLog(std::move(fd));
}

Status KernelLog::Write(const std::string& line) {
  // One write is one record.
  if (::write(fd_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    return EnvironmentError(fmt::format("cannot write to {}: {}", kPath, os::ErrnoText(errno)));
  }
  return OkStatus();
}

std::vector<KernelLine> KernelLog::Take(size_t lines_max, bool& cut) {
  std::vector<KernelLine> lines;
  char record[kRecordBytesMax];
  for (size_t i = 0; i < kRecordsMax; ++i) {
    const ssize_t n = ::read(fd_.get(), record, sizeof record);
    if (n < 0 && errno == EPIPE) {  // overwritten; the next read goes on behind the gap
      cut = true;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    auto line = ParseKernelRecord({record, static_cast<size_t>(n)});
    if (!line) continue;
    if (lines.size() < lines_max) {
      lines.push_back(*std::move(line));
    } else {
      cut = true;
    }
  }
  return lines;
}

}  // namespace plugpull::guest
