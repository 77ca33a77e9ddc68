// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/mark_writer.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace plugpull::guest {
namespace {

constexpr size_t kBlockBytesMax = 65536;
constexpr size_t kAlignment = 4096;  // enough for O_DIRECT on any device up to a page a block

std::string Reason(int error_number) {
  return std::string(std::strerror(error_number)) + " (errno " + std::to_string(error_number) + ")";
}

}  // namespace

Status ValidateMark(const blocklog::Mark& mark) {
  const size_t size = mark.kind.size() + mark.text.size();
  if (mark.kind.empty() || mark.kind.find(' ') != std::string::npos) {
    return UserError("the kind of a mark must be one word, not \"" + mark.kind + "\"");
  }
  if ((mark.kind + mark.text).find_first_of(std::string_view("\n\0", 2)) != std::string::npos) {
    return UserError("a mark must be one line, without newlines and NULs");
  }
  if (size > blocklog::kMarkTextMax) {
    return UserError("a mark of " + std::to_string(size) + " bytes is longer than the limit of " +
                     std::to_string(blocklog::kMarkTextMax) + "; use a shorter name");
  }
  return OkStatus();
}

Result<MarkWriter> MarkWriter::Open(const std::string& path) {
  const auto failed = [&](const std::string& what, int error_number) {
    return EnvironmentError("cannot " + what + " the mark device " + path + ": " +
                            Reason(error_number));
  };
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return failed("find", errno);
  if (!S_ISBLK(info.st_mode) && !S_ISREG(info.st_mode)) {
    return EnvironmentError("the mark device " + path + " is no block device");
  }
  const bool is_block = S_ISBLK(info.st_mode);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | (is_block ? O_DIRECT : 0));
  if (fd < 0) return failed("open", errno);
  MarkWriter writer(path, fd, blocklog::kMarkBytes);
  if (is_block) {
    int block_bytes = 0;
    if (::ioctl(fd, BLKSSZGET, &block_bytes) != 0) return failed("measure", errno);
    if (block_bytes < static_cast<int>(blocklog::kMarkBytes) ||
        block_bytes > static_cast<int>(kBlockBytesMax)) {
      return EnvironmentError("the mark device " + path + " has blocks of " +
                              std::to_string(block_bytes) + " bytes; 512 to 65536 are possible");
    }
    writer.block_bytes_ = static_cast<size_t>(block_bytes);
  }
  return writer;
}

MarkWriter& MarkWriter::operator=(MarkWriter&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    path_ = std::move(other.path_);
    fd_ = std::exchange(other.fd_, -1);
    block_bytes_ = other.block_bytes_;
  }
  return *this;
}

MarkWriter::~MarkWriter() {
  if (fd_ >= 0) ::close(fd_);
}

Status MarkWriter::Write(const blocklog::Mark& mark) {
  PP_RETURN_IF_ERROR(ValidateMark(mark));
  const auto sector = blocklog::EncodeMark(mark);
  const std::unique_ptr<uint8_t, decltype(&std::free)> block(
      static_cast<uint8_t*>(std::aligned_alloc(
          kAlignment, (block_bytes_ + kAlignment - 1) / kAlignment * kAlignment)),
      &std::free);
  if (!block) return EnvironmentError("out of memory for a mark");
  std::memset(block.get(), 0, block_bytes_);
  std::memcpy(block.get(), sector.data(), sector.size());
  ssize_t written;
  do {
    written = ::pwrite(fd_, block.get(), block_bytes_, 0);
  } while (written < 0 && errno == EINTR);
  if (written < 0) {
    return EnvironmentError("cannot write a mark to " + path_ + ": " + Reason(errno));
  }
  if (static_cast<size_t>(written) != block_bytes_) {
    return EnvironmentError("only " + std::to_string(written) + " of " +
                            std::to_string(block_bytes_) + " bytes of a mark went to " + path_);
  }
  return OkStatus();
}

}  // namespace plugpull::guest
