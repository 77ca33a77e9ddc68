// SPDX-License-Identifier: Apache-2.0
#include "vm/initramfs/cpio.h"

#include <fmt/format.h>

#include <array>

namespace plugpull::vm {
namespace {

constexpr uint32_t kFolder = 0040000;
constexpr uint32_t kRegular = 0100000;
constexpr uint32_t kSymlink = 0120000;
constexpr uint32_t kCharDevice = 0020000;
constexpr size_t kAlignment = 4;
constexpr size_t kFinalAlignment = 512;
constexpr char kTrailer[] = "TRAILER!!!";

void Pad(std::string& archive, size_t alignment) {
  archive.append((alignment - archive.size() % alignment) % alignment, '\0');
}

}  // namespace

void CpioWriter::AddFolder(const std::string& path, uint32_t mode) {
  if (!Has(path)) Add(path, kFolder | mode, {}, {});
}

void CpioWriter::AddFile(const std::string& path, std::string_view content, uint32_t mode) {
  Add(path, kRegular | mode, content, {});
}

void CpioWriter::AddSymlink(const std::string& path, std::string_view target) {
  Add(path, kSymlink | 0777, target, {});
}

void CpioWriter::AddCharDevice(const std::string& path, uint32_t major, uint32_t minor,
                               uint32_t mode) {
  Add(path, kCharDevice | mode, {}, {major, minor});
}

Result<std::string> CpioWriter::Finish() {
  if (!problem_.empty()) return InternalError("initramfs: " + problem_);
  Write(kTrailer, 0, {}, {});
  Pad(archive_, kFinalAlignment);
  return std::move(archive_);
}

void CpioWriter::Add(const std::string& path, uint32_t mode, std::string_view content,
                     Device device) {
  if (path.size() < 2 || path.front() != '/' || path.back() == '/' ||
      path.find('\0') != std::string::npos) {
    problem_ = fmt::format("\"{}\" is not an absolute path", path);
    return;
  }
  if (content.size() > UINT32_MAX) {
    problem_ =
        fmt::format("{} has {} bytes, above the format's limit of 4 GiB", path, content.size());
    return;
  }
  AddFoldersAbove(path);
  if (!paths_.insert(path).second) {
    problem_ = fmt::format("{} is there twice", path);
    return;
  }
  Write(std::string_view(path).substr(1), mode, content, device);
}

void CpioWriter::AddFoldersAbove(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string folder = path.substr(0, slash);
    if (paths_.insert(folder).second) Write(folder.substr(1), kFolder | 0755, {}, {});
  }
}

void CpioWriter::Write(std::string_view name, uint32_t mode, std::string_view content,
                       Device device) {
  const uint32_t links = (mode & kFolder) == kFolder ? 2 : 1;
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor,
  // namesize, check
  const std::array<uint32_t, 13> fields = {++entries_,
                                           mode,
                                           0,
                                           0,
                                           links,
                                           0,
                                           static_cast<uint32_t>(content.size()),
                                           0,
                                           0,
                                           device.major,
                                           device.minor,
                                           static_cast<uint32_t>(name.size() + 1),
                                           0};
  archive_ += "070701";
  for (const uint32_t field : fields) archive_ += fmt::format("{:08X}", field);
  archive_.append(name).push_back('\0');
  Pad(archive_, kAlignment);
  archive_.append(content);
  Pad(archive_, kAlignment);
}

}  // namespace plugpull::vm
