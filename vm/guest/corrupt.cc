// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/corrupt.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "framework/ext4/damage.h"
#include "framework/os/fd.h"

namespace plugpull::guest {
namespace {

class DeviceTarget : public ext4::DamageTarget {
 public:
  DeviceTarget(int fd, uint64_t size_bytes) : fd_(fd), size_bytes_(size_bytes) {}
  uint64_t size_bytes() const override { return size_bytes_; }
  Status Read(uint64_t offset, std::span<uint8_t> out) override {
    return os::PreadAll(fd_, out, Bytes(offset));
  }
  Status Write(uint64_t offset, std::span<const uint8_t> bytes) override {
    return os::PwriteAll(fd_, bytes, Bytes(offset));
  }

 private:
  int fd_;
  uint64_t size_bytes_;
};

}  // namespace

Result<DamageEvidence> CorruptDevice(const std::string& path, const CorruptStep& step) {
  // On a block device O_EXCL means: nobody else has claimed it.
  const os::Fd fd(::open(path.c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
  if (!fd.valid() && errno == EBUSY) {
    return UserError(fmt::format("{} is in use: unmount it before it is damaged", path));
  }
  if (!fd.valid()) {
    return EnvironmentError(fmt::format("cannot open {}: {}", path, os::ErrnoText(errno)));
  }
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  if (size < 0) {
    return EnvironmentError(fmt::format("no size of {}: {}", path, os::ErrnoText(errno)));
  }
  DeviceTarget target(fd.get(), static_cast<uint64_t>(size));
  PP_ASSIGN_OR_RETURN(const auto pieces, ext4::ApplyDamage(step, target));
  if (::fsync(fd.get()) != 0) {
    return EnvironmentError(fmt::format("cannot flush {}: {}", path, os::ErrnoText(errno)));
  }
  return ext4::EvidenceOf(step, pieces);
}

}  // namespace plugpull::guest
