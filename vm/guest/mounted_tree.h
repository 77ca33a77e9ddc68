// SPDX-License-Identifier: Apache-2.0
// A mounted file system as framework/tree reads it, by system calls alone. Symbolic links are not
// followed. Guest only; one thread.
#pragma once

#include <string>
#include <vector>

#include "framework/os/fd.h"
#include "framework/tree/tree.h"

namespace plugpull::guest {

class MountedTree : public tree::Reader {
 public:
  explicit MountedTree(std::string root) : root_(std::move(root)) {}

  Result<TreeEntry> Look(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Status Read(const std::string& path, uint64_t offset, std::span<uint8_t> out) override;
  Result<std::string> Target(const std::string& path) override;

 private:
  std::string PathOf(const std::string& path) const { return root_ + "/" + path; }

  std::string root_;
  std::string open_path_;  // of the file that was read last
  os::Fd open_file_;
};

}  // namespace plugpull::guest
