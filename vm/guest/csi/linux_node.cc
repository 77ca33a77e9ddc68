// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/csi/linux_node.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>

#include "vm/guest/agents/linux_disk.h"
#include "vm/guest/agents/owned_fd.h"

namespace plugpull::csi {
namespace {

// EXT4_IOC_RESIZE_FS: include/uapi/linux/ext4.h, which older headers do not have.
constexpr unsigned long kResizeExt4 = _IOW('f', 16, uint64_t);

int MakeFile(const std::string& path) {
  const agents::OwnedFd file(
      ::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640));
  return file.valid() ? 0 : errno;
}

}  // namespace

int LinuxNode::Bind(const std::string& source, const std::string& target, bool is_file,
                    bool read_only) {
  if (const int error = is_file ? MakeFile(target) : system_.PrepareTarget(target)) return error;
  if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) return errno;
  if (!read_only) return 0;
  // A bind mount becomes read-only in a second step: mount(2).
  if (::mount(nullptr, target.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) == 0) {
    return 0;
  }
  const int error = errno;
  ::umount2(target.c_str(), UMOUNT_NOFOLLOW);
  return error;
}

int LinuxNode::RemoveTarget(const std::string& target) {
  if (::rmdir(target.c_str()) == 0 || errno == ENOENT) return 0;
  if (errno != ENOTDIR) return errno;
  return ::unlink(target.c_str()) == 0 ? 0 : errno;
}

int LinuxNode::MeasureUsage(const std::string& path, Usage& usage) {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) return errno;
  usage.bytes_total = status.f_blocks * status.f_frsize;
  usage.bytes_used = (status.f_blocks - status.f_bfree) * status.f_frsize;
  usage.bytes_available = status.f_bavail * status.f_frsize;
  usage.inodes_total = status.f_files;
  usage.inodes_used = status.f_files - status.f_ffree;
  usage.inodes_available = status.f_favail;
  return 0;
}

int LinuxNode::Grow(const std::string& path, uint64_t size_bytes) {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) return errno;
  const agents::OwnedFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return errno;
  uint64_t blocks = size_bytes / status.f_bsize;
  return ::ioctl(folder.get(), kResizeExt4, &blocks) == 0 ? 0 : errno;
}

uint64_t LinuxNode::ErrorsOf(agents::DeviceNumber device) {
  std::error_code error;
  const auto name = std::filesystem::read_symlink("/sys/dev/block/" + device.ToString(), error);
  const std::string text =
      agents::ReadSmallFile("/sys/fs/ext4/" + name.filename().string() + "/errors_count");
  return std::strtoull(text.c_str(), nullptr, 10);
}

}  // namespace plugpull::csi
