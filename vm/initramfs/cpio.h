// SPDX-License-Identifier: Apache-2.0
// Archives that the kernel unpacks at boot. Pure: bytes in, bytes out; the same entries give the
// same bytes. Format: "newc", Documentation/driver-api/early-userspace/buffer-format.rst.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "framework/base/result.h"

namespace plugpull::vm {

// All entries belong to root and have the time 0. Paths are absolute; the folders above an entry
// are added before it. A second entry of the same path is an internal error at Finish.
class CpioWriter {
 public:
  void AddFolder(const std::string& path, uint32_t mode = 0755);
  void AddFile(const std::string& path, std::string_view content, uint32_t mode);
  void AddSymlink(const std::string& path, std::string_view target);
  void AddCharDevice(const std::string& path, uint32_t major, uint32_t minor, uint32_t mode);

  bool Has(const std::string& path) const { return paths_.contains(path); }

  // The archive, ended and padded. The writer is of no use after that. An internal error when an
  // entry was no absolute path, came twice, or is above 4 GiB.
  Result<std::string> Finish();

 private:
  struct Device {
    uint32_t major = 0;
    uint32_t minor = 0;
  };
  void Add(const std::string& path, uint32_t mode, std::string_view content, Device device);
  void AddFoldersAbove(const std::string& path);
  void Write(std::string_view name, uint32_t mode, std::string_view content, Device device);

  std::string archive_;
  std::set<std::string> paths_;
  uint32_t entries_ = 0;
  std::string problem_;
};

}  // namespace plugpull::vm
