// SPDX-License-Identifier: Apache-2.0
// An ext4 image in memory as the oracles read it.
#pragma once

#include "framework/ext4/file_system.h"
#include "framework/oracle/file_system_view.h"

namespace plugpull::oracle {

class Ext4View : public FileSystemView {
 public:
  explicit Ext4View(ext4::FileSystem fs) : fs_(std::move(fs)) {}
  Result<std::optional<NodeInfo>> Lookup(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Status Read(uint64_t inode, uint64_t offset, std::span<uint8_t> out) override;

 private:
  ext4::FileSystem fs_;
};

}  // namespace plugpull::oracle
