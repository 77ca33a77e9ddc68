// SPDX-License-Identifier: Apache-2.0
// An ext4 image in memory as the oracles read it: by the quick reader where the layout is plain, by
// libext2fs elsewhere.
#pragma once

#include "framework/ext4/file_system.h"
#include "framework/ext4/tree_reader.h"
#include "framework/oracle/file_system_view.h"

namespace plugpull::oracle {

class Ext4View : public FileSystemView {
 public:
  // `reader`, of the same image, refreshed, may be null; it outlives the view.
  explicit Ext4View(ext4::FileSystem fs, ext4::TreeReader* reader = nullptr)
      : fs_(std::move(fs)), reader_(reader) {}
  Result<std::optional<NodeInfo>> Lookup(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Status Read(uint64_t inode, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<image::Fingerprint> Stamp(uint64_t inode) override;

 private:
  ext4::FileSystem fs_;
  ext4::TreeReader* reader_;
};

}  // namespace plugpull::oracle
