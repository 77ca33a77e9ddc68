// SPDX-License-Identifier: Apache-2.0
// An ext4 image in memory as framework/tree reads it: the host's side of a comparison with what a
// kernel shows.
#pragma once

#include <string>
#include <vector>

#include "framework/ext4/file_system.h"
#include "framework/tree/tree.h"

namespace plugpull::oracle {

class RecoveredTree : public tree::Reader {
 public:
  explicit RecoveredTree(ext4::FileSystem fs) : fs_(std::move(fs)) {}

  Result<TreeEntry> Look(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Status Read(const std::string& path, uint64_t offset, std::span<uint8_t> out) override;
  Result<std::string> Target(const std::string& path) override;

 private:
  Result<ext4::Node> Find(const std::string& path);

  ext4::FileSystem fs_;
};

}  // namespace plugpull::oracle
